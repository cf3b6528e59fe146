"""Writes the pickle of a checkpoint: the opcodes that `pickle_reader` reads, in ``torch.save``'s way."""

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from torchlite.serialization.dtypes import TORCH_STORAGES
from torchlite.serialization.limits import DEFAULT_LIMITS
from torchlite.serialization.pickle_records import (
    BIGGEST_KEY,
    UNTYPED_STORAGE,
    Callee,
    DeviceName,
    DtypeName,
    ParameterRecord,
    StorageRecord,
    StoredSize,
    TensorRecord,
)

_CONTAINERS = (dict, OrderedDict, list, tuple)
_STORAGE_CLASSES = {dtype: ("torch", storage) for storage, dtype in TORCH_STORAGES.items()}


def write_pickle(root: Any, describe: Callable[[Any], Any]) -> bytes:
    """The pickle of nested dicts, lists, tuples, sets and scalars.

    ``describe`` turns any other object into a record or a scalar, or returns it unchanged if it knows none.
    An object that occurs twice is written once and is one object again when read.

    Raises:
        TypeError: something in ``root`` cannot be part of a checkpoint; the message says where it is.
        ValueError: a container contains itself, or containers are nested too deeply.
    """
    writer = _Writer(describe)
    writer.write(root, "obj", 0)
    return b"\x80\x02" + b"".join(writer.parts) + b"."


