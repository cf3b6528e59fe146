"""The order of elements along a dimension, of which indexing by a mask takes some, too."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.construct import dims_of
from torchlite.ops.destination import OutDtype, takes_out_as


def _run_argsort(xp: Any, x: Any, *, dim: int, descending: bool) -> Any:
    if xp is not np and x.dtype == dtypes.bfloat16.numpy:  # which CuPy can't sort
        x = x.astype(np.float32)
    if not descending:
        return xp.argsort(x, axis=dim, kind="stable")
    # Stable from the largest down: sort the reversed order and turn it round.
    n = x.shape[dim]
    return (n - 1) - xp.flip(xp.argsort(xp.flip(x, dim), axis=dim, kind="stable"), dim)


_argsort = register(
    Op(
        "argsort",
        "index",
        run=_run_argsort,
        infer=lambda x, *, dim, descending: Aval(x.shape, np.dtype(np.int64), x.device),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)),), {"dim": 1, "descending": False}),
            Sample((rng.normal(size=(3, 4)),), {"dim": 0, "descending": True}),
        ],
        doc="The positions that sort a dimension; equal elements keep their order.",
    )
)


@takes_out_as(OutDtype.SAME)
@method()
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:  # noqa: ARG001
    """The positions that sort ``input`` along ``dim``; equal elements always keep their order."""
    if input.ndim == 0:
        return input.new_zeros((), dtype=dtypes.int64)
    (position,) = dims_of("argsort", dim, input.ndim)
    return apply(_argsort, (input,), {"dim": position, "descending": descending})
