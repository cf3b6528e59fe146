"""Zero mean and unit variance over dimensions, then a scale and a shift: batch and layer normalisation.

The gradients are operators too, because written out in tensor operators each would make several more passes over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, Shape, broadcast_shapes, register


@accelerated("normalization.standardize")
def run_standardize(xp: Any, x: Any, *, dims: tuple[int, ...], eps: float) -> tuple[Any, Any, Any]:
    """How `standardize` runs."""
    mean = x.mean(axis=dims, keepdims=True)
    out = x - mean
    # Two passes: the variance of what is left after the mean is gone does not cancel.
    variance = backends.inner(xp, out, out, dims) * x.dtype.type(mean.size / max(x.size, 1))
    scale = xp.reciprocal(xp.sqrt(variance + x.dtype.type(eps)))
    out *= scale
    return out, mean, scale


def _infer(x: Aval, *, dims: tuple[int, ...], eps: float) -> tuple[Aval, Aval, Aval]:  # noqa: ARG001
    kept = Aval(tuple(1 if d in dims else n for d, n in enumerate(x.shape)), x.dtype, x.device)
    return x, kept, kept


@accelerated("normalization.standardize_grad")
def run_standardize_grad(xp: Any, g: Any, standard: Any, scale: Any, *, dims: tuple[int, ...]) -> Any:
    """How the gradient of `standardize` runs."""
    share = g.dtype.type(scale.size / max(g.size, 1))
    out = standard * (backends.inner(xp, g, standard, dims) * share)
    xp.subtract(g, out, out=out)
    out -= g.mean(axis=dims, keepdims=True)
    out *= scale
    return out


def _centered_vjp_standard(
    h: Tensor, _out: Any, g: Tensor, standard: Tensor, scale: Tensor, dims: tuple[int, ...]
) -> Tensor:
    along_g, along_h = ((v * standard).mean(dims, keepdim=True) for v in (g, h))
    return (h * along_g + g * along_h) * -scale


_centered: Op = register(
    Op(
        "standardize_grad",
        "reduce",
        run=run_standardize_grad,
        infer=lambda g, standard, scale, *, dims: g,  # noqa: ARG005
        vjp=(
            lambda h, _out, _g, standard, scale, dims: apply(_centered, (h, standard, scale), {"dims": dims}),
            _centered_vjp_standard,
            lambda h, out, _g, _standard, scale, dims: (h * out).sum(dims, keepdim=True) / scale,
        ),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.uniform(1, 2, (3, 1))), {"dims": (1,)}),
            Sample(
                (rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3, 2)), rng.uniform(1, 2, (1, 3, 1))), {"dims": (0, 2)}
            ),
        ],
        doc="(g - mean(g) - x · mean(g · x)) · scale: the cotangent of what was standardized to x, from that of x.",
    )
)


def standardize_vjp(g: Any, out: Any, _x: Any, dims: tuple[int, ...], eps: float) -> Tensor | None:  # noqa: ARG001
    """The cotangent of what was standardized from those of the results, each of which may be None."""
    standard, _, scale = out
    g_standard, g_mean, g_scale = g
    n = standard.numel() // max(scale.numel(), 1)
    total: Tensor | None = None
    if g_standard is not None:
        total = apply(_centered, (g_standard, standard, scale), {"dims": dims})
    if g_mean is not None:
        part = (g_mean / n).expand(standard.shape)
        total = part if total is None else total + part
    if g_scale is not None:
        part = standard * (g_scale * scale * scale / -n)
        total = part if total is None else total + part
    return total


_standardize = register(
    Op(
        "standardize",
        "reduce",
        run=run_standardize,
        infer=_infer,
        vjp=(standardize_vjp,),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"dims": (1,), "eps": 1e-5}),
            Sample((rng.normal(size=(2, 3, 2, 2)),), {"dims": (0, 2, 3), "eps": 1e-3}),
        ],
        doc="(x - μ) / √(σ² + eps) with μ and the biased σ² over dimensions; also μ and 1 / √(σ² + eps).",
    )
)


def _moments_vjp(g: Any, out: Any, x: Any, dims: tuple[int, ...], eps: float) -> Tensor | None:
    mean, scale = out
    return standardize_vjp((None, *g), ((x - mean) * scale, mean, scale), x, dims, eps)


register(
    Op(
        "moments",
        "reduce",
        run=lambda xp, x, *, dims, eps: run_standardize(xp, x, dims=dims, eps=eps)[1:],
        infer=lambda x, *, dims, eps: _infer(x, dims=dims, eps=eps)[1:],
        vjp=(_moments_vjp,),
        samples=_standardize.samples,
        doc="μ and 1 / √(σ² + eps) with the biased σ² over dimensions, which are kept as length 1.",
    )
)


def standardize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - μ) / √(σ² + eps), μ and 1 / √(σ² + eps), the last two with the reduced dimensions kept as length 1."""
    return apply(_standardize, (x,), {"dims": dims, "eps": eps})


