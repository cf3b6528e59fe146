"""Where the arrays of a ``.pt`` file go: which share a storage, and where in it each lies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from torchlite.serialization.dtypes import DTYPES, TORCH_STORAGES, Array, little_endian
from torchlite.serialization.pickle_records import ParameterRecord, StorageKind, StorageRecord, TensorRecord


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array with what a ``.pt`` file knows about it beside its values.

    Attributes:
        location: the device it was on, as PyTorch names it (``cpu``, ``cuda:0``); the array itself is in host memory.
        storage: arrays of one file that have the same (and not None) share memory.
    """

    array: Array
    requires_grad: bool = False
    is_parameter: bool = False
    location: str = "cpu"
    storage: str | None = None


class StorageLayout:
    """Storages for arrays that are to be written.

    Arrays that overlap in memory get one storage together. One that is alone is stored as it lies in memory where
    that takes no more bytes than its elements, as a contiguous copy elsewhere.

    Attributes:
        records: how the file describes each array, in their order.
        contents: the bytes of each storage, by its key.

    Raises:
        TypeError: an array is of a dtype that PyTorch does not have.
    """

    def __init__(self, items: list[StoredArray]) -> None:
        self.contents: list[Array] = []
        self._arrays = [little_endian(item.array) for item in items]
        self._items = items
        tensors: dict[int, TensorRecord] = {}
        for group in self._overlapping():
            tensors.update(zip(group, self._store(group), strict=True))
        self.records = [
            ParameterRecord(tensors[index], item.requires_grad) if item.is_parameter else tensors[index]
            for index, item in enumerate(items)
        ]

    def _overlapping(self) -> list[list[int]]:
        """The indices of the arrays in groups that share memory and can be views of one storage."""
        groups: list[list[int]] = []
        latest: dict[tuple[str, int, str], tuple[int, list[int]]] = {}  # the end of the group met last, and the group
        for index in sorted(range(len(self._arrays)), key=lambda index: _bounds(self._arrays[index])):
            array = self._arrays[index]
            if array.dtype.name not in DTYPES:
                raise TypeError(f"an array of dtype {array.dtype} cannot be stored; expected {', '.join(DTYPES)}")
            begin, end = _bounds(array)
            family = (array.dtype.name, begin % array.dtype.itemsize, self._items[index].location)
            reached, group = latest.get(family, (begin, []))
            if array.size == 0 or not _has_torch_strides(array):
                groups.append([index])
            elif begin < reached:
                group.append(index)
                latest[family] = (max(reached, end), group)
            else:
                groups.append([index])
                latest[family] = (end, groups[-1])
        return sorted(groups, key=min)

    def _store(self, group: list[int]) -> Iterator[TensorRecord]:
        """Make one storage that spans a group."""
        views = [self._arrays[index] for index in group]
        if len(views) == 1 and not _is_dense(views[0]):
            views = [views[0].copy(order="C")]
        first = min(views, key=_bounds)
        dtype = first.dtype
        begin = _bounds(first)[0]
        nbytes = max(_bounds(view)[1] for view in views) - begin
        corner = first[(slice(0, 1),) * first.ndim + (...,)].reshape(-1).view(np.uint8)
        kind = StorageKind(dtype.name if dtype.name in TORCH_STORAGES.values() else None)
        numel = nbytes // dtype.itemsize if kind.dtype else nbytes
        storage = StorageRecord(kind, str(len(self.contents)), self._items[group[0]].location, numel)
        self.contents.append(np.lib.stride_tricks.as_strided(corner, (nbytes,), (1,)))
        for index, view in zip(group, views, strict=True):
            item = self._items[index]
            offset = (_bounds(view)[0] - begin) // dtype.itemsize
            strides = tuple(stride // dtype.itemsize for stride in view.strides)
            requires_grad = item.requires_grad and not item.is_parameter
            yield TensorRecord(storage, dtype.name, offset, view.shape, strides, requires_grad)


def _has_torch_strides(array: Array) -> bool:
    """PyTorch counts strides in elements and has no negative ones."""
    return all(stride >= 0 and stride % array.dtype.itemsize == 0 for stride in array.strides)


def _is_dense(array: Array) -> bool:
    """Whether the memory from the first to the last element is worth storing as it is."""
    begin, end = _bounds(array)
    return array.size > 0 and _has_torch_strides(array) and end - begin <= array.nbytes


def _bounds(array: Array) -> tuple[int, int]:
    return np.lib.array_utils.byte_bounds(array)
