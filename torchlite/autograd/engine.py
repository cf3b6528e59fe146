"""Backward: from a result along the edges of the graph to the tensors that asked for gradients."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.anomaly import anomaly_mode, check_gradients, forward_location
from torchlite.autograd.grad_mode import grad_mode
from torchlite.autograd.graph import Leaf, Node, Selected, place_of
from torchlite.autograd.hooks import extras
from torchlite.autograd.saved_tensors import Packed
from torchlite.batching.vmap import vmap
from torchlite.ir import Aval, reads

FREED = "freed"
SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed): what {} saved was freed by the first backward. Specify retain_graph=True there if you need to backward "
    "through the graph a second time or to access saved tensors after backward."
)


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Walk:
    """One backward pass: where it begins, and the nodes that lead to what was asked for (None where all do)."""

    roots: Sequence[Any]
    wanted: set[Any] | None

    def visits(self) -> set[Any]:
        """The nodes that it comes to."""
        return _behind(self.roots) if self.wanted is None else self.wanted


class _Walks(threading.local):
    """The passes that are under way in this thread, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[Walk] = []


walks = _Walks()


@method("backward")
def _tensor_backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add d(self)/d(leaf) to the ``.grad`` of every leaf that requires a gradient; see `backward`."""
    backward(self, gradient, retain_graph, create_graph, inputs=inputs)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    *,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the vector-Jacobian product of ``tensors`` to the ``.grad`` of the leaves.

    Args:
        tensors: what to differentiate.
        grad_tensors: the cotangent of each, of its shape; may be left out for a single element (1 is meant).
        retain_graph: keep what the graph saved, so that it can be walked again; default ``create_graph``.
        create_graph: record the computation of the gradients, so that they can be differentiated.
        inputs: gather gradients only here.

    Raises:
        RuntimeError: when a tensor has no history, a needed cotangent is missing, the graph was freed, or a tensor
            that backward needs was overwritten since.
    """
    roots, cotangents = _roots(tensors, grad_tensors)
    keep = create_graph if retain_graph is None else retain_graph
    targets = None if inputs is None else {x._node: x for x in _as_tuple(inputs)}
    if targets is not None and not targets:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    if targets is not None and None in targets:
        raise RuntimeError("One of the differentiated Tensors does not require grad")

    def gather(node: Any, g: Tensor, owned: bool) -> None:
        tensor = node.tensor() if targets is None else targets[node]
        if tensor is not None:
            _accumulate(tensor, g, owned, create_graph)
            if type(node) is Leaf and node.after:
                for hook in tuple(node.after.values()):
                    hook(tensor)

    _walk(roots, cotangents, targets, gather, keep, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,  # noqa: ARG001 - PyTorch's signature
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The vector-Jacobian product of ``outputs`` with respect to ``inputs``; no ``.grad`` is touched.

    Args:
        outputs, grad_outputs, retain_graph, create_graph: as in `backward`.
        inputs: the tensors to differentiate by.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.
        is_grads_batched: each of ``grad_outputs`` has a first dimension over which the results are computed one by one
            and stacked.
        materialize_grads: give zeros there.

    >>> import torchlite as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (dx,) = torch.autograd.grad(x**3, x, create_graph=True)
    >>> dx.item(), torch.autograd.grad(dx, x)[0].item()
    (27.0, 18.0)
    """
    if allow_unused is False and materialize_grads:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: False.")
    if is_grads_batched:
        return _each(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    roots, cotangents = _roots(outputs, grad_outputs)
    wanted = _as_tuple(inputs)
    if not wanted:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for i, x in enumerate(wanted):
        if x._node is None:
            raise RuntimeError(f"One of the differentiated Tensors does not require grad: inputs[{i}]")
    found: dict[Any, Tensor] = {}

    def gather(node: Any, g: Tensor, _owned: bool) -> None:
        found[node] = g

    keep = create_graph if retain_graph is None else retain_graph
    _walk(roots, cotangents, {x._node: x for x in wanted}, gather, keep, create_graph)
    results: list[Tensor | None] = [found.get(x._node) for x in wanted]
    for i, result in enumerate(results):
        if result is None:
            if materialize_grads:
                results[i] = wanted[i].new_zeros(wanted[i].shape)
            elif not allow_unused:
                raise RuntimeError(
                    f"One of the differentiated Tensors appears to not have been used in the graph: inputs[{i}]. "
                    "Set allow_unused=True if this is the desired behavior."
                )
    return tuple(results)


def _each(
    outputs: Any, inputs: Any, grad_outputs: Any, retain_graph: bool | None, create_graph: bool, *options: Any
) -> tuple[Tensor | None, ...]:
    """`grad` for each of several cotangents, stacked."""
    given = () if grad_outputs is None else _as_tuple(grad_outputs)
    places = [i for i, g in enumerate(given) if g is not None]
    if not places:
        raise RuntimeError("grad: is_grads_batched=True needs grad_outputs with a first dimension of cotangents")
    allow_unused, materialize = options
    used: list[int] = []  # which inputs the outputs depend on

    def one(*several: Tensor) -> tuple[Tensor, ...]:
        nonlocal used
        gs = list(given)
        for i, g in zip(places, several, strict=True):
            gs[i] = g
        found = grad(outputs, inputs, gs, True, create_graph, allow_unused=allow_unused, materialize_grads=materialize)
        used = [i for i, g in enumerate(found) if g is not None]
        return tuple(g for g in found if g is not None)

    stacked = vmap(one)(*(given[i] for i in places))
    if not (create_graph if retain_graph is None else retain_graph):
        for node in _behind(_as_tuple(outputs)):
            _free(node)
    results = dict(zip(used, stacked, strict=True))
    return tuple(results.get(i) for i in range(len(_as_tuple(inputs))))


def _roots(tensors: Any, gradients: Any) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    roots = _as_tuple(tensors)
    given = (None,) * len(roots) if gradients is None else _as_tuple(gradients)
    if len(given) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(given)} gradients")
    return roots, [_cotangent(i, root, g) for i, (root, g) in enumerate(zip(roots, given, strict=True))]


def _cotangent(place: int, root: Tensor, g: Any) -> Tensor:
    """The gradient to begin with at a root: what was given for it, 1 for a real number."""
    if root._node is None:
        raise RuntimeError(f"element {place} of tensors does not require grad and does not have a grad_fn")
    if g is None:
        if root.numel() != 1:
            raise RuntimeError(
                f"grad can be implicitly created only for scalar outputs: this one has shape {list(root.shape)}; reduce it "
                "with .sum() or .mean(), or pass its gradient"
            )
        if root.is_complex():
            raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {root.dtype}")
        return _ones_like(root)
    if not isinstance(g, Tensor):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    if g.shape != root.shape:
        raise RuntimeError(
            f"Mismatch in shape: the gradient has shape {list(g.shape)} and the tensor has shape {list(root.shape)}"
        )
    if g.is_complex() != root.is_complex():
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
            f"grad_output[{place}] has a dtype of {g.dtype} and output[{place}] has a dtype of {root.dtype}."
        )
    return g


def _ones_like(root: Tensor) -> Tensor:
    data = root._data
    ones: Tensor = wrap(np.ones(data.shape, data.dtype)) if type(data) is np.ndarray else root.new_ones(root.shape)
    return ones


def _as_tuple(tensors: Any) -> tuple[Any, ...]:
    return (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)


def _walk(
    roots: Sequence[Tensor],
    cotangents: Iterable[Tensor],
    targets: dict[Any, Tensor] | None,
    gather: Any,
    keep: bool,
    create_graph: bool,
) -> None:
    """Visit nodes in descending order of recording, so that each is complete when its turn comes."""
    pending: dict[Any, Tensor] = {}
    owned: set[Any] = set()  # nodes whose pending gradient is an array that nothing else refers to
    parts: dict[Node, list[Tensor | None]] = {}
    queue: list[tuple[int, int, Any]] = []
    arrivals = (
        itertools.count()
    )  # leaves, which are all as late as each other, come in an order that runs have in common
    wanted = None if targets is None else leading_to(targets, roots)

    def send(node: Any, g: Tensor, fresh: bool) -> None:
        if wanted is not None and node not in wanted:
            return
        data = g._data
        if data.shape != node.shape or data.dtype != node.dtype:
            given, g = g, fitted(g, node)
            fresh = fresh or g is not given
        earlier = pending.get(node)
        if earlier is None:
            pending[node] = g
            heapq.heappush(queue, (-node.seq, next(arrivals), node))
            if fresh:
                owned.add(node)
        else:
            pending[node] = earlier + g
            owned.add(node)

    previous = grad_mode.enabled
    grad_mode.enabled = create_graph
    walks.stack.append(Walk(roots, wanted))
    try:
        g: Any
        for root, g in zip(roots, cotangents, strict=True):
            send(root._node, g, False)
        node: Any = None
        while queue:
            node = heapq.heappop(queue)[2]
            if node in parts:
                g = tuple(parts.pop(node))
            else:
                g = pending.pop(node)
                if node.hooks:
                    g = _hooked(node.hooks, g)
                    owned.discard(node)
            if type(node) is Selected:
                if targets is not None and node in targets:
                    gather(node, g, False)
                parent = node.parent
                if parent not in parts:
                    parts[parent] = [None] * len(parent.shape)
                    heapq.heappush(queue, (-parent.seq, next(arrivals), parent))
                parts[parent][node.index] = g
                continue
            # `len` of this dictionary takes longer than a look into it
            noted = extras.get(node) if extras.data else None  # type: ignore[attr-defined]
            if noted is not None and noted.before:
                g = _prehooked(noted.before, g)
            if targets is None:
                if type(node) is Leaf:
                    gather(node, g, node in owned)
            elif node in targets:
                gather(node, g, False)
            after = noted.after if noted is not None else None
            if type(node) is Leaf:
                for hook in tuple(after.values()) if after else ():
                    hook((), (g,))
            elif after:
                _through_hooked(node, g, send, keep, after)
            else:
                _through(node, g, send, keep)
    except Exception as error:
        if anomaly_mode.enabled and "forward pass" not in str(error):
            error.add_note(f"Error detected in {node.name()}. {forward_location(node)}")
        raise
    finally:
        grad_mode.enabled = previous
        walks.stack.pop()


def fitted(g: Tensor, node: Any) -> Tensor:
    """A cotangent in the shape and dtype of the result it is for: summed over broadcast dimensions, converted."""
    if node.shape is not None and g._data.shape != node.shape:
        g = _sum_to(g, node.shape)
    return g if g._data.dtype == node.dtype else g.to(dtypes.of(node.dtype))


def _hooked(hooks: dict[Any, Any], g: Tensor) -> Tensor:
    """The gradient after the hooks of its tensor."""
    for hook in tuple(hooks.values()):
        replaced = hook(g)
        if replaced is not None:
            if not isinstance(replaced, Tensor):
                raise TypeError(f"expected Variable, but hook returned '{type(replaced).__name__}'")
            if replaced._data.shape != g._data.shape:
                raise RuntimeError(
                    f"hook '{getattr(hook, '__name__', hook)}' has changed the size of value: from {list(g.shape)} to "
                    f"{list(replaced.shape)}"
                )
            g = replaced
    return g


def _prehooked(hooks: dict[Any, Any], g: Any) -> Any:
    """The gradient, or gradients, that a node gets after the hooks that come before it."""
    several = isinstance(g, tuple)
    grads = g if several else (g,)
    for hook in tuple(hooks.values()):
        replaced = hook(grads)
        if replaced is not None:
            grads = replaced if isinstance(replaced, tuple) else (replaced,)
    return grads if several else grads[0]


def _through_hooked(node: Node, g: Any, send: Any, keep: bool, hooks: dict[Any, Any]) -> None:
    """`_through`, with hooks that see and replace what it sends on."""
    grads: list[Any] = [None] * len(node.edges)

    def collect(edge: Any, gradient: Tensor, _fresh: bool) -> None:
        place = next(
            i for i, (e, found) in enumerate(zip(node.edges, grads, strict=True)) if e is edge and found is None
        )
        grads[place] = fitted(gradient, edge)

    _through(node, g, collect, keep)
    for hook in tuple(hooks.values()):
        replaced = hook(tuple(grads), g if isinstance(g, tuple) else (g,))
        if replaced is not None:
            grads = list(replaced) if isinstance(replaced, tuple) else [replaced]
    for edge, gradient in zip(node.edges, grads, strict=True):
        if edge is not None and gradient is not None:
            send(edge, gradient, False)


def leading_to(targets: Container[Any], roots: Iterable[Tensor]) -> set[Any]:
    """The nodes between ``roots`` and ``targets``: no gradient is computed for any other."""
    useful: dict[Any, bool] = {}
    stack = [root._node for root in roots]
    while stack:
        node = stack[-1]
        edges = [node.parent] if type(node) is Selected else node.edges
        unseen = [edge for edge in edges if edge is not None and edge not in useful]
        if unseen and useful.get(node) is None:
            useful[node] = False
            stack.extend(unseen)
            continue
        stack.pop()
        useful[node] = node in targets or any(edge is not None and useful[edge] for edge in edges)
    return {node for node, use in useful.items() if use}


def _behind(roots: Iterable[Any]) -> set[Any]:
    """All nodes of the graph behind ``roots``."""
    seen: set[Any] = set()
    stack = [root._node for root in roots]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack += [node.parent] if type(node) is Selected else node.edges
    return seen


def _through(node: Any, g: Any, send: Any, keep: bool) -> None:
    """Send the cotangents of a node's inputs on."""
    results = cotangents_of_inputs(node, g)
    if anomaly_mode.enabled and anomaly_mode.check_nan:
        check_gradients(node, results)
    if not keep:
        _free(node)
    for edge, result in zip(node.edges, results, strict=True):
        if edge is not None and result is not None:
            send(edge, result, result is not g and result._base is None)


def _free(node: Any) -> None:
    """Let go of what a node has kept for backward."""
    if type(node) is Node:
        if node.op.keeps_out or True in node.op.keeps:
            node.saved, node.out = FREED, None
    elif isinstance(node, Node):  # a user's operation
        node.free()  # type: ignore[attr-defined]


def cotangents_of_inputs(node: Any, g: Any) -> Sequence[Any]:
    """For each input of a node its cotangent, None where there is none, from that of the result (or of all results)."""
    if type(node) is not Node:
        return node.pull(g)
    op, params = node.op, node.params
    if node.saved is FREED:
        raise RuntimeError(SECOND_TIME.format(op.name))
    inputs = _unpack_inputs(node)
    out = None if node.out is None else _unpack_out(node)
    if callable(op.vjp):
        return op.vjp(g, out, *inputs, **params)
    return [
        None if edge is None or rule is None else rule(g, out, *inputs, **params)
        for edge, rule in zip(node.edges, op.vjp, strict=False)
    ]


def _unpack_inputs(node: Node) -> list[Any]:
    if not node.saved:
        return [None if edge is None else Aval(edge.shape, edge.dtype) for edge in node.edges]
    inputs: list[Any] = []
    for edge, x in zip_longest(node.edges, node.saved):
        if x is None:
            inputs.append(None if edge is None else Aval(edge.shape, edge.dtype))
        elif type(x) is Packed:
            inputs.append(wrap(x.unpacked(), edge))
        elif x._storage.stamp > node.seq:
            if _wanted(node, len(inputs)):
                raise _overwritten(node, f"input {len(inputs)}", x._data)
            inputs.append(Aval(x._data.shape, x._data.dtype))
        else:
            # Where the history of that tensor has changed since, the one it had counts.
            inputs.append(x if x._node is edge else wrap(x._data, edge))
    return inputs


def _unpack_out(node: Node) -> Any:
    if isinstance(node.shape, list):
        return tuple(_unpack_one(node, i, kept) for i, kept in enumerate(node.out))
    array, storage = node.out
    if type(array) is not Packed and storage.stamp > node.seq and _wanted(node, None):
        raise _overwritten(node, "the result", array)
    return wrap(_unpacked(array), node)


def _unpack_one(node: Node, i: int, kept: Any) -> Any:
    """One of several results, of which an array and its storage were kept, or nothing."""
    if kept is None:
        return Aval(node.shape[i], node.dtype[i])
    array, storage = kept
    if type(array) is not Packed and storage.stamp > node.seq:
        raise _overwritten(node, "a result", array)
    return wrap(
        _unpacked(array), place_of(node, i, array.shape, array.dtype) if array.dtype.kind not in "biu" else None
    )


def _wanted(node: Node, position: int | None) -> bool:
    """Whether backward reads an input of a node, or its result: what it does not read may have been overwritten."""
    return reads(node.op, [edge is not None for edge in node.edges], position)


def _unpacked(array: Any) -> Any:
    return array.unpacked() if type(array) is Packed else array


def _overwritten(node: Node, what: str, array: Any) -> RuntimeError:
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"{what} of {node.op.name}, of shape {list(array.shape)} and dtype {array.dtype}, was overwritten after it was "
        "saved for backward. Use the out-of-place operator, or .clone() before the write."
    )


def _accumulate(tensor: Tensor, g: Tensor, owned: bool, create_graph: bool) -> None:
    if tensor._grad is None:
        if create_graph:
            tensor._grad = g
        else:
            tensor._grad = g.detach() if owned and g.is_contiguous() else g.detach().clone()
    elif create_graph:
        tensor._grad = tensor._grad + g
    else:
        tensor._grad.add_(g)


def _sum_to(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum a cotangent over the dimensions along which its input was broadcast."""
    leading = g.ndim - len(shape)
    dims = [i for i in range(g.ndim) if i < leading or (shape[i - leading] == 1 and g.shape[i] != 1)]
    summed: Tensor = g.sum(dims, keepdim=True) if dims else g
    return summed.reshape(shape) if leading else summed
