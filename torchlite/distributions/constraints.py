"""Sets of numbers that parameters and values of distributions lie in."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor


class Constraint:
    """A set of tensors.

    Attributes:
        is_discrete: whether its elements can be counted.
        event_dim: how many of the last dimensions are judged together.
    """

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:  # noqa: ARG002 - the sets' signature
        """For each element, or group of ``event_dim`` dimensions, whether it lies in the set."""
        raise TypeError(f"{type(self).__name__} does not say which values it holds: override check")

    def __repr__(self) -> str:
        return type(self).__name__.lstrip("_") + "()"


class _Real(Constraint):
    def check(self, value: Tensor) -> Tensor:
        return value == value


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value == 0) | (value == 1)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)
        return found


class _Simplex(Constraint):
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        found: Tensor = (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)
        return found


class _Interval(Constraint):
    """Between two bounds, which belong to the set where it says so."""

    def __init__(self, lower: Any, upper: Any, *, open_below: bool = False, open_above: bool = False) -> None:
        self.lower_bound = lower
        self.upper_bound = upper
        self.open_below = open_below
        self.open_above = open_above

    def check(self, value: Tensor) -> Tensor:
        above = value > self.lower_bound if self.open_below else value >= self.lower_bound
        below = value < self.upper_bound if self.open_above else value <= self.upper_bound
        return above & below

    def __repr__(self) -> str:
        left, right = "(" if self.open_below else "[", ")" if self.open_above else "]"
        return f"Interval{left}{self.lower_bound}, {self.upper_bound}{right}"


class _IntegerInterval(_Interval):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value.floor() == value) & super().check(value)


class _Independent(Constraint):
    """A set of single numbers, asked of groups of the last dimensions."""

    def __init__(self, base: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base = base
        self.is_discrete = base.is_discrete
        self.event_dim = base.event_dim + reinterpreted_batch_ndims
        self.ndims = reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        found = self.base.check(value)
        return found.flatten(found.ndim - self.ndims).all(-1) if self.ndims else found


_INFINITY = float("inf")

real = _Real()
real_vector = _Independent(real, 1)
boolean = _Boolean()
one_hot = _OneHot()
simplex = _Simplex()
positive = _Interval(0.0, _INFINITY, open_below=True)
nonnegative = _Interval(0.0, _INFINITY)
unit_interval = _Interval(0.0, 1.0)
nonnegative_integer = _IntegerInterval(0, _INFINITY)
positive_integer = _IntegerInterval(1, _INFINITY)
interval = _Interval
integer_interval = _IntegerInterval
independent = _Independent


def half_open_interval(lower: Any, upper: Any) -> Constraint:
    """Numbers in [lower, upper)."""
    return _Interval(lower, upper, open_above=True)


def greater_than(lower: Any) -> Constraint:
    """Numbers above ``lower``."""
    return _Interval(lower, _INFINITY, open_below=True)


def greater_than_eq(lower: Any) -> Constraint:
    """Numbers from ``lower`` up."""
    return _Interval(lower, _INFINITY)


def less_than(upper: Any) -> Constraint:
    """Numbers below ``upper``."""
    return _Interval(-_INFINITY, upper, open_above=True)
