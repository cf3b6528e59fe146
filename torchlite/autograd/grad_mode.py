"""Whether operations are recorded for backward: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`.

Each is a context manager and a decorator, and holds for the current thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode(threading.local):
    enabled = True


grad_mode = _GradMode()


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require gradients are recorded in this thread."""
    return grad_mode.enabled


class set_grad_enabled:
    """Turn recording on or off: at once when called, until the block ends when used with ``with``."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.previous = grad_mode.enabled
        grad_mode.enabled = self.mode

    def __enter__(self) -> None:
        grad_mode.enabled = self.mode

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled = self.previous

    def __call__(self, function: F) -> F:
        """Use as a decorator: the mode holds inside the function only."""
        grad_mode.enabled = self.previous
        return _decorated(function, self.mode)


class _Scoped:
    mode: bool

    def __enter__(self) -> None:
        # A stack, because one object may be entered again inside its own block.
        self.__dict__.setdefault("previous", []).append(grad_mode.enabled)
        grad_mode.enabled = self.mode

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled = self.__dict__["previous"].pop()

    def __call__(self, function: F) -> F:
        return _decorated(function, self.mode)


class no_grad(_Scoped):
    """Record nothing inside: results do not require gradients and nothing is kept for backward."""

    mode = False

    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]
    @overload
    def __new__(cls) -> Self: ...
    def __new__(cls, function: Any = None) -> Any:
        """A context, or the decorated function when used as ``@no_grad``."""
        return super().__new__(cls) if function is None else _decorated(function, cls.mode)


class enable_grad(no_grad):
    """Record again inside a `no_grad` block."""

    mode = True


class inference_mode(_Scoped):
    """Like `no_grad`; ``inference_mode(False)`` changes nothing."""

    def __init__(self, mode: bool = True) -> None:
        self.mode = not mode if mode else grad_mode.enabled


def _decorated(function: F, mode: bool) -> F:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        previous = grad_mode.enabled
        grad_mode.enabled = mode
        try:
            return function(*args, **kwargs)
        finally:
            grad_mode.enabled = previous

    return wrapper  # type: ignore[return-value]
