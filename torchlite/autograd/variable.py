"""`Variable`, which tensors were wrapped in before they could have gradients themselves."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor


class _Meta(type):
    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Tensor)


class Variable(metaclass=_Meta):
    """``Variable(x)`` is a tensor that shares the memory of ``x``; every tensor is an instance.

    >>> import torchlite as torch
    >>> torch.autograd.Variable(torch.ones(2), requires_grad=True)
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor, requires_grad: bool = False) -> Any:
        """The tensor."""
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)
