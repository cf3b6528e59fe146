"""Intervals of metrics by the bootstrap: between which values they lie for other samples of the same kind (Efron, 1979).

Samples are drawn with replacement, as many as there are, a thousand times; the interval holds the middle part of the values.
A metric whose state is a sum over samples is computed from weighted sums of the states of single samples, which is exact and fast;
any other is shown the drawn samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from torchlite.ops.exchange import from_numpy
from torchlite.train.metrics.metric import Metric

Array = np.ndarray[Any, Any]
Make = Callable[[], Any]
Interval = tuple[float, float]

RESAMPLES, LEVEL = 1000, 0.95
_AT_ONCE = 1 << 22  # counts of samples that are drawn in one piece


def intervals(
    outputs: Array,
    targets: Array,
    losses: Array,
    makers: Mapping[str, Make],
    numbers: Callable[[Mapping[str, Any]], dict[str, float]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """The interval of the mean loss and of every number of the metrics.

    Args:
        outputs, targets: of all samples.
        losses: of each sample.
        makers: functions that make each metric anew.
        numbers: the values of metrics as numbers by name.
        seed: of the draws.
        resamples: how often samples are drawn.
    """
    draws = [_drawn(name, make, outputs, targets) for name, make in makers.items()]
    values: dict[str, list[float]] = {"loss": []}
    for counts in _counts(len(losses), resamples, seed):
        values["loss"].append(float(counts @ losses) / max(len(losses), 1))
        for name, value in numbers({one.name: one.of(counts) for one in draws}).items():
            values.setdefault(name, []).append(value)
    margin = (1 - LEVEL) / 2
    return {name: _between(np.asarray(found, np.float64), margin) for name, found in values.items()}


def _between(values: Array, margin: float) -> Interval:
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [margin, 1 - margin])
    return float(low), float(high)


def _counts(n: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each sample is drawn, for each resample."""
    rng = np.random.default_rng(seed)
    piece = max(1, _AT_ONCE // max(n, 1))
    for start in range(0, resamples if n else 0, piece):
        yield from rng.multinomial(n, np.full(n, 1 / n), size=min(piece, resamples - start))


class _Resampled:
    """A metric that is shown the drawn samples."""

    def __init__(self, name: str, make: Make, outputs: Array, targets: Array) -> None:
        self.name, self._make = name, make
        self._outputs, self._targets = outputs, targets

    def of(self, counts: Array) -> Any:
        """The metric of samples that are drawn so often."""
        drawn = np.repeat(np.arange(len(counts)), counts)
        metric = self._make()
        metric.update(from_numpy(self._outputs[drawn]), from_numpy(self._targets[drawn]))
        return metric


class _Summed(_Resampled):
    """A metric whose state is a sum over samples."""

    def __init__(self, name: str, make: Make, outputs: Array, targets: Array) -> None:
        super().__init__(name, make, outputs, targets)
        states = []
        for i in range(len(outputs)):
            metric = make()
            metric.update(from_numpy(outputs[i : i + 1]), from_numpy(targets[i : i + 1]))
            states.append(metric.state())
        self._states = {key: np.stack([np.asarray(state[key]) for state in states]) for key in make().kept}

    def of(self, counts: Array) -> Any:
        """The metric of samples that are drawn so often."""
        metric = self._make()
        metric.restore({key: _weighted(counts, states) for key, states in self._states.items()})
        return metric


def _weighted(counts: Array, states: Array) -> Any:
    total = np.tensordot(counts.astype(np.float64), states.astype(np.float64), 1)  # of whole numbers exact up to 2^53
    return total > 0 if states.dtype.kind == "b" else total.astype(states.dtype)


def _drawn(name: str, make: Make, outputs: Array, targets: Array) -> _Resampled:
    metric = make()
    summed = isinstance(metric, Metric) and metric.additive and len(outputs) > 0
    return (_Summed if summed else _Resampled)(name, make, outputs, targets)
