"""The tape: what `apply` leaves behind so that backward can be computed.

Edges point from a result to what it was computed from. Nodes are numbered by one clock that also stamps writes, so
"was this saved tensor overwritten after it was saved" is a comparison of two numbers, and "every consumer before its
producer" is descending order.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

clock = itertools.count(1)


class Storage:
    """What tensors that share memory have in common.

    Attributes:
        stamp: clock time of the last in-place write; 0 for never.
        writes: number of in-place writes, PyTorch's ``_version``.
        views: weak references to the differentiable views, whose history a write must renew.
    """

    stamp = 0
    writes = 0
    views: list[weakref.ref[Any]] | None = None

    def add_view(self, view: Any) -> None:
        """Remember a view; references to dead ones are dropped whenever their number could have doubled."""
        views = self.views
        if views is None:
            self.views = [weakref.ref(view)]
            return
        views.append(weakref.ref(view))
        n = len(views)
        if n >= 16 and n & (n - 1) == 0:
            self.views = [ref for ref in views if ref() is not None]

    def written(self) -> None:
        """Note an in-place write."""
        self.stamp = next(clock)
        self.writes += 1


class Node:
    """One recorded operation: a vertex of the graph behind ``tensor.grad_fn``.

    Attributes:
        op: the operator's record.
        params: its keyword parameters.
        edges: the node of each input, None where no gradient flows.
        saved: each input that the gradient rules read, None for the others.
        out: (array, storage) of the result, or a tuple of them, where the gradient rules read it.
        shape, dtype: of the result, NumPy's dtype.
        seq: clock time at which it was recorded.
    """

    __slots__ = ("__weakref__", "dtype", "edges", "hooks", "op", "out", "params", "saved", "seq", "shape")

    def __init__(self, op: Any, params: dict[str, Any], edges: list[Any], saved: Any, shape: Any, dtype: Any) -> None:
        self.op = op
        self.params = params
        self.edges = edges
        self.saved = saved
        self.out: Any = None
        self.shape = shape
        self.dtype = dtype
        self.hooks: list[Any] | None = None
        self.seq = next(clock)

    def name(self) -> str:
        """PyTorch's name of the node, such as ``MulBackward0``."""
        return "".join(part.capitalize() for part in str(self.op.name).split("_")) + "Backward0"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that this one sends gradients to, as PyTorch lists them."""
        return tuple((edge, 0) for edge in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class Selected:
    """One result of an operation with several: passes its gradient to that place of the operation's node."""

    __slots__ = ("__weakref__", "dtype", "hooks", "index", "parent", "seq", "shape")

    def __init__(self, parent: Node, index: int, shape: Any, dtype: Any) -> None:
        self.parent = parent
        self.index = index
        self.shape = shape
        self.dtype = dtype
        self.hooks: list[Any] | None = None
        self.seq = next(clock)

    def name(self) -> str:
        """The name of the operation's node."""
        return self.parent.name()

    def __repr__(self) -> str:
        return repr(self.parent)


class Leaf:
    """The end of the graph at a tensor made by the user: gradients gather in its ``.grad``."""

    __slots__ = ("__weakref__", "dtype", "hooks", "shape", "tensor")
    seq = 0

    def __init__(self, tensor: Any) -> None:
        # Weak, because the tensor holds this node: a cycle would keep both until the collector runs.
        self.tensor = weakref.ref(tensor)
        self.shape = tensor._data.shape
        self.dtype = tensor._data.dtype
        self.hooks: list[Any] | None = None

    def name(self) -> str:
        """PyTorch's name for it."""
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return f"<{self.name()}>"
