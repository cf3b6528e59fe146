"""Which results are computed again wherever they are read, because that reads no more memory than they would take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.program.expressions import expression
from torchlite.compiler.program.lowering import lowering
from torchlite.compiler.program.reductions import kept_dimension, reduction

_CHEAP = {"add", "sub", "mul", "neg", "square", "affine", "relu", "maximum", "minimum", "cast"}
_FEW = 16  # times as many numbers as an array that counts as none beside it

Chains = Mapping[Value, tuple[Node, ...]]
"""For each result the operations that compute it from one array, in order."""


def computed_again(graph: Graph) -> Chains:
    """Results of cheap operations on elements of a single array, with numbers beside it some of which depend on all of that.

    So the array has to be kept, at least until these numbers are there, and to read it is as good as to read what follows
    from it: what is normalized, and an activation of that, need not lie in memory at all. Neither need numbers that were only made
    wider. Only results are meant that all readers can compute: operations on elements, reductions, and kernels that say so.

    Args:
        graph: optimized.
    """
    readers: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        for v in dict.fromkeys(node.reads()):
            readers.setdefault(v, []).append(node)
    leaving = set(graph.outputs)
    chains: dict[Value, tuple[Node, ...]] = {}
    arrays: dict[Value, Value] = {}
    casts: list[Node] = []
    for node in graph.nodes:
        array, widens = _only_array(node, arrays), _widens(node)
        if array is None and not widens:
            continue
        (out,) = node.outputs
        if out in leaving or not all(_computes(reader, out) for reader in readers.get(out, ())):
            continue
        if widens:
            casts.append(node)
        if array is not None:
            arrays[out] = array
            before = dict.fromkeys(n for v in node.inputs for n in chains.get(v, ()))
            chains[out] = (*before, node)
    kept = _summed_up(graph, arrays)
    found = {v: chain for v, chain in chains.items() if arrays[v] in kept}
    for node in casts:
        found.setdefault(node.outputs[0], (*found.get(node.inputs[0], ()), node))
    return found


def given(node: Node, chains: Chains) -> Iterable[Value]:
    """What an operation reads if it computes again what may be, or what those operations read."""
    if chains.keys().isdisjoint(node.reads()):
        return dict.fromkeys(node.reads())
    found: dict[Value, None] = {}
    for v in node.reads():
        for n in chains.get(v, ()):
            found.update(dict.fromkeys(w for w in n.inputs if w not in chains))
        if v not in chains:
            found[v] = None
    return found


def _only_array(node: Node, arrays: Mapping[Value, Value]) -> Value | None:
    """The one result of a kernel that decides the elements of an operation's; None where there is none or are others."""
    if node.op.name not in _CHEAP or expression(node) is None:
        return None
    out = node.outputs[0]
    found = set()
    for v in node.inputs:
        if v.shape == out.shape:
            found.add(arrays.get(v, v))
        elif v.aval is None or out.aval is None or v.aval.size * _FEW > out.aval.size:
            return None
    array = found.pop() if len(found) == 1 else None
    if array is None or array.node is None or array is not array.node.outputs[0] or _bytes(array) > _bytes(out):
        return None
    return array if lowering(array.node) is not None else None


def _widens(node: Node) -> bool:
    """Whether it only makes numbers wider, which each reader can do that reads the narrow ones."""
    if node.op.name != "cast" or expression(node) is None:
        return False
    (v,), (out,) = node.inputs, node.outputs
    return v.node is not None and v.aval is not None and v.aval.size > 1 and _bytes(v) < _bytes(out)


def _computes(reader: Node, value: Value) -> bool:
    """Whether an operation can compute a value itself that it reads, each number for one of its own: it does not spread the value out."""
    if reader.op.kind == "view":
        return False
    how = lowering(reader)
    if how is not None and kept_dimension(reader) is None:
        return all(how.computes(reader, i) for i, v in enumerate(reader.inputs) if v is value)
    if expression(reader) is not None:
        return math.prod(reader.outputs[0].shape) == math.prod(value.shape)
    return reduction(reader) is not None or kept_dimension(reader) is not None


def _summed_up(graph: Graph, arrays: Mapping[Value, Value]) -> set[Value]:
    """Arrays of which numbers depend that the operations on their elements read."""
    bits = {array: 1 << i for i, array in enumerate(dict.fromkeys(arrays.values()))}
    below: dict[Value, int] = {}  # the arrays that a value depends on
    kept = set()
    for node in graph.nodes:
        for v in node.outputs:
            array = arrays.get(v)
            if array is not None and any(below.get(w, 0) & bits[array] for w in node.inputs if w.shape != v.shape):
                kept.add(array)
        depends = 0
        for w in node.reads():
            depends |= below.get(w, 0) | bits.get(w, 0)
        below.update(dict.fromkeys(node.outputs, depends))
    return kept


def _bytes(v: Value) -> int:
    assert v.aval is not None
    return v.aval.size * v.aval.dtype.itemsize
