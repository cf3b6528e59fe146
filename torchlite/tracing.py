"""Whether this thread is tracing a function for `torchlite.compile`, and what the layers below then tell the tracer.

While a function is traced, tensors have no numbers. The few places that need them (a draw of random numbers, a write
into memory, a check of values) find the tracer here.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any


class Uncapturable(BaseException):
    """What a function does cannot be captured; no ``except Exception`` on the way may swallow it.

    The tracer of this thread keeps the first, so that no ``except:`` can swallow it for good either.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        if active.tracer is not None and active.tracer.refusal is None:
            active.tracer.refusal = self


class _Active(threading.local):
    """The tracer of this thread, None outside of tracing."""

    tracer: Any = None


active = _Active()


def expect(condition: Any) -> bool:
    """``bool(condition)`` of a tensor that nearly always holds, such as a check of values.

    While tracing it is taken to hold. Every replay looks whether it does, and gives way to the function itself where it
    does not; a place that was wrong once is taken not to hold when it is traced again.
    """
    if active.tracer is None:
        return bool(condition)
    caller = sys._getframe(1)
    holds: bool = active.tracer.expect(condition, (caller.f_code.co_filename, caller.f_lineno))
    return holds


def valid(condition: Any) -> bool:
    """``bool(condition)`` of a tensor that says whether an argument is right.

    While tracing it is taken to be. A replay in which it is not gives way to the function itself, which raises.
    """
    if active.tracer is None:
        return bool(condition)
    active.tracer.check(condition, None)
    return True


def asked(question: tuple[Any, ...], answer: Callable[[], Any]) -> Any:
    """``answer()``, about a setting that is not watched; a replay is right only where it is the same again."""
    return answer() if active.tracer is None else active.tracer.condition(question, answer)


def refuse(reason: str) -> None:
    """While tracing, give up: ``reason`` says what cannot be captured."""
    if active.tracer is not None:
        raise Uncapturable(reason)


def at_replay(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that changes nothing but Python numbers in the containers that its object's `_changing_numbers` names.

    While tracing it is only noted; every replay calls it when everything else is done.
    """

    @functools.wraps(method)
    def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if active.tracer is None:
            return method(self, *args, **kwargs)
        return active.tracer.effect(self, method, args, kwargs)

    return noted
