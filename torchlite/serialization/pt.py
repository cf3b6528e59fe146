"""PyTorch's ``.pt`` files without PyTorch and without unpickling: the zip archives of ``torch.save``.

An archive holds ``data.pkl``, which describes the objects, and one member ``data/<key>`` for each storage.
Tensors that share a storage share memory again when read.
"""

import math
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from torchlite.errors import FormatError
from torchlite.serialization.atomic import write_file
from torchlite.serialization.dtypes import DTYPES, TORCH_STORAGES, Array, has_invalid_bools, little_endian
from torchlite.serialization.limits import DEFAULT_LIMITS, Limits
from torchlite.serialization.pickle_reader import read_pickle
from torchlite.serialization.pickle_records import (
    Callee,
    ParameterRecord,
    StorageKind,
    StorageRecord,
    TensorRecord,
)
from torchlite.serialization.pickle_writer import write_pickle
from torchlite.serialization.source import ByteSource, Source, open_source
from torchlite.serialization.zip_archive import Member, ZipArchive, zip_chunks

_ROOT = "archive"
_ALIGNMENT = 64
_MOST_DIMENSIONS = 64
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """An array with what a ``.pt`` file knows about it beside its values."""

    array: Array
    requires_grad: bool = False
    is_parameter: bool = False


