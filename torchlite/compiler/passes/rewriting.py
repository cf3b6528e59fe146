"""Going through a graph once, replacing operations or their results on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from torchlite.compiler.graph import Graph, Node, Value

Replacement = Iterable[Value] | None


def rewritten(graph: Graph, rule: Callable[[Node], Replacement], inserted: list[Node] | None = None) -> Graph:
    """The graph without the operations for which ``rule`` gives the values that their results are equal to.

    The rule sees each operation with its inputs already replaced; for None it stays. What the rule has put into
    ``inserted`` takes the operation's place.
    """
    became: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        current = node
        if any(v in became for v in node.reads()):
            current = replace(
                node,
                inputs=tuple(became.get(v, v) for v in node.inputs),
                lifted={k: became.get(v, v) for k, v in node.lifted.items()},
                outputs=(),
            )
            current.outputs = tuple(Value(v.aval, current) for v in node.outputs)
        found = rule(current)
        if inserted:
            kept += inserted
            inserted.clear()
        if found is None:
            kept.append(current)
            found = current.outputs
        became.update((v, new) for v, new in zip(node.outputs, found, strict=True) if v is not new)
    return graph.with_nodes(kept, became)
