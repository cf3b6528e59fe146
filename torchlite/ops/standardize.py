"""Zero mean and unit variance over dimensions: the core of batch and layer normalisation."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register


def _run(xp: Any, x: Any, *, dims: tuple[int, ...], eps: float) -> tuple[Any, Any, Any]:
    mean = x.mean(axis=dims, keepdims=True)
    out = x - mean
    # Two passes: the variance of what is left after the mean is gone does not cancel.
    variance = xp.square(out).mean(axis=dims, keepdims=True)
    scale = xp.reciprocal(xp.sqrt(variance + x.dtype.type(eps)))
    out *= scale
    return out, mean, scale


def _infer(x: Aval, *, dims: tuple[int, ...], eps: float) -> tuple[Aval, Aval, Aval]:  # noqa: ARG001
    kept = Aval(tuple(1 if d in dims else n for d, n in enumerate(x.shape)), x.dtype, x.device)
    return x, kept, kept


def _vjp(g: Any, out: Any, _x: Any, dims: tuple[int, ...], eps: float) -> Tensor | None:  # noqa: ARG001
    standard, _, scale = out
    g_standard, g_mean, g_scale = g
    n = standard.numel() // scale.numel()
    total: Tensor | None = None
    if g_standard is not None:
        along = (g_standard * standard).mean(dims, keepdim=True)
        total = (g_standard - g_standard.mean(dims, keepdim=True) - standard * along) * scale
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
        run=_run,
        infer=_infer,
        vjp=(_vjp,),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"dims": (1,), "eps": 1e-5}),
            Sample((rng.normal(size=(2, 3, 2, 2)),), {"dims": (0, 2, 3), "eps": 1e-3}),
        ],
        doc="(x - μ) / √(σ² + eps) with μ and the biased σ² over dimensions; also μ and 1 / √(σ² + eps).",
    )
)


def standardize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - μ) / √(σ² + eps), μ and 1 / √(σ² + eps), the last two with the reduced dimensions kept as length 1."""
    out: tuple[Tensor, Tensor, Tensor] = apply(_standardize, (x,), {"dims": dims, "eps": eps})
    return out
