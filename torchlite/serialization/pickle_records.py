"""What a pickled checkpoint may consist of, beside Python's plain containers and scalars.

A pickle names functions to be called. Here such a name is only a key of `KNOWN_GLOBALS`; it stands for one of
the inert records below, and nothing is ever imported or called because a file says so.
"""

from dataclasses import dataclass
from enum import Enum

from torchlite.serialization.dtypes import DTYPES, TORCH_STORAGES


@dataclass(frozen=True, slots=True)
class DtypeName:
    """A ``torch.dtype`` in a file, by its name without ``torch.``."""

    name: str


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A ``torch.device`` in a file."""

    type: str
    index: int | None = None


class StoredSize(tuple[int, ...]):
    """A ``torch.Size`` in a file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class StorageKind:
    """A storage class: the dtype of its elements, or None for raw bytes."""

    dtype: str | None


@dataclass(frozen=True, slots=True, eq=False)
class StorageRecord:
    """A reference to the archive member ``data/<key>`` of ``numel`` elements (bytes if untyped)."""

    kind: StorageKind
    key: str
    location: str
    numel: int


@dataclass(frozen=True, slots=True, eq=False)
class TensorRecord:
    """A tensor as a file describes it: a view of a storage; offset and strides count elements."""

    storage: StorageRecord
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool = False
    conjugate: bool = False
    negative: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ParameterRecord:
    """A ``torch.nn.Parameter`` around a tensor."""

    tensor: TensorRecord
    requires_grad: bool


class Callee(Enum):
    """The callables that a checkpoint may apply, each rebuilt here by hand."""

    ORDERED_DICT = ("collections", "OrderedDict")
    COUNTER = ("collections", "Counter")
    REBUILD_TENSOR_V2 = ("torch._utils", "_rebuild_tensor_v2")
    REBUILD_TENSOR_V3 = ("torch._utils", "_rebuild_tensor_v3")
    REBUILD_PARAMETER = ("torch._utils", "_rebuild_parameter")
    SIZE = ("torch", "Size")
    DEVICE = ("torch", "device")
    ENCODE = ("_codecs", "encode")
    SET = ("__builtin__", "set")
    BYTES = ("__builtin__", "bytes")
    BYTEARRAY = ("__builtin__", "bytearray")
    COMPLEX = ("__builtin__", "complex")


BIGGEST_KEY = 1 << 63
"""Integers from here on are no keys: their hashes could be made to collide."""

UNTYPED_STORAGE = ("torch.storage", "UntypedStorage")

_PYTHON_2_BUILTINS = (Callee.SET, Callee.BYTES, Callee.BYTEARRAY, Callee.COMPLEX)

KNOWN_GLOBALS: dict[tuple[str, str], Callee | StorageKind | DtypeName] = {
    **{callee.value: callee for callee in Callee},
    **{("builtins", callee.value[1]): callee for callee in _PYTHON_2_BUILTINS},
    **{("torch", storage): StorageKind(dtype) for storage, dtype in TORCH_STORAGES.items()},
    **{("torch", name): DtypeName(name) for name in DTYPES},
    UNTYPED_STORAGE: StorageKind(None),
}
