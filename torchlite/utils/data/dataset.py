"""What a dataset is, and datasets made from tensors and from other datasets."""

import itertools
import math
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from torchlite._tensor import Tensor
from torchlite.ops.generator import Generator, default_generator
from torchlite.ops.random import randperm
from torchlite.utils.data.collate import default_collate

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A dataset by index: subclasses define ``__getitem__`` and mostly ``__len__``.

    Two optional methods load a whole batch at once: ``__getitems__(indices)`` returns the list of samples,
    and ``get_batch(indices)`` the batch itself, which the DataLoader takes as it is where no ``collate_fn``
    is given.
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __add__(self, other: "Dataset[T_co]") -> "ConcatDataset[T_co]":
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """A dataset as a stream: subclasses define ``__iter__``.

    With several workers each iterates over a copy of its own; let ``__iter__`` look at `get_worker_info` to
    give each worker its share, or every sample comes once from every worker.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def __add__(self, other: Dataset[T_co]) -> "ChainDataset[T_co]":  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Rows of tensors (or arrays) of equal length: sample i is ``tuple(tensor[i] for tensor in tensors)``.

    Raises:
        ValueError: the lengths differ.
    """

    def __init__(self, *tensors: Tensor) -> None:
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) != 1:
            raise ValueError(f"Size mismatch between tensors: their lengths are {lengths}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def get_batch(self, indices: Sequence[int]) -> list[Any]:
        """One tensor for each of the tensors, of the rows `indices`."""
        rows = list(indices)
        return [tensor[rows] for tensor in self.tensors]


class StackDataset(Dataset[Any]):
    """Datasets of equal length side by side: samples are tuples, or dicts where the datasets are named.

    Raises:
        ValueError: there is no dataset, some are named and some not, or the lengths differ.
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset takes datasets either by position or by name, and at least one")
        self.datasets = args or kwargs
        lengths = [len(dataset) for dataset in args or kwargs.values()]
        if len(set(lengths)) != 1:
            raise ValueError(f"Size mismatch between datasets: their lengths are {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: int) -> Any:
        return self._samples([[dataset[index]] for dataset in self._columns()])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return self._samples([items_of(dataset, indices) for dataset in self._columns()])

    def __len__(self) -> int:
        return self._length

    def _columns(self) -> list[Any]:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def _samples(self, columns: list[list[Any]]) -> list[Any]:
        rows = zip(*columns, strict=True)
        if isinstance(self.datasets, dict):
            return [dict(zip(self.datasets, row, strict=True)) for row in rows]
        return list(rows)


class ConcatDataset(Dataset[T_co]):
    """Datasets one after the other.

    Raises:
        ValueError: there is no dataset, or one is an IterableDataset.
    """

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("datasets should not be an empty iterable")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise ValueError("ConcatDataset does not support IterableDataset; add them up with ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(_length(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> T_co:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for a dataset of {len(self)} samples")
        index %= len(self)
        position = bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[position - 1] if position else 0
        return self.datasets[position][index - start]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[T_co]):
    """Streams one after the other."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[T_co]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise TypeError(f"ChainDataset only supports IterableDataset, got {type(dataset).__name__}")
            yield from dataset

    def __len__(self) -> int:
        return sum(_length(dataset) for dataset in self.datasets)


class Subset(Dataset[T_co]):
    """The samples of a dataset at `indices`, in their order."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        return items_of(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)

    def get_batch(self, indices: Sequence[int]) -> Any:
        """The batch of the underlying dataset; collated here where that has no ``get_batch``."""
        chosen = [self.indices[i] for i in indices]
        if hasattr(self.dataset, "get_batch"):
            return self.dataset.get_batch(chosen)
        return default_collate(items_of(self.dataset, chosen))


def random_split(
    dataset: Dataset[T_co],
    lengths: Sequence[int | float],
    generator: Generator | None = default_generator,
) -> list[Subset[T_co]]:
    """Disjoint random subsets of the given lengths, or of the given fractions when these sum to 1.

    A fraction's length is rounded down; what then is left goes to the subsets in turn, one sample each.

    Raises:
        ValueError: the lengths do not sum to the dataset's, or a fraction lies outside 0..1.
    """
    total = _length(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _lengths_of_fractions(lengths, total)
    if sum(lengths) != total:
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset! {list(lengths)} for {total}"
        )
    indices = randperm(total, generator=generator, device="cpu").tolist()
    ends = itertools.accumulate(int(length) for length in lengths)
    return [Subset(dataset, indices[end - int(length) : end]) for end, length in zip(ends, lengths, strict=True)]


def _lengths_of_fractions(fractions: Sequence[float], total: int) -> list[int]:
    for position, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"Fraction at index {position} is not between 0 and 1: {fraction}")
    lengths = [math.floor(total * fraction) for fraction in fractions]
    for position in range(total - sum(lengths)):
        lengths[position % len(lengths)] += 1
    for position, length in enumerate(lengths):
        if length == 0:
            warnings.warn(
                f"Length of split at index {position} is 0. This might result in an empty dataset.",
                stacklevel=3,
            )
    return lengths


def items_of(dataset: Any, indices: list[int]) -> list[Any]:
    """The samples at `indices`, all at once where the dataset can."""
    if not callable(getattr(dataset, "__getitems__", None)):
        return [dataset[index] for index in indices]
    items: list[Any] = dataset.__getitems__(indices)
    if len(items) != len(indices):
        raise ValueError(
            f"{type(dataset).__name__}.__getitems__ returned {len(items)} samples for {len(indices)} indices"
        )
    return items


def _length(dataset: Any) -> int:
    return len(dataset)
