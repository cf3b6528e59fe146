"""The gradient of a ReLU in front of max-pooling, before the gradient is spread."""

from __future__ import annotations

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, rewritten
from torchlite.ir import REGISTRY


def mask_before_spreading(graph: Graph) -> Graph:
    """``relu_grad(spread_to_windows(g, places), y)`` becomes ``spread_to_windows(relu_grad(g, pooled), places)``.

    With ``pooled, places = max_pool(y)``, a pooled number is the one at its place, so both ask the same; but there are fewer of them.
    """
    inserted: list[Node] = []

    def made(node: Node, *inputs: Value) -> Value:
        aval = inputs[0].aval if node.op.name == "relu_grad" else node.outputs[0].aval
        new = Node(node.op, inputs, node.params)
        new.outputs = (Value(aval, new),)
        inserted.append(new)
        return new.outputs[0]

    def rule(node: Node) -> Replacement:
        if node.op is not REGISTRY["relu_grad"]:
            return None
        g, y = node.inputs
        spread = g.node
        if spread is None or spread.op.name != "spread_to_windows":
            return None
        values, places = spread.inputs
        pool = places.node
        if pool is None or pool.op.name != "max_pool" or pool.inputs[0] is not y:
            return None
        pooled = pool.outputs[0]
        if pool.params["window"] != spread.params["window"] or values.aval != pooled.aval:
            return None
        return [made(spread, made(node, values, pooled), places)]

    return rewritten(graph, rule, inserted)
