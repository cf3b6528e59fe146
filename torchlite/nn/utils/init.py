"""Modules without initial values."""

from __future__ import annotations

import inspect
from typing import Any

from torchlite.nn.module import Module


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """``module_cls(*args, **kwargs)`` with uninitialised parameters and buffers, for values that are loaded afterwards.

    Raises:
        RuntimeError: for something that is no module class, or whose constructor takes no ``device``.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"skip_init: Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError(f"skip_init: {module_cls.__name__} must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, **kwargs, device="meta").to_empty(device=device)
