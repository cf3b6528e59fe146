"""Gradients of the weights of an LSTM as results of the operation that has the cotangents of its gates."""

from __future__ import annotations

import numpy as np

from torchlite.backends.matmul_precision import splits_float32
from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.backends.native.recurrent import sums_pay
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, made, rewritten
from torchlite.devices import CPU

_MOST = 2  # the input's weight and the recurrent one


def sum_gates(graph: Graph) -> Graph:
    """``lstm_grad_sums`` in place of ``lstm_grad`` and of products dᵀ x with the cotangents d of all its gates.

    The kernel multiplies them where it has them. Of float32 or bfloat16 on a CPU, of what is there before the gradient.
    """
    found = _factors(graph)
    if not found:
        return graph
    originals = iter(graph.nodes)
    became: dict[Value, Value] = {}
    sums: dict[Value, Value] = {}
    inserted: list[Node] = []

    def replaced(node: Node, original: Node) -> Replacement:
        if original.outputs[0] in sums:
            return [sums[original.outputs[0]]]
        products = found.get(original.outputs[0])
        if not products:
            return None
        lead = node.outputs[0].shape[:2]
        factors = [_source(product.inputs[1], lead) for product in products]
        factors = [became.get(x, x) for x in factors]
        for i, x in enumerate(factors):
            if len(x.shape) == 2:
                factors[i] = computed(inserted, "view", x, shape=(*lead, x.shape[1]))
        results = made(inserted, "lstm_grad_sums", *node.inputs, *factors, **node.params).outputs
        sums.update((product.outputs[0], v) for product, v in zip(products, results[3:], strict=True))
        return results[:3]

    def rule(node: Node) -> Replacement:
        original = next(originals)
        results = replaced(node, original)
        became.update(zip(original.outputs, node.outputs if results is None else results, strict=True))
        return results

    return rewritten(graph, rule, inserted)


def _factors(graph: Graph) -> dict[Value, list[Node]]:
    """Of the cotangents of each LSTM's gates the products that its gradient can compute."""
    found: dict[Value, list[Node]] = {}
    there: dict[Value, int] = {v: i for i, node in enumerate(graph.nodes) for v in node.outputs}
    for node in graph.nodes:
        if node.op.name != "matmul":
            continue
        gates = cotangents_of_gates(node.inputs[0])
        if gates is None or there.get(_source(node.inputs[1], gates.shape[:2]), -1) > there[gates]:
            continue
        products = [*found.get(gates, []), node]
        steps, samples, width = gates.shape
        if len(products) <= _MOST and sums_pay(
            (steps, samples, width // 4), tuple(p.inputs[1].shape[1] for p in products)
        ):
            found[gates] = products
    return found if splits_float32("matmul") else {}


def _source(matrix: Value, lead: tuple[int, ...]) -> Value:
    """What (T, N, K) a matrix (T N, K) is a view of; itself where there is no such thing."""
    node = matrix.node
    if node is not None and node.op.name == "view" and node.inputs[0].shape == (*lead, matrix.shape[1]):
        return node.inputs[0]
    return matrix


def cotangents_of_gates(v: Value) -> Value | None:
    """The cotangents of the gates (T, N, 4H) that a matrix (4H, T N) consists of, if it does."""
    node = v.node
    turned = node is not None and node.op.name == "permute" and node.params["dims"] == (1, 0)
    return rows_of_cotangents(node.inputs[0]) if node is not None and turned else None


def rows_of_cotangents(v: Value) -> Value | None:
    """The same of a matrix (T N, 4H)."""
    for name in ("view", "clone"):
        node = v.node
        if node is not None and node.op.name == name:
            v = node.inputs[0]
        elif name != "clone":
            return None
    node, aval = v.node, v.aval
    if node is None or node.op.name != "lstm_grad" or v is not node.outputs[0] or aval is None:
        return None
    w_hh = node.inputs[2].shape
    plain = aval.dtype in (np.float32, BFLOAT16) and aval.device == CPU and w_hh[0] == 4 * w_hh[1]
    return v if plain else None
