"""Putting elementwise operations on one shape together, so that numbers pass through memory once and not once each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torchlite.compiler.graph import Graph, Node, Value, users
from torchlite.compiler.passes.dead_code import without_dead_code
from torchlite.ir import Op, Shape

MOST_ARRAYS = 24
_LEAST_NODES = 2


@dataclass(eq=False)
class Cluster:
    """Elementwise operations whose results have one shape.

    Attributes:
        shape: of all results.
        nodes: in order.
        reads: values from outside.
        computed: the results of the nodes.
        tainted: values that are computed outside from results of the cluster, so that it can't read them.
    """

    shape: Shape
    nodes: list[Node] = field(default_factory=list)
    reads: dict[Value, None] = field(default_factory=dict)
    computed: set[Value] = field(default_factory=set)
    tainted: set[Value] = field(default_factory=set)

    def takes(self, node: Node) -> bool:
        """Whether an operation belongs here: it shares an array, and nothing that it reads depends on the cluster from outside."""
        if node.outputs[0].aval is None or node.outputs[0].aval.shape != self.shape:
            return False
        if any(v in self.tainted for v in node.inputs):
            return False
        if len(self.reads) + len(node.inputs) > MOST_ARRAYS - len(self.nodes) // 3:
            return False
        return any(v in self.computed or (v in self.reads and _shape(v) == self.shape) for v in node.inputs)

    def add(self, node: Node) -> None:
        """Take an operation in."""
        self.nodes.append(node)
        self.computed.update(node.outputs)
        for v in node.inputs:
            if v not in self.computed:
                self.reads[v] = None


def fuse(graph: Graph, fusable: Callable[[Node], bool], make: Callable[[Cluster, Sequence[Value]], Op]) -> Graph:
    """The graph with each cluster of at least two ``fusable`` operations as one, that ``make`` gives the operator of.

    Args:
        graph: without dead code.
        fusable: whether an operation is elementwise and ``make`` knows it.
        make: the operator that computes the results of a cluster that are needed outside.
    """
    waiting = list(graph.nodes)
    done: list[Node] = []
    while waiting:
        node = waiting.pop(0)
        if not fusable(node):
            done.append(node)
            continue
        cluster, before, after = _grown(node, waiting, fusable)
        if len(cluster.nodes) < _LEAST_NODES:
            done.append(node)
            continue
        read = users([*before, *after])
        results = [v for n in cluster.nodes for v in n.outputs if v in read or v in graph.outputs]
        fused = Node(
            make(cluster, results), tuple(v for v in cluster.reads if v.constant is None or v.aval is None), {}
        )
        fused.outputs, fused.several = tuple(results), True
        waiting = [*before, fused, *after]
    return without_dead_code(graph.with_nodes(done))


def _grown(
    first: Node, rest: Sequence[Node], fusable: Callable[[Node], bool]
) -> tuple[Cluster, list[Node], list[Node]]:
    """The cluster around an operation, with what has to run before it and after it."""
    cluster = Cluster(_shape(first.outputs[0]))
    cluster.add(first)
    before: list[Node] = []
    after: list[Node] = []
    for node in rest:
        if fusable(node) and cluster.takes(node):
            cluster.add(node)
        elif any(v in cluster.tainted or v in cluster.computed for v in node.reads()):
            cluster.tainted.update(node.outputs)
            after.append(node)
        else:
            before.append(node)
    return cluster, before, after


def _shape(v: Value) -> Shape:
    assert v.aval is not None
    return v.aval.shape
