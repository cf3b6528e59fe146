"""Tensors that a module owns: parameters are trained, buffers are not."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlite._tensor import Tensor, wrap
from torchlite.ops.creation import empty
from torchlite.printing import parameter_repr


class Parameter(Tensor):
    """A tensor that a `Module` registers as its parameter when it is assigned as an attribute.

    Args:
        data: the tensor whose memory it uses.
        requires_grad: whether it is trained.
    """

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        """Take the memory of ``data``, without its history."""
        source = Tensor() if data is None else data
        if not isinstance(source, Tensor):
            raise TypeError(
                f"a Parameter is made from a Tensor, got {type(source).__name__}; use torchlite.tensor(...)"
            )
        parameter: Parameter = wrap(source._data, cls=cls)
        if requires_grad:
            parameter.requires_grad = True
        return parameter

    __repr__ = __str__ = parameter_repr


class Buffer(Tensor):
    """A tensor that a `Module` registers as its buffer when it is assigned as an attribute.

    Args:
        data: the tensor whose memory it uses.
        persistent: whether it is part of the state_dict.
    """

    persistent: bool

    def __new__(cls, data: Tensor, *, persistent: bool = True) -> Buffer:
        """Take the memory of ``data``, without its history."""
        buffer: Buffer = wrap(data._data, cls=cls)
        buffer.persistent = persistent
        return buffer


class _Uninitialized(Tensor):
    """A tensor whose dtype and device are known, and whose shape the first input will decide."""

    _becomes: ClassVar[type[Tensor]]

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Get a shape and uninitialised memory, and be a usual parameter or buffer from then on."""
        own = self.data
        self.data = empty(*shape, device=own.device if device is None else device, dtype=dtype or own.dtype)
        object.__setattr__(self, "__class__", self._becomes)

    @property
    def shape(self) -> Any:
        """Not known yet.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer: call the module with an input first, which "
            "gives it its shape"
        )

    def detach(self) -> Tensor:
        """Itself: there is no memory to share."""
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A `Parameter` without a shape.

    Args:
        requires_grad: whether it is trained.
        device, dtype: of the parameter that it becomes.
    """

    _becomes = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        """An empty tensor that only stands for its dtype and device."""
        parameter: UninitializedParameter = wrap(empty(0, device=device, dtype=dtype)._data, cls=cls)
        if requires_grad:
            parameter.requires_grad = True
        return parameter


class UninitializedBuffer(_Uninitialized):
    """A buffer without a shape.

    Args:
        requires_grad: whether gradients of the buffer that it becomes are wanted.
        device, dtype: of that buffer.
    """

    _becomes = Tensor

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None) -> UninitializedBuffer:
        """An empty tensor that only stands for its dtype and device."""
        buffer: UninitializedBuffer = wrap(empty(0, device=device, dtype=dtype)._data, cls=cls)
        if requires_grad:
            buffer.requires_grad = True
        return buffer


def is_lazy(tensor: Any) -> bool:
    """Whether ``tensor`` has no shape yet."""
    return isinstance(tensor, _Uninitialized)
