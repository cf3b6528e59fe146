"""The memory behind tensors: looking at it, sharing it, and tensors that change their shape in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.autograd.graph import Leaf, Storage
from torchlite.backends.memory import address, dense_strides, layout, memory, span, strided
from torchlite.devices import Device
from torchlite.ir import Aval, Shape
from torchlite.layouts import channels_last, channels_last_3d, contiguous_format, memory_format, preserve_format


class UntypedStorage:
    """The bytes that one tensor or several look at; ``x.untyped_storage()`` gives those of a tensor.

    Tensors share memory exactly when their storages have one ``data_ptr()``.
    """

    def __init__(self, size: int = 0, *, device: Any = "cpu") -> None:
        self._bytes: Any = backends.to_device(np.zeros(size, np.uint8), backends.resolve(Device(device)))

    @classmethod
    def _of(cls, bytes_: Any) -> UntypedStorage:
        storage = cls.__new__(cls)
        storage._bytes = bytes_
        return storage

    def data_ptr(self) -> int:
        """Address of the first byte."""
        return address(self._bytes)

    def nbytes(self) -> int:
        """Number of bytes."""
        return int(self._bytes.size)

    def size(self) -> int:
        """Number of bytes."""
        return int(self._bytes.size)

    def element_size(self) -> int:
        """Size of an element in bytes: 1."""
        return 1

    def __len__(self) -> int:
        return int(self._bytes.size)

    @property
    def device(self) -> Device:
        """Where the bytes are."""
        return backends.device_of(self._bytes)

    def tolist(self) -> list[int]:
        """The bytes as a list of integers."""
        return [int(b) for b in backends.to_numpy(self._bytes)]

    def __getitem__(self, index: int) -> int:
        return int(self._bytes[index])

    def clone(self) -> UntypedStorage:
        """A copy."""
        return UntypedStorage._of(self._bytes.copy())

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def __repr__(self) -> str:
        return _listed(self, f"torch.storage.UntypedStorage(device={self.device})")


class TypedStorage:
    """A storage whose elements have a dtype; ``x.storage()`` gives that of a tensor."""

    def __init__(self, storage: UntypedStorage, dtype: dtypes.dtype) -> None:
        self._storage = storage
        self.dtype = dtype

    def _elements(self) -> Any:
        return self._storage._bytes.view(self.dtype.numpy)

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self._storage.data_ptr()

    def nbytes(self) -> int:
        """Number of bytes."""
        return self._storage.nbytes()

    def size(self) -> int:
        """Number of elements."""
        return len(self._storage) // self.dtype.itemsize

    def element_size(self) -> int:
        """Size of an element in bytes."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        return self.size()

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return self._storage.device

    def tolist(self) -> list[Any]:
        """The elements as a list of Python numbers."""
        return list(backends.to_numpy(self._elements()).tolist())

    def __getitem__(self, index: int) -> Any:
        return self._elements()[index].item()

    def untyped(self) -> UntypedStorage:
        """The bytes."""
        return self._storage

    def __repr__(self) -> str:
        return _listed(self, f"torch.storage.TypedStorage(dtype={self.dtype}, device={self.device})")


def _listed(storage: Any, what: str) -> str:
    return "\n".join([*(f" {value}" for value in storage.tolist()), f"[{what} of size {len(storage)}]"])


@method()
def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that this tensor and its views look at.

    Raises:
        RuntimeError: for a tensor on the meta device, which has none.
    """
    if isinstance(self._data, Aval):
        raise RuntimeError("untyped_storage: a tensor on device 'meta' has no memory")
    return UntypedStorage._of(memory(self._data))


@method()
def storage(self: Tensor) -> TypedStorage:
    """The memory that this tensor and its views look at, as elements of its dtype."""
    return TypedStorage(untyped_storage(self), self.dtype)


@method()
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both tensors are the same elements of the same memory in the same order."""
    a, b = self._data, tensor._data
    if isinstance(a, Aval) or isinstance(b, Aval):
        return self is tensor
    return bool(
        address(memory(a)) == address(memory(b))
        and layout(a) == layout(b)
        and a.shape == b.shape
        and a.dtype == b.dtype
    )