@accelerated("normalization.affine")
def run_affine(xp: Any, x: Any, weight: Any, bias: Any) -> Any:  # noqa: ARG001
    """How `affine` runs."""
    out = x * weight
    out += bias
    return out


def _infer_affine(x: Aval, weight: Aval, bias: Aval) -> Aval:
    if broadcast_shapes("affine", x.shape, weight.shape, bias.shape) != x.shape:
        raise RuntimeError(
            f"affine: weight {list(weight.shape)} and bias {list(bias.shape)} do not fit an input {list(x.shape)}"
        )
    return x


def _broadcast_dims(ndim: int, shape: Shape) -> tuple[int, ...]:
    """The dimensions of an input with ``ndim`` along which a parameter of ``shape`` is repeated."""
    lead = ndim - len(shape)
    return tuple(d for d in range(ndim) if d < lead or shape[d - lead] == 1)


def gradient_samples(rng: np.random.Generator, shape: Shape, kept: Shape, weight: Shape) -> list[Sample]:
    """Samples of the gradient of a normalisation, without and with a weight; ``kept`` is the shape of its statistics."""
    shapes = (shape, shape, kept, kept)
    return [Sample(tuple(rng.uniform(0.5, 1, s) for s in (*shapes, *more)), {}) for more in ((), (weight,))]


@accelerated("normalization.sum_of_products")
def run_sum_of_products(xp: Any, x: Any, y: Any, *, shape: Shape) -> Any:
    """How `sum_of_products` runs."""
    return backends.inner(xp, x, y, _broadcast_dims(x.ndim, shape)).reshape(shape)


_correlation = register(
    Op(
        "sum_of_products",
        "reduce",
        run=run_sum_of_products,
        infer=lambda x, y, *, shape: Aval(shape, x.dtype, x.device),  # noqa: ARG005
        vjp=(lambda g, _out, _x, y, shape: g * y, lambda g, _out, x, _y, shape: g * x),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))), {"shape": (4,)}),
            Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))), {"shape": (1, 3, 1)}),
        ],
        doc="Σ x · y over the dimensions along which ``shape`` is broadcast: the cotangent of a factor.",
    )
)
_affine = register(
    Op(
        "affine",
        "elementwise",
        run=run_affine,
        infer=_infer_affine,
        vjp=(
            lambda g, _out, _x, weight, _bias: g * weight,
            lambda g, _out, x, _weight, _bias: sum_of_products(g, x, tuple(_weight.shape)),
            lambda g, _out, _x, _weight, _bias: g,
        ),
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=(1, 3, 1)), rng.normal(size=(1, 3, 1))), {}),
            Sample((rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=3)), {}),
        ],
        doc="x · weight + bias, both broadcast to the shape of x.",
    )
)


def sum_of_products(x: Tensor, y: Tensor, shape: Shape) -> Tensor:
    """Σ x · y over the dimensions along which ``shape`` is broadcast."""
    return apply(_correlation, (x, y), {"shape": shape})


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x · weight + bias of one dtype, weight and bias broadcast to the shape of ``x``."""
    return apply(_affine, (x, weight, bias))
