"""Hooks on tensors: functions that see gradients when backward has computed them."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torchlite._tensor import Tensor, method
from torchlite.autograd.engine import Walk, walks
from torchlite.autograd.graph import Leaf
from torchlite.autograd.hooks import RemovableHandle

_RETAIN = "retain_grad"


@method("register_hook")
def register_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Call ``hook(grad)`` when the gradient of this tensor is known; what it returns replaces the gradient.

    Raises:
        RuntimeError: when the tensor requires no gradient.
    """
    if self._node is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if self._node.hooks is None:
        self._node.hooks = OrderedDict()
    hooks = self._node.hooks
    handle = RemovableHandle(hooks, hook)
    if _RETAIN in hooks:  # what is retained is the gradient after all hooks
        hooks.move_to_end(_RETAIN)
    return handle


@method("register_post_accumulate_grad_hook")
def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Call ``hook(tensor)`` whenever backward has added to the ``.grad`` of this leaf.

    An optimizer's step can so be done, and the gradient dropped, while backward goes on.

    Raises:
        RuntimeError: when the tensor requires no gradient, or is no leaf.
    """
    if self._node is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if type(self._node) is not Leaf:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    if self._node.after is None:
        self._node.after = OrderedDict()
    return RemovableHandle(self._node.after, hook)


@method("retain_grad")
def retain_grad(self: Tensor) -> None:
    """Make this result keep its gradient in ``.grad``, as leaves do.

    Raises:
        RuntimeError: when the tensor requires no gradient.
    """
    if self._node is None:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if self.is_leaf or self.retains_grad:
        return
    ref = weakref.ref(self)

    def keep(g: Tensor) -> None:
        tensor = ref()
        if tensor is not None:
            tensor._grad = g if tensor._grad is None else tensor._grad + g

    if self._node.hooks is None:
        self._node.hooks = OrderedDict()
    self._node.hooks[_RETAIN] = keep


def _retains_grad(self: Tensor) -> bool:
    """Whether this is a result whose gradient is kept; see `retain_grad`."""
    return not self.is_leaf and _RETAIN in (self._node.hooks or ())


Tensor.retains_grad = property(_retains_grad)  # type: ignore[attr-defined]


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[[Any], None], *, mode: str = "all") -> _Handles:
    """Call ``fn`` in each backward once the gradients of ``tensors`` are known.

    Args:
        tensors: what to wait for; those that a backward does not reach are not waited for.
        fn: with ``mode="all"`` gets the list of gradients, None where there is none; with ``"any"`` the first one.
        mode: "all" or "any".
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    nodes = [None if x._node is None else weakref.ref(x._node) for x in tensors]  # weak: they will hold the hooks
    waiting: weakref.WeakKeyDictionary[Walk, list[Any]] = weakref.WeakKeyDictionary()  # gradients missing, and found

    def seen(place: int, g: Tensor) -> None:
        walk = walks.stack[-1]
        if walk not in waiting:
            waiting[walk] = [_expected(walk, nodes) if mode == "all" else 1, [None] * len(nodes)]
        state = waiting[walk]
        state[0] -= 1
        state[1][place] = g
        if state[0] == 0:
            fn(state[1] if mode == "all" else g)

    def hook(place: int) -> Callable[[Tensor], None]:
        return lambda g: seen(place, g)

    return _Handles([register_hook(x, hook(i)) for i, x in enumerate(tensors) if mode == "all" or x.requires_grad])


def _expected(walk: Walk, nodes: Sequence[weakref.ref[Any] | None]) -> int:
    """The gradients of how many of ``nodes`` a backward pass computes."""
    visited = walk.visits()
    return sum(node is not None and node() in visited for node in nodes)


class _Handles:
    """Removes all of several hooks."""

    def __init__(self, handles: list[RemovableHandle]) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Stop calling the hooks."""
        for handle in self.handles:
            handle.remove()
