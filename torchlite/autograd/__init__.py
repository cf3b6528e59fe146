"""Gradients: the tape, backward, and switching recording on and off.

What lies above Tensor (`engine`, `function`, `functional`, ...) is loaded on first use, because the tape lies below it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from torchlite.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

if TYPE_CHECKING:
    from torchlite.autograd import forward_ad, function, functional, graph
    from torchlite.autograd.anomaly import detect_anomaly, set_detect_anomaly
    from torchlite.autograd.engine import backward, grad
    from torchlite.autograd.function import Function
    from torchlite.autograd.numeric import gradcheck, gradgradcheck
    from torchlite.autograd.variable import Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]

_SOURCES = {
    "Function": "autograd.function",
    "Variable": "autograd.variable",
    "backward": "autograd.engine",
    "detect_anomaly": "autograd.anomaly",
    "grad": "autograd.engine",
    "gradcheck": "autograd.numeric",
    "gradgradcheck": "autograd.numeric",
    "set_detect_anomaly": "autograd.anomaly",
}


def __getattr__(name: str) -> Any:
    if name in ("forward_ad", "function", "functional", "graph", "profiler"):
        return importlib.import_module(f"torchlite.autograd.{name}")
    if name in _SOURCES:
        module = importlib.import_module(f"torchlite.{_SOURCES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'torchlite.autograd' has no attribute {name!r}")
