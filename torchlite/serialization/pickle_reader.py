"""A machine for the few pickle opcodes of PyTorch checkpoints, in place of Python's unpickler.

It executes protocol 2 as ``torch.save`` writes it. Globals are looked up in a table of inert records, a call
(REDUCE) is one of the functions below, every step is on a budget, and whatever is not understood is a
`FormatError`. The opcodes are those of CPython's ``pickletools``.
"""

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, Final

from torchlite.errors import FormatError
from torchlite.serialization.limits import DEFAULT_LIMITS, Limits
from torchlite.serialization.pickle_records import (
    BIGGEST_KEY,
    KNOWN_GLOBALS,
    Callee,
    DeviceName,
    DtypeName,
    ParameterRecord,
    StorageKind,
    StorageRecord,
    StoredSize,
    TensorRecord,
)

_LONGEST_GLOBAL = 256
_MARK_BYTES, _CONTAINER_BYTES, _ENTRY_BYTES, _RECORD_BYTES = 40, 80, 100, 250


def read_pickle(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Any:
    """The object that ``data`` describes, tensors as `TensorRecord`, with no cycles and bounded nesting.

    Raises:
        FormatError: ``data`` is not a checkpoint pickle, or exceeds a limit.
    """
    if len(data) > limits.pickle_bytes:
        raise FormatError(f"the pickle has {len(data)} bytes, more than the limit of {limits.pickle_bytes}")
    root = _Machine(data, limits).run()
    _check_tree(root, limits)
    return root


class _Machine:
    """The stack machine; ``position`` is the byte that is executed next."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.position = 0
        self.limits = limits
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.memory_left = limits.pickle_memory_floor_bytes + limits.pickle_memory_ratio * len(data)
        self.tuple_keys = 0

    def run(self) -> Any:
        if self.data[:2] != b"\x80\x02":
            raise self.error("only pickle protocol 2, which torch.save writes by default, is read")
        self.position = 2
        for _ in range(self.limits.pickle_operations):
            (opcode,) = self.take(1)
            if opcode == _STOP:
                return self.result()
            operation = _OPERATIONS.get(opcode)
            if operation is None:
                raise self.error(f"opcode 0x{opcode:02x} has no place in a checkpoint")
            operation(self)
        raise self.error(f"more than the limit of {self.limits.pickle_operations} operations")

    def error(self, what: str) -> FormatError:
        return FormatError(f"at byte {self.position} of the pickle: {what}")

    def take(self, size: int) -> bytes:
        """The next bytes of the program."""
        end = self.position + size
        if end > len(self.data):
            raise self.error("the pickle is truncated")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def take_line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + _LONGEST_GLOBAL)
        if end < 0:
            raise self.error(f"the name of a global does not end within {_LONGEST_GLOBAL} bytes")
        line = self.take(end - self.position + 1)[:-1]
        return line.decode("ascii", errors="backslashreplace")

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.error("the stack is empty")
        return self.stack.pop()

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.error("the stack is empty")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise self.error("there is no mark on the stack")
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def push_new(self, value: Any, weight_bytes: int) -> None:
        self.spend(weight_bytes)
        self.stack.append(value)

    def spend(self, weight_bytes: int) -> None:
        """Account for memory that a short program could otherwise ask for too often."""
        self.memory_left -= weight_bytes
        if self.memory_left < 0:
            raise self.error("its objects need far more memory than a pickle of its size should")

    def result(self) -> Any:
        root = self.pop()
        if self.stack or self.marks:
            raise self.error("objects are left on the stack at the end")
        if self.position != len(self.data):
            raise self.error("bytes follow the end of the pickle")
        return root

    def push_tuple(self, size: int) -> None:
        items = [self.pop() for _ in range(size)]
        self.push_new(tuple(reversed(items)), _CONTAINER_BYTES)

    def push_integer(self, layout: struct.Struct) -> None:
        self.stack.append(layout.unpack(self.take(layout.size))[0])

    def push_long(self) -> None:
        (size,) = self.take(1)
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def push_text(self) -> None:
        (size,) = _UINT32.unpack(self.take(4))
        try:
            self.stack.append(self.take(size).decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise self.error("a string is not UTF-8") from None

    def mark(self) -> None:
        self.spend(_MARK_BYTES)
        self.marks.append(len(self.stack))

    def memo_put(self, layout: struct.Struct) -> None:
        self.spend(_ENTRY_BYTES)
        self.memo[layout.unpack(self.take(layout.size))[0]] = self.top()

    def memo_get(self, layout: struct.Struct) -> None:
        (index,) = layout.unpack(self.take(layout.size))
        if index not in self.memo:
            raise self.error(f"memo {index} is read before it is written")
        self.stack.append(self.memo[index])

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            raise self.error(f"cannot append to {_named(target)}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) not in (dict, OrderedDict):
            raise self.error(f"cannot set items of {_named(target)}")
        if len(items) % 2:
            raise self.error("a key of a dict has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.check_key(key)
            self.spend(_ENTRY_BYTES)
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def check_key(self, key: Any) -> None:
        """Keys must be cheap to hash and not collide on purpose."""
        if type(key) is tuple:
            self.tuple_keys += 1
            if self.tuple_keys > self.limits.pickle_tuple_keys:
                raise self.error(f"more than the limit of {self.limits.pickle_tuple_keys} keys are tuples")
        for part in key if type(key) is tuple else (key,):
            if type(part) not in (str, bytes, int, bool, float, type(None)):
                raise self.error(f"a key of a dict or set is {_named(part)}")
            if type(part) is int and not -BIGGEST_KEY <= part < BIGGEST_KEY:
                raise self.error("an integer key has more than 64 bits")

    def push_global(self) -> None:
        name = (self.take_line(), self.take_line())
        found = KNOWN_GLOBALS.get(name)
        if found is None:
            raise self.error(
                f"it names {'.'.join(name)!r}, which is not part of a plain checkpoint, so it is refused; "
                "only tensors, parameters, storages, containers and numbers are read"
            )
        self.stack.append(found)

    def load_storage(self) -> None:
        """BINPERSID: ``("storage", storage class, key, location, numel)``."""
        match self.pop():
            case ("storage", StorageKind() as kind, str(key), str(location), numel) if _is_count(numel):
                if not (key.isascii() and key.isdigit() and len(key) <= 10):
                    raise self.error(f"the storage key {key[:64]!r} is not a number")
                self.stack.append(StorageRecord(kind, key, location, numel))
            case other:
                raise self.error(f"{_named(other)} is not a reference to a storage")

    def reduce(self) -> None:
        """REDUCE: apply one of the known callables to a tuple of arguments."""
        arguments, callee = self.pop(), self.pop()
        if not isinstance(callee, Callee) or type(arguments) is not tuple:
            raise self.error(f"{_named(callee)} cannot be called")
        self.push_new(self.call(callee, arguments), _RECORD_BYTES)

    def call(self, callee: Callee, arguments: tuple[Any, ...]) -> Any:
        match callee, arguments:
            case Callee.REBUILD_TENSOR_V2, (storage, offset, size, stride, grad, OrderedDict(), *rest):
                return self.rebuild_tensor(storage, offset, size, stride, grad, None, rest)
            case Callee.REBUILD_TENSOR_V3, (storage, offset, size, stride, grad, OrderedDict(), dtype, *rest):
                return self.rebuild_tensor(storage, offset, size, stride, grad, dtype, rest)
            case Callee.REBUILD_PARAMETER, (TensorRecord() as tensor, bool(requires_grad), OrderedDict()):
                return ParameterRecord(tensor, requires_grad)
            case Callee.ORDERED_DICT, ():
                return OrderedDict()
            case Callee.COUNTER, (dict(counts),) if all(map(_is_count, counts.values())):
                return Counter(counts)
            case Callee.SIZE, (tuple(size),) if all(_is_count(length) for length in size):
                return StoredSize(size)
            case Callee.DEVICE, (str(kind),):
                return DeviceName(kind)
            case Callee.DEVICE, (str(kind), index) if _is_count(index):
                return DeviceName(kind, index)
            case Callee.ENCODE, (str(text), "latin1" | "latin-1"):
                return self.encode(text)
            case Callee.BYTES, ():
                return b""
            case Callee.BYTEARRAY, ():
                return bytearray()
            case Callee.BYTEARRAY, (str(text), "latin1" | "latin-1"):
                return bytearray(self.encode(text))
            case Callee.BYTEARRAY, (bytes(content),):
                return bytearray(content)
            case Callee.COMPLEX, (float(real), float(imaginary)):
                return complex(real, imaginary)
            case Callee.SET, (list(items),):
                for item in items:
                    self.check_key(item)
                return set(items)
        raise self.error(f"{'.'.join(callee.value)} is called with arguments that torch.save does not write")

    def encode(self, text: str) -> bytes:
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            raise self.error("bytes are written as text that is not latin-1") from None

    def rebuild_tensor(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        dtype: Any,
        rest: list[Any],
    ) -> TensorRecord:
        metadata = rest[0] if rest else {}
        well_formed = (
            isinstance(storage, StorageRecord)
            and _is_count(offset)
            and type(size) is tuple
            and type(stride) is tuple
            and len(size) == len(stride)
            and all(map(_is_count, size))
            and all(map(_is_count, stride))
            and type(requires_grad) is bool
            and len(rest) <= 1
            and type(metadata) is dict
            and metadata.keys() <= {"conj", "neg"}
            and all(type(value) is bool for value in metadata.values())
        )
        if not well_formed:
            raise self.error("a tensor is described in a way that torch.save does not write")
        if dtype is None:
            dtype = DtypeName(storage.kind.dtype or "uint8")
        elif storage.kind.dtype is not None or not isinstance(dtype, DtypeName):
            raise self.error("the dtype of a tensor does not fit its storage")
        conjugate, negative = metadata.get("conj", False), metadata.get("neg", False)
        return TensorRecord(storage, dtype.name, offset, size, stride, requires_grad, conjugate, negative)

    def build(self) -> None:
        """BUILD: the ``_metadata`` that a module's ``state_dict()`` carries."""
        state, target = self.pop(), self.top()
        if type(target) is not OrderedDict or type(state) is not dict or state.keys() != {"_metadata"}:
            raise self.error(f"attributes of {_named(target)} are set, which no state dict needs")
        vars(target).update(state)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _named(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def _check_tree(root: Any, limits: Limits) -> None:
    """Refuse cycles, deep nesting and shared containers that a plain walk would meet exponentially often."""
    height: dict[int, int] = {}
    nodes: dict[int, int] = {}
    open_containers: set[int] = set()
    todo = [(root, False)]
    while todo:
        value, children_done = todo.pop()
        if id(value) in height:
            continue
        parts = children(value)
        if not parts:
            height[id(value)], nodes[id(value)] = 0, 1
        elif not children_done:
            if id(value) in open_containers:
                raise FormatError("a container in the pickle contains itself")
            open_containers.add(id(value))
            todo.append((value, True))
            todo.extend((part, False) for part in parts if id(part) not in height)
        else:
            open_containers.discard(id(value))
            height[id(value)] = 1 + max(height[id(part)] for part in parts)
            nodes[id(value)] = 1 + sum(nodes[id(part)] for part in parts)
            if height[id(value)] > limits.nesting_depth:
                raise FormatError(f"containers are nested deeper than the limit of {limits.nesting_depth}")
            if nodes[id(value)] > limits.tree_nodes:
                raise FormatError(f"containers hold each other more than {limits.tree_nodes} times")


def children(value: Any) -> list[Any]:
    """What a container of a checkpoint contains, the metadata of a state dict included."""
    if type(value) in (list, tuple):
        return list(value)
    if type(value) is dict:
        return list(value.values())
    if type(value) is OrderedDict:
        return [*value.values(), *vars(value).values()]
    return []


_UINT8, _UINT16, _UINT32 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I")
_INT32, _FLOAT64 = struct.Struct("<i"), struct.Struct(">d")
_STOP: Final = ord(".")

_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord("("): _Machine.mark,
    ord("N"): lambda machine: machine.stack.append(None),
    0x88: lambda machine: machine.stack.append(True),
    0x89: lambda machine: machine.stack.append(False),
    ord("J"): lambda machine: machine.push_integer(_INT32),
    ord("K"): lambda machine: machine.push_integer(_UINT8),
    ord("M"): lambda machine: machine.push_integer(_UINT16),
    ord("G"): lambda machine: machine.push_integer(_FLOAT64),
    0x8A: _Machine.push_long,
    ord("X"): _Machine.push_text,
    ord("]"): lambda machine: machine.push_new([], _CONTAINER_BYTES),
    ord("}"): lambda machine: machine.push_new({}, _CONTAINER_BYTES),
    ord(")"): lambda machine: machine.stack.append(()),
    ord("t"): lambda machine: machine.push_new(tuple(machine.pop_to_mark()), _CONTAINER_BYTES),
    0x85: lambda machine: machine.push_tuple(1),
    0x86: lambda machine: machine.push_tuple(2),
    0x87: lambda machine: machine.push_tuple(3),
    ord("a"): lambda machine: machine.append([machine.pop()]),
    ord("e"): lambda machine: machine.append(machine.pop_to_mark()),
    ord("s"): _Machine.set_item,
    ord("u"): lambda machine: machine.set_items(machine.pop_to_mark()),
    ord("q"): lambda machine: machine.memo_put(_UINT8),
    ord("r"): lambda machine: machine.memo_put(_UINT32),
    ord("h"): lambda machine: machine.memo_get(_UINT8),
    ord("j"): lambda machine: machine.memo_get(_UINT32),
    ord("c"): _Machine.push_global,
    ord("Q"): _Machine.load_storage,
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
}
