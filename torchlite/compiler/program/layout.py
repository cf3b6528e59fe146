"""Laying a graph out: which units run in which order, and where every value lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from torchlite.backends.native.library import GRAIN
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.program.expressions import expression
from torchlite.compiler.program.interface import Interface
from torchlite.compiler.program.loops import Function, function, order_of_loop
from torchlite.compiler.program.memory import plan
from torchlite.compiler.program.parts import parts_of_wholes
from torchlite.compiler.program.places import CHANNELS_LAST, Array, Buffer, Order, Place, fresh, of_input, of_value
from torchlite.compiler.program.tile_sums import scratch_of
from torchlite.compiler.program.units import Loop, Unit, base, can_fail, flat, units
from torchlite.ir import REGISTRY, Aval


@dataclass(eq=False)
class Step:
    """A unit with everything that is known about its memory.

    Attributes:
        unit: what runs.
        places: of all arrays that it reads or writes.
        functions: its loops in C, but for those that continue a kernel.
        scratch: memory that it needs while it runs.
    """

    unit: Unit
    places: dict[Value, Place] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)
    scratch: Buffer | None = None


@dataclass(eq=False)
class Layout:
    """A program without its text.

    Attributes:
        steps: in the order in which they run.
        outputs: those of the graph, or copies of them; None for what is written into inputs.
        places: of all values.
        results: the places of arrays that the program gives away.
        constants: arrays that it reads.
        stored: values of loops that are needed outside of them.
        dense: inputs that are made dense before.
        floats: inputs that are Python floats, with their positions.
        arena: bytes of memory for what lies between; `plan_memory` says how many.
    """

    steps: list[Step]
    outputs: list[Value | None]
    places: dict[Value, Place]
    results: list[Place]
    constants: list[Array]
    stored: set[Value]
    dense: set[Value]
    floats: list[tuple[Value, int]]
    arena: int = 0

    def plan_memory(self) -> None:
        """Find room for what is neither input nor result."""
        lives: dict[Buffer, list[int]] = {}
        for i, step in enumerate(self.steps):
            buffers = [p.buffer for p in step.places.values()] + ([step.scratch] if step.scratch else [])
            for buffer in buffers:
                if buffer.kind == "arena":
                    lives.setdefault(buffer, [i, i])[1] = i
        self.arena = plan((buffer, first, last) for buffer, (first, last) in lives.items())


class Unplaceable(Exception):
    """An input lies in memory in a way that C has no strides for."""


def lay_out(graph: Graph, interface: Interface) -> Layout:
    """The layout of an optimized graph.

    Raises:
        Unplaceable: for strides that are no whole elements.
    """
    return _Layouter(graph, interface).layout()


class _Layouter:
    def __init__(self, graph: Graph, interface: Interface) -> None:
        self.graph = graph
        self.writes = interface.writes
        self.floats = set(interface.floats)
        self.dense = {v for v, array in interface.arrays.items() if array is None and v.aval is not None}
        self.places: dict[Value, Place] = {}
        self.constants: list[Array] = []
        self.results: list[Place] = []
        self.steps: list[Step] = []
        self.outputs: list[Value | None] = list(graph.outputs)
        for number, v in enumerate(graph.inputs):
            if v.aval is not None:
                array = interface.arrays[v]
                place = of_input(fresh(v.aval.shape, v.aval.dtype, None) if array is None else array, number)
                if place is None:
                    raise Unplaceable(f"{v.label} has strides that are no whole elements")
                self.places[v] = place
        self.units = units(graph, self.floats, self.writes.values())
        self.leaving = {base(v) for v in graph.outputs[: interface.leaving]}
        self.reshaped = {base(v) for v in graph.outputs if any(node.op.name == "view" for node in _views(v))}
        self.chosen: set[Value] = set()
        """What lies as a kernel has it, and not as it does uncompiled."""
        self._copy_outputs(interface.leaving)
        self._write_inputs()
        self.into = self._becoming_results()
        self.stored = self._needed()
        self.parts = parts_of_wholes(graph, {*self.result_of, *self.direct})

    def layout(self) -> Layout:
        """Place one unit after the other."""
        for unit in self.units:
            self._place(unit)
        for v in self.outputs:
            if v is not None and v.aval is not None:
                self._place_of(base(v))
        numbered = [(v, i) for i, v in enumerate(self.graph.inputs) if v in self.floats]
        layout = Layout(
            self.steps, self.outputs, self.places, self.results, self.constants, self.stored, self.dense, numbered
        )
        layout.plan_memory()
        return layout

    # Outputs

    def _copy_outputs(self, leaving: int) -> None:
        """Give each output that leaves the program memory of its own."""
        self.result_of: dict[Value, int] = {}
        written = set(self.writes.values())
        for i, v in enumerate(self.graph.outputs):
            if v.aval is None or i in self.writes:
                continue
            source = base(v)
            if i >= leaving and (v in self.result_of or (_is_input(source) and source not in written)):
                continue
            if source.node is None or source in self.result_of or _size(source) != _size(v):
                v = self._copied(v)
                self.outputs[i] = source = v
            self.result_of[source] = len(self.result_of)

    def _write_inputs(self) -> None:
        """Let outputs that overwrite inputs be computed there where that is safe, and be copied there in the end elsewhere."""
        self.direct: dict[Value, Value] = {}
        last, readers = _last_that_can_fail(self.units), _readers(self.units)
        loops = {
            v: (k, loop)
            for k, unit in enumerate(self.units)
            for loop in unit.loops
            for node in loop.nodes
            for v in node.outputs
        }
        later: list[tuple[int, Value, Value]] = []
        copied = {base(self.graph.outputs[i]) for i in self.writes}  # after all units, into other inputs
        for i, target in self.writes.items():
            v = self.graph.outputs[i]
            k, loop = loops.get(v, (-1, None))
            safe = loop is not None and k > last and target not in copied
            safe = safe and v not in self.result_of and v not in self.direct
            if safe and all(reader.is_before(k, loop, target) for reader in readers.get(target, ())):
                self.direct[v] = target
                self.outputs[i] = None
            else:
                later.append((i, v, target))
        inputs = set(self.writes.values())
        staged = [(i, self._copied(v) if base(v) in inputs else v, target) for i, v, target in later]
        for i, v, target in staged:
            self.direct[self._copied(v)] = target
            self.outputs[i] = None

    def _becoming_results(self) -> dict[Value, Value]:
        """Values of which a loop makes a result, element by element, and that nobody needs then: they can lie where the result
        will, once nothing can fail any more."""
        last, readers = _last_that_can_fail(self.units), _readers(self.units)
        made = {v: k for k, unit in enumerate(self.units) if k > last for v in unit.writes()}
        found: dict[Value, Value] = {}
        for k, unit in enumerate(self.units):
            for loop in unit.loops:
                results = [v for node in loop.nodes for v in node.outputs if v in self.result_of]
                for result in results:
                    for v in loop.reads:
                        free = made.get(v, k) < k and v not in self.result_of and v not in self.direct
                        free = free and v not in found and v.aval == result.aval
                        if free and all(reader.is_before(k, loop, v) for reader in readers[v]):
                            found[v] = result
                            break
        return found

    def _copied(self, v: Value) -> Value:
        unit, made = _copy(v, len(self.units))
        self.units.append(unit)
        return made

    def _needed(self) -> set[Value]:
        needed = {base(v) for v in self.outputs if v is not None} | set(self.direct)
        for unit in self.units:
            needed.update(base(v) for v in unit.reads())
        return needed

    # Places

    def _place(self, unit: Unit) -> None:
        if unit.kind == "loop":
            self._drop_copies(unit)
            if not unit.nodes():
                return
        step = Step(unit)
        follows = self._place_kernel(unit, step) if unit.kind == "kernel" else None
        for v in unit.reads():
            if (
                v.aval is not None
                and v not in step.places
                and not (v.constant is not None and v.aval.size == 1 and unit.kind == "loop")
            ):
                step.places[v] = self._place_of(v)
        for loop in unit.before.values():
            self._place_loop(loop, step, CHANNELS_LAST)
        for loop in unit.loops:
            order = self._place_loop(loop, step, follows)
            if unit.kind == "loop":
                step.functions.append(function(loop, order, step.places, self.stored))
        if any(made.scratch for made in step.functions):
            step.scratch = Buffer("arena", 0, sum(made.scratch for made in step.functions), 0)
        if unit.kind in ("host", "number"):
            for v in unit.writes():
                if v.aval is not None:
                    step.places[v] = self._new(v, None)
        self.steps.append(step)
        for v in unit.root.outputs if unit.root is not None else ():
            if v in step.places and step.places[v] is not self.places[v]:
                self._copy_between(v, step.places[v], self.places[v])

    def _drop_copies(self, unit: Unit) -> None:
        """Take copies of what lies as they shall and is never overwritten out of a unit; the original serves as them."""
        for i, loop in enumerate(unit.loops):
            kept = tuple(node for node in loop.nodes if not self._serves_as_copy(node))
            if kept != loop.nodes:
                unit.loops[i] = replace(loop, nodes=kept)

    def _serves_as_copy(self, node: Node) -> bool:
        if node.op.name != "clone":
            return False
        (source,), (made,) = node.inputs, node.outputs
        if made in self.direct or made in self.result_of or (base(source) not in self.places and not _is_input(source)):
            return False
        place = self._place_of(source)
        if place.buffer.kind != "arena":
            return False
        if made not in self.parts.chain and (place.order is None or place.order != (_demanded(made) or place.order)):
            return False
        self.places[made] = place
        return True

    def _place_loop(self, loop: Loop, step: Step, order: Order | None) -> Order | None:
        known = {v: self.places[v] for v in self.direct_places(loop)}
        chosen = order is not None or any(base(v) in self.chosen for v in loop.reads)
        if order is None:
            order = self._turned(loop, step) or order_of_loop(loop, {**step.places, **known})
        written = [v for node in loop.nodes for v in node.outputs if v in self.stored]
        for v in written:
            lies = order if order is not None and v.aval is not None and len(order) == v.aval.ndim else None
            if self._in_order(v, chosen=chosen):
                lies = None
            elif chosen:
                self.chosen.add(v)
            step.places[v] = self._new(v, _demanded(v) or lies)
        for node in loop.reductions:
            for v in node.outputs:
                step.places[v] = self._new(v, None)
        return order

    def _turned(self, loop: Loop, step: Step) -> Order | None:
        """The order that a kernel has chosen for some of what a loop reads, after copies of the rest into it: they cost less."""
        lying = {
            v: step.places[v].order
            for v in loop.reads
            if v in step.places and (v.shape,) * len(loop.shapes) == loop.shapes and _size(v) >= GRAIN
        }
        chosen = [order for v, order in lying.items() if order is not None and base(v) in self.chosen]
        if len(step.unit.loops) > 1 or not chosen:
            return None
        for v, order in lying.items():
            if order is not None and order != chosen[0]:
                step.places[v] = self._reordered(v, chosen[0])
        return chosen[0]

    def _in_order(self, v: Value, *, chosen: bool) -> bool:
        """Whether a value lies in the order of its dimensions: an output in another shape, or where a kernel would choose for it."""
        return v in self.reshaped or (chosen and v in self.leaving)

    def direct_places(self, loop: Loop) -> list[Value]:
        """Results of a loop that are inputs which it overwrites; their places are known before."""
        found = [v for node in loop.nodes for v in node.outputs if v in self.direct]
        for v in found:
            self._new(v, None)
        return found

    def _place_kernel(self, unit: Unit, step: Step) -> Order | None:
        """Place what a kernel reads and computes, and return how its first result lies."""
        root, how = unit.root, unit.how
        assert root is not None and how is not None
        arrays = [v for v in root.inputs if v.aval is not None]
        lying = [CHANNELS_LAST if v in unit.before else self._place_of(v).order for v in arrays]
        for v, wanted, order in zip(arrays, how.wanted(root, lying), lying, strict=True):
            if v in unit.before:
                continue
            if wanted is not None and wanted != order:
                step.places[v] = self._reordered(v, wanted)
            else:
                step.places[v] = self._place_of(v)
        given = [
            CHANNELS_LAST if v in unit.before else step.places[v].order or tuple(range(step.places[v].ghost.ndim))
            for v in arrays
        ]
        orders = how.orders(root, given)
        for v, order in zip(root.outputs, orders, strict=True):
            if v in self.parts.inside and (how.anywhere or order is None):
                whole, ghost_of = self.parts.inside[v]
                target = self._new(whole, None)
                self.places[v] = step.places[v] = target.seen(ghost_of(target.ghost))
            elif v in self.stored or not unit.loops or v is not unit.loops[0].follows:
                step.places[v] = self._place_result(v, order, anywhere=how.anywhere)
        size = scratch_of(unit)
        if size:
            step.scratch = Buffer("arena", 0, size, 0)
        return orders[0]

    def _place_result(self, v: Value, order: Order | None, *, anywhere: bool) -> Place:
        """Where a kernel leaves a result, which is copied from there where others want it in the order of its dimensions."""
        if order is None or not self._in_order(v, chosen=True):
            if order is not None:
                self.chosen.add(v)
            return self._new(v, order)
        place = self._new(v, None)
        return place if anywhere or place.order == order else of_value(v, "arena", 0, order)

    def _new(self, v: Value, order: Order | None) -> Place:
        if v in self.places:
            return self.places[v]
        if v in self.direct:
            target = self.places[self.direct[v]]
            self.places[v] = target
        elif v in self.result_of:
            self.places[v] = of_value(v, "result", len(self.results), order)
            self.results.append(self.places[v])
        elif v in self.into and v not in self.parts.margins and order in (None, tuple(range(len(v.shape)))):
            self.places[v] = self._new(self.into[v], None)
        else:
            self.places[v] = of_value(v, "arena", 0, order, self.parts.margins.get(v, (0, 0)))
        return self.places[v]

    def _place_of(self, v: Value) -> Place:
        found = self.places.get(v)
        if found is not None:
            return found
        if v.constant is not None:
            array = np.ascontiguousarray(v.constant).reshape(v.constant.shape)
            place = of_input(array, len(self.constants))
            assert place is not None
            place.buffer.kind = "constant"
            self.constants.append(array)
        else:
            assert v.node is not None and v.node.op.kind == "view", v.node
            place = self._view(v.node)
        self.places[v] = place
        return place

    def _view(self, node: Node) -> Place:
        source = self._place_of(node.inputs[0])
        seen = seen_through(node, source)
        if seen is None:
            dense = self._reordered(node.inputs[0], tuple(range(source.ghost.ndim)))
            return dense.seen(dense.ghost.reshape(node.params["shape"], copy=False))
        return seen

    def _reordered(self, v: Value, order: Order) -> Place:
        """The place of a copy of a value that lies in another order."""
        return self._copy_between(v, self._place_of(v), of_value(v, "arena", 0, order))

    def _copy_between(self, v: Value, source: Place, target: Place) -> Place:
        """Copy a value from one place to another."""
        unit, made = _copy(v, 0)
        step = Step(unit, {v: source, made: target})
        self.places[made] = target
        self.stored.add(made)
        step.functions.append(function(unit.loops[0], target.order, step.places, self.stored))
        self.steps.append(step)
        return target


class _Reader(NamedTuple):
    """Who reads a value: which unit, in which loop (None for the root of a kernel), and through which view."""

    unit: int
    loop: Loop | None
    seen: Value

    def is_before(self, unit: int, loop: Loop | None, target: Value) -> bool:
        """Whether it has read each element of ``target`` when that loop of that unit overwrites it."""
        if self.unit != unit or loop is None or self.loop is not loop:
            return self.unit < unit
        return flat(self.seen) is target and _size(self.seen) == math.prod(loop.shapes[0])


def _readers(all_units: Iterable[Unit]) -> dict[Value, list[_Reader]]:
    """For each value in memory who reads it, or views of it."""
    found: dict[Value, list[_Reader]] = {}
    for k, unit in enumerate(all_units):
        for v in unit.root.reads() if unit.root is not None else ():
            found.setdefault(base(v), []).append(_Reader(k, None, v))
        for loop in (*unit.before.values(), *unit.loops):
            for v in loop.reads:
                found.setdefault(base(v), []).append(_Reader(k, loop, v))
    return found


def _views(v: Value) -> Iterator[Node]:
    """The views that lead from the base of a value to it, the last one first."""
    while v.node is not None and v.node.op.kind == "view":
        yield v.node
        v = v.node.inputs[0]


def seen_through(node: Node, source: Place) -> Place | None:
    """The place of a view of what lies at ``source``; None where that has no strides for it."""
    try:
        if node.op.name == "view":
            return source.seen(source.ghost.reshape(node.params["shape"], copy=False))
        return source.seen(node.op.run(np, source.ghost, **node.params))
    except ValueError:
        return None


def _last_that_can_fail(all_units: Iterable[Unit]) -> int:
    """The place of the last unit where a replay may end, because of what no earlier one has checked; -1 where there is none."""
    last, checked = -1, set()
    for k, unit in enumerate(all_units):
        if can_fail(unit):
            condition = unit.root if unit.how is None or unit.root is None else unit.how.condition(unit.root)
            if condition not in checked:
                last = k
            checked.add(condition)
    return last


def _copy(v: Value, index: int) -> tuple[Unit, Value]:
    """A unit that copies a value."""
    node = Node(REGISTRY["clone"], (v,), {"order": None})
    assert v.aval is not None
    made = Value(Aval(v.aval.shape, v.aval.dtype), node)
    node.outputs = (made,)
    if expression(node) is None:  # of a type that C has not
        return Unit("host", index, node), made
    return Unit("loop", index, loops=[Loop((v.aval.shape,), (node,))]), made


def _demanded(v: Value) -> Order | None:
    """The order in which a copy was asked to lie."""
    if v.node is None or v.node.op.name != "clone" or v.node.params["order"] is None or v.aval is None:
        return None
    asked: Order = v.node.params["order"]
    return asked or tuple(range(v.aval.ndim))


def _is_input(v: Value) -> bool:
    return v.node is None and v.constant is None


def _size(v: Value) -> int:
    return 1 if v.aval is None else v.aval.size
