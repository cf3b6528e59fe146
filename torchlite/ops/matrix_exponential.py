"""The exponential of square matrices."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.backends.matrix_exponential import matrix_exp
from torchlite.dispatch import apply
from torchlite.ir import Op, Sample, register
from torchlite.ops.joining import cat


def _slope(g: Tensor, _out: Any, x: Tensor) -> Tensor:
    """The derivative in the direction g is a corner of exp [[xᴴ, g], [0, xᴴ]] (R. Mathias, 1996)."""
    n = x.shape[-1]
    adjoint = x.mH
    block = cat([cat([adjoint, g], -1), cat([g.new_zeros(g.shape), adjoint], -1)], -2)
    return apply(matrix_exp_op, (block,))[..., :n, n:]


matrix_exp_op: Op = register(
    Op(
        "matrix_exp",
        "contract",
        run=matrix_exp,
        infer=lambda x: x,
        vjp=(_slope,),
        samples=lambda rng: [
            Sample((rng.normal(size=(2, 3, 3)),), {}),
            Sample((rng.normal(size=(2, 2)) * 4,), {}),
            Sample((rng.normal(size=(0, 2, 2)),), {}),
        ],
        doc="Σ xⁿ / n! of square matrices.",
    )
)
