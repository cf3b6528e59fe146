"""Python numbers that are only known when a captured function runs: a learning rate, ``loss.item()``, a random offset."""

from __future__ import annotations

import functools
import math
import operator
import sys
from collections.abc import Callable
from functools import partial
from numbers import Number
from typing import Any

import numpy as np

from torchlite.compiler.graph import Value
from torchlite.ir import Aval, Op
from torchlite.tracing import Uncapturable

HOST: dict[str, Op] = {}


def host(name: str, run: Callable[..., Any]) -> Op:
    """An operation on Python objects at every replay, outside of the registry of operators on arrays."""
    op = Op(f"number_{name}" if hasattr(operator, name) else name, "host", run=run, infer=_no_array)
    HOST[op.name] = op
    return op


def _no_array(*_: Any) -> None:
    return None


ARITHMETIC = {
    name: host(name, getattr(operator, name))
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "abs")
}
ALIKE_IN_NUMPY = [ARITHMETIC[name] for name in ("add", "sub", "mul", "truediv", "neg", "abs")]
"""What gives the same of Python's floats and of NumPy's, or an error for the former."""
item = host("item", lambda x: x.item())
as_float = host("float", float)
rounded = host("round", round)
truncated, floor, ceiling = host("trunc", math.trunc), host("floor", math.floor), host("ceil", math.ceil)


def _as_array(value: Any, *, dtype: Any) -> Any:
    try:
        return np.array(value, dtype)
    except OverflowError:
        return np.array(value).astype(dtype)


as_array = Op("number_as_array", "host", run=_as_array, infer=lambda _v, *, dtype: Aval((), np.dtype(dtype)))
HOST["number_as_array"] = as_array


class HostNumber(Number):
    """A number that stands for a value of the graph. It can be computed with; what depends on it becomes a condition.

    Args:
        tracer: that the arithmetic is recorded by.
        value: of the graph.
        kind: the type it will have: int, float, bool or complex.
        now: for a number that is known before the function runs: what it is at the moment.
    """

    __slots__ = ("kind", "now", "tracer", "value")

    def __init__(self, tracer: Any, value: Value, kind: type[Any], now: Callable[[], Any] | None = None) -> None:
        self.tracer = tracer
        self.value = value
        self.kind = kind
        self.now = now

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """For ``isinstance`` in the program: the type of the number. This package is told what it is."""
        asks = sys._getframe(1).f_globals.get("__name__", "")
        return HostNumber if asks.startswith("torchlite.") else self.kind

    def stands_for(self) -> type[Any]:
        """The type of the number."""
        return self.kind

    def _known(self) -> Any:
        """What the number is; a replay is right only where it is the same again."""
        return self.ask("is", _itself)

    def ask(self, question: str, answer: Callable[..., Any], *others: Any) -> Any:
        """An answer about numbers; a replay is right only where it is the same again."""
        if self.now is None or any(isinstance(x, HostNumber) and x.now is None for x in others):
            return self.tracer.answers.ask(question, self, *others)
        operands: list[Any] = [x.now if isinstance(x, HostNumber) else partial(_itself, x) for x in (self, *others)]
        key = (question, *(id(x.value) if isinstance(x, HostNumber) else repr(x) for x in (self, *others)))
        return self.tracer.condition(key, lambda: answer(*(now() for now in operands)))

    def _compute(self, name: str, *operands: Any) -> Any:
        if not all(isinstance(x, (HostNumber, int, float)) for x in operands):
            return NotImplemented
        kinds = list(map(_kind_of, operands))
        if np.float64 in kinds:
            kind: type[Any] = np.float64
        else:
            kind = float if name == "truediv" or float in kinds or (name == "pow" and operands[1] < 0) else int
        return self.tracer.compute_number(ARITHMETIC[name], operands, kind)

    def _compare(self, compare: Callable[[Any, Any], Any], other: Any) -> Any:
        if not isinstance(other, (HostNumber, int, float)):
            return compare(self._known(), other)
        return self.ask(compare.__name__, compare, other)

    def __pos__(self) -> HostNumber:
        return self

    def __bool__(self) -> bool:
        return bool(self.ask("bool", bool))

    def __int__(self) -> int:
        return int(self._known())

    def __float__(self) -> float:
        return float(self._known())

    def __index__(self) -> int:
        return operator.index(self._known())

    def __complex__(self) -> complex:
        return complex(self._known())

    def __hash__(self) -> int:
        return hash(self._known())

    def __repr__(self) -> str:
        return repr(self._known())

    def __format__(self, spec: str) -> str:
        return format(self._known(), spec)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return np.asarray(self._known(), *args, **kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **kwargs: Any) -> Any:
        given = tuple(x[()] if isinstance(x, np.ndarray) and not x.shape else x for x in given)
        alone = method == "__call__" and not kwargs and all(isinstance(x, (HostNumber, int, float)) for x in given)
        kind = _kind_of_result(ufunc, tuple(map(_kind_of, given))) if alone else None
        if kind is np.bool_ and given[0] is self:
            return np.bool_(self.ask(ufunc.__name__, ufunc, *given[1:]))
        if kind is np.bool_ and ufunc in _SWAPPED:
            return np.bool_(self.ask(_SWAPPED[ufunc].__name__, _SWAPPED[ufunc], given[0]))
        if kind is np.float64:
            return self.tracer.compute_number(_op_of(ufunc), given, kind)
        return getattr(ufunc, method)(*(x._known() if isinstance(x, HostNumber) else x for x in given), **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._known(), name)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __trunc__(self) -> Any:
        return self._rounded(truncated)

    def __floor__(self) -> Any:
        return self._rounded(floor)

    def __ceil__(self) -> Any:
        return self._rounded(ceiling)

    def __round__(self, digits: int | None = None) -> Any:
        if self.kind is np.float64 or isinstance(digits, HostNumber):
            return round(self._known(), digits)
        if digits is None:
            return self._rounded(rounded)
        return self.tracer.compute_number(rounded, (self, digits), int if self.kind is bool else self.kind)

    def _rounded(self, op: Op) -> Any:
        return self.tracer.compute_number(op, (self,), int)


