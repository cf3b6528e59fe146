"""The Tensor: an array, what shares its memory, and its place in the graph.

Here is only what every tensor is. Operators (``x.exp()``, ``x + y``, ``x[0]``) are attached by the modules that
define them with `method`, so that this file imports nothing above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Number
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from torchlite import backends, dtypes
from torchlite.autograd.grad_mode import InferenceStorage, grad_mode
from torchlite.autograd.graph import Leaf, Selected, Storage
from torchlite.backends.memory import address, dense_strides
from torchlite.batching.level import Batched, Level, levels
from torchlite.devices import Device
from torchlite.integers import integer
from torchlite.ir import Aval
from torchlite.layouts import contiguous_format, memory_format
from torchlite.names_of_numpy import taking_names_of_numpy
from torchlite.size import Size, size_of
from torchlite.tracing import active

F = TypeVar("F", bound=Callable[..., Any])
_new = object.__new__
_ABSTRACT = (Aval, Batched)  # shapes and dtypes whose numbers are elsewhere, or nowhere


class Tensor:
    """A multi-dimensional array with a dtype, a device and, where wanted, a history for gradients.

    ``Tensor(2, 3)`` makes an uninitialised float tensor of that shape and ``Tensor([1, 2])`` a float tensor of those
    numbers, as PyTorch's legacy constructor does; prefer ``torchlite.tensor``.
    """

    _data: Any
    _storage: Storage
    _node: Any = None
    # For a view: the tensor it was taken from, and the view operators (with parameters) that lead from there to here.
    _base: Tensor | None = None
    _recipe: tuple[tuple[Any, dict[str, Any]], ...] = ()
    _grad: Tensor | None = None

    def __new__(cls, *args: Any, **_kwargs: Any) -> Any:
        if len(args) == 1 and not isinstance(args[0], (int, np.integer)):
            source = args[0]._data if isinstance(args[0], Tensor) else args[0]
            array = source if isinstance(args[0], Tensor) else np.array(source, dtypes.get_default_dtype().numpy)
        else:
            array = np.empty(tuple(int(a) for a in args), dtypes.get_default_dtype().numpy)
        return wrap(array, cls=cls)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]

        add_: Any
        sub_: Any
        mul_: Any
        div_: Any
        floor_divide_: Any
        remainder_: Any
        pow_: Any

    @property
    def shape(self) -> Size:
        """Lengths of the dimensions."""
        return size_of(self._data.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._data.shape)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._data.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of dimension ``dim``."""
        return self.shape if dim is None else self._data.shape[self._checked_dim(dim)]

    def _checked_dim(self, dim: int) -> int:
        ndim = self.ndim
        if not -ndim <= dim < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim}) "
                f"for a tensor of shape {list(self.shape)}"
            )
        return integer(dim) % ndim

    def numel(self) -> int:
        """Number of elements."""
        return int(self._data.size)

    nelement = numel

    @property
    def dtype(self) -> dtypes.dtype:
        """The type of the elements."""
        return dtypes.of(self._data.dtype)

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return backends.device_of(self._data)

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are on a GPU."""
        return self.device.type == "cuda"

    @property
    def is_meta(self) -> bool:
        """Whether this is a shape and dtype without elements."""
        return isinstance(self._data, Aval) and self._data.device.type == "meta"

    @property
    def itemsize(self) -> int:
        """Size of one element in bytes."""
        return int(self._data.dtype.itemsize)

    def element_size(self) -> int:
        """Size of one element in bytes."""
        return self.itemsize

    @property
    def nbytes(self) -> int:
        """Size of all elements in bytes."""
        return self.numel() * self.itemsize

    def is_floating_point(self) -> bool:
        """Whether the dtype is a real floating-point type."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self.dtype.is_complex

    def stride(self, dim: int | None = None) -> Any:
        """Distance in elements between neighbours along each dimension, or along ``dim``."""
        data = self._data
        if type(data) in _ABSTRACT or not (data.size or any(data.strides)):  # of nothing NumPy remembers no strides
            result = dense_strides(data.shape)
        else:
            result = tuple(s // data.itemsize for s in data.strides)
        return result if dim is None else result[self._checked_dim(dim)]

    def is_contiguous(self, memory_format: memory_format = contiguous_format) -> bool:
        """Whether the elements lie in memory without gaps, in row-major order or that of ``memory_format``."""
        data = self._data
        if not memory_format.order:
            return type(data) in _ABSTRACT or bool(data.flags.c_contiguous)
        if len(memory_format.order) != data.ndim or type(data) in _ABSTRACT:
            return False
        return bool(data.transpose(memory_format.order).flags.c_contiguous)

    def data_ptr(self) -> int:
        """Address of the first element."""
        return 0 if isinstance(self._data, Aval) else address(self._data)

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded; may be set on tensors that are not results."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            if not wanted:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return
        data = self._data  # a tracer notes here how the tensor was
        if not wanted:
            self._node = None
        elif self._node is None:
            if data.dtype.kind in "biu":
                raise RuntimeError(
                    f"only Tensors of floating point and complex dtype can require gradients, got {self.dtype}"
                )
            if self.is_inference() and not grad_mode.inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed; use .clone()"
                )
            if levels.stack:  # a point to differentiate at belongs to the level in which it is made, until that ends
                inside = lifted(self.detach(), levels.stack[-1])._data
                if inside is not data:
                    self._data = inside
                    levels.stack[-1].lifted.append(self)
            self._node = Leaf(self)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def is_inference(self) -> bool:
        """Whether this was made in `inference_mode`."""
        return type(self._storage) is InferenceStorage

    @property
    def is_leaf(self) -> bool:
        """Whether this is not the recorded result of an operation."""
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made this tensor; None for leaves."""
        if self.is_leaf:
            return None
        return self._node.parent if type(self._node) is Selected else self._node

    @property
    def output_nr(self) -> int:
        """Which result of its ``grad_fn`` this is."""
        return self._node.index if type(self._node) is Selected else 0

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has gathered here, None before."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got {type(value).__name__}")
            if value._data.shape != self._data.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: got {list(value.shape)} "
                    f"for a tensor of shape {list(self.shape)}"
                )
            if value._data.dtype != self._data.dtype:
                raise RuntimeError(
                    f"assigned grad has dtype {value.dtype} for a tensor of dtype {self.dtype}; convert it with .to()"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
        self._grad = value

    @property
    def data(self) -> Tensor:
        """The same memory without history; writes through it are not tracked."""
        shared: Tensor = wrap(self._data)
        return shared

    @data.setter
    def data(self, value: Tensor) -> None:
        self._data = value._data
        if type(self._node) is Leaf:
            leaf = Leaf(self)
            leaf.hooks, leaf.after = self._node.hooks, self._node.after
            self._node = leaf

    @property
    def _version(self) -> int:
        return self._storage.writes

    def detach(self) -> Tensor:
        """The same memory without history."""
        result: Tensor = wrap(self._data)
        result._storage = self._storage
        return result

    def detach_(self) -> Tensor:
        """Forget the history of this tensor.

        Raises:
            RuntimeError: for a view, whose history is that of its base.
        """
        if self._base is not None and self._node is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node = None
        return self

    # NumPy leaves `ndarray + tensor` to the tensor.
    __array_priority__ = 1000

    def item(self) -> Any:
        """The only element, as a Python number.

        Raises:
            RuntimeError: when there is not exactly one element.
        """
        data = self._data
        if data.size != 1:
            raise RuntimeError(
                f"a Tensor with {data.size} elements cannot be converted to Scalar: its shape is {list(self.shape)}"
            )
        return active.tracer.number(data) if active.tracer is not None else _number(backends.to_numpy(data).reshape(()))

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        array = backends.to_numpy(self._data)
        return array.astype(np.float32).tolist() if array.dtype == dtypes.bfloat16.numpy else array.tolist()

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise RuntimeError(
                f"Boolean value of Tensor with {'no values' if self._data.size == 0 else 'more than one value'} "
                f"is ambiguous: its shape is {list(self.shape)}; use .any() or .all()"
            )
        return bool(self.item())

    __nonzero__ = __bool__

    def __int__(self) -> int:
        return int(self._only())

    def __float__(self) -> float:
        value = self._only()
        if isinstance(value, complex):
            if value.imag:
                raise RuntimeError("value cannot be converted to type double without overflow")
            value = value.real
        return float(value)

    def __complex__(self) -> complex:
        return complex(self._only())

    def _only(self) -> Any:
        if self._data.size != 1:
            raise ValueError(
                f"only one element tensors can be converted to Python scalars; this one has shape {list(self.shape)}"
            )
        return self.item()

    def __index__(self) -> int:
        if self._data.dtype.kind not in "biu":
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 and not self.is_meta else object.__format__(self, spec)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return int(self._data.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        if not isinstance(element, (Tensor, Number)):
            raise RuntimeError(
                f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
            )
        return bool((self == element).any())

    def __delitem__(self, _index: Any) -> None:
        raise TypeError("Tensor does not support deleting items")

    def __hash__(self) -> int:
        return id(self)


def lifted(x: Tensor, level: Level) -> Tensor:
    """``x`` as a tensor of a `vmap` that is under way: inside it is a constant, outside it keeps its history."""
    if type(x._data) is Batched and x._data.level is level:
        return x
    inside: Tensor = wrap(Batched(x, False, level))
    return inside


def wrap(array: Any, node: Any = None, *, cls: type[Any] = Tensor) -> Any:
    """A tensor around ``array``, not copied, with a storage of its own."""
    result = _new(cls)
    result._data = array
    result._storage = Storage()
    if node is not None:
        result._node = node
    return result


def method(*names: str) -> Callable[[F], F]:
    """Attach a function as the methods ``names`` of Tensor (its own name when none is given)."""

    def attach(function: F) -> F:
        for name in names or (function.__name__,):
            setattr(Tensor, name, taking_names_of_numpy(function))
        return function

    return attach


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


def is_inference(input: Tensor) -> bool:
    """Whether a tensor was made in `inference_mode`."""
    return input.is_inference()


def _number(array: np.ndarray[Any, Any]) -> Any:
    return float(array) if array.dtype == dtypes.bfloat16.numpy else array.item()
