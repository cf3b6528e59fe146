"""PyTorch's older place for `torchlite.func.functional_call`."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from torchlite._tensor import Tensor
from torchlite.nn.module import Module


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """The old place of `torchlite.func.functional_call`; deprecated."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future version "
        "of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    current = import_module("torchlite.func.functional_call").functional_call
    return current(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
