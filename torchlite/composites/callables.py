"""Python functions applied to every element: slow, for what no operator computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, method, wrap
from torchlite.ops.mutation import copy_
from torchlite.ops.views import expand


@method()
def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace every element x by ``callable(x)``.

    Raises:
        TypeError: for a tensor that is not in host memory.
        RuntimeError: for one that requires a gradient.
    """
    return _mapped("apply_", self, (), callable)


@method()
def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace every element x by ``callable(x, y)``, y from ``tensor`` broadcast; errors as in `apply_`."""
    return _mapped("map_", self, (tensor,), callable)


@method()
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace every element by ``callable`` of it and those of ``x`` and ``y`` broadcast; errors as in `apply_`."""
    return _mapped("map2_", self, (x, y), callable)


def _mapped(name: str, target: Tensor, others: tuple[Tensor, ...], function: Callable[..., Any]) -> Tensor:
    for x in (target, *others):
        if x._node is not None:
            raise RuntimeError(
                f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
            )
        if x.device.type != "cpu":
            raise TypeError(f"{name} is only implemented on CPU tensors, got one on {x.device}")
    columns = [x.reshape(-1).tolist() for x in (target, *(expand(x, target.shape) for x in others))]
    values = [function(*row) for row in zip(*columns, strict=True)]
    return copy_(target, wrap(np.array(values, target._data.dtype).reshape(target.shape)))
