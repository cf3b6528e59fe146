"""Functions of `math` and of NumPy given numbers that are only known when a captured function runs.

A schedule that a program writes by hand (`0.5 * (1 + math.cos(math.pi * step / steps))`) is computed anew at every
replay. What `math` and NumPy answer with yes or no (`math.isfinite(loss.item())`) is a question about the number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from torchlite.compiler.numbers import HostNumber, host

_TO_INT = ("ceil", "comb", "factorial", "floor", "gcd", "isqrt", "lcm", "perm", "trunc")
_ASKING = ("isclose", "isfinite", "isinf", "isnan")
_OF_SEVERAL = ("dist", "frexp", "fsum", "ldexp", "modf", "nextafter", "prod", "sumprod", "ulp")


@functools.cache
def stand_ins() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For each function of `math` what stands in its place while a function is traced."""
    functions = {
        name: x for name, x in vars(math).items() if callable(x) and name[0] != "_" and name not in _OF_SEVERAL
    }
    return {
        x: _asking(x) if name in _ASKING else _computing(x, int if name in _TO_INT else float)
        for name, x in functions.items()
    }


def _computing(function: Callable[..., Any], kind: type[Any]) -> Callable[..., Any]:
    op = host(f"math_{function.__name__}", function)

    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        tracer = _tracer_of(args)
        if tracer is None or kwargs:
            return function(*args, **kwargs)
        return tracer.compute_number(op, args, kind)

    return stand_in


def _asking(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        if _tracer_of(args) is None or kwargs or not isinstance(args[0], HostNumber):
            return function(*args, **kwargs)
        return args[0].ask(function.__name__, function, *args[1:])

    return stand_in


def _tracer_of(args: tuple[Any, ...]) -> Any:
    """Who records what is computed of numbers of the graph; None where there are others, or only others."""
    if not all(isinstance(x, (HostNumber, int, float)) for x in args):
        return None
    return next((x.tracer for x in args if type(x) is HostNumber), None)
