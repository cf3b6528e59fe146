"""Reductions over some or all dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import as_given
from torchlite.backends.native import LARGE, accelerated
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CUDA, Autocast, Aval, Op, Sample, Shape, register
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import dims_of, is_empty
from torchlite.ops.destination import OutDtype, stored, takes_out, takes_out_as
from torchlite.ops.half_precision import HALVES, cast

_FLOAT32 = np.dtype(np.float32)
_add_reduce: Any = np.add.reduce


def reduced(shape: Shape, dims: tuple[int, ...], keepdim: bool) -> Shape:
    """The shape without ``dims``, or with length 1 there."""
    if keepdim:
        return tuple(1 if i in dims else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in dims)


def restored(g: Tensor, x: Any, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced cotangent with the dimensions of its input again, broadcast along ``dims``."""
    kept: Tensor = g if keepdim or not g._data.shape else g.reshape(reduced(tuple(x.shape), dims, True))
    return kept.expand(tuple(x.shape))


def reduction(
    name: str,
    run: Callable[..., Any],
    vjp: Callable[..., Any] | None,
    *,
    doc: str,
    result: Callable[[Any], Any] = lambda dtype: dtype,
    empty: bool = True,
    onnx: str | None = None,
    autocast: Autocast | None = None,
) -> Op:
    """The record of a reduction with parameters ``dims`` (positions) and ``keepdim``.

    Args:
        name, vjp, doc, onnx, autocast: as in `Op`.
        run: ``(xp, x, *, dims, keepdim)``.
        result: the result's NumPy dtype from the input's.
        empty: whether no elements at all have a result.
    """

    def infer(x: Aval, *, dims: tuple[int, ...], keepdim: bool) -> Aval:
        if not empty and 0 in [x.shape[d] for d in dims]:
            raise RuntimeError(
                f"{name}: can't reduce dimensions {list(dims)} of shape {list(x.shape)}: nothing to choose from"
            )
        return Aval(reduced(x.shape, dims, keepdim), np.dtype(result(x.dtype)), x.device)

    def samples(rng: np.random.Generator) -> Sequence[Sample]:
        return [
            Sample((rng.normal(size=(3, 4)),), {"dims": (0, 1), "keepdim": False}),
            Sample((rng.normal(size=(2, 3, 4)),), {"dims": (1,), "keepdim": True}),
            Sample((rng.normal(size=(2, 3, 4)),), {"dims": (0, 2), "keepdim": False}),
            Sample((rng.normal(size=()),), {"dims": (), "keepdim": False}),
            Sample((rng.normal(size=(0, 3)),), {"dims": (1,), "keepdim": False}),
        ]

    return register(
        Op(
            name,
            "reduce",
            run=run,
            infer=infer,
            vjp=None if vjp is None else (vjp,),
            onnx=onnx,
            autocast=autocast,
            samples=samples,
            doc=doc,
        )
    )


