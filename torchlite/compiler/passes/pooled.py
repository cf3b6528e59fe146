"""What is done to the gradient of max-pooling, before it is spread."""

from __future__ import annotations

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, rewritten


def mask_before_spreading(graph: Graph) -> Graph:
    """``relu_grad(spread_to_windows(g, places), y)`` becomes ``spread_to_windows(relu_grad(g, pooled), places)``.

    With ``pooled, places = max_pool(y)``, a pooled number is the one at its place, so both ask the same; but there are fewer of them.
    """
    inserted: list[Node] = []
    pooled = {node.outputs[0] for node in graph.nodes if node.op.name == "max_pool"} | {*graph.inputs}

    def rule(node: Node) -> Replacement:
        if node.op.name != "relu_grad":
            return None
        g, y = node.inputs
        pool = _pool_of(g)
        if pool is None or pool.inputs[0] is not y or pool.outputs[0] not in pooled:  # a gradient alone may be without
            return None
        assert g.node is not None
        values, places = g.node.inputs
        masked = computed(inserted, "relu_grad", values, pool.outputs[0])
        return [computed(inserted, "spread_to_windows", masked, places, **g.node.params)]

    return rewritten(graph, rule, inserted)


def sum_before_spreading(graph: Graph) -> Graph:
    """``sum(spread_to_windows(g, places))`` over whole planes becomes ``sum(g)``: each number is spread to one place.

    It rounds in another way than the function did.
    """
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        if node.op.name != "sum" or _pool_of(node.inputs[0]) is None:
            return None
        spread = node.inputs[0].node
        assert spread is not None
        values, count = spread.inputs[0], len(node.inputs[0].shape)
        if not {*range(count - spread.params["window"].ndim, count)} <= {*node.params["dims"]}:
            return None
        return [computed(inserted, "sum", values, **node.params)]

    return rewritten(graph, rule, inserted)


def _pool_of(v: Value) -> Node | None:
    """The pooling whose gradient a value is, if it is one."""
    spread = v.node
    if spread is None or spread.op.name != "spread_to_windows":
        return None
    values, places = spread.inputs
    pool = places.node
    if pool is None or pool.op.name != "max_pool" or pool.params["window"] != spread.params["window"]:
        return None
    return pool if values.aval == pool.outputs[0].aval else None
