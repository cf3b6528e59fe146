"""One launch for many arrays: the same operations on all parameters, say, from a table of their addresses.

A kernel that computes element by element what overwrites one of its inputs writes there, instead of into new memory that
is copied afterwards. Such kernels run last, when nothing can fail any more.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.launch import Kernel
from torchlite.compiler.cuda.parts import root
from torchlite.compiler.cuda.tables import Row, TableKernel, Text, linear
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.dead_code import has_effect
from torchlite.ir import Op


def together(graph: Graph, writes: Mapping[int, Value]) -> Graph:
    """The graph with regions of the same text in one launch, and with what overwrites inputs written there.

    Args:
        graph: with fused operations.
        writes: for outputs that overwrite an input, that input.
    """
    rows = {node: Row(_arguments(node), node) for node in graph.nodes if _is_linear(node)}
    _write_in_place(graph, writes, rows)
    heights = _heights(graph, rows)
    groups: dict[Any, list[Row]] = {}
    for node, row in rows.items():
        key = (tuple(Text(row.arguments).bodies()), tuple(row.written.items()), heights[node], node.device)
        groups.setdefault(key, []).append(row)
    replaced: dict[Node, Node] = {}
    for members in groups.values():
        if len(members) > 1 or members[0].written:
            node = _launched(members, len(replaced))
            replaced.update((row.node, node) for row in members)
    overwritten = {row.node.outputs[i] for row in rows.values() for i in row.written}
    nothing = Value(None, constant=None)
    outputs = tuple(nothing if i in writes and v in overwritten else v for i, v in enumerate(graph.outputs))
    nodes = _ordered(list(dict.fromkeys(replaced.get(node, node) for node in graph.nodes)))
    return Graph(graph.name, graph.inputs, tuple(nodes), outputs)


def _is_linear(node: Node) -> bool:
    return isinstance(node.op.run, Kernel) and linear(node.op.run.arguments)


def _arguments(node: Node) -> Arguments:
    found: Arguments = node.op.run.arguments  # type: ignore[attr-defined]
    return found


def _launched(members: Sequence[Row], number: int) -> Node:
    """The operation that is all of them."""
    kernel = TableKernel(members, members[0].node.device)
    op = Op(f"fused_table{number}", "elementwise", run=kernel, infer=lambda *_: None)
    inputs = tuple(v for row in members for v in row.node.inputs)
    node = Node(op, inputs, {}, several=True, line=members[0].node.line)
    node.outputs = tuple(v for row in members for v in row.node.outputs)
    return node


def _write_in_place(graph: Graph, writes: Mapping[int, Value], rows: Mapping[Node, Row]) -> None:
    """Note which results can be written where the input that they replace lies.

    Nothing else that runs last may read that memory, and nothing that leaves the program may be part of it.
    """
    read = {v for node in graph.nodes for v in node.reads()}
    users: dict[Value, list[Row]] = {}
    for row in rows.values():
        for v in row.arguments.arrays:
            users.setdefault(root(v), []).append(row)
    leaving = [v if v.aval is None else root(v) for v in graph.outputs]
    of_value = {v: row for row in rows.values() for v in row.node.outputs}
    for i, target in writes.items():
        value = graph.outputs[i]
        if value not in of_value:
            continue
        row = of_value[value]
        if target not in row.arguments.arrays or value.aval != target.aval:
            continue
        if users[target] != [row] or target in leaving or leaving.count(value) > 1:
            continue
        if not any(v in read for v in row.node.outputs):
            row.written[row.node.outputs.index(value)] = row.arguments.arrays.index(target)


def _heights(graph: Graph, counted: Mapping[Node, Any]) -> dict[Node, int]:
    """For each operation how many ``counted`` ones at most follow from it: of those with one height none needs another."""
    readers: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        for v in node.reads():
            readers.setdefault(v, []).append(node)
    heights: dict[Node, int] = {}
    for node in reversed(graph.nodes):
        after = [heights[reader] + (reader in counted) for v in node.outputs for reader in readers.get(v, ())]
        heights[node] = max(after, default=0)
    return heights


def _ordered(nodes: Sequence[Node]) -> list[Node]:
    """Operations after what they need, otherwise as they stand; effects in their order, what writes into inputs last."""
    position = {node: i for i, node in enumerate(nodes)}
    producer = {v: node for node in nodes for v in node.outputs}
    needs = {node: {producer[v] for v in node.reads() if v in producer} for node in nodes}
    effects = [node for node in nodes if has_effect(node)]
    for first, second in itertools.pairwise(effects):
        needs[second].add(first)
    followers: dict[Node, list[Node]] = {}
    for node, earlier in needs.items():
        for other in earlier:
            followers.setdefault(other, []).append(node)
    waiting = {node: len(earlier) for node, earlier in needs.items()}
    ready = [(writes_inputs(node), position[node], node) for node in nodes if not waiting[node]]
    heapq.heapify(ready)
    done = []
    while ready:
        *_, node = heapq.heappop(ready)
        done.append(node)
        for follower in followers.get(node, ()):
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, (writes_inputs(follower), position[follower], follower))
    return done


def writes_inputs(node: Node) -> bool:
    """Whether an operation overwrites inputs, which must be the last thing that happens."""
    kernel = node.op.run
    return isinstance(kernel, TableKernel) and any(row.written for row in kernel.rows)
