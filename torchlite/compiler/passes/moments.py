"""Batch normalisation as sums and operations on elements, each of which can be done where the numbers are at hand."""

from __future__ import annotations

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, rewritten
from torchlite.ir import REGISTRY

CHANNELS = (0, 2, 3)
"""The dimensions of an array (N, C, H, W) over which channels are summed up."""


def take_moments(graph: Graph) -> Graph:
    """Means and scales of channels, and (x - mean) · scale, in place of ``standardize``."""
    inserted: list[Node] = []

    def made(name: str, *inputs: Value) -> Value:
        node = Node(REGISTRY[name], inputs, {})
        node.outputs = (Value(inputs[0].aval, node),)
        inserted.append(node)
        return node.outputs[0]

    def rule(node: Node) -> Replacement:
        if node.op.name != "standardize" or node.params["dims"] != CHANNELS:
            return None
        (x,) = node.inputs
        if x.aval is None or x.aval.ndim != 4 or x.aval.dtype != np.float32:
            return None
        moments = Node(REGISTRY["moments"], node.inputs, node.params, several=True, line=node.line)
        mean, scale = moments.outputs = tuple(Value(v.aval, moments) for v in node.outputs[1:])
        inserted.append(moments)
        return made("mul", made("sub", x, mean), scale), mean, scale

    return rewritten(graph, rule, inserted)
