"""Backward: from a result along the edges of the graph to the tensors that asked for gradients."""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.anomaly import anomaly_mode, check_gradients, forward_location
from torchlite.autograd.grad_mode import grad_mode
from torchlite.autograd.graph import Leaf, Node, Selected
from torchlite.ir import Aval

FREED = "freed"


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
    if targets is not None and None in targets:
        raise RuntimeError("one of the differentiated inputs does not require grad")

    def gather(leaf: Any, g: Tensor, owned: bool) -> None:
        tensor = leaf.tensor() if targets is None else targets[leaf]
        if tensor is not None:
            _accumulate(tensor, g, owned, create_graph)

    _walk(roots, cotangents, targets, gather, keep, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The vector-Jacobian product of ``outputs`` with respect to ``inputs``; no ``.grad`` is touched.

    Args:
        outputs, grad_outputs, retain_graph, create_graph: as in `backward`.
        inputs: the tensors to differentiate by.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.
        materialize_grads: give zeros there.

    >>> import torchlite as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (dx,) = torch.autograd.grad(x**3, x, create_graph=True)
    >>> dx.item(), torch.autograd.grad(dx, x)[0].item()
    (27.0, 18.0)
    """
    roots, cotangents = _roots(outputs, grad_outputs)
    wanted = _as_tuple(inputs)
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


def _roots(tensors: Any, gradients: Any) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    roots = _as_tuple(tensors)
    given = (None,) * len(roots) if gradients is None else _as_tuple(gradients)
    if len(given) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(given)} gradients")
    cotangents = []
    for root, g in zip(roots, given, strict=True):
        if root._node is None:
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if root.numel() != 1:
                raise RuntimeError(
                    "grad can be implicitly created only for scalar outputs: this one has shape "
                    f"{list(root.shape)}; reduce it with .sum() or .mean(), or pass its gradient"
                )
            g = _ones_like(root)
        elif g.shape != root.shape:
            raise RuntimeError(
                f"Mismatch in shape: the gradient has shape {list(g.shape)} and the tensor has shape {list(root.shape)}"
            )
        cotangents.append(g)
    return roots, cotangents


def _ones_like(root: Tensor) -> Tensor:
    data = root._data
    ones: Tensor = wrap(np.ones(data.shape, data.dtype)) if type(data) is np.ndarray else root.new_ones(root.shape)
    return ones


def _as_tuple(tensors: Any) -> tuple[Any, ...]:
    return (tensors,) if isinstance(tensors, Tensor) else tuple(tensors)


def _walk(
    roots: Iterable[Tensor],
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
    wanted = None if targets is None else _leading_to(targets, roots)

    def send(node: Any, g: Tensor, fresh: bool) -> None:
        if wanted is not None and node not in wanted:
            return
        if node.shape is not None and g._data.shape != node.shape:
            g, fresh = _sum_to(g, node.shape), True
        if g._data.dtype != node.dtype:
            g, fresh = g.to(dtypes.of(node.dtype)), True
        earlier = pending.get(node)
        if earlier is None:
            pending[node] = g
            heapq.heappush(queue, (-node.seq, id(node), node))
            if fresh:
                owned.add(node)
        else:
            pending[node] = earlier + g
            owned.add(node)

    previous = grad_mode.enabled
    grad_mode.enabled = create_graph
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
                if node.hooks is not None:
                    for hook in tuple(node.hooks):
                        replaced = hook(g)
                        g = g if replaced is None else replaced
                    owned.discard(node)
            if targets is None:
                if type(node) is Leaf:
                    gather(node, g, node in owned)
                    continue
            elif node in targets:
                gather(node, g, False)
            if type(node) is Selected:
                parent = node.parent
                if parent not in parts:
                    parts[parent] = [None] * len(parent.shape)
                    heapq.heappush(queue, (-parent.seq, id(parent), parent))
                parts[parent][node.index] = g
            elif type(node) is Node:
                _through(node, g, send, keep)
            elif type(node) is not Leaf:
                node.send_back(g, send, keep)
    except Exception as error:
        if anomaly_mode.enabled and "forward pass" not in str(error):
            error.add_note(f"Error detected in {node.name()}. {forward_location(node)}")
        raise
    finally:
        grad_mode.enabled = previous


def _leading_to(targets: dict[Any, Tensor], roots: Iterable[Tensor]) -> set[Any]:
    """The nodes between ``roots`` and ``targets``: no gradient is computed for any other."""
    useful: dict[Any, bool] = {}
    stack = [root._node for root in roots]
    while stack:
        node = stack[-1]
        edges = [node.parent] if type(node) is Selected else getattr(node, "edges", ())
        unseen = [edge for edge in edges if edge is not None and edge not in useful]
        if unseen and useful.get(node) is None:
            useful[node] = False
            stack.extend(unseen)
            continue
        stack.pop()
        useful[node] = node in targets or any(edge is not None and useful[edge] for edge in edges)
    return {node for node, use in useful.items() if use}


def _through(node: Node, g: Any, send: Any, keep: bool) -> None:
    """Send the cotangents of a node's inputs on."""
    op, params, edges = node.op, node.params, node.edges
    if node.saved is FREED:
        raise RuntimeError(
            f"Trying to backward through the graph a second time: the tensors that {op.name} saved have been freed. "
            "Specify retain_graph=True the first time if you need to backward twice."
        )
    inputs = _unpack_inputs(node)
    out = None if node.out is None else _unpack_out(node)
    if callable(op.vjp):
        results = op.vjp(g, out, *inputs, **params)
    else:
        results = [
            None if edge is None or rule is None else rule(g, out, *inputs, **params)
            for edge, rule in zip(edges, op.vjp, strict=False)
        ]
    if anomaly_mode.enabled and anomaly_mode.check_nan:
        check_gradients(node, results)
    if not keep and (op.keeps_out or True in op.keeps):
        node.saved, node.out = FREED, None
    for edge, result in zip(edges, results, strict=True):
        if edge is not None and result is not None:
            send(edge, result, result is not g and result._base is None)


def _unpack_inputs(node: Node) -> list[Any]:
    inputs: list[Any] = []
    for edge, x in zip_longest(node.edges, node.saved):
        if x is None:
            inputs.append(None if edge is None else Aval(edge.shape, edge.dtype))
        elif x._storage.stamp > node.seq:
            raise _overwritten(node, f"input {len(inputs)}", x._data)
        else:
            # Where the history of that tensor has changed since, the one it had counts.
            inputs.append(x if x._node is edge else wrap(x._data, edge))
    return inputs


def _unpack_out(node: Node) -> Any:
    if isinstance(node.shape, list):
        for array, storage in node.out:
            if storage.stamp > node.seq:
                raise _overwritten(node, "a result", array)
        return tuple(
            wrap(array, Selected(node, i, array.shape, array.dtype) if array.dtype.kind not in "biu" else None)
            for i, (array, _) in enumerate(node.out)
        )
    array, storage = node.out
    if storage.stamp > node.seq:
        raise _overwritten(node, "the result", array)
    return wrap(array, node)


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


@method("register_hook")
def register_hook(self: Tensor, hook: Any) -> RemovableHandle:
    """Call ``hook(grad)`` when the gradient of this tensor is known; what it returns replaces the gradient."""
    if self._node is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if self._node.hooks is None:
        self._node.hooks = []
    return RemovableHandle(self._node.hooks, hook)


@method("retain_grad")
def retain_grad(self: Tensor) -> None:
    """Make this result keep its gradient in ``.grad``, as leaves do."""
    if self._node is None:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if not self.is_leaf:
        ref = weakref.ref(self)

        def keep(g: Tensor) -> None:
            tensor = ref()
            if tensor is not None:
                tensor._grad = g if tensor._grad is None else tensor._grad + g

        self.register_hook(keep)


class RemovableHandle:
    """Removes the hook that it was returned for."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks = hooks
        self._hook = hook
        hooks.append(hook)

    def remove(self) -> None:
        """Stop calling the hook; once is enough."""
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)
