"""What tensors are: questions about their dtype, layout and device, as functions and as methods."""

from __future__ import annotations

from typing import Any

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.backends.sharing import is_shared as is_shared_memory
from torchlite.backends.sharing import shared_copy
from torchlite.layouts import strided
from torchlite.ops.construct import common_dtype

# Kinds of tensors and devices that PyTorch has and this package does not.
_ABSENT = (
    "is_ipu", "is_maia", "is_mkldnn", "is_mps", "is_mtia", "is_nested", "is_quantized", "is_sparse", "is_sparse_csr",
    "is_vulkan", "is_xla", "is_xpu",
)  # fmt: skip
for _name in _ABSENT:
    setattr(Tensor, _name, False)
# Dimensions have no names, and so has no tensor: PyTorch keeps the attribute from before there were modules.
setattr(Tensor, "name", None)  # noqa: B010 - not declared in the class


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.numel()


@method()
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0.

    Raises:
        RuntimeError: when there is not exactly one element.
    """
    return bool(input)


@method()
def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.dtype.is_signed


@method()
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether the shapes are equal."""
    return input.shape == other.shape


@method()
def is_conj(input: Tensor) -> bool:  # noqa: ARG001
    """False: conjugates are always computed here."""
    return False


@method()
def is_neg(input: Tensor) -> bool:  # noqa: ARG001
    """False: signs are always computed here."""
    return False


@method()
def is_distributed(input: Tensor) -> bool:  # noqa: ARG001
    """False: a tensor is always in one process."""
    return False


@method()
def get_device(input: Tensor) -> int:
    """The index of the GPU that holds the elements; -1 for none."""
    return -1 if input.device.index is None else input.device.index


def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype of arithmetic with two tensors or numbers."""
    return common_dtype((tensor1, tensor2))


def typename(obj: Any) -> str:
    """The type of a tensor (as `Tensor.type` says), a class or an object, with its module."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", None)
    return kind.__qualname__ if module in (None, "builtins") else f"{module}.{kind.__qualname__}"


@method()
def ndimension(self: Tensor) -> int:
    """Number of dimensions."""
    return self.ndim


@method()
def to_dense(self: Tensor, dtype: dtypes.dtype | None = None) -> Tensor:
    """The tensor itself, as another dtype where one is given: there are none but dense ones."""
    return self if dtype is None else self.to(dtype)


@method()
def is_shared(self: Tensor) -> bool:
    """Whether other processes see the same memory: after `share_memory_`, and always on a GPU."""
    return self.is_cuda or (_is_cpu(self) and is_shared_memory(self._data))


@method()
def share_memory_(self: Tensor) -> Tensor:
    """Move the elements to memory that processes forked from this one share, so that each sees what others write.

    Views taken before stay where they are.
    """
    if _is_cpu(self) and not self.is_shared():
        self.data = wrap(shared_copy(self._data))
    return self


def _is_cpu(self: Tensor) -> bool:
    """Whether the elements are in host memory."""
    return self.device.type == "cpu"


@method()
def dim_order(self: Tensor) -> tuple[int, ...]:
    """The dimensions from the outermost in memory, with the largest stride, to the innermost."""
    strides = self.stride()
    return tuple(sorted(range(self.ndim), key=lambda d: -strides[d]))


@method()
def dense_dim(self: Tensor) -> int:
    """Number of dimensions: all of them are dense."""
    return self.ndim


@method()
def sparse_dim(self: Tensor) -> int:  # noqa: ARG001
    """0: no dimension is sparse."""
    return 0


@method()
def as_subclass(self: Tensor, cls: type[Any]) -> Any:
    """The same memory and history as an instance of ``cls``, a subclass of Tensor."""
    result = self.detach() if self._node is None else self.view_as(self)
    result.__class__ = cls
    return result


@method()
def is_pinned(self: Tensor, device: Any = None) -> bool:  # noqa: ARG001 - PyTorch's signature
    """Whether the elements are in host memory that a GPU copies from directly."""
    return self.is_cpu and not self.is_meta and backends.is_pinned(self._data)


@method()
def pin_memory(self: Tensor, device: Any = None) -> Tensor:  # noqa: ARG001 - PyTorch's signature
    """The tensor, or a copy, in host memory that a GPU copies from directly.

    Raises:
        RuntimeError: where there is no GPU, or the tensor is on one.
    """
    if not self.is_cpu:
        raise RuntimeError(f"cannot pin '{self.device}', only dense CPU tensors can be pinned")
    if backends.cuda_device_count() == 0:
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return self if is_pinned(self) else wrap(backends.pinned(self._data))


setattr(Tensor, "layout", strided)  # noqa: B010 - not declared in the class
method("const_data_ptr")(Tensor.data_ptr)
Tensor.is_cpu = property(_is_cpu)  # type: ignore[attr-defined]
