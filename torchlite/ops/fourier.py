"""Discrete Fourier transforms along one dimension, without factors; `torchlite.fft` is composed of them.

A real signal of length n has n // 2 + 1 frequencies of its own, its half spectrum: the others are their conjugates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, Shape, register


def _run_complex(xp: Any, x: Any, *, dim: int, inverse: bool) -> Any:
    # NumPy's norm="forward" puts the factor 1/n on the forward transform, so its inverse has none.
    out = xp.fft.ifft(x, axis=dim, norm="forward") if inverse else xp.fft.fft(x, axis=dim)
    return out.astype(x.dtype, copy=False)


fourier_op: Op = register(
    Op(
        "fft_complex",
        "contract",
        run=_run_complex,
        infer=lambda x, *, dim, inverse: x,  # noqa: ARG005
        vjp=(lambda g, _out, _x, dim, inverse: apply(fourier_op, (g,), {"dim": dim, "inverse": not inverse}),),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4)),), {"dim": 1, "inverse": False}),
            Sample((rng.normal(size=(5, 2)) + 1j * rng.normal(size=(5, 2)),), {"dim": 0, "inverse": True}),
        ],
        doc="Σₙ xₙ exp(∓2πi kn/N) along a dimension, - forward and + inverse.",
    )
)
half_spectrum_op: Op = register(
    Op(
        "fft_real_to_half",
        "contract",
        run=lambda xp, x, *, dim: xp.fft.rfft(x, axis=dim).astype(_complex(x.dtype), copy=False),
        infer=lambda x, *, dim: Aval(_with_length(x.shape, dim, x.shape[dim] // 2 + 1), _complex(x.dtype), x.device),
        vjp=(
            lambda g, _out, _x, dim: apply(
                from_half_spectrum_op,
                (g * _weights(g, dim, _x.shape[dim], 0.5),),
                {"dim": dim, "n": _x.shape[dim]},
            ),
        ),
        samples=lambda rng: [Sample((rng.normal(size=(3, n)),), {"dim": 1}) for n in (4, 5, 1)],
        doc="The half spectrum Σₙ xₙ exp(-2πi kn/N), k ≤ N/2, of a real signal.",
    )
)
from_half_spectrum_op: Op = register(
    Op(
        "fft_half_to_real",
        "contract",
        run=lambda xp, x, *, dim, n: xp.fft.irfft(x, n, axis=dim, norm="forward").astype(x.real.dtype, copy=False),
        infer=lambda x, *, dim, n: Aval(_with_length(x.shape, dim, n), np.dtype(f"f{x.dtype.itemsize // 2}"), x.device),
        vjp=(lambda g, _out, _x, dim, n: apply(half_spectrum_op, (g,), {"dim": dim}) * _weights(g, dim, n, 2.0),),
        samples=lambda rng: [
            Sample((rng.normal(size=(2, n // 2 + 1)) + 1j * rng.normal(size=(2, n // 2 + 1)),), {"dim": 1, "n": n})
            for n in (4, 5, 1)
        ],
        doc="The real signal Σₖ xₖ exp(2πi kn/N) of a half spectrum, with the conjugates of what it leaves out.",
    )
)


def _complex(dtype: Any) -> Any:
    return np.dtype(f"c{2 * dtype.itemsize}")


def _with_length(shape: Shape, dim: int, n: int) -> Shape:
    return (*shape[:dim], n, *shape[dim + 1 :])


def _weights(g: Tensor, dim: int, n: int, inner: float) -> Tensor:
    """``inner`` for the frequencies of a half spectrum that stand for two, 1 for the others."""
    half = n // 2 + 1
    weights = g.new_full((half,), inner, dtype=g.real.dtype if g.is_complex() else g.dtype)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    return weights.reshape([half if d == dim else 1 for d in range(g.ndim)])
