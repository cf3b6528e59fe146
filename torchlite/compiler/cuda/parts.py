"""A graph in parts: what the host computes, what a GPU computes from that, what the host computes from that, and so on.

Numbers and arrays of the host that a part on a GPU reads are stored there before it runs. So the part itself is nothing but launches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.dead_code import has_effect
from torchlite.devices import Device


@dataclass(eq=False)
class Part:
    """Operations of one kind that need no others in between.

    Attributes:
        device: the GPU; None for the host.
        nodes: the operations.
        arrivals: copies of arrays of the host to the GPU, made before; for a GPU only.
        inputs: what is read and not computed here, without `arrivals`.
        outputs: what is needed outside.
    """

    device: Device | None
    nodes: list[Node]
    arrivals: list[Node]
    inputs: list[Value]
    outputs: list[Value]

    def numbers(self) -> list[Value]:
        """The Python numbers that a GPU reads."""
        return [v for v in self.inputs if v.aval is None] if self.device is not None else []

    def graph(self, name: str) -> Graph:
        """The operations, of `inputs` and then what has arrived."""
        arrived = [node.outputs[0] for node in self.arrivals]
        return Graph(name, (*self.inputs, *arrived), tuple(self.nodes), tuple(self.outputs))


def parts(graph: Graph, last: Callable[[Node], bool]) -> list[Part] | None:
    """The parts in the order in which they run, the host's first, then in turns; None where there are several GPUs, or an
    operation of a GPU reads what has to be known on the host.

    When the last part of a GPU runs nothing can fail any more, and nothing is read of the inputs behind it.

    Args:
        graph: on a GPU, with fused operations.
        last: says what writes into inputs.
    """
    devices = {v.aval.device for v in graph.values() if v.aval is not None and v.aval.device.type == "cuda"}
    if len(devices) != 1 or not all(map(_separable, graph.nodes)):
        return None
    (device,) = devices
    levels, count = _levels(graph, last)
    level_of = {v: levels[node] for node in graph.nodes for v in node.outputs}
    elsewhere = set(graph.outputs)
    for node in graph.nodes:
        elsewhere.update(v for v in node.reads() if level_of.get(v) != levels[node])
    given = set(graph.inputs)
    found = []
    for level in range(count):
        here = [node for node in graph.nodes if levels[node] == level]
        arrivals = [node for node in here if _arrives(node)]
        nodes = [node for node in here if node not in arrivals]
        computed = {v for node in here for v in node.outputs}
        read = dict.fromkeys(v for node in nodes for v in node.reads())
        inputs = [v for v in read if v not in computed and (v in given or v in level_of)]
        outputs = [v for node in nodes for v in node.outputs if v in elsewhere]
        found.append(Part(device if level % 2 else None, nodes, arrivals, inputs, outputs))
    return found


def _levels(graph: Graph, last: Callable[[Node], bool]) -> tuple[dict[Node, int], int]:
    """For each operation the number of its part, and how many parts there are; even ones are the host's."""
    levels: dict[Node, int] = {}
    doubts = 0  # the last part in which something can fail, or an input is read
    inputs = set(graph.inputs)
    level_of: dict[Value, int] = {}
    for node in graph.nodes:
        on_gpu = _arrives(node) or _computes(node)
        level = max((level_of.get(v, 0) for v in node.reads()), default=0)
        levels[node] = level = level + (level % 2 != on_gpu)
        level_of.update(dict.fromkeys(node.outputs, level))
        if not on_gpu and (has_effect(node) or any(_on_gpu(v) and root(v) in inputs for v in node.inputs)):
            doubts = max(doubts, level)
    final = max([doubts + 1, *(level for level in levels.values() if level % 2)])
    levels.update((node, final) for node in graph.nodes if last(node))
    return levels, max([final, *levels.values()]) + 1


def root(v: Value) -> Value:
    """The value in whose memory ``v`` may lie."""
    while v.node is not None and v.node.op.kind in ("view", "copy"):
        v = v.node.inputs[0]
    return v


def _arrives(node: Node) -> bool:
    """Whether it copies from the host to a GPU."""
    return node.op.name == "to_device" and node.device.type == "cpu" and _on_gpu(node.outputs[0])


def _computes(node: Node) -> bool:
    """Whether a GPU computes it."""
    return all(map(_on_gpu, node.outputs)) and not _arrives(node)


def _separable(node: Node) -> bool:
    """Whether an operation of a GPU reads nothing of the host but where in a random stream it begins."""
    if not _computes(node):
        return True
    if node.lifted and (node.op.kind != "random" or not set(node.lifted) <= {"seed", "offset"}):
        return False
    return all(map(_on_gpu, node.inputs))


def _on_gpu(v: Value) -> bool:
    return v.aval is not None and v.aval.device.type == "cuda"