@accelerated("normalization.sum_over")
def _run_large_sum(_xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return _add_reduce(x, dims, None, None, keepdim)


def _run_sum(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    dtype = x.dtype
    if xp is np and dtype.kind == "f" and dtype.itemsize > 2:
        if x.size >= LARGE:
            return _run_large_sum(np, x, dims=dims, keepdim=keepdim)
        return _add_reduce(x, dims, None, None, keepdim)  # what NumPy's `sum` ends in, without the Python around it
    if dtype.itemsize == 2 and dtype in HALVES:  # accumulate wider than the type itself
        return cast(xp, _wide_sum(xp, x, dims, keepdim), dtype=dtype)
    if dtype.kind in "biu":  # NumPy adds uint8 up in uint64
        return x.sum(axis=dims, keepdims=keepdim, dtype=np.int64)
    return xp.sum(x, axis=dims, keepdims=keepdim)


def _wide_sum(xp: Any, x: Any, dims: tuple[int, ...], keepdim: bool) -> Any:
    """The sum of half types in float32."""
    if xp is np:
        return _run_sum(np, cast(np, x, dtype=_FLOAT32), dims=dims, keepdim=keepdim)
    return xp.sum(x, axis=dims, keepdims=keepdim, dtype=np.float32)


_sum = reduction(
    "sum",
    _run_sum,
    lambda g, _out, _x, dims, keepdim: restored(g, _x, dims, keepdim),
    result=lambda dtype: np.int64 if dtype.kind in "biu" else dtype,
    onnx="ReduceSum",
    autocast=FLOAT32_ON_CUDA,
    doc="Σ x over the dimensions; integers add up in int64, float16 and bfloat16 in float32.",
)


def _count(shape: Shape, dims: tuple[int, ...]) -> int:
    n = 1
    for d in dims:
        n *= shape[d]
    return n


def _run_mean(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    n = _count(x.shape, dims)
    if x.dtype.itemsize == 2:
        return cast(xp, _wide_sum(xp, x, dims, keepdim) / n, dtype=x.dtype)
    return _run_sum(xp, x, dims=dims, keepdim=keepdim) / n


_mean = reduction(
    "mean",
    _run_mean,
    lambda g, _out, _x, dims, keepdim: restored(g / _count(_x.shape, dims), _x, dims, keepdim),
    onnx="ReduceMean",
    doc="Σ x / n over the dimensions; float16 and bfloat16 are computed in float32; NaN of nothing.",
)


def _extreme_vjp(g: Tensor, out: Tensor, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    chosen = x == restored(out, x, dims, keepdim)
    count = apply(_sum, (chosen,), {"dims": dims, "keepdim": True}).to(x.dtype)
    kept = g if keepdim else g.reshape(count.shape)
    return where(chosen, (kept / count).expand(x.shape), 0.0)


_amax = reduction(
    "amax",
    lambda _xp, x, *, dims, keepdim: x.max(axis=dims, keepdims=keepdim),
    _extreme_vjp,
    empty=False,
    onnx="ReduceMax",
    doc="The largest element; NaN if there is one. Equal elements share the gradient.",
)
_amin = reduction(
    "amin",
    lambda _xp, x, *, dims, keepdim: x.min(axis=dims, keepdims=keepdim),
    _extreme_vjp,
    empty=False,
    onnx="ReduceMin",
    doc="The smallest element; NaN if there is one. Equal elements share the gradient.",
)


def _truth_dtype(dtype: Any) -> Any:
    """uint8 was PyTorch's bool once, and stays what it is here."""
    return dtype if dtype == np.uint8 else bool


_any = reduction(
    "any",
    lambda xp, x, *, dims, keepdim: xp.any(x, axis=dims, keepdims=keepdim).astype(_truth_dtype(x.dtype)),
    None,
    result=_truth_dtype,
    doc="Whether some element is not 0.",
)
_all = reduction(
    "all",
    lambda xp, x, *, dims, keepdim: xp.all(x, axis=dims, keepdims=keepdim).astype(_truth_dtype(x.dtype)),
    None,
    result=_truth_dtype,
    doc="Whether no element is 0.",
)


def _run_hash(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    wide = x.astype(np.int64 if x.dtype.kind in "biu" else np.float64)
    return backends.xor_sum(xp, wide.view(np.uint64), dims, keepdims=keepdim)


_hash_tensor = reduction(
    "hash_tensor",
    _run_hash,
    None,
    result=lambda _dtype: np.uint64,
    doc="The exclusive or of the 64 bits of every element, as int64 or float64.",
)


def _arg_samples(rng: np.random.Generator) -> Sequence[Sample]:
    return [
        Sample((rng.normal(size=(3, 4)),), {"dim": 1, "keepdim": False}),
        Sample((rng.normal(size=(3, 4)),), {"dim": 0, "keepdim": True}),
    ]


def _arg(name: str, function: str, doc: str) -> Op:
    return register(
        Op(
            name,
            "reduce",
            run=lambda xp, x, *, dim, keepdim: getattr(xp, function)(x, axis=dim, keepdims=keepdim),
            infer=lambda x, *, dim, keepdim: Aval(reduced(x.shape, (dim,), keepdim), np.dtype(np.int64), x.device),
            samples=_arg_samples,
            onnx="ArgMax" if name == "argmax" else "ArgMin",
            doc=doc,
        )
    )


_argmax = _arg("argmax", "argmax", "Index of the first largest element along a dimension.")
_argmin = _arg("argmin", "argmin", "Index of the first smallest element along a dimension.")


# Parameters of a reduction over all dimensions, by their number.
_WHOLE = tuple({"dims": tuple(range(ndim)), "keepdim": False} for ndim in range(65))


def _apply(op: Op, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    return apply(op, (x,), {"dims": dims_of(op.name, dim, x.ndim), "keepdim": keepdim})


@method()
def sum(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
    out: Tensor | None = None,  # named here and not by `takes_out`, which would cost a call
) -> Tensor:
    """Σ of the elements over ``dim`` (an int, several, or all of them); integers add up in int64."""
    if out is not None:
        return stored("sum", sum, (input, dim, keepdim), {"dtype": dtype}, out, OutDtype.COMPUTE)
    if dtype is None:
        if dim is None and not keepdim:
            return apply(_sum, (input,), _WHOLE[len(input._data.shape)])
        return _apply(_sum, input, dim, keepdim)
    with as_given():
        return _apply(_sum, input.to(dtype), dim, keepdim).to(dtype)


@takes_out
@method()
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The mean over ``dim`` (an int, several, or all of them); NaN of nothing.

    Raises:
        RuntimeError: for an integer or bool tensor, whose mean has no dtype of its own.
    """
    input = input if dtype is None else input.to(dtype)
    if input._data.dtype.kind in "biu":
        raise RuntimeError(
            f"mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: {input.dtype}"
        )
    if dim is None and not keepdim:
        return apply(_mean, (input,), _WHOLE[len(input._data.shape)])
    return _apply(_mean, input, dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element over ``dim``; equal elements share the gradient."""
    return _apply(_amax, _not_empty("amax", input, dim), dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest element over ``dim``; equal elements share the gradient."""
    return _apply(_amin, _not_empty("amin", input, dim), dim, keepdim)


def _not_empty(name: str, x: Tensor, dim: Any) -> Tensor:
    if x.numel() == 0 and dim is not None and not is_empty(dim):
        for d in dims_of(name, dim, x.ndim):
            if x.shape[d] == 0:
                raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")
    return x


@takes_out_as(OutDtype.SAME)
@method()
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether some element over ``dim`` is not 0."""
    return input.ne(0) if is_empty(dim) else _apply(_any, input, dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether no element over ``dim`` is 0."""
    return input.ne(0) if is_empty(dim) else _apply(_all, input, dim, keepdim)


def _arg_reduce(op: Op, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if input.numel() == 0 and dim is None:
        raise IndexError(f"{op.name}(): Expected reduction dim to be specified for input.numel() == 0")
    if dim is None:
        flat: Tensor = apply(op, (input.reshape(-1),), {"dim": 0, "keepdim": False})
        return flat.reshape((1,) * input.ndim) if keepdim else flat
    if input.ndim == 0:
        dims_of(op.name, dim, 0)
        return input.new_zeros((), dtype=dtypes.int64)
    (position,) = dims_of(op.name, dim, input.ndim)
    if input.shape[position] == 0:
        raise IndexError(f"{op.name}(): Expected reduction dim {dim} to have non-zero size.")
    return apply(op, (input,), {"dim": position, "keepdim": keepdim})


@takes_out_as(OutDtype.SAME)
@method()
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the (first) largest element along ``dim``, or in the flattened tensor."""
    return _arg_reduce(_argmax, input, dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the (first) smallest element along ``dim``, or in the flattened tensor."""
    return _arg_reduce(_argmin, input, dim, keepdim)


@takes_out_as(OutDtype.SAME)
@method()
def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """A uint64 that changes when an element over ``dim`` does: the exclusive or of their 64 bits (``mode`` 0).

    Raises:
        RuntimeError: for a complex tensor, one without elements, and for another mode.
    """
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    if input.is_complex():
        raise RuntimeError(f"hash_tensor is not implemented for {input.dtype}")
    if input.numel() == 0 and dim in ((), None):
        raise RuntimeError("hash_tensor: Expected reduction dim to be specified for input.numel() == 0.")
    return _apply(_hash_tensor, input, dim, keepdim)
