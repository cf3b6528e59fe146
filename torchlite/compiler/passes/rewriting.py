"""Going through a graph once, replacing operations or their results on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.ir import REGISTRY, Aval

Replacement = Iterable[Value] | None


def rewritten(graph: Graph, rule: Callable[[Node], Replacement], inserted: list[Node] | None = None) -> Graph:
    """The graph without the operations for which ``rule`` gives the values that their results are equal to.

    The rule sees each operation with its inputs already replaced; for None it stays. What the rule has put into
    ``inserted`` takes the operation's place.
    """
    became: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        current = node if became.keys().isdisjoint(node.reads()) else _reading(node, became)
        found = rule(current)
        if inserted:
            kept += inserted
            inserted.clear()
        if found is None:
            kept.append(current)
            if current is node:
                continue
            found = current.outputs
        became.update((v, new) for v, new in zip(node.outputs, found, strict=True) if v is not new)
    return graph.with_nodes(kept, became)


def made(inserted: list[Node], name: str, *inputs: Value, **params: object) -> Node:
    """A new operation, which goes to the end of ``inserted``."""
    op = REGISTRY[name]
    results = op.infer(*(v.aval for v in inputs if v.aval is not None), **params)
    several = not isinstance(results, Aval)
    node = Node(op, inputs, params, several=several)
    node.outputs = tuple(Value(aval, node) for aval in (results if several else (results,)))
    inserted.append(node)
    return node


def computed(inserted: list[Node], name: str, *inputs: Value, **params: object) -> Value:
    """The first result of a new operation, as `made` makes it."""
    return made(inserted, name, *inputs, **params).outputs[0]


def _reading(node: Node, became: dict[Value, Value]) -> Node:
    """The operation on what its inputs have become."""
    lifted = {name: became.get(v, v) for name, v in node.lifted.items()}
    inputs = tuple([became.get(v, v) for v in node.inputs])
    new = Node(node.op, inputs, node.params, lifted=lifted, several=node.several, line=node.line)
    new.outputs = tuple([Value(v.aval, new) for v in node.outputs])
    return new
