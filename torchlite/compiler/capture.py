"""From one traced call to programs: what goes in, what is computed, and what is changed or returned in the end."""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.engine import grad
from torchlite.autograd.grad_mode import enable_grad
from torchlite.autograd.graph import Leaf
from torchlite.backends import is_array
from torchlite.compiler.captured import PLAIN_RESULTS, Captured, Known, NumberOut, Out, mapped
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.numbers import HostNumber, LaterNumber
from torchlite.compiler.ownership import share_what_is_written
from torchlite.compiler.passes import optimized
from torchlite.compiler.program import Interface
from torchlite.compiler.replay import Replay, replay
from torchlite.compiler.state import Derived, Slot
from torchlite.compiler.symbols import Memory, Symbol
from torchlite.compiler.texts import GivenText
from torchlite.compiler.tracer import External, Tracer, hooks_of
from torchlite.compiler.visited import own_attributes
from torchlite.ir import Aval
from torchlite.tracing import Uncapturable


def captured(
    name: str, tracer: Tracer, result: Any, names: Mapping[int, str], *, cuda_graphs: bool = False
) -> Captured:
    """The program of what a tracer has recorded; it must still be tracing.

    Args:
        name: of the function.
        tracer: that has recorded.
        result: what the function has returned.
        names: of tensors, by id.
        cuda_graphs: whether programs on a GPU are recorded as CUDA graphs.
    """
    return _Builder(name, tracer, names, cuda_graphs).build(result)


