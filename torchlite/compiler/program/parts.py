"""Results of kernels that are parts of a larger array, and can be written where they lie in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.program.lowering import lowering
from torchlite.compiler.program.places import Array, fresh

Step = Callable[[Array], Array]


@dataclass(eq=False)
class Parts:
    """What of a graph lies in larger arrays.

    Attributes:
        inside: results of kernels, each with the whole array and how its ghost follows from the whole's.
        chain: copies on the way from a result to the whole, which are not needed.
        margins: rows of memory before and behind a whole, where a result lies in it that is shifted against it.
    """

    inside: dict[Value, tuple[Value, Step]] = field(default_factory=dict)
    chain: set[Value] = field(default_factory=set)
    margins: dict[Value, tuple[int, int]] = field(default_factory=dict)


def parts_of_wholes(graph: Graph, leaving: Container[Value]) -> Parts:
    """The results that only ``cat`` reads, through permutations, reshapes and copies, or all but the first or last rows of which
    become the last or first ones of the whole, as the states before steps are those after steps; but for those that are ``leaving``.
    """
    search = _Search(graph, leaving)
    for node in graph.nodes:
        if node.op.name == "cat":
            search.parts_of(node)
            search.shifted_in(node)
    return search.found


class _Search:
    """Looks for what can lie in larger arrays.

    Args:
        graph, leaving: as those of `parts_of_wholes`.

    Attributes:
        found: so far.
    """

    def __init__(self, graph: Graph, leaving: Container[Value]) -> None:
        self._uses = Counter(v for node in graph.nodes for v in node.reads()) + Counter(graph.outputs)
        self._leaving = leaving
        self.found = Parts()

    def parts_of(self, node: Node) -> None:
        """Let the inputs of ``cat`` lie in its result."""
        dim, start = node.params["dim"], 0
        for v in node.inputs:
            assert v.aval is not None
            stop = start + v.aval.shape[dim]
            at = (slice(None),) * dim + (slice(start, stop),)
            self._follow(v, node.outputs[0], [lambda ghost, at=at: ghost[at]])  # type: ignore[misc]
            start = stop

    def _follow(self, v: Value, whole: Value, steps: list[Step]) -> None:
        """Go from an input of ``cat`` back to the kernel that computes it, by ``steps`` from the ghost of the whole."""
        copies = set()
        while self._only_read_once(v) and v.node is not None:
            back = _undone(v.node)
            if back is None:
                break
            if v.node.op.name == "clone":
                copies.add(v)
            steps.append(back)
            v = v.node.inputs[0]
        inside = self.found.inside
        if v.node is None or not self._only_read_once(v) or v in inside or whole in inside:
            return
        how = lowering(v.node)
        if how is None or not how.anywhere:
            return

        def placed(ghost: Array) -> Array:
            for step in steps:
                ghost = step(ghost)
            return ghost

        try:
            placed(fresh(whole.shape, np.int8, None))
        except ValueError:  # a reshape that strides can't express
            return
        inside[v] = (whole, placed)
        self.found.chain |= copies

    def _only_read_once(self, v: Value) -> bool:
        return self._uses[v] == 1 and v not in self._leaving

    def shifted_in(self, node: Node) -> None:
        """Let a result lie in the whole that has all but its first or last rows beside others."""
        leaving, inside = self._leaving, self.found.inside
        (whole,), parts = node.outputs, node.inputs
        if node.params["dim"] or len(parts) != 2 or whole in leaving or whole in inside:
            return
        for kept, other, last in ((parts[0], parts[1], False), (parts[1], parts[0], True)):
            if kept.node is None or kept.node.op.name != "select":
                continue
            (v,), (rows, *rest) = kept.node.inputs, kept.node.params["index"]
            count, more = whole.shape[0], other.shape[0]
            wanted = (0, count - more, 1) if last else (more, count, 1)
            if rest or not isinstance(rows, slice) or v.shape != whole.shape or rows.indices(count) != wanted:
                continue
            if v.node is None or v in leaving or v in inside or lowering(v.node) is None:
                continue
            self.found.margins[whole] = (0, more) if last else (more, 0)
            own = slice(more, None) if last else slice(count)
            inside[v] = (whole, lambda ghost, own=own: _memory(ghost)[own])  # type: ignore[misc]
            return


def _memory(ghost: Array) -> Array:
    """The array with its margins that a ghost is a part of."""
    assert ghost.base is not None
    return ghost.base


def _undone(node: Node) -> Step | None:
    """From the ghost of a view or a copy to that of what it is of."""
    if node.op.name == "permute":
        back = np.argsort(node.params["dims"])
        return lambda ghost: ghost.transpose(back)
    if node.op.name == "view":
        shape = node.inputs[0].shape
        return lambda ghost: ghost.reshape(shape, copy=False)
    return (lambda ghost: ghost) if node.op.name == "clone" else None
