"""Putting operations together to units, each of which becomes one pass over memory or one kernel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.dead_code import has_effect
from torchlite.compiler.program.again import computed_again, given
from torchlite.compiler.program.expressions import expression
from torchlite.compiler.program.lowering import Lowering, lowering
from torchlite.compiler.program.numbers import is_number_in_c
from torchlite.compiler.program.reductions import kept_dimension, reduction
from torchlite.ir import Shape

MOST_ARRAYS = 24
_FEW_ARRAYS = 7
Kind = Literal["loop", "kernel", "number", "check", "host"]


@dataclass(frozen=True, eq=False)
class Loop:
    """Elementwise operations on results of one size, and reductions of them: one pass over the elements.

    Attributes:
        shapes: all shapes under which the elements are looked at, all in the same order.
        nodes: elementwise operations, in order.
        reductions: operations that reduce what is read or computed here.
        follows: the value of a kernel that the elementwise operations continue; None for a loop of its own.
    """

    shapes: tuple[Shape, ...] = ()
    nodes: tuple[Node, ...] = ()
    reductions: tuple[Node, ...] = ()
    follows: Value | None = None

    @cached_property
    def computed(self) -> set[Value]:
        """The values of the elementwise operations, and what they follow."""
        first = set() if self.follows is None else {self.follows}
        return first | {v for node in self.nodes for v in node.outputs}

    @cached_property
    def reads(self) -> list[Value]:
        """What comes from outside."""
        given = dict.fromkeys(v for node in (*self.nodes, *self.reductions) for v in node.inputs)
        return [v for v in given if flat(v) not in self.computed]

    @cached_property
    def streams(self) -> set[Value]:
        """Arrays of full size that are read or written, at most."""
        size = math.prod(self.shapes[0])
        inside = {flat(v) for node in self.nodes for v in node.inputs}
        written = (v for node in self.nodes if inside.isdisjoint(node.outputs) for v in node.outputs)
        return {v for v in (*self.reads, *written) if v.constant is None and math.prod(_shape(v)) == size}

    def extended(self, nodes: Iterable[Node], reductions: Iterable[Node], shapes: Iterable[Shape]) -> Loop:
        """A loop that does these operations as well, under these shapes."""
        return Loop(
            tuple(dict.fromkeys((*self.shapes, *shapes))),
            tuple(dict.fromkeys((*self.nodes, *nodes))),
            (*self.reductions, *reductions),
            self.follows,
        )


@dataclass(eq=False)
class Unit:
    """What runs in one go.

    Attributes:
        kind: a ``loop`` over elements, a ``kernel`` with a root, a ``number`` computed, a ``check``, or an operation
            that NumPy (or Python) runs, on the ``host``.
        root: the operation, for all but loops.
        how: how a kernel's root becomes C.
        loops: of elements; of a kernel the one that continues its result; several where equal loops run together.
        before: inputs of a kernel whose elements it computes itself, with the loops that do.
    """

    kind: Kind
    index: int
    root: Node | None = None
    how: Lowering | None = None
    loops: list[Loop] = field(default_factory=list)
    before: dict[Value, Loop] = field(default_factory=dict)
    ancestors: int = 0
    users: set[Unit] = field(default_factory=set)

    def nodes(self) -> list[Node]:
        """All operations."""
        inner = [n for loop in (*self.before.values(), *self.loops) for n in (*loop.nodes, *loop.reductions)]
        return inner if self.root is None else [self.root, *inner]

    def reads(self) -> list[Value]:
        """What comes from outside."""
        found = dict.fromkeys(() if self.root is None else (v for v in self.root.reads() if v not in self.before))
        for loop in (*self.before.values(), *self.loops):
            found.update(dict.fromkeys(loop.reads))
        return list(found)

    def writes(self) -> list[Value]:
        """What it computes."""
        return [v for node in self.nodes() for v in node.outputs]

    def grow(self, bits: int) -> None:
        """Note units that have to run before this one, and so before all that use it."""
        if bits & ~self.ancestors:
            self.ancestors |= bits
            for user in self.users:
                user.grow(bits)


def flat(v: Value) -> Value:
    """The value whose elements these are, in the same order under another shape."""
    while v.node is not None and v.node.op.name == "view":
        v = v.node.inputs[0]
    return v


def base(v: Value) -> Value:
    """The value whose memory a view looks at."""
    while v.node is not None and v.node.op.kind == "view":
        v = v.node.inputs[0]
    return v


@lru_cache(4096)
def refinement(*shapes: Shape) -> Shape | None:
    """The shape that all of ``shapes`` become when neighbouring dimensions are joined; None where there is none."""
    if any(0 in shape for shape in shapes):
        return (0,)
    ends: set[int] = set()
    for shape in shapes:
        size = 1
        for length in reversed(shape):
            size *= length
            ends.add(size)
    lengths = []
    before = 1
    for end in sorted(ends | {1}):
        if end % before:
            return None
        lengths.append(end // before)
        before = end
    return tuple(reversed(lengths[1:]))


def units(graph: Graph, floats: Iterable[Value], state: Iterable[Value]) -> list[Unit]:
    """The operations of a graph as units, in an order in which they can run; checks as early as they can.

    Args:
        graph: optimized.
        floats: inputs that are Python floats.
        state: inputs whose memory is overwritten with an output, such as parameters.
    """
    return _scheduled(_Grouping(graph, set(floats), set(state)).units)


class _Grouping:
    def __init__(self, graph: Graph, numbers: set[Value], state: set[Value]) -> None:
        self.units: list[Unit] = []
        self.numbers = numbers
        self.updates = state
        self.of: dict[Value, Unit] = {}
        self.reduced: set[Value] = set()
        self.readers: dict[Value, list[Unit]] = {}
        self.chains = computed_again(graph)
        outputs = {base(v) for v in graph.outputs}
        for node in graph.nodes:
            if node.op.kind != "view" and node.outputs[0] not in self.chains:
                self._place(node)
        self._merge()
        self._absorb()
        self._absorb_before()
        self._run_together(outputs)

    def _place(self, node: Node) -> None:
        sized = all(v.aval is None or v.aval.size for v in (*node.inputs, *node.outputs))
        how = lowering(node) if sized else None
        if how is not None and self._join_kernel(node):
            return
        if how is not None:
            self._add(self._kernel(node, how), node)
        elif is_number_in_c(node, self.numbers):
            self.numbers.update(v for v in node.outputs if v.aval is None)
            self._add(Unit("number", len(self.units), node), node)
        elif node.op.name == "check":
            self._add(Unit("check", len(self.units), node), node)
        elif sized and expression(node) is not None:
            self._join(node, _shape(node.outputs[0]), reduces=False)
        elif sized and reduction(node) is not None:
            if not self._join_kernel(node):
                self._join(node, _shape(node.inputs[0]), reduces=True)
        else:
            self._add(Unit("host", len(self.units), node), node)

    def _kernel(self, node: Node, how: Lowering) -> Unit:
        loop = Loop((_shape(node.outputs[0]),), follows=node.outputs[0])
        unit = Unit("kernel", len(self.units), node, how, [loop] if how.continues(node) else [])
        for i, v in enumerate(node.inputs):
            if v in self.chains and how.computes(node, i):
                unit.before[v] = Loop((_shape(v),), self.chains[v])
            elif v in self.chains:
                self._lie_in_memory(v)
        return unit

    def _lie_in_memory(self, v: Value) -> None:
        """Compute what was to be computed again wherever it is read."""
        node = self.chains[v][-1]
        self.chains = {w: chain for w, chain in self.chains.items() if w is not v}
        self._join(node, _shape(v), reduces=False)

    def _join_kernel(self, node: Node) -> bool:
        """Let a kernel sum up what it, or what continues it, computes."""
        kept = kept_dimension(node)
        if kept is None:
            return False
        for v in given(node, self.chains):
            unit = self.of.get(flat(v))
            if unit is None or unit.kind != "kernel" or not unit.loops or unit.how is None or unit.root is None:
                continue
            shape, own, summed = _shape(node.inputs[0]), _shape(_root(unit)), unit.how.summed
            sees_rows = summed == kept - len(shape) == -1 and shape[-1] == own[-1]
            if (
                unit.how.together(unit.root)
                and (sees_rows or (summed == kept and shape == own))
                and self._fits(unit, node, shape, reduces=True)
            ):
                self._put(unit, node, shape, reduces=True)
                return True
        return False

    def _join(self, node: Node, shape: Shape, *, reduces: bool) -> None:
        if not reduces and any(
            flat(v) in self.updates and math.prod(_shape(v)) == math.prod(shape) for v in node.inputs
        ):
            self.updates.update(node.outputs)
        for unit in self._candidates(node, reduces=reduces):
            if self._fits(unit, node, shape, reduces=reduces):
                break
        else:
            unit = Unit("loop", len(self.units), loops=[Loop()])
            self._add(unit, None)
        self._put(unit, node, shape, reduces=reduces)

    def _put(self, unit: Unit, node: Node, shape: Shape, *, reduces: bool) -> None:
        before = [n for v in node.inputs for n in self.chains.get(v, ())]
        nodes, reductions = (before, [node]) if reduces else ([*before, node], [])
        unit.loops[0] = unit.loops[0].extended(nodes, reductions, [shape])
        if reduces:
            self.reduced.update(node.outputs)
        self._connect(unit, node)

    def _candidates(self, node: Node, *, reduces: bool) -> Iterable[Unit]:
        """Units that compute what the operation reads, and then loops that read the same; that of single numbers is no reason."""
        inputs = given(node, self.chains)
        for v in inputs:
            unit = self.of.get(flat(v))
            alone = reduces or any(v in self.updates for v in node.outputs)
            if unit is not None and unit.loops and not (alone and unit.kind == "kernel"):
                yield unit
        for v in inputs:
            for unit in reversed(self.readers.get(flat(v), ()) if math.prod(_shape(v)) > 1 else ()):
                if unit.kind == "loop":
                    yield unit

    def _fits(self, unit: Unit, node: Node, shape: Shape, *, reduces: bool) -> bool:
        loop = unit.loops[0]
        if math.prod(loop.shapes[0]) != math.prod(shape) or refinement(*loop.shapes, shape) is None:
            return False
        own = loop.computed
        inputs = [v for v in given(node, self.chains) if v.aval is not None]
        bit = 1 << unit.index
        if not any(flat(v) in own or math.prod(_shape(v)) == math.prod(shape) for v in inputs):
            return False
        for v in inputs:
            if flat(v) in own:
                continue
            source = self.of.get(base(v))
            if v in self.reduced and source is unit:
                return False
            if source is unit or (source is not None and source.ancestors & bit):
                return False
        if unit.kind == "kernel" and not any(flat(v) in own for v in inputs):
            return False
        if any(self._lies_across(v, unit) for v in inputs):
            return False
        if len(loop.reads) + len(inputs) + len(loop.nodes) // 3 > MOST_ARRAYS:
            return False
        if unit.kind == "kernel" or not loop.reductions or not reduces:
            return True
        return _pattern(loop.reductions[0]) == _pattern(node)

    def _lies_across(self, v: Value, unit: Unit) -> bool:
        """Whether another kernel leaves an array in another order than this kernel, whose tiles would read it with large steps."""
        source = self.of.get(base(v))
        if source is None or source is unit or {unit.kind, source.kind} != {"kernel"} or base(v) is not _root(source):
            return False
        return math.prod(_shape(v)) == math.prod(_shape(_root(unit))) and _order(source) != _order(unit)

    def _add(self, unit: Unit, node: Node | None) -> None:
        self.units.append(unit)
        if node is not None:
            self._connect(unit, node)

    def _connect(self, unit: Unit, node: Node) -> None:
        for v in given(node, self.chains):
            self.readers.setdefault(flat(v), []).append(unit)
            source = self.of.get(base(v))
            if source is not None and source is not unit:
                source.users.add(unit)
                unit.grow(source.ancestors | 1 << source.index)
        for v in node.outputs:
            self.of[v] = unit

    def _merge(self) -> None:
        """Let loops that read what another loop computes be one with it: operations join the first loop that they fit, which
        leaves some in two that could be one, such as those of Adam's two averages and of the weights."""
        for unit in [unit for unit in self.units if unit.kind == "loop"]:
            for source in dict.fromkeys(self.of.get(flat(v)) for v in unit.reads()):
                if source is not None and source.kind == "loop" and self._fit_together(source, unit):
                    self._take(source, unit)
                    break

    def _fit_together(self, first: Unit, unit: Unit) -> bool:
        mine, other = first.loops[0], unit.loops[0]
        if mine.reductions or other.reductions or not self._continues(first, unit):
            return False
        return len(mine.streams | other.streams) + (len(mine.nodes) + len(other.nodes)) // 3 <= MOST_ARRAYS

    def _take(self, first: Unit, unit: Unit) -> None:
        mine, other = first.loops[0], unit.loops[0]
        first.loops[0] = mine.extended(other.nodes, (), other.shapes)
        self._replace(unit, first)

    def _absorb(self) -> None:
        """Let the store of a kernel's result do the loop that updates state with it, where that takes few arrays."""
        for unit in list(self.units):
            if unit.kind != "loop" or unit.loops[0].reductions or len(unit.loops[0].streams) > _FEW_ARRAYS:
                continue
            sources = {self.of.get(flat(v)) for v in unit.reads()} - {None}
            kernels = [s for s in sources if s is not None and s.kind == "kernel" and s.loops]
            if len(kernels) != 1 or kernels[0].users - {unit} or not self._continues(kernels[0], unit):
                continue
            self._take(kernels[0], unit)

    def _absorb_before(self) -> None:
        """Let the first kernel that reads what a loop computes do that loop, on its way in."""
        for unit in list(self.units):
            if unit.kind != "loop" or unit.loops[0].reductions or len(unit.loops[0].streams) > _FEW_ARRAYS:
                continue
            for kernel in sorted(unit.users, key=lambda user: user.index):
                v = self._computed_before(unit, kernel)
                if v is not None:
                    kernel.before[v] = unit.loops[0]
                    unit.users.remove(kernel)
                    self._replace(unit, kernel)
                    break

    def _computed_before(self, unit: Unit, kernel: Unit) -> Value | None:
        """The input of a kernel that it can compute, and store, instead of a loop; None where it can't."""
        node, how, loop = kernel.root, kernel.how, unit.loops[0]
        if node is None or how is None or any(v in self.updates for n in loop.nodes for v in n.outputs):
            return None
        mine = loop.computed
        read = [(i, v) for i, v in enumerate(node.inputs) if base(v) in mine]
        if len(read) != 1 or any(flat(v) in mine for other in kernel.loops for v in other.reads):
            return None
        ((i, v),) = read
        if v not in mine or refinement(*loop.shapes) != v.shape or not (how.computes(node, i) and how.covers(node, i)):
            return None
        return None if any(kernel.ancestors >> user.index & 1 for user in unit.users) else v

    def _continues(self, first: Unit, unit: Unit) -> bool:
        mine, other = first.loops[0], unit.loops[0]
        if refinement(*mine.shapes, *other.shapes) is None or math.prod(mine.shapes[0]) != math.prod(other.shapes[0]):
            return False
        own = mine.computed
        if not any(flat(v) in own for v in other.reads):
            return False
        if any(self._lies_across(v, first) for v in other.reads):
            return False
        if any(flat(v) not in own and self.of.get(base(v)) is first for v in other.reads):
            return False  # elements of the same result, but other ones
        return not any(
            s is not None and s is not first and s.ancestors >> first.index & 1
            for s in (self.of.get(base(v)) for v in other.reads)
        )

    def _replace(self, unit: Unit, first: Unit) -> None:
        """Let ``first``, which has taken the loops of ``unit``, stand where that stood."""
        for source in {self.of.get(base(v)) for v in unit.reads()}:
            if source is not None:
                source.users.discard(unit)
                if source is not first:
                    source.users.add(first)
        for v in unit.writes():
            self.of[v] = first
        first.users |= unit.users
        first.grow(unit.ancestors & ~(1 << first.index))
        for user in unit.users:
            user.grow(first.ancestors | 1 << first.index)
        self.units.remove(unit)

    def _run_together(self, outputs: set[Value]) -> None:
        """Let loops with equal bodies whose results all leave the program be one: an optimizer's, over all parameters."""
        groups: dict[object, Unit] = {}
        for unit in list(self.units):
            if unit.kind != "loop" or not self._last(unit, outputs):
                continue
            first = groups.setdefault(_signature(unit.loops[0]), unit)
            if first is unit:
                continue
            if unit.ancestors >> first.index & 1 or first.ancestors >> unit.index & 1:
                continue
            first.loops += unit.loops
            self._replace(unit, first)

    @staticmethod
    def _last(unit: Unit, outputs: set[Value]) -> bool:
        """Whether nothing is lost when the loop runs late: its results are the program's, or single numbers."""
        loop = unit.loops[0]
        sizes = [v.aval.size for node in loop.reductions for v in node.outputs if v.aval is not None]
        if loop.reductions:
            return not loop.nodes and all(size == 1 for size in sizes)
        inside = {flat(v) for node in loop.nodes for v in node.inputs}
        return all(not outputs.isdisjoint(node.outputs) or not inside.isdisjoint(node.outputs) for node in loop.nodes)


