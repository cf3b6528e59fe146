"""Constructors for the common kinds of operator: they supply broadcasting, promotion, inference and samples.

An elementwise operator is one call of `unary` or `binary`, which returns the public function and attaches it to
Tensor under its name and, in place, under ``name_``, where PyTorch has those forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any, Literal

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.backends.native import accelerated
from torchlite.devices import Device
from torchlite.dispatch import apply
from torchlite.integers import integer
from torchlite.ir import Autocast, Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.destination import OutDtype, stored
from torchlite.ops.half_precision import BFLOAT16, FEWEST, HALVES, widened
from torchlite.ops.mutation import apply_inplace, inplace
from torchlite.tracing import active

Domain = tuple[float, float]
Numbers = Literal["either", "other", "neither"]
_REAL = (float, int)
_FLOATS = "fV"  # NumPy's, and bfloat16
_FLOAT32 = np.dtype(np.float32)
IN_FLOAT32: dict[str, Any] = {"dtype": _FLOAT32, "casting": "unsafe"}  # how a ufunc computes with numbers of half types
_FEW = 64  # of which arrays in float32 cost less
_SHAPES = ((3, 4), (), (0, 2), (2, 1, 3))
_SHAPE_PAIRS = (((3, 4), (3, 4)), ((2, 1, 3), (4, 1)), ((), (2,)), ((0, 3), (1, 3)), ((), ()))


def unary(
    name: str,
    vjp: Callable[..., Any] | None = None,
    *,
    doc: str,
    ufunc: str | None = None,
    run: Callable[..., Any] | None = None,
    quiet: bool = True,
    to_float: bool = False,
    result: Any = None,
    methods: bool = True,
    as_in_place: bool = True,
    scalar: str | None = None,
    onnx: str | None = None,
    autocast: Autocast | None = None,
    domain: Domain = (-2.0, 2.0),
    out_dtype: OutDtype | None = None,
) -> Callable[..., Tensor]:
    """An elementwise operator of one tensor.

    Args:
        name: its name, also as a method and (with an underscore) in place.
        vjp: ``(g, out, x)``.
        doc: what it computes, as a formula.
        ufunc: the NumPy function it is, or else
        run: ``(xp, x)``.
        quiet: whether NumPy's floating-point warnings are silenced in each call, which costs 0.4 µs.
        to_float: whether integers are converted to the default float dtype first.
        result: the NumPy dtype of the result where it is not the input's, or a function that gives it from the input's.
        methods: whether Tensor has it as methods; PyTorch has only functions for some.
        as_in_place: whether one of the methods works in place.
        scalar, onnx, autocast: as in `Op`.
        domain: an interval in which it is differentiable, for the tests.
        out_dtype: which dtypes ``out`` may have; only the result's, unless integers become floats.
    """
    rule = out_dtype or (OutDtype.CAST if to_float else OutDtype.SAME)
    run, write = _runs(ufunc, run, quiet)
    op = register(
        Op(
            name,
            "elementwise",
            run=run,
            infer=lambda x: Aval(x.shape, _result_dtype(result, x.dtype), x.device),
            vjp=None if vjp is None else (vjp,),
            ufunc=None if ufunc is None or quiet else getattr(np, ufunc),
            inplace=write if result is None else None,
            scalar=scalar,
            onnx=onnx,
            autocast=autocast,
            samples=lambda rng: [Sample((_draw(rng, shape, domain),), {}) for shape in _SHAPES],
            doc=doc,
        )
    )

    def function(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return stored(name, function, (input,), {}, out, rule)
        if to_float and input._data.dtype.kind in "biu":
            input = input.to(dtypes.get_default_dtype())
        return apply(op, (input,))

    def in_place(self: Tensor) -> Tensor:
        if to_float and self._data.dtype.kind in "biu":
            raise RuntimeError(f"{name}_: result type float can't be cast to the desired output type {self.dtype.name}")
        return apply_inplace(op, self, ())

    _publish(function, name, doc, methods, in_place if as_in_place else None)
    return function


def binary(
    name: str,
    vjp: tuple[Callable[..., Any] | None, ...] | None = None,
    *,
    doc: str,
    ufunc: str | None = None,
    run: Callable[..., Any] | None = None,
    quiet: bool = True,
    to_float: bool = False,
    result: Any = None,
    methods: bool = True,
    as_in_place: bool = True,
    scalar: str | None = None,
    onnx: str | None = None,
    autocast: Autocast | None = None,
    domain: Domain = (-2.0, 2.0),
    numbers: Numbers = "either",
    wide_number: bool = False,
    out_dtype: OutDtype = OutDtype.CAST,
) -> Callable[..., Tensor]:
    """An elementwise operator of two tensors (or a tensor and a number), broadcast and promoted as PyTorch does.

    Args:
        name: its name, also as a method and (with an underscore) in place.
        vjp: the rules of the two inputs, each ``(g, out, x, y)``; sums over broadcast dimensions are not their concern.
        doc, ufunc, run, quiet, to_float, result, methods, as_in_place, scalar, onnx, autocast, domain: as in `unary`.
        numbers: which operand may be a Python number in the function; the others must be tensors.
        wide_number: whether a number that is the second operand of half types stays float32, as in PyTorch; otherwise
            it is rounded to their dtype first. For such operators ``run`` has to be `widened`.
        out_dtype: which dtypes ``out`` may have.
    """
    run, write = _runs(ufunc, run, quiet)

    def infer(x: Aval, y: Aval) -> Aval:
        return Aval(
            broadcast_shapes(name, x.shape, y.shape),
            x.dtype if result is None else np.dtype(result),
            x.device,
        )

    op = register(
        Op(
            name,
            "elementwise",
            run=run,
            infer=infer,
            vjp=vjp,
            ufunc=None if ufunc is None or quiet else getattr(np, ufunc),
            inplace=write if result is None else None,
            scalar=scalar,
            onnx=onnx,
            autocast=autocast,
            samples=lambda rng: [
                Sample((_draw(rng, left, domain), _draw(rng, right, domain)), {}) for left, right in _SHAPE_PAIRS
            ],
            doc=doc,
        )
    )

    def function(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        if out is not None:
            return stored(name, function, (input, other), {}, out, out_dtype)
        if not (  # `_alike`, spelled out: this is the hottest path there is
            isinstance(other, Tensor)
            and isinstance(input, Tensor)
            and input._data.dtype is other._data.dtype
            and type(input._data) is type(other._data)
            and not (to_float and input._data.dtype.kind in "biu")
        ):
            if numbers != "either":
                refuse_numbers(name, input, None if numbers == "other" else other)
            input, other = operands(name, input, other, to_float=to_float, wide_number=wide_number)
        return apply(op, (input, other))

    def in_place(self: Tensor, other: Any) -> Tensor:
        left, right = operands(name, self, other, to_float=to_float, wide_number=wide_number)
        if left is self:
            return apply_inplace(op, self, (right,))
        return inplace(function)(self, other)

    _publish(function, name, doc, methods, in_place if as_in_place else None)
    return function


def refuse_numbers(name: str, *operands: Any) -> None:
    """Raise PyTorch's error for a number where only a tensor may be."""
    for position, value in enumerate(operands, 1):
        if isinstance(value, Number):
            raise TypeError(f"{name}(): argument {position} must be Tensor, not {type(value).__name__}")


