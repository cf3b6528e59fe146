"""Resampling along one dimension: every element of the result is a weighted sum of a few elements of the input.

The adjoint of such a map is another one, so its gradient of any order is the same operator with the taps transposed.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.half_precision import widened

Array = np.ndarray[Any, Any]
_CACHE_BYTES = 1 << 18


class Taps:
    """Which elements of a dimension each element of the result adds up.

    Args:
        length: of the dimension.
        places: (taps, length of the result), positions in the dimension.
        weights: of that shape too; None for one tap with weight 1.
        unused: positions of the result that take nothing.
    """

    def __init__(self, length: int, places: Array, weights: Array | None, unused: Array | None = None) -> None:
        self.length = length
        self.places = places
        self.weights = weights
        self.unused = unused

    def __repr__(self) -> str:
        return f"Taps({self.places.shape[0]} of {self.length} for each of {self.places.shape[1]})"

    @property
    def is_identity(self) -> bool:
        """Whether the result is the input."""
        count = self.places.shape[1]
        return self.weights is None and count == self.length and bool((self.places[0] == np.arange(count)).all())

    @functools.cached_property
    def transposed(self) -> Taps:
        """The adjoint map."""
        count = self.places.shape[1]
        order = np.argsort(self.places, axis=None, kind="stable")
        sources = self.places.reshape(-1)[order]
        used = np.bincount(sources, minlength=self.length)
        within = np.arange(len(order)) - (np.cumsum(used) - used)[sources]  # how many before it have the same source
        height = max(1, int(used.max(initial=0)))
        weights = np.zeros((height, self.length), np.float64 if self.weights is None else self.weights.dtype)
        weights[within, sources] = 1 if self.weights is None else self.weights.reshape(-1)[order]
        # Where an element has fewer taps than others its first one is repeated, with weight 0.
        firsts = np.zeros(self.length, np.int64)
        firsts[sources[::-1]] = order[::-1] % max(count, 1)
        places = np.broadcast_to(firsts, weights.shape).copy()
        places[within, sources] = order % max(count, 1)
        unused = np.flatnonzero(used == 0)
        return Taps(count, places, weights, unused if len(unused) else None)


@widened
def _run(xp: Any, x: Any, *, dim: int, taps: Taps) -> Any:
    lead, rest = math.prod(x.shape[:dim]), math.prod(x.shape[dim + 1 :])
    count = taps.places.shape[1]
    source = x.reshape(lead, taps.length, rest)
    places = xp.asarray(taps.places)
    if taps.weights is None:
        result = source.take(places[0], 1)
    else:
        weights = xp.asarray(taps.weights, x.dtype)[..., None]
        result = xp.empty((lead, count, rest), x.dtype)
        size = max(1, _CACHE_BYTES // max(1, count * rest * x.dtype.itemsize)) if xp is np else max(1, lead)
        for start in range(0, lead, size):  # parts that stay in the processor's cache
            part = source[start : start + size]
            total = part.take(places[0], 1)
            total *= weights[0]
            for place, weight in zip(places[1:], weights[1:], strict=True):
                term = part.take(place, 1)
                term *= weight
                total += term
            result[start : start + size] = total
    if taps.unused is not None:
        result[:, xp.asarray(taps.unused)] = 0
    return result.reshape((*x.shape[:dim], count, *x.shape[dim + 1 :]))


def _infer(x: Aval, *, dim: int, taps: Taps) -> Aval:
    if x.shape[dim] != taps.length:
        raise RuntimeError(f"resample: dimension {dim} of shape {list(x.shape)} should have length {taps.length}")
    return Aval((*x.shape[:dim], taps.places.shape[1], *x.shape[dim + 1 :]), x.dtype, x.device)


def _samples(rng: np.random.Generator) -> list[Sample]:
    two = Taps(4, np.array([[0, 0, 1, 3, 3], [0, 1, 2, 3, 1]]), rng.normal(size=(2, 5)))
    return [
        Sample((rng.normal(size=(2, 4, 3)),), {"dim": 1, "taps": two}),
        Sample((rng.normal(size=(2, 4)),), {"dim": 1, "taps": two.transposed.transposed}),
        Sample((rng.normal(size=(4, 2)),), {"dim": 0, "taps": Taps(4, np.array([[0, 0, 3]]), None)}),
    ]


_resample: Op = register(
    Op(
        "resample",
        "contract",
        run=_run,
        infer=_infer,
        vjp=(lambda g, _out, _x, dim, taps: resample(g, dim, taps.transposed),),
        samples=_samples,
        doc="out[…,j,…] = Σₜ weights[t,j] · x[…,places[t,j],…] along one dimension.",
    )
)


def resample(x: Tensor, dim: int, taps: Taps) -> Tensor:
    """``x`` with dimension ``dim`` (not negative) resampled."""
    return x if taps.is_identity else apply(_resample, (x,), {"dim": dim, "taps": taps})
