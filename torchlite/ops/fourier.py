"""The discrete Fourier transform along one dimension, without a factor; `torchlite.fft` is composed of it."""

from __future__ import annotations

from typing import Any

from torchlite.dispatch import apply
from torchlite.ir import Op, Sample, register


def _run(xp: Any, x: Any, *, dim: int, inverse: bool) -> Any:
    # NumPy's norm="forward" puts the factor 1/n on the forward transform, so its inverse has none.
    out = xp.fft.ifft(x, axis=dim, norm="forward") if inverse else xp.fft.fft(x, axis=dim)
    return out.astype(x.dtype, copy=False)


fourier_op: Op = register(
    Op(
        "fft_complex",
        "contract",
        run=_run,
        infer=lambda x, *, dim, inverse: x,  # noqa: ARG005
        vjp=(lambda g, _out, _x, dim, inverse: apply(fourier_op, (g,), {"dim": dim, "inverse": not inverse}),),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4)),), {"dim": 1, "inverse": False}),
            Sample((rng.normal(size=(5, 2)) + 1j * rng.normal(size=(5, 2)),), {"dim": 0, "inverse": True}),
        ],
        doc="Σₙ xₙ exp(∓2πi kn/N) along a dimension, - forward and + inverse.",
    )
)