def _attach() -> None:
    def forward(name: str) -> Any:
        return lambda self, other: self._compute(name, self, other)

    def backward(name: str) -> Any:
        return lambda self, other: self._compute(name, other, self)

    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
        setattr(HostNumber, f"__{name}__", forward(name))
        setattr(HostNumber, f"__r{name}__", backward(name))
    for name in ("and_", "or_", "xor", "lshift", "rshift"):
        compute = getattr(operator, name)
        setattr(
            HostNumber, f"__{name.strip('_')}__", lambda self, other, compute=compute: compute(self._known(), other)
        )
    for name in ("neg", "abs"):
        setattr(HostNumber, f"__{name}__", lambda self, name=name: self._compute(name, self))
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        compare = getattr(operator, name)
        setattr(HostNumber, f"__{name}__", lambda self, other, compare=compare: self._compare(compare, other))


def _itself(x: Any) -> Any:
    return x


_SWAPPED = {
    np.equal: np.equal,
    np.not_equal: np.not_equal,
    np.less: np.greater,
    np.less_equal: np.greater_equal,
    np.greater: np.less,
    np.greater_equal: np.less_equal,
}


def _kind_of(x: Any) -> type[Any]:
    kind: type[Any] = x.kind if isinstance(x, HostNumber) else type(x)
    return kind


@functools.cache
def _op_of(ufunc: Any) -> Op:
    return host(f"numpy_{ufunc.__name__}", ufunc)


@functools.cache
def _kind_of_result(ufunc: Any, kinds: tuple[type[Any], ...]) -> type[Any] | None:
    """The type of what a ufunc gives of numbers of these types; None where it gives none."""
    try:
        with np.errstate(all="ignore"):
            return type(ufunc(*(kind(1) for kind in kinds)))
    except TypeError:
        return None


class LaterNumber(HostNumber):
    """A number that Python code of a replay computes when everything else is done; it can only be returned."""

    __slots__ = ("slot",)

    def __init__(self, tracer: Any, slot: Any) -> None:
        self.tracer = tracer
        self.slot = slot

    def stands_for(self) -> type[Any]:
        """The type of the number."""
        kind: type[Any] = self.slot.kind
        return kind

    def __getattr__(self, name: str) -> Any:
        raise Uncapturable(f"{self.slot.name} is read after a scheduler has changed it in the same call")


_attach()