class _Builder:
    def __init__(self, name: str, tracer: Tracer, names: Mapping[int, str], cuda_graphs: bool) -> None:
        self.names = names
        self.cuda_graphs = cuda_graphs
        self.name = name if name.isidentifier() else "captured"
        self.tracer = tracer
        self.fresh: list[Value] = []
        self.by_memory: dict[int, int] = {}
        self.differentiable: list[tuple[int, Tensor]] = []
        self.outs: dict[int, Out] = {}

    def build(self, result: Any) -> Captured:
        tracer = self.tracer
        template = self._template(result)
        updates = [(slot, self._update(number)) for slot, number in tracer.state.written()]
        effects = [
            replace(e, args=self._template(e.args), kwargs=self._template(e.kwargs)) for e in tracer.state.effects
        ]
        gradients = self._gradients()
        externals = list(tracer.externals.values())
        written = [e for e in externals if e.written]
        for e in written:
            e.writes = e.tensor._storage.writes - e.storage.get("writes", 0)
        frozen = self._check_history(externals)
        self._check_overlap(externals, written)
        forward_nodes = len(tracer.nodes)
        backward, saved, targets, differentiable = self._backward()
        nodes = tuple(tracer.nodes[:forward_nodes])
        outputs = (*self.fresh, *_padded(gradients), *(e.symbol.memory.value for e in written), *saved)
        read = {v for node in nodes for v in node.reads()} | set(outputs)
        known = (tracer.state.slots | tracer.state.derived).items()
        numbers = [number for value, number in known if value in read]
        inputs = (*(e.input for e in externals), *(n.value for n in numbers))
        self._label(externals, numbers)
        graph = optimized(Graph(self.name, inputs, nodes, outputs))
        leaving = len(self.fresh) + len(gradients)
        interface = Interface(
            {e.input: e.before["_data"] for e in externals},
            [n.value for n in numbers if n.kind is float],
            {leaving + i: e.input for i, e in enumerate(written)},
            leaving,
            len(self.fresh),
            bool(saved),
            self.cuda_graphs,
        )
        run = replay(graph, interface)
        run_backward = None
        if backward is not None:
            backward = optimized(backward)
            run_backward = _run_of_backward(backward, run.lying(range(leaving + len(written), len(outputs))))
        return Captured(
            graph=graph,
            backward=backward,
            externals=externals,
            numbers=numbers,
            updates=updates,
            effects=effects,
            frozen=frozen,
            generators=list(tracer.generators),
            written=written,
            gradients=[(tensor, spec, tracer.gradients[id(tensor)][2]) for tensor, spec, _ in gradients],
            result=template,
            fresh=len(self.fresh),
            differentiable=differentiable,
            targets=targets,
            saved=saved,
            run=run,
            run_backward=run_backward,
            branches=tracer.answers.asked > 0,
        )

    def _label(self, externals: list[External], numbers: list[Slot | Derived]) -> None:
        """Name the inputs as the user does."""
        taken: set[str] = {"ops", "np", self.name}
        for i, e in enumerate(externals):
            name = self.names.get(id(e.tensor), f"x{i}")
            if e.owner is not None:
                name = f"{self.names.get(id(e.owner), f'x{i}')}.grad"
            name = re.sub(r"_(parameters|buffers|modules)\.", "", re.sub(r".*\]\.?", "", name) or name)
            e.input.label = _unused(re.sub(r"\W+", "_", name).strip("_"), f"x{i}", taken)
        for i, slot in enumerate(numbers):
            slot.value.label = _unused(slot.name.strip("_"), f"number{i}", taken)

    def _template(self, result: Any) -> Any:
        if isinstance(result, (LaterNumber, GivenText)):
            return result.slot
        if isinstance(result, HostNumber):
            self.fresh.append(result.value)
            return NumberOut(len(self.fresh) - 1, of_numpy=result.kind is np.float64)
        if isinstance(result, Tensor):
            if id(result) not in self.outs:
                self.outs[id(result)] = self._out(result)
            return self.outs[id(result)]
        if isinstance(result, PLAIN_RESULTS):
            return result
        return mapped(result, self._template)

    def _update(self, number: Any) -> Any:
        known = isinstance(number, HostNumber) and not isinstance(number, LaterNumber) and number.now
        return Known(known) if known else self._template(number)

    def _out(self, x: Tensor) -> Out:
        tracer = self.tracer
        node = x.__dict__.get("_node")
        known = tracer.externals.get(id(x))
        if known is not None:
            return Out(known, 0, itself=True)
        for holder, *_ in tracer.gradients.values():
            if holder.__dict__.get("_grad") is x:
                return Out(tracer.external(holder), 0, node="gradient")
        symbol = x.__dict__["_data"]
        if is_array(symbol):
            return Out(tracer.external(x), 0, itself=True)
        if not isinstance(symbol, Symbol):
            raise Uncapturable("a tensor on the device meta is returned")
        if symbol.memory.part_of is not None:
            raise Uncapturable("a part at a position that is a tensor is returned or kept, which is a view uncompiled")
        external = symbol.memory.external
        kind = "" if node is None else "leaf" if type(node) is Leaf else "history"
        if external is not None:
            if kind == "history" and external.written:
                raise Uncapturable("a view with a history of a tensor that was written into is returned")
            return Out(external, 0, symbol.recipe, node=kind)
        if kind == "history":
            if x.retains_grad:
                raise Uncapturable("a result keeps its gradient (retain_grad), which a replay would not give it")
            if self._spent(x):
                op = getattr(getattr(node, "parent", node), "op", None)
                return Out(None, self._index_of(symbol), node="spent", spent=op)
            index = self._index_of(symbol)
            self.differentiable.append((index, x))
            return Out(None, index, node="history")
        place = self.by_memory.get(id(symbol.memory))
        if place is None:
            self.fresh.append(symbol.memory.value)
            place = self.by_memory[id(symbol.memory)] = len(self.fresh) - 1
        return Out(None, place, symbol.recipe, node=kind)

    def _index_of(self, symbol: Symbol) -> int:
        """The place among fresh results of one with a history, which may be that of the same memory without one."""
        place = None if symbol.recipe else self.by_memory.get(id(symbol.memory))
        if place is None or any(place == i for i, _ in self.differentiable):
            self.fresh.append(self.tracer.read(symbol))
            place = len(self.fresh) - 1
        if not symbol.recipe:
            self.by_memory[id(symbol.memory)] = place
        return place

    def _spent(self, x: Tensor) -> bool:
        """Whether backward has already gone through the history of a result and freed it."""
        count = len(self.tracer.nodes)
        targets = self._targets()
        try:
            with enable_grad():
                if targets:
                    grad(x, [e.tensor for e in targets], _like(x), retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            if "second time" in str(error):
                return True
            raise
        finally:
            del self.tracer.nodes[count:]
            for e in self.tracer.externals.values():
                e.symbol.seen = None
        return False

    def _targets(self) -> list[External]:
        return [e for e in self.tracer.externals.values() if e.before.get("_node") is not None]

    def _gradients(self) -> list[tuple[Tensor, Any, Value | None]]:
        """For each changed ``.grad`` its tensor and what it becomes: None, a tensor outside, or a computed value."""
        changed: list[tuple[Tensor, Any, Value | None]] = []
        for tensor, before, looked_at in list(self.tracer.gradients.values()):
            after = tensor.__dict__.get("_grad")
            if after is before and looked_at:
                continue
            if after is None:
                changed.append((tensor, None, None))
                continue
            known = self.tracer.externals.get(id(after))
            symbol = after.__dict__["_data"]
            if known is not None or is_array(symbol):
                changed.append((tensor, known or self.tracer.external(after), None))
                continue
            if after.__dict__.get("_node") is not None:
                raise Uncapturable("a gradient with a history (create_graph=True) stays in .grad")
            changed.append((tensor, 0, self.tracer.read(symbol)))
        return changed

    def _check_history(self, externals: list[External]) -> list[tuple[External, bool]]:
        """The tensors that require a gradient in the end and did not before, or the other way round, with which it is."""
        frozen = []
        for e in externals:
            node, before = e.tensor.__dict__.get("_node"), e.before.get("_node")
            if hooks_of(before) != e.hooks:
                raise Uncapturable("a hook is registered on a tensor from outside")
            if (node is None) is not (before is None) and {type(node), type(before)} == {Leaf, type(None)}:
                frozen.append((e, node is None))
            elif node is not before and type(node) is not Leaf:
                raise Uncapturable("a tensor from outside gets a history, or loses the one that it has")
            if node is not before and type(before) in (Leaf, type(None)) and self.differentiable:
                raise Uncapturable("a result has a history, and whether a tensor requires a gradient is changed")
            if any(e.tensor.__dict__[key] is not e.before.get(key) for key in own_attributes(e.tensor)):
                raise Uncapturable("an attribute of a tensor from outside is set")
        return frozen

    def _check_overlap(self, externals: list[External], written: list[External]) -> None:
        changed = set(written)
        places = [i for i, e in enumerate(externals) if e in changed]
        if share_what_is_written([e.before["_data"] for e in externals], places):
            raise Uncapturable("a write into memory that several tensors from outside share")

    def _backward(self) -> tuple[Graph | None, list[Value], list[External], list[int]]:
        """The graph from the gradients of the results to those of the tensors outside, and what it needs of forward."""
        if not self.differentiable:
            return None, [], [], []
        tracer = self.tracer
        targets = self._targets()
        if not targets:
            raise Uncapturable("a result has a history that begins inside of the function")
        start = len(tracer.nodes)
        cotangents = [_like(x) for _, x in self.differentiable]
        tracer.in_backward = True
        with enable_grad():
            found = grad(
                [x for _, x in self.differentiable],
                [e.tensor for e in targets],
                cotangents,
                retain_graph=True,
                allow_unused=True,
            )
        outputs = [None if g is None else tracer.read(g._data) for g in found]
        nodes = tracer.nodes[start:]
        given = [tracer.read(g._data) for g in cotangents]
        computed = {v for node in nodes for v in node.outputs} | set(given)
        needed = {v: None for node in nodes for v in node.reads()} | {v: None for v in outputs if v is not None}
        saved = [v for v in needed if v not in computed and v.constant is None]
        targets = [e for e, v in zip(targets, outputs, strict=True) if v is not None]
        for i, v in enumerate(given):
            v.label = f"g{i}"
        graph = Graph(
            f"{self.name}_backward", (*saved, *given), tuple(nodes), tuple(v for v in outputs if v is not None)
        )
        return graph, saved, targets, [i for i, _ in self.differentiable]


def _run_of_backward(backward: Graph, saved: Sequence[Any]) -> Replay:
    """How the backward pass is replayed, whose first inputs lie as the arrays in ``saved``; of the gradients nothing is known."""
    unknown = [None] * (len(backward.inputs) - len(saved))
    given = dict(zip(backward.inputs, [*saved, *unknown], strict=True))
    return replay(backward, Interface(given, leaving=len(backward.outputs)))


def _unused(label: str, otherwise: str, taken: set[str]) -> str:
    """A name that can be a variable's and is not taken; it is, from now on."""
    label = label if label.isidentifier() and not keyword.iskeyword(label) else otherwise
    numbered = (f"{label}_{k}" for k in itertools.count(2))
    label = next(n for n in itertools.chain((label,), numbered) if n not in taken)
    taken.add(label)
    return label


def _padded(gradients: list[tuple[Tensor, Any, Value | None]]) -> list[Value]:
    return [value if value is not None else Value(None, constant=None) for _, _, value in gradients]


def _like(x: Tensor) -> Tensor:
    """A tensor for the gradient of ``x``, of which nothing is known."""
    data = x._data
    value = Value(Aval(data.shape, data.dtype, data.device))
    made: Tensor = wrap(Symbol.of(Memory(value), data.shape, data.dtype))
    return made
