"""The vocabulary everything else is written in: abstract values and operator records.

An `Op` describes one primitive operator once. Eager execution, gradients of any order, shape inference, the tests
and the documentation all read the same record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import CO_VARARGS, unwrap
from typing import Any, Literal, NamedTuple

from torchlite.devices import CPU, Device

Shape = tuple[int, ...]
Kind = Literal["elementwise", "reduce", "view", "contract", "index", "random", "copy", "host"]
Policy = Literal["lower", "float32", "widest", "as given", "refused"]


class Autocast(NamedTuple):
    """What `torchlite.autocast` makes of an operator's float16, bfloat16 and float32 inputs on each kind of device.

    ``lower``: all are converted to the dtype of the context; ``float32``: to that; ``widest``: to the widest among
    them; ``as given``: nothing is converted, and nothing inside either; ``refused``: an error; None: the operator is
    not concerned.
    """

    cpu: Policy | None = None
    cuda: Policy | None = None


LOWER = Autocast("lower", "lower")
FLOAT32_ON_CPU, FLOAT32_ON_CUDA = Autocast(cpu="float32"), Autocast(cuda="float32")
FLOAT32 = Autocast("float32", "float32")


class Aval(NamedTuple):
    """An abstract value: what is known of an array without its numbers. ``dtype`` is NumPy's.

    It stands in for the array of a tensor on the ``meta`` device, so it answers what arrays answer.
    """

    shape: Shape
    dtype: Any
    device: Device = CPU

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for length in self.shape:
            n *= length
        return n

    def copy(self) -> Aval:
        """As an array's: there is nothing to copy."""
        return self


class Sample(NamedTuple):
    """One call of an operator for the generic tests: input arrays and parameters."""

    arrays: tuple[Any, ...]
    params: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """A primitive operator. Arrays are positional, everything else is a keyword parameter.

    Attributes:
        name: PyTorch's name where it has one.
        kind: what the operator does to its elements; a ``view`` shares memory with its first input, and what is of
            the ``host`` computes with Python numbers while captured code runs.
        run: ``run(xp, *arrays, **params)`` computes the result with the array module ``xp`` (NumPy or CuPy).
        ufunc: where ``run`` on NumPy arrays is this function of the arrays alone, the function: it saves a call.
        infer: ``infer(*avals, **params)`` is the result's `Aval` (or a tuple), or raises an error that names
            what is wrong with the shapes.
        vjp: for each input a function ``(g, out, *inputs, **params)`` that gives the cotangent of that input from
            the cotangent ``g`` of the result, or None where there is no gradient; or one such function that gives
            all of them (operators with any number of inputs). It is written with tensor operators, so it can be
            differentiated again. A parameter whose name starts with an underscore is not kept for backward: it
            arrives as the `Aval` of that input, or as None when that input needs no gradient.
        inplace: ``inplace(xp, out, *arrays, **params)`` writes the result into the array ``out``, where that saves
            a pass over memory.
        scalar: the operator on one element as a C expression, for code generation.
        onnx: the ONNX operator of the same meaning.
        autocast: what autocasting makes of the inputs; None where it is not concerned.
        samples: ``samples(rng)`` gives the calls that the generic tests make, in float64 where it can be.
        doc: formula, shapes, errors and source.
        results_read: of several results those whose numbers the gradient rules read; the others arrive as their `Aval`.
            None for all.
        keeps: which inputs the gradient rules read; empty for none.
        keeps_out: whether they read the result.
    """

    name: str
    kind: Kind
    run: Callable[..., Any]
    infer: Callable[..., Any]
    vjp: tuple[Callable[..., Any] | None, ...] | Callable[..., Any] | None = None
    inplace: Callable[..., Any] | None = None
    scalar: str | None = None
    onnx: str | None = None
    autocast: Autocast | None = None
    samples: Callable[[Any], Sequence[Sample]] | None = None
    doc: str = ""
    ufunc: Callable[..., Any] | None = None
    results_read: tuple[int, ...] | None = None
    keeps: tuple[bool, ...] = ()
    keeps_out: bool = False

    def __repr__(self) -> str:
        return f"Op({self.name})"


_MAX_DIMS = 64
REGISTRY: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Complete the record (what backward keeps) and enter it into the registry under its name."""
    if op.name in REGISTRY:
        raise ValueError(f"operator {op.name!r} is registered twice")
    keeps, keeps_out = _kept_by(op.vjp, op.run)
    object.__setattr__(op, "keeps", keeps)
    object.__setattr__(op, "keeps_out", keeps_out)
    REGISTRY[op.name] = op
    return op


def _kept_by(vjp: Any, run: Any) -> tuple[tuple[bool, ...], bool]:
    """Which inputs, and whether the output, the gradient rules read: those without a leading underscore."""
    rules = [rule for rule in (vjp if isinstance(vjp, tuple) else (vjp,)) if rule is not None]
    keeps = [False] * (len(_positional(run)) - 1)
    keeps_out = False
    for rule in rules:
        _, out, *inputs = _positional(rule)
        keeps_out |= not out.startswith("_")
        for i, name in enumerate(inputs[: len(keeps)]):
            keeps[i] |= not name.startswith("_")
    return tuple(keeps) if any(keeps) else (), keeps_out


def reads(op: Op, wanted: Sequence[bool], position: int | None) -> bool:
    """Whether the gradient rules of the inputs that are ``wanted`` read input ``position``, or the result for None."""
    if not isinstance(op.vjp, tuple):
        return True
    for rule, needed in zip(op.vjp, wanted, strict=False):
        if needed and rule is not None:
            _, out, *inputs = _positional(rule)
            if not (out if position is None else inputs[position]).startswith("_"):
                return True
    return False


def _positional(function: Any) -> list[str]:
    """Names of the positional parameters; ``*xs`` stands for as many as an operator can have index tensors."""
    # Read from the code object: `inspect.signature` would take a tenth of the time in which the package is imported.
    code = unwrap(function).__code__
    count = code.co_argcount
    names = list(code.co_varnames[:count])
    if code.co_flags & CO_VARARGS:
        names += [code.co_varnames[count + code.co_kwonlyargcount]] * _MAX_DIMS
    return names


def broadcast_shapes(op: str, *shapes: Shape) -> Shape:
    """The shape that ``shapes`` broadcast to.

    Raises:
        RuntimeError: naming the operator, the shapes and the first dimension that does not fit.
    """
    ndim = max(map(len, shapes), default=0)
    result = []
    for axis in range(-ndim, 0):
        lengths = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(lengths) > 1:
            listed = " and ".join(str(list(shape)) for shape in shapes)
            raise RuntimeError(
                f"{op}: shapes {listed} can't be broadcast together: dimension {ndim + axis} is "
                f"{' and '.join(str(n) for n in sorted(lengths))}; lengths must be equal or 1"
            )
        result.append(lengths.pop() if lengths else 1)
    return tuple(result)
