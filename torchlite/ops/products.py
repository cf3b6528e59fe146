"""Products along dimensions: of all elements, running ones, and running sums in logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32, FLOAT32_ON_CUDA, Aval, Op, Sample, register
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import dims_of
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.half_precision import widened
from torchlite.ops.joining import cat, stack
from torchlite.ops.mutation import inplace
from torchlite.ops.scan import accumulated, running
from torchlite.tracing import expect


def _sum_dtype(dtype: Any) -> Any:
    return np.dtype(np.int64) if dtype.kind in "biu" else dtype


def _samples(rng: np.random.Generator) -> list[Sample]:
    zeros = rng.normal(size=(3, 4))
    zeros[0, 1] = zeros[1, 0] = zeros[1, 2] = 0.0
    return [Sample((rng.uniform(0.5, 2, (2, 3, 2)),), {"dim": 1}), Sample((zeros,), {"dim": 1})]


_prod: Op = register(
    Op(
        "prod",
        "reduce",
        run=widened(lambda xp, x, *, dim: xp.prod(x, axis=dim, dtype=_sum_dtype(x.dtype))),
        infer=lambda x, *, dim: Aval(x.shape[:dim] + x.shape[dim + 1 :], _sum_dtype(x.dtype), x.device),
        vjp=(lambda g, out, x, dim: _prod_slope(g, out, x, dim),),
        onnx="ReduceProd",
        samples=_samples,
        doc="Π x along a dimension; the gradient is that of the product of the others, also where elements are 0.",
    )
)
_cumprod: Op = register(
    Op(
        "cumprod",
        "reduce",
        run=widened(lambda xp, x, *, dim: running(xp, "cumprod", x, dim)),
        infer=lambda x, *, dim: Aval(x.shape, _sum_dtype(x.dtype), x.device),  # noqa: ARG005
        vjp=(lambda g, out, x, dim: _cumprod_slope(g, out, x, dim),),
        samples=_samples,
        doc="Running products along a dimension.",
    )
)
_logcumsumexp: Op = register(
    Op(
        "logcumsumexp",
        "reduce",
        run=widened(lambda xp, x, *, dim: _run_logcumsumexp(xp, x, dim)),
        infer=lambda x, *, dim: x,  # noqa: ARG005
        vjp=(lambda g, out, x, dim: _logcumsumexp_slope(g, out, x, dim),),
        samples=lambda rng: [Sample((rng.normal(size=(3, 4)),), {"dim": 1})],
        doc="ln of the running sums of eˣ along a dimension.",
    )
)


_LARGEST_EXPONENT = 700.0  # of float64, about


def _has_zeros(x: Tensor) -> bool:
    return not x.is_meta and not expect((x.detach() != 0).all())


def _prod_slope(g: Tensor, out: Tensor, x: Tensor, dim: int) -> Tensor:
    if not _has_zeros(x):
        return g.unsqueeze(dim) * (out.unsqueeze(dim) / x).conj()
    n = x.shape[dim]
    one = x.narrow(dim, 0, 1) * 0 + 1
    before = cumprod(cat([one, x.narrow(dim, 0, n - 1)], dim), dim)
    after = cumprod(cat([one, x.narrow(dim, 1, n - 1).flip(dim)], dim), dim).flip(dim)
    return g.unsqueeze(dim) * (before * after).conj()


def _cumprod_slope(g: Tensor, out: Tensor, x: Tensor, dim: int) -> Tensor:
    if not _has_zeros(x):
        return (g * out.conj()).flip(dim).cumsum(dim).flip(dim) / x.conj()
    # The product up to k without factor i, for all pairs (i, k): quadratic, but right where factors are 0.
    from torchlite.ops.creation import eye

    n = x.shape[dim]
    last, cotangent = x.movedim(dim, -1), g.movedim(dim, -1)
    without = where(eye(n, dtype=dtypes.bool_, device=x.device), 1.0, last.unsqueeze(-2).expand((*last.shape, n)))
    reached = eye(n, dtype=x.dtype, device=x.device).cumsum(1)  # (i, k): 1 from i on
    slope = (cumprod(without, -1) * reached).conj() * cotangent.unsqueeze(-2)
    return slope.sum(-1).movedim(-1, dim)


def _run_logcumsumexp(xp: Any, x: Any, dim: int) -> Any:
    if xp is np:
        return np.logaddexp.accumulate(x, axis=dim)
    peak = x.max(axis=dim, keepdims=True)
    return xp.log(xp.cumsum(xp.exp(x - peak), axis=dim)) + peak


def _logcumsumexp_slope(g: Tensor, out: Tensor, x: Tensor, dim: int) -> Any:
    """Σ over j ≥ i of gⱼ exp(xᵢ - outⱼ)."""
    if x.shape[dim] == 0:
        return g
    first, last = out.detach().narrow(dim, 0, 1), out.detach().narrow(dim, x.shape[dim] - 1, 1)
    if not x.is_meta and not expect(~(last - first > _LARGEST_EXPONENT).any()):
        return _slope_by_steps(g, out, x, dim)
    wide = (v.to(dtypes.float64) for v in (g, out, x))  # so that exponential functions can't overflow
    g, out, x_wide = wide
    return ((x_wide - last).exp() * (g * (last - out).exp()).flip(dim).cumsum(dim).flip(dim)).to(x.dtype)


def _slope_by_steps(g: Tensor, out: Tensor, x: Tensor, dim: int) -> Tensor:
    """The same from the last one back, whatever lies between the first and the last number."""
    total, later, slopes = None, None, []
    for g_i, out_i, x_i in reversed(list(zip(g.unbind(dim), out.unbind(dim), x.unbind(dim), strict=True))):
        if later is None:
            total = g_i
        else:
            total = g_i + where(out_i == later, 1.0, (out_i - later).exp()) * total
        slopes.append(where(x_i == out_i, 1.0, (x_i - out_i).exp()) * total)
        later = out_i
    return stack(slopes[::-1], dim)


@takes_out_as(OutDtype.COMPUTE)
@method()
@autocasts(FLOAT32)
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """Π of the elements along ``dim``, or of all; integers multiply in int64."""
    if dtype is not None:
        return prod(input.to(dtype), dim, keepdim).to(dtype)
    if dim is None or input.ndim == 0:
        if dim is not None:
            dims_of("prod", dim, 0)
        return apply(_prod, (input.reshape(-1),), {"dim": 0})
    (position,) = dims_of("prod", dim, input.ndim)
    result: Tensor = apply(_prod, (input,), {"dim": position})
    return result.unsqueeze(position) if keepdim else result


@takes_out_as(OutDtype.COMPUTE)
@method()
@autocasts(FLOAT32_ON_CUDA)
def cumprod(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """Running products along ``dim``; integers multiply in int64."""
    if dtype is not None:
        return cumprod(input.to(dtype), dim).to(accumulated("cumprod", dtype))
    return _along(_cumprod, input, dim)


method("cumprod_")(inplace(cumprod))


@takes_out_as(OutDtype.SAME)
@method()
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """ln of the running sums of e^input along ``dim``, without overflow."""
    return _along(_logcumsumexp, input, dim)


def _along(op: Op, x: Tensor, dim: int) -> Tensor:
    (position,) = dims_of(op.name, dim, x.ndim) or (0,)
    if x.ndim == 0:
        flat: Tensor = apply(op, (x.reshape(1),), {"dim": 0})
        return flat.reshape(())
    return apply(op, (x,), {"dim": position})
