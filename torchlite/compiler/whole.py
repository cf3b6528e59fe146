"""Uncompiled operators of several steps on a GPU: the compiler's kernels compute them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchlite import dispatch
from torchlite.devices import Device
from torchlite.ir import Op


def _whole(op: Op, arrays: Sequence[Any], params: dict[str, Any], device: Device) -> Any:
    """The first time: what writes kernels is loaded only where there is a GPU."""
    from torchlite.compiler.cuda.whole import whole

    if dispatch.whole is _whole:
        dispatch.whole = whole
    return whole(op, arrays, params, device)


dispatch.whole = _whole