def read_pt(
    source: ByteSource,
    *,
    from_array: Callable[[StoredArray], Any] = lambda stored: stored.array,
    mmap: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """Read what ``torch.save`` wrote: nested containers of scalars and arrays.

    Args:
        source: a path, bytes or a binary file.
        from_array: makes of each stored tensor what the caller wants; an array by default. A dtype or device
            in the file becomes a `DtypeName` or `DeviceName`.
        mmap: map the storages of a file into memory (copy-on-write) in place of reading them. Their CRC-32 is
            then not checked, and the file must not shrink while arrays of it live.
        limits: budgets; see `Limits`.

    Raises:
        FormatError: the file is damaged, hostile, of PyTorch's legacy format or holds more than plain data.
        ValueError: ``mmap`` is asked for something that is not a path.
    """
    with open_source(source, path_only=mmap) as opened:
        _refuse_legacy(opened)
        archive = ZipArchive(opened, limits)
        root = _root_of(archive)
        _check_version(archive, root)
        pickle = _member(archive, f"{root}/data.pkl")
        if pickle.size > limits.pickle_bytes:
            raise opened.damaged(f"{pickle.name} has {pickle.size} bytes, more than the limit {limits.pickle_bytes}")
        try:
            tree = read_pickle(archive.read(pickle), limits)
        except FormatError as error:
            raise opened.damaged(str(error)) from None
        file = opened.map() if mmap else None
        return _Resolver(archive, root, from_array, file, limits).resolve(tree)


def write_pt(
    target: str | os.PathLike[str] | BinaryIO,
    obj: Any,
    *,
    to_array: Callable[[Any], Any] = lambda leaf: leaf,
) -> None:
    """Write nested containers of scalars and arrays as ``torch.load(..., weights_only=True)`` reads them.

    A path is replaced in one durable step. Arrays that overlap in memory share a storage in the file.

    Args:
        target: a path or a binary file.
        obj: dicts, lists, tuples and sets of None, bool, int, float, complex, str, bytes, arrays; NumPy
            scalars become Python's.
        to_array: makes an array, a `StoredArray`, a `DtypeName` or a `DeviceName` of each other leaf.

    Raises:
        TypeError: ``obj`` holds something else; the message says where.
        ValueError: containers contain themselves or are nested too deeply.
        OSError: the write failed; an old file is as it was.
    """
    storages = _Storages()
    storages.add_all(obj, to_array)
    pickle = write_pickle(obj, lambda leaf: storages.records.get(id(leaf), leaf))
    members = [
        (f"{_ROOT}/data.pkl", pickle),
        (f"{_ROOT}/.format_version", b"1"),
        (f"{_ROOT}/.storage_alignment", str(_ALIGNMENT).encode()),
        (f"{_ROOT}/byteorder", b"little"),
        *((f"{_ROOT}/data/{key}", content) for key, content in enumerate(storages.contents)),
        (f"{_ROOT}/version", b"3\n"),
    ]
    chunks = zip_chunks(members, alignment=_ALIGNMENT)
    if isinstance(target, (str, os.PathLike)):
        write_file(target, chunks)
    elif hasattr(target, "write"):
        for chunk in chunks:
            target.write(chunk)
    else:
        raise TypeError(f"expected a path or a binary file to write to, got {type(target).__name__}")


def _refuse_legacy(source: Source) -> None:
    beginning = source.read(0, min(source.size, len(_LEGACY_MAGIC)))
    if beginning == _LEGACY_MAGIC:
        raise source.damaged(
            "written in PyTorch's legacy format (before 1.6), which can only be unpickled; "
            "load it with PyTorch where you trust it, and torch.save it again"
        )
    if not beginning.startswith(b"PK"):
        raise source.damaged("not a .pt file: torch.save writes zip archives, which begin with 'PK'")


def _root_of(archive: ZipArchive) -> str:
    """The folder in the archive that holds everything."""
    roots = {name.partition("/")[0] for name in archive.members}
    if len(roots) != 1:
        raise archive.source.damaged(f"not a .pt file: its members lie in {len(roots)} folders, expected one")
    (root,) = roots
    if f"{root}/constants.pkl" in archive.members:
        raise archive.source.damaged(
            "a TorchScript archive, which contains code; save its state_dict() with torch.save"
        )
    return root


def _check_version(archive: ZipArchive, root: str) -> None:
    expected = {"version": (b"2", b"3"), "byteorder": (b"little",)}
    for name, accepted in expected.items():
        member = archive.members.get(f"{root}/{name}")
        if member is None and name == "byteorder":
            continue  # PyTorch before 2.1 wrote none
        member = member or _member(archive, f"{root}/{name}")
        if member.size > 16 or archive.read(member).strip() not in accepted:
            raise archive.source.damaged(f"{member.name} is not {b' or '.join(accepted).decode()}")


def _member(archive: ZipArchive, name: str) -> Member:
    member = archive.members.get(name)
    if member is None:
        raise archive.source.damaged(f"{name} is missing from the archive")
    if member.compressed:
        raise archive.source.damaged(f"{name} is compressed, which torch.save never does")
    return member


class _Resolver:
    """Turns the records of a pickle into arrays over the storages of its archive."""

    def __init__(
        self,
        archive: ZipArchive,
        root: str,
        from_array: Callable[[StoredArray], Any],
        file: Array | None,
        limits: Limits,
    ) -> None:
        self.archive = archive
        self.root = root
        self.from_array = from_array
        self.file = file
        self.storages: dict[str, tuple[StorageRecord, Array]] = {}
        self.done: dict[int, Any] = {}
        self.view_bytes = 0
        stored = sum(member.size for member in archive.members.values())
        self.view_limit = limits.view_floor_bytes + limits.view_ratio * stored

    def resolve(self, value: Any) -> Any:
        """``value`` with arrays for records; lists and dicts are filled in place, so they stay shared."""
        if id(value) not in self.done:
            self.done[id(value)] = (value, self.resolve_once(value))
        return self.done[id(value)][1]

    def resolve_once(self, value: Any) -> Any:
        match value:
            case list():
                value[:] = [self.resolve(item) for item in value]
            case dict():
                for key, item in value.items():
                    value[key] = self.resolve(item)
                if isinstance(value, OrderedDict):
                    vars(value).update({name: self.resolve(item) for name, item in vars(value).items()})
            case tuple():
                return tuple([self.resolve(item) for item in value])
            case TensorRecord():
                return self.from_array(StoredArray(self.view(value), value.requires_grad))
            case ParameterRecord(tensor, requires_grad):
                return self.from_array(StoredArray(self.view(tensor), requires_grad, is_parameter=True))
            case StorageRecord(kind, _, _, numel):
                dtype = kind.dtype or "uint8"
                return self.from_array(StoredArray(self.view(TensorRecord(value, dtype, 0, (numel,), (1,)))))
            case StorageKind() | Callee():
                raise self.archive.source.damaged("it holds a class or function in place of an object")
        return value

    def view(self, record: TensorRecord) -> Array:
        """The array that ``record`` describes; never one that reaches outside its storage."""
        storage = self.storage(record.storage)
        dtype = DTYPES[record.dtype]
        if len(record.size) > _MOST_DIMENSIONS:
            raise self.archive.source.damaged(
                f"a tensor has {len(record.size)} dimensions, NumPy has {_MOST_DIMENSIONS}"
            )
        if math.prod(length for length in record.size if length) * dtype.itemsize >= 1 << 62:
            raise self.archive.source.damaged(f"a tensor of size {record.size} cannot exist")
        elements = math.prod(record.size)
        if elements == 0:
            return np.empty(record.size, dtype)
        last = record.offset + sum((n - 1) * stride for n, stride in zip(record.size, record.stride, strict=True))
        if (last + 1) * dtype.itemsize > storage.nbytes:
            raise self.archive.source.damaged(
                f"a tensor reaches to element {last} of storage {record.storage.key}, which has "
                f"{storage.nbytes // dtype.itemsize}"
            )
        self.view_bytes += elements * dtype.itemsize
        if self.view_bytes > self.view_limit:
            raise self.archive.source.damaged(
                f"its tensors would measure more than {self.view_limit} bytes, far more than is stored "
                "(expanded tensors; Limits.view_floor_bytes raises the limit)"
            )
        strides = [stride * dtype.itemsize for stride in record.stride]
        if max(strides, default=0) > storage.nbytes:  # only of a dimension of length 1, where it says nothing
            strides = [min(stride, storage.nbytes) for stride in strides]
        array: Array = np.ndarray(record.size, dtype, storage.data, record.offset * dtype.itemsize, strides)
        if has_invalid_bools(array):
            raise self.archive.source.damaged(
                f"storage {record.storage.key} is of bools but has other bytes than 0 and 1"
            )
        if (record.conjugate and dtype.kind != "c") or (record.negative and dtype.kind not in "fc"):
            raise self.archive.source.damaged(f"a {record.dtype} tensor cannot be conjugated or negated lazily")
        if record.conjugate:
            array = np.conjugate(array)
        return np.negative(array) if record.negative else array

    def storage(self, record: StorageRecord) -> Array:
        """The bytes of a storage, read once."""
        known = self.storages.get(record.key)
        if known is not None:
            if (known[0].kind, known[0].numel) != (record.kind, record.numel):
                raise self.archive.source.damaged(f"storage {record.key} is described in two ways")
            return known[1]
        member = _member(self.archive, f"{self.root}/data/{record.key}")
        itemsize = DTYPES[record.kind.dtype or "uint8"].itemsize
        if record.numel * itemsize != member.size:
            raise self.archive.source.damaged(
                f"storage {record.key} should have {record.numel} × {itemsize} bytes, {member.name} has {member.size}"
            )
        if self.file is None:
            content: Array = self.archive.read_array(member)
        else:
            content = self.file[member.offset : member.offset + member.size]
            if content.ctypes.data % itemsize:
                content = content.copy()
        self.storages[record.key] = (record, content)
        return content


@dataclass(eq=False)
class _Storages:
    """The storages of a file that is about to be written, and the record of each leaf (by ``id``)."""

    contents: list[Any] = field(default_factory=list)
    records: dict[int, Any] = field(default_factory=dict)
    _kept_alive: list[Any] = field(default_factory=list)

    def add_all(self, obj: Any, to_array: Callable[[Any], Any]) -> None:
        stored: list[tuple[Any, StoredArray]] = []
        for leaf in _leaves(obj):
            described = to_array(leaf)
            if isinstance(described, np.generic):
                described = described.item()
            if isinstance(described, np.ndarray):
                described = StoredArray(described)
            self._kept_alive.append((leaf, described))
            if isinstance(described, StoredArray):
                stored.append((leaf, described))
            elif described is not leaf:
                self.records[id(leaf)] = described
        tensors = self._place([item.array for _, item in stored])
        for (leaf, item), tensor in zip(stored, tensors, strict=True):
            if item.is_parameter:
                self.records[id(leaf)] = ParameterRecord(tensor, item.requires_grad)
            else:
                self.records[id(leaf)] = tensor if not item.requires_grad else _requiring_grad(tensor)

    def _place(self, arrays: list[Array]) -> list[TensorRecord]:
        """Give each array a place in a storage; arrays that overlap in memory get one storage together."""
        arrays = [little_endian(array) for array in arrays]
        self._kept_alive.append(arrays)
        records: dict[int, TensorRecord] = {}
        for group in _overlapping(arrays):
            if len(group) == 1 and not _is_dense(arrays[group[0]]):
                compact = arrays[group[0]].copy(order="C")
                records[group[0]] = self._store([compact])[0]
            else:
                records.update(zip(group, self._store([arrays[index] for index in group]), strict=True))
        return [records[index] for index in range(len(arrays))]

    def _store(self, views: list[Array]) -> list[TensorRecord]:
        """One storage that spans all ``views``, which have one dtype and no negative strides."""
        dtype = views[0].dtype
        name = dtype.name
        begin = min(_bounds(view)[0] for view in views)
        end = max(_bounds(view)[1] for view in views)
        first = next(view for view in views if _bounds(view)[0] == begin)
        elements = (end - begin) // dtype.itemsize
        corner = first[(slice(0, 1),) * first.ndim]
        span = np.lib.stride_tricks.as_strided(corner, (elements,), (dtype.itemsize,))
        kind = StorageKind(name if name in TORCH_STORAGES.values() else None)
        numel = elements if kind.dtype else elements * dtype.itemsize
        storage = StorageRecord(kind, str(len(self.contents)), "cpu", numel)
        self.contents.append(span.view(np.uint8))
        return [
            TensorRecord(
                storage,
                name,
                (_bounds(view)[0] - begin) // dtype.itemsize,
                view.shape,
                tuple(stride // dtype.itemsize for stride in view.strides),
            )
            for view in views
        ]


def _requiring_grad(tensor: TensorRecord) -> TensorRecord:
    return TensorRecord(tensor.storage, tensor.dtype, tensor.offset, tensor.size, tensor.stride, requires_grad=True)


def _leaves(obj: Any) -> list[Any]:
    """All objects in ``obj`` that are neither containers nor scalars of Python, each once."""
    plain = (type(None), bool, int, float, complex, str, bytes, bytearray)
    found: dict[int, Any] = {}
    met: set[int] = set()
    todo = [obj]
    while todo:
        value = todo.pop()
        if type(value) in plain or id(value) in met:
            continue
        met.add(id(value))
        if type(value) in (dict, OrderedDict):
            todo.extend(value.values())
        elif type(value) in (list, tuple, set):
            todo.extend(value)
        else:
            found[id(value)] = value
    return list(found.values())[::-1]


def _overlapping(arrays: list[Array]) -> list[list[int]]:
    """The indices of ``arrays`` in groups that share memory and can be views of one storage."""
    groups: dict[Any, list[int]] = {}
    reach: dict[Any, int] = {}
    latest: dict[Any, Any] = {}
    for index in sorted(range(len(arrays)), key=lambda index: _bounds(arrays[index])):
        array = arrays[index]
        if array.dtype.name not in DTYPES:
            raise TypeError(f"an array of dtype {array.dtype} cannot be stored; expected one of {', '.join(DTYPES)}")
        begin, end = _bounds(array)
        itemsize = array.dtype.itemsize
        family: Any = (array.dtype.name, begin % itemsize)
        if array.size == 0 or any(stride < 0 or stride % itemsize for stride in array.strides):
            groups[("alone", index)] = [index]
        elif family in reach and begin < reach[family]:
            groups[latest[family]].append(index)
            reach[family] = max(reach[family], end)
        else:
            latest[family] = (family, index)
            groups[latest[family]] = [index]
            reach[family] = end
    return sorted(groups.values(), key=min)


def _is_dense(array: Array) -> bool:
    """Whether the memory between the first and the last element is worth storing as it is."""
    begin, end = _bounds(array)
    return array.size > 0 and min(array.strides, default=0) >= 0 and end - begin <= array.nbytes


def _bounds(array: Array) -> tuple[int, int]:
    return np.lib.array_utils.byte_bounds(array)
