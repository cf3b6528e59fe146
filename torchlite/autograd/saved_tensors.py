"""What backward keeps, in the hands of the program: `saved_tensors_hooks` and `save_on_cpu`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import no_grad
from torchlite.autograd.graph import Node, observe, unobserve
from torchlite.batching.level import Unbatchable, levels


class _Active(threading.local):
    def __init__(self) -> None:
        self.hooks: list[saved_tensors_hooks] = []
        self.refused: str | None = None


_active = _Active()


class saved_tensors_hooks:
    """Inside the block, ``pack_hook(tensor)`` is kept for backward in place of each tensor that is to be saved.

    Args:
        pack_hook: gives anything; must not change the tensor.
        unpack_hook: makes of it, in backward, a tensor that equals the first one.

    >>> import torchlite as torch
    >>> x = torch.tensor([2.0, 3.0], requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([4., 6.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if _active.refused is not None:
            raise RuntimeError(_active.refused)
        if levels.stack:
            raise Unbatchable("what is saved for one example of a vmap")
        _active.hooks.append(self)
        observe(self._pack_saved)

    def __exit__(self, *exc: object) -> None:
        unobserve(self._pack_saved)
        _active.hooks.pop()

    def _pack_saved(self, node: Node) -> None:
        """Let the hook have what a new node keeps: its inputs, its result."""
        if not _active.hooks or _active.hooks[-1] is not self:  # another thread's, or hooks further in
            return
        node.saved = [Packed(x, self) if isinstance(x, Tensor) else x for x in node.saved]
        if node.out is None:
            return
        if isinstance(node.shape, list):
            node.out = tuple(kept and (Packed(_alone(*kept), self), kept[1]) for kept in node.out)
        else:
            node.out = (Packed(_alone(*node.out), self), node.out[1])


class save_on_cpu(saved_tensors_hooks):
    """Inside the block, what backward keeps waits in host memory and returns to its device when it is needed."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:  # noqa: ARG002 - PyTorch's
        super().__init__(lambda x: (x.device, x.cpu()), lambda packed: packed[1].to(packed[0]))


class disable_saved_tensors_hooks:
    """Inside the block, `saved_tensors_hooks` are an error with the message ``error_message``."""

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message

    def __enter__(self) -> None:
        self.previous, _active.refused = _active.refused, self.error_message

    def __exit__(self, *exc: object) -> None:
        _active.refused = self.previous


class Packed:
    """What stands in a node for a saved tensor that hooks have taken."""

    __slots__ = ("dtype", "hooks", "shape", "value")

    def __init__(self, x: Tensor, hooks: saved_tensors_hooks) -> None:
        self.shape = x._data.shape
        self.dtype = x._data.dtype
        self.hooks = hooks
        writes = x._storage.writes
        with no_grad(), _outside():
            self.value = hooks.pack_hook(x)
        if x._storage.writes != writes:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack hook can "
                "not be modified by in-place operations as this can lead to unexpected side-effects; write into a "
                ".clone() instead."
            )

    def tensor(self) -> Tensor:
        """The tensor that the hooks give back, without a history."""
        with no_grad():
            x = self.hooks.unpack_hook(self.value)
        if not isinstance(x, Tensor):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(x)}"
            )
        return x.detach()

    def unpacked(self) -> Any:
        """The array of its numbers."""
        return self.tensor()._data


class _outside:
    """Hooks do not apply to what a pack hook itself computes."""

    def __enter__(self) -> None:
        self.hooks, _active.hooks = _active.hooks, []

    def __exit__(self, *exc: object) -> None:
        _active.hooks = self.hooks


def pack(x: Tensor) -> Tensor | Packed:
    """What is to be kept of a tensor: itself, or what the hooks make of it."""
    return Packed(x, _active.hooks[-1]) if _active.hooks else x


def _alone(array: Any, storage: Any) -> Tensor:
    """A result without its history: a node must not hold its own results."""
    x: Tensor = wrap(array)
    x._storage = storage
    return x