def operands(name: str, x: Any, y: Any, *, to_float: bool = False, wide_number: bool = False) -> tuple[Tensor, Tensor]:
    """Two operands as tensors of one dtype, on one device.

    Args:
        name: of the operator, for errors.
        x, y: tensors or numbers.
        to_float: whether integers become floats.
        wide_number: whether ``y``, where it is a number or has no dimensions, becomes float32 beside half types.

    Raises:
        TypeError: for an operand that is neither tensor, array nor number, and for two numbers.
    """
    if _alike(x, y) and not (to_float and x._data.dtype.kind in "biu"):
        return x, y
    # A float array and a Python number are by far the most frequent pair that needs conversion, and the cheapest.
    if type(y) in _REAL and isinstance(x, Tensor) and type(x._data) is np.ndarray and x._data.dtype.kind in _FLOATS:
        dtype = x._data.dtype
        return x, constant(y, _FLOAT32 if wide_number and dtype.itemsize == 2 else dtype)
    if type(x) in _REAL and isinstance(y, Tensor) and type(y._data) is np.ndarray and y._data.dtype.kind in _FLOATS:
        return constant(x, y._data.dtype), y
    if type(y) in _REAL and isinstance(x, Tensor) and x._data.dtype.kind == "f":
        return x, converted(y, dtypes.float32 if wide_number and x._data.dtype.itemsize == 2 else x.dtype, x.device)
    x, y = (_as_operand(name, v) for v in (x, y))
    dtype = common_dtype((x, y))
    if to_float and dtypes.category(dtype) < 2:
        dtype = dtypes.get_default_dtype()
    on = [v.device for v in (x, y) if isinstance(v, Tensor) and v.ndim > 0] or [
        v.device for v in (x, y) if isinstance(v, Tensor)
    ]
    if not on:
        raise TypeError(f"{name}: expected at least one Tensor, got two numbers")
    wide = (
        wide_number
        and dtype.numpy in HALVES
        and (y.ndim == 0 and y.dtype is not dtype if isinstance(y, Tensor) else True)
    )
    return converted(x, dtype, on[0]), converted(y, dtypes.float32 if wide else dtype, on[0])