@method()
def set_(
    self: Tensor,
    source: Tensor | UntypedStorage | TypedStorage | None = None,
    storage_offset: int = 0,
    size: Sequence[int] | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:
    """Make this tensor look at the memory of ``source`` (a tensor or storage); at nothing without one.

    Args:
        source: what to look at.
        storage_offset, size, stride: which elements of its memory; a tensor's own, or all of a storage in a row.

    Raises:
        RuntimeError: for a leaf that requires a gradient, another dtype, and a region that leaves the memory.
    """
    _refuse_gradient("set_", self)
    dtype = self._data.dtype
    if source is None:
        self._data = backends.array_module(self._data).empty(0, dtype)
    else:
        of = dtype if isinstance(source, UntypedStorage) else source.dtype.numpy
        if of != dtype:
            raise RuntimeError(
                f"Could not set tensor of type {dtypes.of(of).name} to a tensor of type {self.dtype.name}"
            )
        if isinstance(source, Tensor) and size is None:
            self._data = source._data
        else:
            bytes_ = memory(source._data) if isinstance(source, Tensor) else source.untyped()._bytes
            shape = (len(bytes_) // dtype.itemsize,) if size is None else tuple(size)
            steps = dense_strides(shape) if stride is None else tuple(stride)
            try:
                self._data = strided(bytes_, dtype, shape, (steps, storage_offset))
            except ValueError as error:
                raise RuntimeError(f"set_: {error}") from None
    self._storage, self._base, self._recipe, self._node = Storage(), None, (), None
    return self


@method()
def resize_(self: Tensor, *sizes: Any, memory_format: memory_format = contiguous_format) -> Tensor:
    """Give this tensor the shape ``sizes`` in place: the elements of its memory in a row, new ones where it is too short.

    Raises:
        RuntimeError: for a tensor that requires a gradient, and negative sizes.
    """
    if not sizes:
        raise TypeError('resize_() missing 1 required positional arguments: "size"')
    given = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], (int, np.integer, Tensor)) else sizes
    shape = tuple(int(n) for n in given)
    if min(shape, default=0) < 0:
        raise RuntimeError(f"resize_: sizes must not be negative, got {list(shape)}")
    if self._node is not None:
        raise RuntimeError("cannot resize variables that require grad")
    resize(self, shape, memory_format.order_of(len(shape)))
    self._storage.written()
    return self


@method()
def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: memory_format = contiguous_format) -> Tensor:
    """`resize_` to the shape of another tensor, and with ``preserve_format`` to the order of its dimensions."""
    return resize_(self, tuple(the_template.shape), memory_format=_suggested(the_template, memory_format))


def _suggested(x: Tensor, wanted: memory_format) -> memory_format:
    if wanted is not preserve_format or x.is_contiguous():
        return contiguous_format if wanted is preserve_format else wanted
    return next((f for f in (channels_last, channels_last_3d) if x.is_contiguous(memory_format=f)), contiguous_format)


def resize(x: Tensor, shape: Shape, order: Sequence[int] = ()) -> None:
    """Give ``x`` another shape in place: the same memory where it is large enough, a longer copy of it otherwise.

    Args:
        x: the tensor.
        shape: its new shape.
        order: the dimensions from the slowest to the fastest; row-major without.
    """
    data = x._data
    if isinstance(data, Aval):
        x._data = data._replace(shape=shape)
        x._base, x._recipe = None, ()
        return
    strides, offset = dense_strides(shape, order), layout(data)[1]
    bytes_ = memory(data)
    nbytes = (offset + span(shape, strides)) * data.dtype.itemsize
    if nbytes > bytes_.size:
        grown = backends.array_module(data).empty(nbytes, np.uint8)
        grown[: bytes_.size] = bytes_
        _move(x, grown)
        bytes_ = grown
    x._data = strided(bytes_, data.dtype, shape, (strides, offset))
    x._base, x._recipe = None, ()  # no longer the view that it was


def _move(x: Tensor, bytes_: Any) -> None:
    """Let the tensor of which ``x`` is a view, and its other views, look at longer memory, too."""
    base = x if x._base is None else x._base
    views = [ref() for ref in x._storage.views or ()]
    for y in [base, *(v for v in views if v is not None and v._base is base)]:
        y._data = strided(bytes_, y._data.dtype, tuple(y._data.shape), layout(y._data))


def _refuse_gradient(name: str, x: Tensor) -> None:
    if grad_mode.enabled and type(x._node) is Leaf:
        raise RuntimeError(
            f"a leaf Variable that requires grad is being used in an in-place operation ({name}); "
            "write inside torchlite.no_grad()"
        )


def view_as_dtype(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    """The bytes of ``x`` as elements of another dtype, sharing memory; no gradient flows through it.

    The last dimension changes its length where the elements are of another size.

    Raises:
        RuntimeError: when the last dimension can't be divided so, or its elements do not lie side by side.
    """
    old, new = x._data.dtype.itemsize, dtype.itemsize
    shape = tuple(x._data.shape)
    if old != new:
        _check_divisible(x, dtype)
        shape = (*shape[:-1], shape[-1] * old // new)
    source = x.detach()
    if isinstance(x._data, Aval):
        data: Any = x._data._replace(shape=shape, dtype=dtype.numpy)
    elif x._data.flags.c_contiguous or old == new:
        data = x._data.view(dtype.numpy)
    else:
        strides, offset = layout(x._data)
        steps = (*(s * old // new for s in strides[:-1]), 1)
        data = strided(memory(x._data), dtype.numpy, shape, (steps, offset * old // new))
    out: Tensor = wrap(data)
    out._storage = source._storage
    return out


def _check_divisible(x: Tensor, dtype: dtypes.dtype) -> None:
    what = f"to view {x.dtype.name} as {dtype.name} (different element sizes)"
    if x.ndim == 0:
        raise RuntimeError(f"self.dim() cannot be 0 {what}")
    if isinstance(x._data, Aval):
        strides, offset = x.stride(), 0
    else:
        strides, offset = layout(x._data)
    if strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {strides[-1]}")
    ratio = dtype.itemsize // x.itemsize
    if ratio > 1:
        amounts = {"size(-1)": x.shape[-1], "storage_offset()": offset}
        amounts |= {f"stride({d})": step for d, step in enumerate(strides[:-1])}
        for name, amount in amounts.items():
            if amount % ratio:
                raise RuntimeError(f"self.{name} must be divisible by {ratio} {what}, but got {amount}")
