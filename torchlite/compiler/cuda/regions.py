"""Which operations become one kernel: those on one shape, with reductions over some of its dimensions.

A value of a region has the region's whole shape, or is kept: one number for each place along the dimensions that are
not reduced, such as the largest of each row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from torchlite.compiler.cuda.layouts import reading
from torchlite.compiler.cuda.scalars import TYPES, computes, dtype_of, number
from torchlite.compiler.graph import Graph, Node, Value, users
from torchlite.compiler.passes.dead_code import without_dead_code
from torchlite.ir import Shape

REDUCTIONS = ("sum", "amax", "amin", "all", "any")
MOST_ARRAYS = 32
_VIEWS = ("view", "expand")
# Where results depend on a reduction, one group of threads goes through all that is reduced; with few groups that is slow.
_FEW_GROUPS, _LONG = 64, 1 << 13


@dataclass(eq=False)
class Region:
    """Operations that become one kernel.

    Attributes:
        shape: of the loop.
        dims: over which it reduces; none yet for ().
        apart: whether it takes operations that have no array in common with it.
        nodes: in order, without views.
        whole, kept: the values that are computed, by what they are; views of others among them.
        views: views of what is computed, which stay operations of their own where something outside needs them.
        reads: values from outside.
        tainted: values that are computed outside from results of the region, so that it can't read them.
        late: whole values that depend on a reduction, for which all that is reduced is gone through once more.
    """

    shape: Shape
    dims: tuple[int, ...] = ()
    apart: bool = False
    nodes: list[Node] = field(default_factory=list)
    whole: set[Value] = field(default_factory=set)
    kept: set[Value] = field(default_factory=set)
    views: list[Node] = field(default_factory=list)
    reads: dict[Value, None] = field(default_factory=dict)
    tainted: set[Value] = field(default_factory=set)
    late: set[Value] = field(default_factory=set)

    def takes(self, node: Node) -> bool:
        """Whether an operation belongs here; if so, it is taken in."""
        inputs = node.inputs
        if node.lifted or any(v in self.tainted for v in inputs):
            return False
        computed = [v for v in inputs if v in self.whole or v in self.kept]
        if is_view(node):
            return bool(computed) and self._takes_view(node)
        beside = computed or any(v in self.reads and v.shape == self.shape for v in inputs)
        if not (beside or self.apart or not self.nodes):
            return False
        outside = {v for v in inputs if v not in computed and v not in self.reads}
        if len(self.reads) + len(outside) > MOST_ARRAYS - len(self.nodes) // 3:
            return False
        taken = self._takes_reduction(node) if node.op.name in REDUCTIONS else self._takes_elementwise(node)
        if taken:
            self.nodes.append(node)
            self.reads.update(dict.fromkeys(v for v in inputs if v not in computed))
        return taken

    def _takes_reduction(self, node: Node) -> bool:
        (x,), dims = node.inputs, node.params["dims"]
        if x.shape != self.shape or x in self.kept or (self.dims and self.dims != dims):
            return False
        if math.prod(self.shape[d] for d in dims) < 2 or (x in self.late and not self.quick(dims)):
            return False
        self.dims = dims
        self.kept.update(node.outputs)
        return True

    def _takes_elementwise(self, node: Node) -> bool:
        out = node.outputs[0]
        inside = [v for v in node.inputs if v in self.kept]
        if out.shape == self.shape:
            if inside and not self.quick(self.dims):
                return False
            if not all(v.shape == () or self._repeats(v) for v in inside):
                return False
            self.whole.add(out)
            if inside or any(v in self.late for v in node.inputs):
                self.late.add(out)
            return True
        if not inside or any(v in self.whole for v in node.inputs):
            return False
        if any(v.shape != out.shape and _size(v) != 1 for v in node.inputs):
            return False
        if _size(out) != _size(inside[0]):
            return False
        self.kept.add(out)
        return True

    def _takes_view(self, node: Node) -> bool:
        (x,), out = node.inputs, node.outputs[0]
        if x in self.kept and (_size(out) == _size(x) or (out.shape == self.shape and self._expands(node))):
            if _size(out) == _size(x) and _without_ones(out.shape) != _without_ones(x.shape):
                return False
            (self.kept if _size(out) == _size(x) else self.whole).add(out)
            if out in self.whole:
                self.late.add(out)
        elif x in self.whole and out.shape == self.shape:
            self.whole.add(out)
            if x in self.late:
                self.late.add(out)
        else:
            return False
        self.views.append(node)
        return True

    def _expands(self, node: Node) -> bool:
        return node.op.name == "expand" and self.quick(self.dims) and self._repeats(node.inputs[0])

    def _repeats(self, v: Value) -> bool:
        """Whether a kept value, seen in the shape of the loop, is the same all along the reduced dimensions."""
        shape = v.shape
        shape = (1,) * (len(self.shape) - len(shape)) + shape
        return all(shape[d] == (1 if d in self.dims else n) for d, n in enumerate(self.shape))

    def quick(self, dims: tuple[int, ...]) -> bool:
        """Whether it is quick to let one group of threads go several times through all that is reduced."""
        reduced = math.prod(self.shape[d] for d in dims)
        return reduced <= _LONG or math.prod(self.shape) // reduced >= _FEW_GROUPS

    def absorbs(self, node: Node, needed: Container[Value]) -> bool:
        """Whether an operation that runs before belongs here, because only the region reads its result; if so, it is taken in.

        Args:
            node: the operation.
            needed: what others that run before read.
        """
        out = node.outputs[0]
        if out not in self.reads or out in needed or node.op.name in REDUCTIONS or out.shape != self.shape:
            return False
        if any(
            out in reader.inputs and reader.outputs[0] in self.kept for reader in self.nodes if not _reduces(reader)
        ):
            return False
        if len(self.reads) + len(node.inputs) > MOST_ARRAYS:
            return False
        self.nodes.insert(0, node)
        self.whole.add(out)
        del self.reads[out]
        self.reads.update(dict.fromkeys(node.inputs))
        return True


def fusable(node: Node) -> bool:
    """Whether kernels are written for an operation at all."""
    out = node.outputs[0].aval
    if out is None or not out.size or node.several or node.device.type != "cuda":
        return False
    if node.op.name in REDUCTIONS:
        x = node.inputs[0]
        size = x.aval.size if x.aval is not None else 0
        return bool(size) and dtype_of(x) in TYPES and bool(node.params["dims"]) and _reducible(node)
    return computes(node) and all(_readable(v) for v in node.inputs)


def is_view(node: Node) -> bool:
    """Whether it shows elements in another shape, as which kernels can read them."""
    return node.op.name in _VIEWS


def _reduces(node: Node) -> bool:
    return node.op.name in REDUCTIONS


def _reducible(node: Node) -> bool:
    (x,) = node.inputs
    if node.op.name in ("all", "any"):
        return dtype_of(x) == "bool"
    if node.op.name == "sum":
        return dtype_of(x) in ("float32", "float64", "int64")
    return dtype_of(x) != "bool"


def _readable(v: Value) -> bool:
    """Whether an input is an array of the device, or a number."""
    return v.aval is not None and v.aval.device.type == "cuda" and (v.constant is None or v.aval.size > 0)


def regions(graph: Graph, make: Callable[[Region, Sequence[Value], int], Node], alone: Container[Value] = ()) -> Graph:
    """The graph with each region of at least two operations as one, which ``make`` writes.

    Args:
        graph: without dead code.
        make: gives the operation that computes those results of a region that are needed outside; regions are numbered.
        alone: what one operation on each element is a region for, too: counters, say, of which one launch can do many.
    """
    waiting = list(graph.nodes)
    done: list[Node] = []
    count = 0
    while waiting:
        node = waiting.pop(0)
        region = _begun(node) if fusable(node) else None
        if region is None:
            done.append(node)
            continue
        before, after = _grow(region, waiting)
        if len(region.nodes) < 2 and (_reduces(node) or node.outputs[0] not in alone):
            done.append(node)
            continue
        results = _results(region, [*before, *after], graph)
        waiting = [*before, make(region, results, count), *region.views, *after]
        count += 1
    return without_dead_code(graph.with_nodes(done))


def _begun(node: Node) -> Region | None:
    """A region of one operation."""
    reduces = node.op.name in REDUCTIONS
    region = Region((node.inputs[0] if reduces else node.outputs[0]).shape)
    return region if region.takes(node) else None


def _grow(region: Region, rest: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """Take into a region what belongs there; what is left, by whether it runs before or after."""
    before: list[Node] = []
    after: list[Node] = []
    for node in rest:
        if (is_view(node) or fusable(node)) and region.takes(node):
            continue
        if any(v in region.tainted or v in region.whole or v in region.kept for v in node.reads()):
            region.tainted.update(node.outputs)
            after.append(node)
        else:
            before.append(node)
    return _absorbed(region, before), after


def _absorbed(region: Region, before: Sequence[Node]) -> list[Node]:
    """What is left of the operations that run before, after the region has taken in what only it needs."""
    left: list[Node] = []
    needed: set[Value] = set()
    for node in reversed(before):
        if not (fusable(node) and region.absorbs(node, needed)):
            left.append(node)
            needed.update(node.reads())
    return left[::-1]


def _results(region: Region, outside: Sequence[Node], graph: Graph) -> list[Value]:
    """What is needed outside, seen directly or through views."""
    read = set(users(outside)) | set(graph.outputs)
    for node in reversed(region.views):
        if node.outputs[0] in read:
            read.add(node.inputs[0])
    return [v for node in region.nodes for v in node.outputs if v in read]


def operands(region: Region) -> list[Value]:
    """The values from outside that a kernel reads, each once, as `reading` finds them; constants in its text are none."""
    return list(dict.fromkeys(reading(v).source for v in region.reads if number(v) is None))


def _size(v: Value) -> int:
    return math.prod(v.shape)


def _without_ones(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)
