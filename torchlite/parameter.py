"""Tensors that a module owns: parameters are trained, buffers are not."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor, wrap
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
