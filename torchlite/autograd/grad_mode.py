"""Whether operations are recorded for backward: `no_grad`, `enable_grad`, `set_grad_enabled`, `inference_mode`.

Each is a context manager and a decorator, of generators as well, and holds for the current thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator
from inspect import isgeneratorfunction
from typing import Any, Self, TypeVar, overload

from torchlite.autograd.graph import Storage

F = TypeVar("F", bound=Callable[..., Any])


class _GradMode(threading.local):
    enabled = True
    inference = False


grad_mode = _GradMode()


class InferenceStorage(Storage):
    """What tensors made in `inference_mode` share: nobody keeps count of the writes into it."""

    @property
    def stamp(self) -> int:  # type: ignore[override]
        """Asked for where a saved tensor is to be used in backward.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
            "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it "
            "in autograd, or use `torchlite.no_grad()` instead of `torchlite.inference_mode()`."
        )

    @property
    def writes(self) -> int:  # type: ignore[override]
        """There is no count.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("Inference tensors do not track version counter.")

    def written(self, times: int = 1) -> None:  # noqa: ARG002
        """Refuse writes outside of the mode."""
        if not grad_mode.inference:
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a "
                "normal tensor before doing inplace update."
            )


def is_grad_enabled() -> bool:
    """Whether operations on tensors that require gradients are recorded in this thread."""
    return grad_mode.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside of `inference_mode`."""
    return grad_mode.inference


class set_grad_enabled:
    """Turn recording on or off: at once when called, until the block ends when used with ``with``."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.previous = grad_mode.enabled
        _record(self.mode)

    def __enter__(self) -> None:
        _record(self.mode)

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled = self.previous

    def __call__(self, function: F) -> F:
        """Use as a decorator: the mode holds inside the function only."""
        grad_mode.enabled = self.previous
        return _decorated(function, lambda: set_grad_enabled(self.mode))


class no_grad:
    """Record nothing inside: results do not require gradients and nothing is kept for backward."""

    mode = False

    @overload
    def __new__(cls, function: F) -> F: ...  # type: ignore[misc]
    @overload
    def __new__(cls) -> Self: ...
    def __new__(cls, function: Any = None) -> Any:
        """A context, or the decorated function when used as ``@no_grad``."""
        return super().__new__(cls) if function is None else _decorated(function, cls)

    def __enter__(self) -> None:
        # A stack, because one object may be entered again inside its own block.
        self.__dict__.setdefault("previous", []).append(grad_mode.enabled)
        _record(self.mode)

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled = self.__dict__["previous"].pop()

    def __call__(self, function: F) -> F:
        """Use as a decorator: the mode holds inside the function only."""
        return _decorated(function, type(self))


class enable_grad(no_grad):
    """Record again inside a `no_grad` block."""

    mode = True


class inference_mode:
    """Like `no_grad`, and what is made inside are inference tensors, which can't take part in a gradient later.

    Outside of the block they can be read and cloned; to write into one or to save one for backward is an error.
    ``inference_mode(False)`` inside of such a block is as if there were none.
    """

    @overload
    def __new__(cls, mode: F) -> F: ...  # type: ignore[misc]
    @overload
    def __new__(cls, mode: bool = True) -> Self: ...
    def __new__(cls, mode: Any = True) -> Any:
        """A context, or the decorated function when used as ``@inference_mode``."""
        return super().__new__(cls) if isinstance(mode, bool) else _decorated(mode, cls)

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode
        self.previous: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self.previous.append((grad_mode.enabled, grad_mode.inference))
        _mark_new_storages(+self.mode)
        grad_mode.enabled, grad_mode.inference = not self.mode, self.mode

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled, grad_mode.inference = self.previous.pop()
        _mark_new_storages(-self.mode)

    def __call__(self, function: F) -> F:
        """Use as a decorator: the mode holds inside the function only."""
        return _decorated(function, lambda: inference_mode(self.mode))


def _record(mode: bool) -> None:
    grad_mode.enabled = mode and not grad_mode.inference


_lock = threading.Lock()
_blocks = 0


def _mark_new_storages(change: int) -> None:
    """Count the blocks that are open in all threads: without any, storages are made without a question."""
    global _blocks
    with _lock:
        _blocks += change
        if _blocks and "__init__" not in vars(Storage):
            setattr(Storage, "__init__", _marking_init)  # noqa: B010 - as types see it, there is none
        elif not _blocks and "__init__" in vars(Storage):
            del Storage.__init__


def _marking_init(self: Storage) -> None:
    if grad_mode.inference:
        self.__class__ = InferenceStorage


def _decorated(function: F, context: Callable[[], Any]) -> F:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with context():
            return function(*args, **kwargs)

    @functools.wraps(function)
    def generator(*args: Any, **kwargs: Any) -> Any:
        return _stepped(function(*args, **kwargs), context)

    return generator if isgeneratorfunction(function) else wrapper  # type: ignore[return-value]


def _stepped(steps: Generator[Any, Any, Any], context: Callable[[], Any]) -> Generator[Any, Any, Any]:
    """A generator whose steps run inside of a context, which is left while it waits."""
    move: Callable[[], Any] = functools.partial(next, steps)
    while True:
        try:
            with context():
                value = move()
        except StopIteration as stop:
            return stop.value
        try:
            sent = yield value
            move = functools.partial(steps.send, sent)
        except GeneratorExit:
            with context():
                steps.close()
            raise
        except BaseException as error:
            move = functools.partial(steps.throw, error)