def can_fail(unit: Unit) -> bool:
    """Whether a replay may end here: nothing may have been overwritten before."""
    if unit.kind == "number":
        assert unit.root is not None
        return unit.root.op.name in ("number_pow", "number_truediv")
    return unit.kind in ("check", "host") or (unit.how is not None and unit.how.fails)


def _root(unit: Unit) -> Value:
    assert unit.root is not None
    return unit.root.outputs[0]


def _order(unit: Unit) -> tuple[int, ...] | None:
    """In which order a kernel leaves its first result, if its inputs lie as nothing else asks for."""
    assert unit.root is not None and unit.how is not None
    plain = [tuple(range(v.aval.ndim)) for v in unit.root.inputs if v.aval is not None]
    return unit.how.orders(unit.root, plain)[0]


def _draws(unit: Unit) -> bool:
    return unit.root is not None and has_effect(unit.root)


def _pattern(node: Node) -> object:
    how = reduction(node)
    return None if how is None else (how.dims, _shape(node.inputs[0]))


def _signature(loop: Loop) -> object:
    """What equal loops have in common: operations, dtypes, and which of their inputs are single numbers."""
    numbers: dict[Value, int] = {}

    def known(v: Value) -> object:
        if v.constant is not None and v.aval is not None and not v.aval.shape:
            return v.constant.item(), v.aval.dtype
        new = flat(v) not in numbers
        place = numbers.setdefault(flat(v), len(numbers))
        return place, new and v.aval is not None and (v.aval.dtype, bool(v.aval.shape))

    parts = []
    for node in (*loop.nodes, *loop.reductions):
        params = repr(node.params) if not loop.reductions else node.op.name
        parts.append((node.op.name, params, *map(known, node.inputs), *map(known, node.outputs)))
    return tuple(parts)


def _scheduled(all_units: Sequence[Unit]) -> list[Unit]:
    urgent = 0
    for unit in all_units:
        if unit.kind == "number" or (can_fail(unit) and (unit.kind == "check" or _draws(unit))):
            urgent |= unit.ancestors | 1 << unit.index
    order: list[Unit] = []
    there = sum(1 << unit.index for unit in all_units)  # others have become part of them
    done = 0
    waiting = sorted(all_units, key=lambda unit: (not urgent >> unit.index & 1, unit.index))
    while waiting:
        left = []
        for unit in waiting:
            if unit.ancestors & ~done & there:
                left.append(unit)
            else:
                order.append(unit)
                done |= 1 << unit.index
        assert len(left) < len(waiting), "units depend on each other in a circle"
        waiting = left
    return order


def _shape(v: Value) -> Shape:
    return () if v.aval is None else v.aval.shape
