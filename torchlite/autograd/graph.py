"""The tape: what `apply` leaves behind so that backward can be computed.

Edges point from a result to what it was computed from. Nodes are numbered by one clock that also stamps writes, so
"was this saved tensor overwritten after it was saved" is a comparison of two numbers, and "every consumer before its
producer" is descending order.
"""

from __future__ import annotations

import importlib
import itertools
import re
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torchlite.autograd.hooks import Hooked, Hooks

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

    def written(self, times: int = 1) -> None:
        """Note in-place writes."""
        self.stamp = next(clock)
        self.writes += times

    @staticmethod
    def all_written(storages: Iterable[Storage], times: int) -> None:
        """Note in-place writes of several at the same time."""
        stamp = next(clock)
        for storage in storages:
            storage.stamp = stamp
            storage.writes += times


class Node(Hooked):
    """One recorded operation: a vertex of the graph behind ``tensor.grad_fn``.

    Attributes:
        op: the operator's record.
        params: its keyword parameters.
        edges: the node of each input, None where no gradient flows.
        saved: each input that the gradient rules read, None for the others.
        out: (array, storage) of the result, or a tuple of them, where the gradient rules read it; None for each of several
            results that they don't read.
        shape, dtype: of the result, NumPy's dtype.
        places: of each of several results, while it is in use, where its gradient arrives; unset for one result.
        seq: clock time at which it was recorded.
    """

    __slots__ = ("__weakref__", "dtype", "edges", "hooks", "op", "out", "params", "places", "saved", "seq", "shape")
    places: dict[int, weakref.ref[Selected]]

    def __init__(
        self, op: Any, params: dict[str, Any], edges: list[Any], saved: Any, shape: Any, dtype: Any, out: Any = None
    ) -> None:
        self.op = op
        self.params = params
        self.edges = edges
        self.saved = saved
        self.out = out
        self.shape = shape
        self.dtype = dtype
        self.hooks: Hooks | None = None
        self.seq = next(clock)

    def name(self) -> str:
        """PyTorch's name of the node, such as ``MulBackward0``, where its operator is one of PyTorch's."""
        name = _NAMES.get(self.op.name, self.op.name)
        if name in _PRODUCTS:
            name = _PRODUCTS[name][len(self.shape) != 2]
        return re.sub(r"(^|_|(?<=\d))([a-z])", lambda found: found[2].upper(), name) + "Backward0"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that this one sends gradients to, each with the place of the result that was used."""
        return tuple((e.parent, e.index) if type(e) is Selected else (e, 0) for e in self.edges)


# PyTorch's names of products of two matrices, and of batches.
_PRODUCTS = {"matmul": ("mm", "bmm"), "matmul_added": ("addmm", "baddbmm")}
# PyTorch's names of operators that have another one here.
_NAMES = {
    "cast": "to_copy",
    "cholesky_factor": "linalg_cholesky_ex",
    "constant_pad": "constant_pad_nd",
    "conv2d": "convolution",
    "determinant": "linalg_det",
    "eig": "linalg_eig",
    "eigh": "linalg_eigh",
    "gated": "glu",
    "inverse": "linalg_inv_ex",
    "linear": "addmm",
    "log_determinant": "linalg_slogdet",
    "log_odds": "logit",
    "lu_factor": "linalg_lu_factor_ex",
    "matrix_exp": "linalg_matrix_exp",
    "pinv": "linalg_pinv",
    "qr": "linalg_qr",
    "solve_matrix": "linalg_solve_ex",
    "solve_triangle": "linalg_solve_triangular",
    "svd": "linalg_svd",
    "vector_norm": "linalg_vector_norm",
    "view_scatter": "copy_slices",
}


class Selected(Hooked):
    """One result of an operation with several: passes its gradient to that place of the operation's node."""

    __slots__ = ("__weakref__", "dtype", "hooks", "index", "parent", "seq", "shape")

    def __init__(self, parent: Node, index: int, shape: Any, dtype: Any) -> None:
        self.parent = parent
        self.index = index
        self.shape = shape
        self.dtype = dtype
        self.hooks: Hooks | None = None
        self.seq = next(clock)

    def name(self) -> str:
        """The name of the operation's node."""
        return self.parent.name()


def place_of(parent: Node, index: int, shape: Any, dtype: Any) -> Selected:
    """Where the gradient of result ``index`` of an operation with several arrives: one object while it is in use."""
    try:
        places = parent.places
    except AttributeError:
        places = parent.places = {}
    reference = places.get(index)
    place = None if reference is None else reference()
    if place is None:
        place = Selected(parent, index, shape, dtype)
        places[index] = weakref.ref(place)
    return place


class Leaf(Hooked):
    """The end of the graph at a tensor made by the user: gradients gather in its ``.grad``."""

    __slots__ = ("__weakref__", "after", "dtype", "hooks", "shape", "tensor")
    seq = 0
    edges: tuple[Any, ...] = ()

    def __init__(self, tensor: Any) -> None:
        # Weak, because the tensor holds this node: a cycle would keep both until the collector runs.
        self.tensor = weakref.ref(tensor)
        self.shape = tensor._data.shape
        self.dtype = tensor._data.dtype
        self.hooks: Hooks | None = None
        self.after: Hooks | None = None

    def name(self) -> str:
        """PyTorch's name for it."""
        return "AccumulateGrad"

    @property
    def variable(self) -> Any:
        """The tensor, None when it is gone."""
        return self.tensor()

    @property
    def next_functions(self) -> tuple[Any, ...]:
        """Nothing comes after a leaf."""
        return ()


_plain_init = Node.__init__
_observers: list[Callable[[Node], None]] = []


def observe(callback: Callable[[Node], None]) -> None:
    """Call ``callback`` with every node that is made, until `unobserve`.

    Nodes are made for every recorded operation: while nobody observes, not even the test of a flag is paid there.
    """
    _observers.append(callback)
    setattr(Node, "__init__", _observed_init)  # noqa: B010 - as types see it, methods stay


def unobserve(callback: Callable[[Node], None]) -> None:
    """End what `observe` began."""
    _observers.remove(callback)
    if not _observers:
        setattr(Node, "__init__", _plain_init)  # noqa: B010


def _observed_init(self: Node, *args: Any) -> None:
    _plain_init(self, *args)
    for callback in tuple(_observers):
        callback(self)


# What PyTorch keeps beside the nodes in `torch.autograd.graph` needs tensors, which lie above this file.
_ABOVE = {
    "GradientEdge": "gradient_edge",
    "disable_saved_tensors_hooks": "saved_tensors",
    "get_gradient_edge": "gradient_edge",
    "increment_version": "gradient_edge",
    "register_multi_grad_hook": "tensor_hooks",
    "save_on_cpu": "saved_tensors",
    "saved_tensors_hooks": "saved_tensors",
}


def __getattr__(name: str) -> Any:
    if name in _ABOVE:
        return getattr(importlib.import_module(f"torchlite.autograd.{_ABOVE[name]}"), name)
    raise AttributeError(f"module 'torchlite.autograd.graph' has no attribute {name!r}")
