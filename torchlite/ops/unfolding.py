"""Windows along a dimension as a view of it, whose gradient adds up where windows overlap."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor, method
from torchlite.backends.memory import layout, memory, strided
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.creation import arange
from torchlite.ops.indexing import sum_at
from torchlite.ops.views import flatten, movedim, reshape


def _run_unfold(_xp: Any, x: Any, *, dim: int, size: int, step: int) -> Any:
    windows = (x.shape[dim] - size) // step + 1
    shape = (*x.shape[:dim], windows, *x.shape[dim + 1 :], size)
    strides, offset = layout(x)
    strides = (*strides[:dim], strides[dim] * step, *strides[dim + 1 :], strides[dim])
    return strided(memory(x), x.dtype, shape, (strides, offset))


def _infer_unfold(x: Aval, *, dim: int, size: int, step: int) -> Aval:
    windows = (x.shape[dim] - size) // step + 1
    return Aval((*x.shape[:dim], windows, *x.shape[dim + 1 :], size), x.dtype, x.device)


def _unfold_vjp(g: Tensor, _out: Any, _x: Any, dim: int, size: int, step: int) -> Tensor:
    """Every element gathers the cotangents of all windows that hold it."""
    windows = g.shape[dim]
    starts = arange(windows, device=g.device) * step
    places = starts.unsqueeze(1) + arange(size, device=g.device)  # (windows, size)
    beside = movedim(g, -1, dim + 1)  # (..., windows, size, ...)
    return sum_at(flatten(beside, dim, dim + 1), dim, places.reshape(-1), tuple(_x.shape))


unfold_op: Op = register(
    Op(
        "unfold",
        "view",
        run=_run_unfold,
        infer=_infer_unfold,
        vjp=(_unfold_vjp,),
        samples=lambda rng: [
            Sample((rng.normal(size=(7,)),), {"dim": 0, "size": 3, "step": 2}),
            Sample((rng.normal(size=(2, 5, 3)),), {"dim": 1, "size": 2, "step": 1}),
        ],
        doc="Windows of ``size`` elements, ``step`` apart, along a dimension, as a last dimension.",
    )
)


@method()
@takes_integers
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of all windows of ``size`` elements, ``step`` apart, along ``dimension``; they are the last dimension.

    Raises:
        RuntimeError: for a ``size`` larger than the dimension, and a ``step`` that is not positive.
    """
    if self.ndim == 0:
        return unfold(reshape(self, 1), dimension, size, step)[0]
    position = self._checked_dim(dimension)
    n = self._data.shape[position]
    if not 0 <= size <= n:
        raise RuntimeError(f"maximum size for tensor at dimension {dimension} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return apply(unfold_op, (self,), {"dim": position, "size": size, "step": step})
