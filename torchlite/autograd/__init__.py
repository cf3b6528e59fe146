"""Gradients: the tape, backward, and switching recording on and off.

`engine` and `numeric` are loaded on first use, because the tape lies below Tensor and they lie above it.
"""

from typing import TYPE_CHECKING, Any

from torchlite.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

if TYPE_CHECKING:
    from torchlite.autograd.engine import backward, grad
    from torchlite.autograd.numeric import gradcheck, gradgradcheck

__all__ = [
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]


def __getattr__(name: str) -> Any:
    if name in ("backward", "grad"):
        from torchlite.autograd import engine

        return getattr(engine, name)
    if name in ("gradcheck", "gradgradcheck"):
        from torchlite.autograd import numeric

        return getattr(numeric, name)
    raise AttributeError(f"module 'torchlite.autograd' has no attribute {name!r}")
