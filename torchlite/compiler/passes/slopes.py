"""The slope of an activation computed beside the activation, for the backward pass."""

from __future__ import annotations

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, rewritten
from torchlite.devices import CPU
from torchlite.ir import Aval

_GRADIENTS = {"gelu": "gelu_grad", "silu": "silu_grad"}
_FLOAT32 = np.dtype(np.float32)


def keep_slopes(graph: Graph) -> Graph:
    """``gelu_grad(g, x)`` becomes ``g · gelu_grad(1, x)``, of which the slope is computed in front of ``gelu(x)``.

    The two have most of their arithmetic in common. What is kept for the backward pass is then the slope instead of x, and
    each number is rounded as before. Of SiLU too, both in float32 on a CPU.
    """
    wanted = {(node.op.name, node.inputs[1]): node for node in graph.nodes if _is_gradient(node)}
    slopes: dict[tuple[str, Value], Value] = {}
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        name = node.op.name
        if name in _GRADIENTS:
            key = _GRADIENTS[name], node.inputs[0]
            if key in wanted and key not in slopes and wanted[key].params == node.params:
                one = Value(Aval((), _FLOAT32), constant=np.ones((), _FLOAT32))
                slopes[key] = computed(inserted, key[0], one, node.inputs[0], **node.params)
        elif _is_gradient(node) and (name, node.inputs[1]) in slopes:
            g, x = node.inputs
            return [computed(inserted, "mul", g, slopes[name, x])]
        return None

    return rewritten(graph, rule, inserted)


def _is_gradient(node: Node) -> bool:
    """Whether it is the gradient of such an activation, of arrays of one shape."""
    if node.op.name not in _GRADIENTS.values():
        return False
    g, x = node.inputs
    return x.aval is not None and g.aval == x.aval and x.aval.dtype == _FLOAT32 and x.aval.device == CPU
