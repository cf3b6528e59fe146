"""Gradients of the parts of an array, which become the array that consists of them."""

from __future__ import annotations

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, computed, rewritten

Part = tuple[int, int, int, Value]
"""A dimension, where a part begins and ends along it, and the part."""


def join_parts(graph: Graph) -> Graph:
    """``cat`` in place of sums of arrays that are zero but for one part each, where the parts make up the whole.

    This is what the gradient of ``x.split(…)`` consists of: 0 + 0 + g is g (but for the sign of a zero).
    """
    parts: dict[Value, list[Part]] = {}
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        if node.op.name == "embed_view":
            part = _part(node)
            if part is not None:
                parts[node.outputs[0]] = [part]
        elif node.op.name == "add" and node.inputs[0].aval == node.inputs[1].aval:
            given = [parts.get(v) for v in node.inputs]
            if given[0] is None or given[1] is None:
                return None
            together = sorted([*given[0], *given[1]], key=lambda part: part[:3])
            parts[node.outputs[0]] = together
            if _is_whole(together, node.outputs[0]):
                return [_joined(together, inserted)]
        return None

    return rewritten(graph, rule, inserted)


def _part(node: Node) -> Part | None:
    """The part of a dimension that is embedded in zeros; None for other views than slices of one dimension."""
    params = dict(node.params)
    recipe, shape = params["recipe"], params["shape"]
    if len(recipe) != 1 or recipe[0][0].name != "select" or "index" not in recipe[0][1]:
        return None
    index = recipe[0][1]["index"]
    if any(type(entry) is not slice for entry in index) or len(index) > len(shape):
        return None
    ranges = [range(*entry.indices(n)) for entry, n in zip(index, shape, strict=False)]
    cut = [d for d, (r, n) in enumerate(zip(ranges, shape, strict=False)) if r != range(n)]
    if len(cut) != 1 or ranges[cut[0]].step != 1:
        return None
    return cut[0], ranges[cut[0]].start, ranges[cut[0]].stop, node.inputs[0]


def _is_whole(parts: list[Part], whole: Value) -> bool:
    dim, end = parts[0][0], 0
    for d, start, stop, _ in parts:
        if d != dim or start != end:
            return False
        end = stop
    return whole.aval is not None and end == whole.aval.shape[dim]


def _joined(parts: list[Part], inserted: list[Node]) -> Value:
    lengths = tuple(stop - start for _, start, stop, _ in parts)
    return computed(inserted, "cat", *(v for *_, v in parts), dim=parts[0][0], lengths=lengths)
