"""`torchlite.compile`: capture what a function does to tensors, and replay that.

In the order in which they are at work: `function` decides at every call whether a capture (`variant`) fits; where none does,
`trace` makes one: `surroundings` are what is around the function, `tracer` records what it does with `symbols` in the place
of arrays, and `capture` makes a program of that, through `passes`.
"""

from __future__ import annotations

import functools
import importlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from torchlite.tracing import active, refuse

if TYPE_CHECKING:
    from torchlite.compiler.function import CompiledFunction

__all__ = [
    "allow_in_graph", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling", "is_dynamo_compiling",
    "is_exporting", "list_backends", "reset", "set_stance",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])
_all: weakref.WeakSet[CompiledFunction] = weakref.WeakSet()


def compiled(
    function: Callable[..., Any],
    *,
    full: bool = False,
    warm: bool = False,
    cuda_graphs: bool = False,
    branches: bool = True,
) -> CompiledFunction:
    """``function`` compiled, and known to `reset`.

    Args:
        function: that.
        full: whether it is an error that something can't be captured.
        warm: whether all its state is there, so that it is captured from the first call on.
        cuda_graphs: whether programs on a GPU are replayed as CUDA graphs.
        branches: whether numbers of tensors may decide between captures: which calls are replayed then depends on those before.
    """
    from torchlite.compiler.function import CompiledFunction  # most programs compile nothing and need not load it

    made = CompiledFunction(function, full, warm, cuda_graphs, branches)
    _all.add(made)
    return made


def compile(*args: Any, **kwargs: Any) -> Any:
    """`torchlite.compile`."""
    return importlib.import_module("torchlite.compiler.module").compile(*args, **kwargs)


def list_backends(exclude_tags: Any = ("debug", "experimental")) -> list[str]:
    """What ``backend`` may be in `torchlite.compile`; "eager" is for debugging."""
    return ["inductor"] if "debug" in (exclude_tags or ()) else ["eager", "inductor"]


def is_compiling() -> bool:
    """Whether the code that asks is being traced in this thread."""
    return active.tracer is not None


def is_dynamo_compiling() -> bool:
    """`is_compiling`."""
    return is_compiling()


def is_exporting() -> bool:
    """Whether a model is being exported; exporting does not trace here, so it never is."""
    return False


def cudagraph_mark_step_begin() -> None:
    """Say that a step begins: for PyTorch's sake. Nothing depends on it, as no replay of a CUDA graph overwrites a result that is kept."""


def allow_in_graph(fn: Any) -> Any:
    """``fn``, or each of several: whatever works on tensors goes into the graph here.

    Raises:
        AssertionError: for something that can't be called.
    """
    if isinstance(fn, (list, tuple)):
        return [allow_in_graph(one) for one in fn]
    if not callable(fn):
        raise AssertionError("allow_in_graph expects a callable")  # PyTorch's type
    return fn


def disable(fn: F | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """A function that is never captured: what calls it runs uncompiled, too. Without a function a decorator.

    Args:
        fn: the function or module.
        recursive: for PyTorch's sake; what the function calls is uncompiled with it.
        reason: for the message.

    Raises:
        AssertionError: for something that can't be called.
    """
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    if not callable(fn):
        raise AssertionError(f"torch.compiler.disable expects a function or a module, got {type(fn).__name__}")
    called: Callable[..., Any] = fn
    name = getattr(called, "__qualname__", type(called).__name__)

    @functools.wraps(called, updated=())
    def uncaptured(*args: Any, **kwargs: Any) -> Any:
        refuse(f"{name} must not be captured ({reason or 'torchlite.compiler.disable'})")
        return called(*args, **kwargs)

    return uncaptured


class set_stance:
    """What compiled functions do from now on, or within it as a context or decorator.

    Args:
        stance: "default"; "force_eager": run uncompiled; "eager_on_recompile": use the captures there are, and run
            uncompiled what would be captured anew; "fail_on_recompile": raise there.
        skip_guard_eval_unsafe, force_backend: for PyTorch's sake.

    Raises:
        RuntimeError: for another stance, or in a function that is being captured.
    """

    def __init__(
        self,
        stance: str = "default",
        *,
        skip_guard_eval_unsafe: bool = False,  # noqa: ARG002 - PyTorch's signature
        force_backend: Any = None,  # noqa: ARG002 - PyTorch's signature
    ) -> None:
        if stance not in _STANCES:
            raise RuntimeError(
                f"invalid torch.compile stance {stance!r}; expected one of {', '.join(map(repr, _STANCES))}"
            )
        refuse("set_stance is called in the captured function")
        self.stance = stance
        self._before = behaviour.stance
        behaviour.stance = stance

    def __enter__(self) -> None:
        behaviour.stance = self.stance

    def __exit__(self, *_: object) -> None:
        behaviour.stance = self._before

    def __call__(self, function: F) -> F:
        """``function`` with this stance while it runs."""
        behaviour.stance = self._before

        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with set_stance(self.stance):
                return function(*args, **kwargs)

        return within  # type: ignore[return-value]


_STANCES = ("default", "force_eager", "eager_on_recompile", "fail_on_recompile")


class _Behaviour:
    """What compiled functions do."""

    stance = "default"


behaviour = _Behaviour()


def reset() -> None:
    """Forget everything that was captured, in all compiled functions."""
    for function in tuple(_all):
        function.reset()