class _Writer:
    def __init__(self, describe: Callable[[Any], Any]) -> None:
        self.describe = describe
        self.parts: list[bytes] = []
        self.memo: dict[Any, int] = {}
        self.open_containers: set[int] = set()

    def write(self, value: Any, where: str, depth: int) -> None:
        """Write one object; ``where`` is the path to it that errors name."""
        match value:
            case None:
                self.emit(b"N")
            case True:
                self.emit(b"\x88")
            case False:
                self.emit(b"\x89")
            case int() if type(value) is int:
                self.write_int(value, where)
            case float() if type(value) is float:
                self.emit(b"G", struct.pack(">d", value))
            case str() if type(value) is str:
                self.write_text(value)
            case complex() if type(value) is complex:
                self.write_call(Callee.COMPLEX, (value.real, value.imag), where)
            case DtypeName(name):
                self.write_global("torch", name)
            case _ if self.recall(("id", id(value))):
                pass
            case _ if self.write_object(value, where, depth):
                self.remember(("id", id(value)))
            case _:
                described = self.describe(value)
                if described is value:
                    instead = "its state_dict()" if hasattr(value, "state_dict") else "what it consists of"
                    raise TypeError(
                        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which a .pt file that is "
                        f"safe to load cannot hold; save {instead}: tensors, numbers, strings, bytes and plain dicts, "
                        "lists, tuples or sets of them"
                    )
                self.write(described, where, depth)

    def write_object(self, value: Any, where: str, depth: int) -> bool:
        """Write one object that has an identity; False if it is none of those that a pickle may hold."""
        match value:
            case dict() | list() | tuple() if type(value) in _CONTAINERS:
                self.write_container(value, where, depth)
            case set() if type(value) is set:
                for item in value:
                    _check_key(item, where)
                self.write_call(Callee.SET, (sorted(value, key=repr),), where)
            case Counter() if type(value) is Counter:
                self.write_call(Callee.COUNTER, (dict(value),), where)
            case bytes() if type(value) is bytes:
                self.write_call(Callee.ENCODE, (value.decode("latin-1"), "latin1"), where)
            case bytearray() if type(value) is bytearray:
                self.write_call(Callee.BYTEARRAY, (value.decode("latin-1"), "latin-1") if value else (), where)
            case DeviceName(kind, index):
                self.write_call(Callee.DEVICE, (kind,) if index is None else (kind, index), where)
            case StoredSize():
                self.write_call(Callee.SIZE, (tuple(value),), where)
            case StorageRecord():
                self.write_storage(value, where)
            case TensorRecord():
                self.write_tensor(value, where)
            case ParameterRecord(tensor, requires_grad):
                self.write_call(Callee.REBUILD_PARAMETER, (tensor, requires_grad, OrderedDict()), where)
            case _:
                return False
        return True

    def write_container(self, value: Any, where: str, depth: int) -> None:
        if id(value) in self.open_containers:
            raise ValueError(f"{where} contains itself, which a .pt file that is safe to load cannot hold")
        if depth >= DEFAULT_LIMITS.nesting_depth - 1:
            raise ValueError(f"{where} is nested deeper than {DEFAULT_LIMITS.nesting_depth - 1} containers")
        self.open_containers.add(id(value))
        if type(value) in (dict, OrderedDict):
            self.write_dict(value, where, depth)
        elif type(value) is list:
            self.emit(b"]")
            if value:
                self.write_items(value, b"e", where, depth)
        elif value:
            self.write_items(value, b"t", where, depth)
        else:
            self.emit(b")")
        self.open_containers.discard(id(value))

    def write_items(self, items: Any, close: bytes, where: str, depth: int) -> None:
        self.emit(b"(")
        for index, item in enumerate(items):
            self.write(item, f"{where}[{index}]", depth + 1)
        self.emit(close)

    def write_dict(self, value: dict[Any, Any], where: str, depth: int) -> None:
        if type(value) is OrderedDict:
            self.write_call(Callee.ORDERED_DICT, (), where)
        else:
            self.emit(b"}")
        if value:
            self.emit(b"(")
            for key, item in value.items():
                _check_key(key, where)
                self.write(key, f"{where}.keys()", depth + 1)
                self.write(item, f"{where}[{key!r}]", depth + 1)
            self.emit(b"u")
        if metadata := getattr(value, "_metadata", None):
            self.write_container({"_metadata": metadata}, where, depth + 1)
            self.emit(b"b")

    def write_tensor(self, tensor: TensorRecord, where: str) -> None:
        flags = {"conj": tensor.conjugate, "neg": tensor.negative}
        metadata = {name: True for name, flag in flags.items() if flag}
        common: tuple[Any, ...] = (
            tensor.storage,
            tensor.offset,
            tensor.size,
            tensor.stride,
            tensor.requires_grad,
            OrderedDict(),
        )
        tail = (metadata,) if metadata else ()
        if tensor.storage.kind.dtype is None:
            self.write_call(Callee.REBUILD_TENSOR_V3, (*common, DtypeName(tensor.dtype), *tail), where)
        else:
            self.write_call(Callee.REBUILD_TENSOR_V2, (*common, *tail), where)

    def write_storage(self, storage: StorageRecord, where: str) -> None:
        self.emit(b"(")
        self.write("storage", where, 0)
        dtype = storage.kind.dtype
        self.write_global(*(UNTYPED_STORAGE if dtype is None else _STORAGE_CLASSES[dtype]))
        for part in (storage.key, storage.location, storage.numel):
            self.write(part, where, 0)
        self.emit(b"t", b"Q")

    def write_call(self, callee: Callee, arguments: tuple[Any, ...], where: str) -> None:
        self.write_global(*callee.value)
        self.write_arguments(arguments, where)
        self.emit(b"R")

    def write_arguments(self, arguments: tuple[Any, ...], where: str) -> None:
        """A tuple made for this call only: unlike the caller's objects not remembered by its id."""
        if not arguments:
            self.emit(b")")
            return
        self.emit(b"(")
        for argument in arguments:
            if type(argument) in _CONTAINERS:
                self.write_container(argument, where, 0)
            else:
                self.write(argument, where, 0)
        self.emit(b"t")

    def write_global(self, module: str, name: str) -> None:
        if not self.recall(("global", module, name)):
            self.emit(b"c", f"{module}\n{name}\n".encode("ascii"))
            self.remember(("global", module, name))

    def write_text(self, text: str) -> None:
        if not self.recall(("text", text)):
            raw = text.encode("utf-8", "surrogatepass")
            self.emit(b"X", struct.pack("<I", len(raw)), raw)
            self.remember(("text", text))

    def write_int(self, value: int, where: str) -> None:
        if 0 <= value < 1 << 8:
            self.emit(b"K", struct.pack("<B", value))
        elif 0 <= value < 1 << 16:
            self.emit(b"M", struct.pack("<H", value))
        elif -(1 << 31) <= value < 1 << 31:
            self.emit(b"J", struct.pack("<i", value))
        else:
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            if len(raw) > 255:
                raise ValueError(f"{where} is an integer of {value.bit_length()} bits; at most 2039 can be stored")
            self.emit(b"\x8a", struct.pack("<B", len(raw)), raw)

    def emit(self, *parts: bytes) -> None:
        self.parts.extend(parts)

    def recall(self, key: Any) -> bool:
        """Push the object again if it was written before."""
        index = self.memo.get(key)
        if index is None:
            return False
        self.emit(struct.pack("<cB", b"h", index) if index < 256 else struct.pack("<cI", b"j", index))
        return True

    def remember(self, key: Any) -> None:
        index = len(self.memo)
        self.memo[key] = index
        self.emit(struct.pack("<cB", b"q", index) if index < 256 else struct.pack("<cI", b"r", index))


def _check_key(key: Any, where: str) -> None:
    for part in key if type(key) is tuple else (key,):
        if type(part) not in (str, bytes, int, bool, float, type(None)):
            raise TypeError(
                f"a key of {where} is a {type(part).__name__}: {part!r}; expected str, int or a tuple of them"
            )
        if type(part) is int and not -BIGGEST_KEY <= part < BIGGEST_KEY:
            raise ValueError(f"a key of {where} is an integer of more than 64 bits: {part}")