def _alike(x: Any, y: Any) -> bool:
    """Whether two operands are tensors of one dtype and one kind of device."""
    return (
        isinstance(x, Tensor)
        and isinstance(y, Tensor)
        and x._data.dtype is y._data.dtype
        and type(x._data) is type(y._data)
    )


def common_dtype(values: Sequence[Any]) -> dtypes.dtype:
    """PyTorch's result dtype of tensors and numbers."""
    tensors = [(v.dtype, v.ndim) for v in values if isinstance(v, Tensor)]
    return dtypes.result_type(tensors, [v for v in values if not isinstance(v, Tensor)])


def converted(value: Any, dtype: dtypes.dtype, device: Device) -> Tensor:
    """A number or tensor as a tensor of ``dtype``; 0-d tensors and numbers also move to ``device``."""
    if isinstance(value, Tensor):
        if value._data.dtype != dtype.numpy:
            value = value.to(dtype)
        if value.ndim == 0 and value.device != device and value.device.type == "cpu":
            value = value.to(device)
        return value
    if device.type == "meta":
        return wrap(Aval((), dtype.numpy, device))
    on_cpu = constant(value, dtype.numpy)
    if device.type == "cpu":
        return on_cpu
    if on_cpu.device == device:
        return on_cpu
    traced = type(on_cpu._data) is not np.ndarray
    return on_cpu.to(device) if traced else wrap(backends.number_on_gpu(on_cpu._data, device))


def plain(value: Any) -> Any:
    """A number that is a parameter of an operator as one of Python: scalars of NumPy would widen what they meet.

    Raises:
        TypeError: for what is no number, an array of NumPy or a fraction among others.
    """
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and not value.ndim):
        return value.item()
    dtypes.of_scalar(value)
    return value


def constant(value: Any, dtype: np.dtype[Any]) -> Tensor:
    """A Python number as a 0-d tensor on the CPU, of a NumPy dtype."""
    if active.tracer is not None:
        traced: Tensor = active.tracer.tensor_of(value, dtype)
        return traced
    try:
        array = np.array(value, dtype)
    except OverflowError:
        array = np.array(value).astype(dtype)
    return wrap(array)


