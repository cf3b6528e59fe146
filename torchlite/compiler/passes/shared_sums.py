"""The gradient of a batch norm from the sums that the gradients of its weight and bias are."""

from __future__ import annotations

from functools import partial

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, rewritten
from torchlite.ir import Aval


def share_sums(graph: Graph) -> Graph:
    """Operations on elements in place of ``standardize_grad`` where the sums that it would form are there already.

    With g = a · weight, one weight for all elements that are standardized together, mean(g) and mean(g · x) are those of a and
    a · x times the weight, and the sums of these are the gradients of bias and weight:

        (g - mean(g) - x · mean(g · x)) · scale = (a - (x · mean(a · x) + mean(a))) · (weight · scale)

    It rounds in another way than the function did, as `multiply_tables` does.
    """
    sums: dict[Value, Value] = {}
    products: dict[tuple[Value, Value], Value] = {}
    inserted: list[Node] = []

    make = partial(computed, inserted)

    def rule(node: Node) -> Replacement:
        name = node.op.name
        if name == "sum" and node.params["keepdim"]:
            sums[node.inputs[0]] = node.outputs[0]
        elif name == "sum_of_products":
            products[node.inputs[0], node.inputs[1]] = node.outputs[0]
        elif name == "standardize_grad":
            g, x, scale = node.inputs
            if g.node is None or g.node.op.name != "mul" or scale.aval is None or g.aval is None:
                return None
            a, weight = g.node.inputs
            total, along = sums.get(a), products.get((a, x))
            if (
                total is None
                or along is None
                or any(v.aval != scale.aval for v in (weight, total, along))
                or a.aval != g.aval
            ):
                return None
            share = np.array(scale.aval.size / g.aval.size, g.aval.dtype)
            part = Value(Aval((), share.dtype, g.aval.device), constant=share)
            # One chain, which is one pass over memory.
            means = make("add", make("mul", x, make("mul", along, part)), make("mul", total, part))
            return [make("mul", make("sub", a, means), make("mul", weight, scale))]
        return None

    return rewritten(graph, rule, inserted)
