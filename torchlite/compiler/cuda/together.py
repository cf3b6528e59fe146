"""One launch for many arrays: the same operations on all parameters, say, from a table of their addresses.

A kernel that computes element by element what overwrites one of its inputs writes there, instead of into new memory that
is copied afterwards. Such kernels run last, when nothing can fail any more.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchlite.backends import cupy
from torchlite.backends.memory import dense_strides
from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.launch import Kernel, dense, number, shape_and_dtype
from torchlite.compiler.cuda.layouts import reading
from torchlite.compiler.cuda.pointwise import THREADS, computed, indented
from torchlite.compiler.cuda.scalars import computed_type, stored, stored_type
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.dead_code import has_effect
from torchlite.devices import Device
from torchlite.ir import Op

CHUNK = 1 << 14  # elements of one array that one block takes


def linear(arguments: Arguments) -> bool:
    """Whether everything is read and written in the order of memory, or is one number for all elements."""
    region = arguments.region
    if region.dims or math.prod(region.shape) >= 1 << 31:
        return False
    along = dense_strides(region.shape)
    return all(
        not any(arguments.strides(v)) or _alike(region.shape, arguments.strides(v), along)
        for v in region.reads
        if arguments.read_from_memory(v)
    )


def _alike(shape: Sequence[int], left: Sequence[int], right: Sequence[int]) -> bool:
    return all(n == 1 or a == b for n, a, b in zip(shape, left, right, strict=True))


def body(arguments: Arguments) -> str:
    """The kernel, for arrays of any length: a row of the table has the length, the addresses, and the numbers."""
    pointers = [(stored_type(v), arguments.pointer(v), "const ") for v in arguments.arrays]
    pointers += [(stored_type(v), arguments.pointer(v), "") for v in arguments.results]
    width = 1 + len(pointers) + len(arguments.numbers)
    lines = [
        f"const unsigned long long *row = rows + (chunks[blockIdx.x] >> 32) * {width};",
        f"const Index start = (Index)chunks[blockIdx.x] * {CHUNK}, n = (Index)row[0];",
        f"const Index end = n - start < {CHUNK} ? n : start + {CHUNK};",
    ]
    lines += [
        f"{const}{kind} *{name} = ({const}{kind} *)row[{i}];" for i, (kind, name, const) in enumerate(pointers, 1)
    ]
    for i, v in enumerate(arguments.numbers, 1 + len(pointers)):
        kind = computed_type(v)
        bits = f"__longlong_as_double((long long)row[{i}])" if kind in ("float", "double") else f"row[{i}]"
        lines.append(f"const {kind} {arguments.names[v]} = ({kind}){bits};")
    reads = [v for v in arguments.region.reads if arguments.read_from_memory(v)]
    names = arguments.names | {v: f"x{i}" for i, v in enumerate(reads)}
    inner = [arguments.load(v, names[v], "i" if _whole(arguments, v) else "0") for v in reads]
    inner += computed(arguments, names)
    inner += [f"{arguments.pointer(v)}[i] = {stored(v, names[v])};" for v in arguments.results]
    lines += [f"for (Index i = start + threadIdx.x; i < end; i += {THREADS}) {{", *indented(inner), "}"]
    return "\n".join(indented(lines))


def _whole(arguments: Arguments, v: Value) -> bool:
    """Whether there is an element for each of the loop, and not one for all."""
    source = reading(v).source
    assert source.aval is not None
    return any(arguments.strides(v)) or source.aval.shape == arguments.region.shape


PARAMETERS = ["const unsigned long long *chunks", "const unsigned long long *rows"]


@dataclass(eq=False)
class Row:
    """The arrays of one region.

    Attributes:
        arguments: of it.
        node: the operation.
        written: for results that overwrite an input the position of that input.
    """

    arguments: Arguments
    node: Node
    written: dict[int, int] = field(default_factory=dict)


class TableKernel:
    """Several regions with the same text, as one operation: their inputs and results one after the other."""

    def __init__(self, rows: Sequence[Row], device: Device) -> None:
        self.rows = rows
        self.device = device
        self.lengths = [math.prod(row.arguments.region.shape) for row in rows]
        self.arrays = len(rows[0].arguments.arrays)
        self.dtypes = [shape_and_dtype(v)[1] for v in rows[0].arguments.numbers]
        self.results = [[shape_and_dtype(v) for v in row.arguments.results] for row in rows]
        self.count = self.arrays + len(self.dtypes)
        self.name = ""
        self.function: Any = None
        self._chunks: Any = None

    def write(self, named: Callable[[Sequence[str], str], str]) -> None:
        """Write the kernel; ``named`` gives the name of the function with these parameters and this body."""
        self.name = named(PARAMETERS, body(self.rows[0].arguments))

    def bind(self, module: Any) -> None:
        """Take the function from the compiled module."""
        self.function = module.get_function(self.name)

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The results; None for those that have been written into an input."""
        xp = cupy()
        given = [inputs[i * self.count : (i + 1) * self.count] for i in range(len(self.rows))]
        table, kept, found, late = [], [], [], []
        with xp.cuda.Device(self.device.index):
            for row, values, shapes, length in zip(self.rows, given, self.results, self.lengths, strict=True):
                arrays = [dense(x) for x in values[: self.arrays]]
                results = [
                    xp.empty(*s) if row.written.get(i) is None else arrays[row.written[i]] for i, s in enumerate(shapes)
                ]
                late += [(values[j], arrays[j]) for j in row.written.values() if arrays[j] is not values[j]]
                kept += [*arrays, *results]
                found += [None if i in row.written else x for i, x in enumerate(results)]
                numbers = [_bits(number(x, t)) for x, t in zip(values[self.arrays :], self.dtypes, strict=True)]
                table += [length, *(x.data.ptr for x in (*arrays, *results)), *numbers]
            if self._chunks is None:
                self._chunks = xp.asarray(np.array(self._divided(), np.uint64))
            rows = xp.asarray(np.array(table, np.uint64))
            self.function((self._chunks.size,), (THREADS,), (self._chunks, rows))
            for target, value in late:
                target[...] = value
        return tuple(found)

    def _divided(self) -> list[int]:
        """For each block which row it belongs to, and which chunk of it it takes."""
        return [row << 32 | chunk for row, n in enumerate(self.lengths) for chunk in range(-(-n // CHUNK))]


def _bits(x: Any) -> int:
    """A number as it stands in the table: floats as doubles."""
    return int(
        np.array(x, np.float64).view(np.uint64) if x.dtype.kind == "f" else np.array(x, np.int64).view(np.uint64)
    )


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
        key = (body(row.arguments), tuple(row.written.items()), heights[node], node.device)
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
            users.setdefault(_root(v), []).append(row)
    leaving = [v if v.aval is None else _root(v) for v in graph.outputs]
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


def _root(v: Value) -> Value:
    """The value in whose memory ``v`` may lie."""
    while v.node is not None and v.node.op.kind in ("view", "copy"):
        v = v.node.inputs[0]
    return v


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
    ready = [(_last(node), position[node], node) for node in nodes if not waiting[node]]
    heapq.heapify(ready)
    done = []
    while ready:
        *_, node = heapq.heappop(ready)
        done.append(node)
        for follower in followers.get(node, ()):
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, (_last(follower), position[follower], follower))
    return done


def _last(node: Node) -> bool:
    kernel = node.op.run
    return isinstance(kernel, TableKernel) and any(row.written for row in kernel.rows)