def _as_operand(name: str, value: Any) -> Any:
    if isinstance(value, (Tensor, Number)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return wrap(np.asarray(value))
    raise TypeError(f"{name}: expected a Tensor or a number, got {type(value).__name__}")


def _runs(ufunc: str | None, given: Any, quiet: bool) -> tuple[Any, Any]:
    """How the operator runs, and how it writes into an array where it can: from a ufunc's name or as ``given``."""
    if ufunc is None:
        return (_quiet(given) if quiet else given), None
    of_numpy = getattr(np, ufunc)

    def of_one(xp: Any, x: Any) -> Any:
        return of_numpy(x) if xp is np else getattr(xp, ufunc)(x)

    def of_two(xp: Any, x: Any, y: Any) -> Any:
        return of_numpy(x, y) if xp is np else getattr(xp, ufunc)(x, y)

    def write(xp: Any, out: Any, *arrays: Any) -> None:
        if xp is np and computed_wide and out.dtype in HALVES:
            of_numpy(*arrays, out=out, **IN_FLOAT32)
        else:
            (of_numpy if xp is np else getattr(xp, ufunc))(*arrays, out=out)

    run = of_two if of_numpy.nin == 2 else of_one
    computed_wide = bool({"f->f", "ff->f"} & {*of_numpy.types})  # neither a comparison nor of integers alone
    if computed_wide:
        run = _by_parts(of_numpy, widened(run))
        if ufunc in ("add", "subtract", "multiply"):
            run = accelerated(f"bfloat16.{ufunc}", least=FEWEST, of=BFLOAT16)(run)
    return (_quiet(run), _quiet(write)) if quiet else (run, write)


def _by_parts(of_numpy: Any, run: Any) -> Any:
    """How a ufunc runs on half types: NumPy converts some thousand numbers at a time, so no array of float32 is made.

    What is broadcast to another shape than that of the first array is left to ``run``.
    """

    def chosen(xp: Any, x: Any, *others: Any) -> Any:
        if xp is np and x.itemsize == 2 and x.size >= _FEW and x.dtype in HALVES:
            for y in others:
                if y.ndim > x.ndim or y.shape != x.shape[x.ndim - y.ndim :]:
                    break
            else:
                return of_numpy(x, *others, out=np.empty_like(x), **IN_FLOAT32)
        return run(xp, x, *others)

    return chosen


def _quiet(run: Any) -> Any:
    """Infinities and NaN are results, not warnings, as in PyTorch."""
    return np.errstate(all="ignore")(run)


def _result_dtype(result: Any, dtype: Any) -> Any:
    if result is None:
        return dtype
    return result(dtype) if _depends(result) else np.dtype(result)


def _depends(result: Any) -> bool:
    """Whether the dtype of a result is given as a function of the input's."""
    return callable(result) and not isinstance(result, type)


def _draw(rng: np.random.Generator, shape: tuple[int, ...], domain: Domain) -> Any:
    return rng.uniform(*domain, size=shape)


def _publish(function: Any, name: str, doc: str, methods: bool, in_place: Any) -> None:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    if not methods:
        return
    method(name)(function)
    if in_place is not None:
        in_place.__name__ = in_place.__qualname__ = f"{name}_"
        in_place.__doc__ = f"In-place form of ``{name}``."
        method(f"{name}_")(in_place)


def is_empty(dim: Any) -> bool:
    """Whether ``dim`` names no dimension, as () and [] do."""
    return isinstance(dim, (tuple, list)) and not dim


def dims_of(name: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """``dim`` (an int, several, or None for all) as non-negative positions.

    Raises:
        IndexError: for a dimension that does not exist.
        RuntimeError: for one that is named twice.
    """
    if type(dim) is int and -ndim <= dim < ndim:
        return (dim if dim >= 0 else dim + ndim,)
    if dim is None:
        return tuple(range(ndim))
    dims = (int(dim),) if isinstance(dim, (int, np.integer)) else tuple(dim) or range(ndim)
    limit = max(ndim, 1)
    for d in dims:
        if not -limit <= d < limit:
            raise IndexError(
                f"{name}: Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {d})"
            )
    positive = tuple(integer(d) % limit for d in dims) if ndim else ()
    if len(set(positive)) < len(positive):
        raise RuntimeError(f"{name}: dim {dim} names a dimension twice")
    return positive


def no_slope(g: Tensor, _out: Any, *_inputs: Any) -> Tensor:
    """The gradient rule of step functions: zero."""
    return g.new_zeros(g.shape)


def not_differentiable(name: str, argument: str) -> Callable[..., Tensor]:
    """The gradient rule of an input for which PyTorch has none either: it refuses, where silence would be wrong."""

    def refuse(_g: Tensor, _out: Any, _x: Any, _y: Any) -> Tensor:
        raise RuntimeError(f"the derivative of {name} for its argument {argument!r} is not implemented, as in PyTorch")

    return refuse
