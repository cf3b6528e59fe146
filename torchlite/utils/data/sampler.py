"""In which order a dataset is read: samplers yield indices, a batch sampler yields lists of them."""

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.creation import as_tensor
from torchlite.ops.generator import Generator
from torchlite.ops.random import rand, randint, randperm

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base of all samplers: subclasses define ``__iter__`` and, where the length is known, ``__len__``."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, … to the end of `data_source`."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices of `data_source` in random order, or drawn with replacement.

    `num_samples` (the length of `data_source` unless given) indices are yielded; without replacement, more
    than there are means several permutations in a row. Without a `generator`, each pass is seeded from the
    global one.

    Raises:
        TypeError: `replacement` is not a bool.
        ValueError: `num_samples` is not a positive integer.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        _require_positive("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many indices one pass yields; follows a dataset whose length changes."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        length = len(self.data_source)
        generator = _of_this_pass(self.generator)
        if self.replacement:
            yield from randint(0, length, (self.num_samples,), generator=generator, device="cpu").tolist()
            return
        left = self.num_samples
        while left > 0:
            yield from randperm(length, generator=generator, device="cpu").tolist()[:left]
            left -= length

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given `indices` in random order, without replacement."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for position in randperm(len(self.indices), generator=self.generator, device="cpu").tolist():
            yield self.indices[position]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` indices 0 … len(weights) - 1, index i with probability proportional to ``weights[i]``.

    With replacement, by inverting the cumulative distribution; without, in the order of the exponential
    variables E_i / w_i, which is the distribution of drawing one after the other. Source: P. Efraimidis and
    P. Spirakis, "Weighted random sampling with a reservoir", 2006.

    Raises:
        ValueError: `num_samples` is not a positive integer, `replacement` is not a bool, `weights` is not a
            non-empty vector of finite non-negative numbers with a positive sum, or too few of them are
            positive to draw `num_samples` without replacement.
    """

    def __init__(
        self,
        weights: Sequence[float] | Tensor,
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _require_positive("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = as_tensor(weights, dtype=dtypes.float64)
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator
        values = self._values()
        if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any() or not values.sum() > 0:
            raise ValueError(
                "weights should be a 1d sequence of finite non-negative numbers with a positive sum, "
                f"got {values.shape} values"
            )
        drawable = np.count_nonzero(values)
        if not replacement and num_samples > drawable:
            raise ValueError(f"cannot draw {num_samples} samples without replacement from {drawable} with weight")

    def __iter__(self) -> Iterator[int]:
        values = self._values()
        count = self.num_samples if self.replacement else len(values)
        drawn = rand(count, generator=self.generator, dtype=dtypes.float64, device="cpu").numpy()
        if self.replacement:
            cumulative = np.cumsum(values)
            chosen = np.searchsorted(cumulative, drawn * cumulative[-1], side="right")
            # A product that rounds up to the sum itself must not fall off the end.
            chosen = np.minimum(chosen, np.flatnonzero(values)[-1])
        else:
            with np.errstate(divide="ignore"):
                arrivals = -np.log1p(-drawn) / values
            arrivals[values == 0] = np.inf
            chosen = np.argsort(arrivals, kind="stable")[: self.num_samples]
        yield from chosen.tolist()

    def __len__(self) -> int:
        return self.num_samples

    def _values(self) -> np.ndarray[Any, Any]:
        return self.weights.cpu().numpy()


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` consecutive indices of another sampler; the last is shorter, or dropped.

    Raises:
        ValueError: `batch_size` is not a positive integer, or `drop_last` is not a bool.

    >>> list(BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        _require_positive("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        length = len(self.sampler)  # type: ignore[arg-type]
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)


def draw_seed(generator: Generator | None) -> int:
    """A random 63-bit seed, from the global generator unless one is given."""
    return int(randint(0, 2**63 - 1, (1,), generator=generator, device="cpu").item())


def _of_this_pass(generator: Generator | None) -> Generator:
    # A pass that drew from the global generator while it goes on would change with every dropout in between.
    return generator if generator is not None else Generator().manual_seed(draw_seed(None))


def _require_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")
