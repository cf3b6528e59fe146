"""PyTorch's ``.pt`` files without PyTorch and without unpickling: the zip archives of ``torch.save``.

An archive holds ``data.pkl``, which describes the objects, and one member ``data/<key>`` for each storage.
Tensors that share a storage share memory again when read.
"""

import math
import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from torchlite.errors import FormatError
from torchlite.serialization.atomic import write_file
from torchlite.serialization.dtypes import DTYPES, Array, has_invalid_bools
from torchlite.serialization.limits import DEFAULT_LIMITS, Limits
from torchlite.serialization.pickle_reader import read_pickle
from torchlite.serialization.pickle_records import (
    Callee,
    DeviceName,
    DtypeName,
    ParameterRecord,
    StorageKind,
    StorageRecord,
    StoredSize,
    TensorRecord,
)
from torchlite.serialization.pickle_writer import write_pickle
from torchlite.serialization.source import ByteSource, Source, open_source
from torchlite.serialization.storage_layout import StorageLayout, StoredArray
from torchlite.serialization.zip_archive import Member, ZipArchive, zip_chunks

_ROOT = "archive"
_ALIGNMENT = 64
_SCALARS = (type(None), bool, int, float, complex, str, bytes, bytearray)
_MOST_DIMENSIONS = 64
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def plain(stored: Any) -> Any:
    """What `read_pt` gives without another ``restore``: arrays and tuples; dtypes and devices by name."""
    match stored:
        case StoredArray(array):
            return array
        case StoredSize():
            return tuple(stored)
    return stored


def read_pt(
    source: ByteSource,
    *,
    restore: Callable[[StoredArray | StoredSize | DtypeName | DeviceName], Any] = plain,
    mmap: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Any:
    """Read what ``torch.save`` wrote: nested containers of scalars and arrays.

    Args:
        source: a path, bytes or a binary file.
        restore: makes what the caller wants of each stored tensor, size, dtype and device; see `plain`.
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
        return _Resolver(archive, root, restore, file, limits).resolve(tree)


def write_pt(
    target: str | os.PathLike[str] | BinaryIO,
    obj: Any,
    *,
    describe: Callable[[Any], Any] = lambda leaf: leaf,
) -> None:
    """Write nested containers of scalars and arrays as ``torch.load(..., weights_only=True)`` reads them.

    A path is replaced in one durable step. Arrays that overlap in memory share a storage in the file.

    Args:
        target: a path or a binary file.
        obj: dicts, lists, tuples and sets of None, bool, int, float, complex, str, bytes, arrays; NumPy
            scalars become Python's.
        describe: makes a `StoredArray`, `StoredSize`, `DtypeName` or `DeviceName` of what else it knows.

    Raises:
        TypeError: ``obj`` holds something else; the message says where.
        ValueError: containers contain themselves or are nested too deeply.
        OSError: the write failed; an old file is as it was.
    """
    leaves = _leaves(obj)
    described = [_described(leaf, describe) for leaf in leaves]
    layout = StorageLayout([item for item in described if isinstance(item, StoredArray)])
    tensors = iter(layout.records)
    # `leaves` and `described` keep all objects alive, so that no id is used twice.
    records = {
        id(leaf): next(tensors) if isinstance(item, StoredArray) else item
        for leaf, item in zip(leaves, described, strict=True)
    }
    pickle = write_pickle(obj, lambda leaf: records.get(id(leaf), leaf))
    members = [
        (f"{_ROOT}/data.pkl", pickle),
        (f"{_ROOT}/.format_version", b"1"),
        (f"{_ROOT}/.storage_alignment", str(_ALIGNMENT).encode()),
        (f"{_ROOT}/byteorder", b"little"),
        *((f"{_ROOT}/data/{key}", content) for key, content in enumerate(layout.contents)),
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
        restore: Callable[[Any], Any],
        file: Array | None,
        limits: Limits,
    ) -> None:
        self.archive = archive
        self.root = root
        self.restore = restore
        self.file = file
        self.storages: dict[str, tuple[StorageRecord, Array]] = {}
        self.done: dict[int, Any] = {}
        self.view_bytes = 0
        stored = sum(member.stored_size for member in archive.members.values())
        self.view_limit = limits.view_floor_bytes + limits.view_ratio * stored

    def resolve(self, value: Any) -> Any:
        """``value`` with arrays for records; lists and dicts are filled in place, so they stay shared."""
        if type(value) in _SCALARS:
            return value
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
            case StoredSize() | DtypeName() | DeviceName():
                return self.restore(value)
            case tuple():
                return tuple([self.resolve(item) for item in value])
            case TensorRecord():
                return self.restore(self.stored(value, value.requires_grad))
            case ParameterRecord(tensor, requires_grad):
                return self.restore(self.stored(tensor, requires_grad, is_parameter=True))
            case StorageRecord(kind, _, _, numel):
                dtype = kind.dtype or "uint8"
                return self.restore(self.stored(TensorRecord(value, dtype, 0, (numel,), (1,)), False))
            case StorageKind() | Callee():
                raise self.archive.source.damaged("it holds a class or function in place of an object")
        return value

    def stored(self, record: TensorRecord, requires_grad: bool, *, is_parameter: bool = False) -> StoredArray:
        """The array that ``record`` describes, with what else is known about it."""
        array = self.view(record)
        if requires_grad and array.dtype.kind in "biu":
            raise self.archive.source.damaged(f"a {record.dtype} tensor cannot require a gradient")
        copied = record.conjugate or record.negative or array.size == 0
        storage = None if copied else record.storage.key
        return StoredArray(array, requires_grad, is_parameter, record.storage.location, storage)

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


def _leaves(obj: Any) -> list[Any]:
    """All objects in ``obj`` that are neither containers nor scalars of Python, each once, in their order."""
    found: dict[int, Any] = {}
    met: set[int] = set()
    todo = [obj]
    while todo:
        value = todo.pop()
        if type(value) in _SCALARS or id(value) in met:
            continue
        met.add(id(value))
        if type(value) in (dict, OrderedDict):
            todo.extend(reversed(value.values()))
        elif type(value) in (list, tuple):
            todo.extend(reversed(value))
        elif type(value) not in (set, Counter):
            found[id(value)] = value
    return list(found.values())


def _described(leaf: Any, describe: Callable[[Any], Any]) -> Any:
    described = describe(leaf)
    if isinstance(described, np.generic):
        return described.item()
    return StoredArray(described) if isinstance(described, np.ndarray) else described
