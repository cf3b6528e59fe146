"""`torchlite.compile`: capture what a function does to tensors, and replay that.

In the order in which they are at work: `surroundings` notes what is around the function, `tracer` runs it with
`symbols` in the place of arrays, `capture` makes a program of what was recorded, through `passes`; `function` decides
at every call whether a program fits.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from torchlite.tracing import active, refuse

if TYPE_CHECKING:
    from torchlite.compiler.function import CompiledFunction

__all__ = ["disable", "is_compiling", "reset"]

F = TypeVar("F", bound=Callable[..., Any])
_all: weakref.WeakSet[CompiledFunction] = weakref.WeakSet()


def compiled(function: Callable[..., Any], *, full: bool = False, warm: bool = False) -> CompiledFunction:
    """``function`` compiled, and known to `reset`; where all its state is there, ``warm``, from the first call on."""
    from torchlite.compiler.function import CompiledFunction  # most programs compile nothing and need not load it

    made = CompiledFunction(function, full, warm)
    _all.add(made)
    return made


def is_compiling() -> bool:
    """Whether the code that asks is being traced in this thread."""
    return active.tracer is not None


def disable(function: F) -> F:
    """A function that is never captured: what calls it runs uncompiled, too."""

    @functools.wraps(function)
    def uncaptured(*args: Any, **kwargs: Any) -> Any:
        refuse(f"{function.__qualname__} must not be captured (torchlite.compiler.disable)")
        return function(*args, **kwargs)

    return uncaptured  # type: ignore[return-value]


def reset() -> None:
    """Forget everything that was captured, in all compiled functions."""
    for function in tuple(_all):
        function.reset()
