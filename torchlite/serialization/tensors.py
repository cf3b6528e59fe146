"""`save` and `load`: tensors in nested containers, to and from ``.pt`` files that PyTorch reads and writes."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO, TypeAlias

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, wrap
from torchlite.devices import CPU, Device
from torchlite.errors import DeviceError, FormatError
from torchlite.parameter import Parameter
from torchlite.serialization.pickle_records import DeviceName, DtypeName, StoredSize
from torchlite.serialization.pt import read_pt, write_pt
from torchlite.serialization.storage_layout import StoredArray
from torchlite.size import Size

MapLocation: TypeAlias = Callable[[Tensor, str], Tensor | None] | Device | str | dict[str, str] | None

_DTYPES = {dtype.name: dtype for dtype in dtypes.ALL}


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO) -> None:
    """Save tensors in nested dicts, lists, tuples and scalars, as ``torch.save`` does.

    ``torch.load(f, weights_only=True)`` reads the file. Tensors that share memory share it again when loaded. A path
    is replaced in one durable step: whatever happens, it has the old content or the new.

    Args:
        obj: for example ``{"model": model.state_dict(), "epoch": 3}``.
        f: a path or a file opened for writing in binary mode.

    Raises:
        TypeError: ``obj`` holds something that can only be pickled, such as a module; the message says where.
        OSError: the write failed; an old file is as it was.

    >>> import io
    >>> file = io.BytesIO()
    >>> save({"weight": Tensor([1.0, 1.0])}, file)
    >>> load(io.BytesIO(file.getvalue()))
    {'weight': tensor([1., 1.])}
    """
    write_pt(f, obj, describe=describe)


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: MapLocation = None,
    *,
    weights_only: bool | None = True,
    mmap: bool | None = None,
) -> Any:
    """Load what `save` or ``torch.save`` wrote.

    Args:
        f: a path or a file opened for reading in binary mode.
        map_location: where tensors go: a device, a dict from saved to wanted device names, a function of the tensor on
            the CPU and its saved device name that returns a tensor (None: where it was), or None: where they were.
        weights_only: must not be False.
        mmap: map a file's storages into memory (copy-on-write) in place of reading them; needs a path.

    Raises:
        FormatError: the file is damaged, hostile, of PyTorch's format before 1.6, or holds more than plain data.
        DeviceError: the tensors were on a device that this machine does not have; give ``map_location="cpu"``.
        ValueError: ``weights_only=False``.
    """
    if weights_only is False:
        raise ValueError(
            "weights_only=False is refused: it means unpickling, and a pickle can run any code when it is loaded. "
            "torchlite reads tensors, containers and numbers only. Where you trust the file, load it with PyTorch "
            "and torch.save the state_dict()"
        )
    shared: dict[str, Tensor] = {}
    return read_pt(f, restore=lambda stored: restore(stored, map_location, shared), mmap=bool(mmap))


def describe(leaf: Any) -> Any:
    """What a file is to say about a tensor, size, dtype or device; anything else is returned as it is."""
    match leaf:
        case Tensor():
            if leaf.is_meta:
                raise RuntimeError("a tensor on device 'meta' can't be saved: it has no data")
            is_parameter = isinstance(leaf, Parameter)
            return StoredArray(backends.to_numpy(leaf._data), leaf.requires_grad, is_parameter, str(leaf.device))
        case Size():
            return StoredSize(leaf)
        case dtypes.dtype(name=name):
            return DtypeName(name)
        case Device(type=kind, index=index):
            return DeviceName(kind, index)
    return leaf


def restore(stored: Any, map_location: MapLocation = None, shared: dict[str, Tensor] | None = None) -> Any:
    """The tensor, size, dtype or device that a file describes; ``shared`` holds a tensor of each storage met so far."""
    match stored:
        case StoredSize():
            return Size(stored)
        case DtypeName(name):
            if name not in _DTYPES:
                raise FormatError(f"the file names the dtype {name}; torchlite has {', '.join(_DTYPES)}")
            return _DTYPES[name]
        case DeviceName(kind, index):
            try:
                return Device(kind, index)
            except RuntimeError as error:
                raise FormatError(f"the file names a device that torchlite does not have: {error}") from None
    if stored.array.dtype.name not in _DTYPES:
        raise FormatError(
            f"the file holds a tensor of {stored.array.dtype}, torchlite has {', '.join(_DTYPES)}; "
            "torchlite.serialization.read_pt gives it as a NumPy array"
        )
    tensor: Tensor = wrap(stored.array)
    sibling = None if stored.storage is None or shared is None else shared.setdefault(stored.storage, tensor)
    tensor = _placed(tensor, stored.location, map_location)
    if sibling is not None and tensor.device == CPU:
        tensor._storage = sibling._storage
    if stored.is_parameter:
        return Parameter(tensor, requires_grad=stored.requires_grad)
    return tensor.requires_grad_(stored.requires_grad)


def _placed(tensor: Tensor, location: str, map_location: MapLocation) -> Tensor:
    """``tensor`` on the device that ``map_location`` asks for."""
    if callable(map_location):
        placed = map_location(tensor, location)
        if placed is not None:
            return placed
        map_location = None
    if isinstance(map_location, dict):
        map_location = map_location.get(location)
    try:
        device = backends.resolve(Device(location if map_location is None else map_location))
    except RuntimeError as error:
        if map_location is not None:
            raise
        raise DeviceError(f"a tensor was saved on {location!r}: {error}; load it with map_location='cpu'") from None
    return tensor if device == CPU else wrap(backends.to_device(tensor._data, device))
