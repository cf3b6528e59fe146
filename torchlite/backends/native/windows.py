"""The geometry of a window as the kernels read it, with one dimension seen as two."""

from __future__ import annotations

from typing import Any


def pairs(window: Any) -> list[int]:
    """Kernel, stride, padding and dilation of a window in one or two dimensions, each by height and width."""
    fields = (window.kernel, window.stride, window.padding, window.dilation)
    if window.ndim == 2:
        return [n for field in fields for n in field]
    return [n for field, neutral in zip(fields, (1, 1, 0, 1), strict=True) for n in (neutral, *field)]
