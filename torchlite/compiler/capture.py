"""From one traced call to a program: what goes in, what is computed, and what is changed or returned in the end."""

from __future__ import annotations

import itertools
import keyword
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.engine import FREED, grad
from torchlite.autograd.function import Function, once_differentiable
from torchlite.autograd.grad_mode import enable_grad, no_grad
from torchlite.autograd.graph import Leaf, Node
from torchlite.backends import array_module, is_array
from torchlite.backends.memory import share_memory
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.numbers import HostNumber, LaterNumber
from torchlite.compiler.passes import optimized
from torchlite.compiler.replay import Replay, owner, replay
from torchlite.compiler.state import Effect, Slot
from torchlite.compiler.symbols import Memory, Symbol
from torchlite.compiler.tracer import External, Tracer, hooks_of
from torchlite.ir import Aval
from torchlite.ops.mutation import replay as view_again
from torchlite.tracing import Uncapturable

_PLAIN = (str, bytes, int, float, complex, bool, type(None), np.dtype, range, slice)
_Bound = Sequence[Tensor]
_OF_ONE_HOLDER = 3  # references to a gradient: its tensor's, a variable, and the argument of getrefcount


@dataclass(eq=False)
class Captured:
    """A program for calls like the traced one.

    Attributes:
        graph: everything that is computed in a call, without backward of the results.
        backward: what is computed from the gradients of the results, where they have a history.
        externals: the tensors that are read or written.
        numbers: Python numbers that are read.
        updates: Python numbers that are written, and what.
        effects: methods that are called in the end.
        run: computes ``graph``; its outputs are fresh results, gradients, what is written into tensors, and what is saved.
        run_backward: computes ``backward``.
    """

    graph: Graph
    backward: Graph | None
    externals: list[External]
    numbers: list[Slot]
    updates: list[tuple[Slot, Any]]
    effects: list[Effect]
    generators: list[Any]
    written: list[External]
    gradients: list[tuple[Tensor, Any, bool]]
    result: Any
    fresh: int
    differentiable: list[int]
    targets: list[External]
    saved: list[Value]
    run: Replay
    run_backward: Replay | None

    @property
    def source(self) -> str:
        """The C of both programs."""
        return self.run.source + (self.run_backward.source if self.run_backward is not None else "")

    def outputs(self, tensors: _Bound) -> list[Any]:
        """Run the program with these tensors in the places of ``externals``.

        Raises:
            Exception: of an operator, or because a condition does not hold; nothing has been changed then.
        """
        if self.backward is None:
            arrays, _ = self.compute(tensors)
            return [wrap(a) if is_array(a) else a for a in arrays]
        places = [i for i, e in enumerate(self.externals) if e in self.targets]
        return list(_Recorded.apply(self, tensors, *(tensors[i] for i in places)))

    def compute(self, tensors: _Bound) -> tuple[list[Any], list[Any]]:
        """Run the program, change what is to be changed, and give fresh results and what backward needs."""
        given = [t._data for t in tensors]
        if self.numbers:
            given += [n.container[n.key] for n in self.numbers]
        states = [g.state() for g in self.generators]
        try:
            results = self.run(given, self._idle(tensors))
        except Exception:
            for generator, state in zip(self.generators, states, strict=True):
                generator.restore(state)
            raise
        end = self.fresh
        outs = list(results[:end])
        slots = results[end : end + len(self._slots)]
        end += len(self._slots)
        written = results[end : end + len(self._written)]
        saved = list(results[end + len(self._written) :])
        if saved:
            saved = self._apart(saved, outs, slots, [tensors[i] for i, _ in self._written])
        self._write(tensors, written)
        for (i, spec, _), array in zip(self._slots, slots, strict=True):
            if type(spec) is int:
                tensors[i]._grad = wrap(array)
            else:
                tensors[i]._grad = None if spec is None else tensors[self.place[spec]]
        return outs, saved

    def move(self, moves: Callable[[Any], Any]) -> None:
        """Work with other objects in the places of those around the function."""
        for external in self.externals:
            external.tensor, external.owner = moves(external.tensor), moves(external.owner)
        for effect in self.effects:
            effect.owner = moves(effect.owner)
        self.gradients = [(moves(tensor), spec, read) for tensor, spec, read in self.gradients]
        self.__post_init__()

    def _idle(self, tensors: _Bound) -> set[int]:
        """Arrays of gradients that are replaced unread, and that nobody else has."""
        found = set()
        for i in self._replaced:
            gradient = tensors[i]._grad
            if gradient is not None and sys.getrefcount(gradient) <= _OF_ONE_HOLDER:
                found.add(id(gradient._data))
        return found

    def _apart(self, saved: list[Any], outs: list[Any], slots: Sequence[Any], targets: _Bound) -> list[Any]:
        """What backward needs, copied where somebody else could change it."""
        visible = {id(owner(a)) for a in (*outs, *slots) if is_array(a)}
        given = {id(outs[i]) for i in self.differentiable}
        changed = {id(owner(t._data)) for t in targets}
        return [
            a.copy()
            if is_array(a) and ((id(owner(a)) in visible and id(a) not in given) or id(owner(a)) in changed)
            else a
            for a in saved
        ]

    def _write(self, tensors: _Bound, values: Sequence[Any]) -> None:
        """Write into tensors what has not been written yet, and let all of them know."""
        if any(value is not None for value in values):
            targets = [tensors[i] for i, _ in self._written]
            changed = {id(owner(t._data)) for t in targets}
            apart = [a.copy() if a is not None and id(owner(a)) in changed else a for a in values]
            for target, value in zip(targets, apart, strict=True):
                if value is not None:
                    array_module(value).copyto(target._data, value)
        for i, times in self._written:
            tensors[i]._storage.written(times)

    def __post_init__(self) -> None:
        self.place = {e: i for i, e in enumerate(self.externals)}
        place_of = {id(e.tensor): i for i, e in enumerate(self.externals)}
        self._slots = [(place_of[id(tensor)], spec, read) for tensor, spec, read in self.gradients]
        self._replaced = [i for i, spec, read in self._slots if type(spec) is int and not read]
        self._written = [(self.place[e], e.writes) for e in self.written]

    def finished(self, tensors: _Bound, outs: list[Any]) -> Any:
        """The result of the function, after the Python numbers have been changed that it changes.

        Raises:
            Exception: of a scheduler; all that came before it in the function has been done then.
        """
        build = _Building(tensors, self.place, outs)
        for slot, spec in self.updates:
            slot.container[slot.key] = build(spec)
        for effect in self.effects:
            effect.method(effect.owner, *build(effect.args), **build(effect.kwargs))
        return build(self.result)


class _Building:
    """Puts the parts of a result together. (A function that calls itself would keep them until garbage is collected.)"""

    def __init__(self, tensors: _Bound, place: dict[External, int], outs: list[Any]) -> None:
        self._parts = tensors, place, outs
        self._made: dict[int, Tensor] = {}

    def __call__(self, spec: Any) -> Any:
        if isinstance(spec, _Out):
            return spec.tensor(*self._parts, self._made)
        if isinstance(spec, _Number):
            return self._parts[2][spec.index]
        return spec.now() if isinstance(spec, Slot) else _mapped(spec, self)


@dataclass(frozen=True, eq=False)
class _Number:
    """A Python number among the results."""

    index: int


@dataclass(frozen=True, eq=False)
class _Out:
    """Where a tensor of the result comes from: a tensor outside or a fresh array, seen through view operators."""

    external: External | None
    index: int
    recipe: Any = ()
    itself: bool = False
    node: str = ""
    spent: Any = None

    def tensor(self, tensors: _Bound, place: dict[External, int], outs: list[Any], made: dict[int, Tensor]) -> Tensor:
        """The tensor."""
        if self.external is not None:
            outside = tensors[place[self.external]]
            if self.itself:
                return outside
            if self.node == "gradient":
                found: Tensor = outside._grad  # type: ignore[assignment]
                return found
            if self.node == "history":
                with enable_grad():
                    return view_again(outside, self.recipe)
            with no_grad():
                return view_again(outside.detach(), self.recipe)
        base: Tensor = outs[self.index]
        if self.node == "history":
            return base
        shared = self.index in made
        made[self.index] = base
        with no_grad():
            result = view_again(base, self.recipe) if self.recipe else base.detach() if shared else base
        if self.node == "leaf":
            result.requires_grad = True
        elif self.node == "spent":
            result._node = Node(self.spent, {}, [], FREED, result._data.shape, result._data.dtype)
        return result


class _Recorded(Function):
    """The program as one operation of autograd."""

    @staticmethod
    def forward(ctx: Any, captured: Captured, tensors: _Bound, *_targets: Tensor) -> Any:
        """Run it."""
        arrays, saved = captured.compute(tensors)
        kept: list[Any] = []
        sources: list[Any] = []
        outs = tuple(wrap(a) if is_array(a) else a for a in arrays)
        # What is also in the user's hands is saved as a tensor, so that a write into it before backward is noticed.
        known = {id(a): out for a, out in zip(arrays, outs, strict=True)}
        known |= {id(t._data): t for t in tensors}
        for array in saved:
            tensor = known.get(id(array))
            kept.append(array if tensor is None else None)
            if tensor is not None:
                sources.append(tensor)
        ctx.save_for_backward(*sources)
        ctx.kept, ctx.captured = kept, captured
        differentiable = set(captured.differentiable)
        ctx.mark_non_differentiable(
            *(o for i, o in enumerate(outs) if i not in differentiable and isinstance(o, Tensor))
        )
        return outs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        """Run the program of the gradients."""
        captured: Captured = ctx.captured
        sources = iter(ctx.saved_tensors)
        saved = [next(sources)._data if a is None else a for a in ctx.kept]
        assert captured.run_backward is not None
        results = captured.run_backward([*saved, *(grads[i]._data for i in captured.differentiable)])
        return (None, None, *(None if a is None else wrap(a) for a in results))


def captured(name: str, tracer: Tracer, result: Any, names: Mapping[int, str]) -> Captured:
    """The program of what a tracer has recorded; it must still be tracing.

    Args:
        name: of the function.
        tracer: that has recorded.
        result: what the function has returned.
        names: of tensors, by id.
    """
    return _Builder(name, tracer, names).build(result)


class _Builder:
    def __init__(self, name: str, tracer: Tracer, names: Mapping[int, str]) -> None:
        self.names = names
        self.name = name if name.isidentifier() else "captured"
        self.tracer = tracer
        self.fresh: list[Value] = []
        self.by_memory: dict[int, int] = {}
        self.differentiable: list[tuple[int, Tensor]] = []

    def build(self, result: Any) -> Captured:
        tracer = self.tracer
        template = self._template(result)
        updates = [(slot, self._template(number)) for slot, number in tracer.state.written()]
        effects = [
            replace(e, args=self._template(e.args), kwargs=self._template(e.kwargs)) for e in tracer.state.effects
        ]
        gradients = self._gradients()
        externals = list(tracer.externals.values())
        written = [e for e in externals if e.written]
        for e in written:
            e.writes = e.tensor._storage.writes - e.storage.get("writes", 0)
        self._check_history(externals)
        self._check_overlap(externals, written)
        forward_nodes = len(tracer.nodes)
        backward, saved, targets, differentiable = self._backward()
        nodes = tuple(tracer.nodes[:forward_nodes])
        outputs = (*self.fresh, *_padded(gradients), *(e.symbol.memory.value for e in written), *saved)
        read = {v for node in nodes for v in node.reads()} | set(outputs)
        numbers = [slot for value, slot in tracer.state.slots.items() if value in read]
        inputs = (*(e.input for e in externals), *(n.value for n in numbers))
        self._label(externals, numbers)
        graph = optimized(Graph(self.name, inputs, nodes, outputs))
        leaving = len(self.fresh) + len(gradients)
        run = replay(
            graph,
            {e.input: e.before["_data"] for e in externals},
            [n.value for n in numbers if n.kind is float],
            {leaving + i: e.input for i, e in enumerate(written)},
            leaving,
        )
        run_backward = None
        if backward is not None:
            backward = optimized(backward)
            saved_as = run.lying(range(leaving + len(written), len(outputs)))
            given = dict(zip(backward.inputs, [*saved_as, *(None for _ in differentiable)], strict=True))
            run_backward = replay(backward, given, leaving=len(backward.outputs))
        return Captured(
            graph=graph,
            backward=backward,
            externals=externals,
            numbers=numbers,
            updates=updates,
            effects=effects,
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
        )

    def _label(self, externals: list[External], numbers: list[Slot]) -> None:
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
        if isinstance(result, LaterNumber):
            return result.slot
        if isinstance(result, HostNumber):
            self.fresh.append(result.value)
            return _Number(len(self.fresh) - 1)
        if isinstance(result, Tensor):
            return self._out(result)
        if isinstance(result, _PLAIN):
            return result
        return _mapped(result, self._template)

    def _out(self, x: Tensor) -> _Out:
        tracer = self.tracer
        node = x.__dict__.get("_node")
        known = tracer.externals.get(id(x))
        if known is not None:
            return _Out(known, 0, itself=True)
        for holder, *_ in tracer.gradients.values():
            if holder.__dict__.get("_grad") is x:
                return _Out(tracer.external(holder), 0, node="gradient")
        symbol = x.__dict__["_data"]
        if is_array(symbol):
            return _Out(tracer.external(x), 0, itself=True)
        if not isinstance(symbol, Symbol):
            raise Uncapturable("a tensor on the device meta is returned")
        external = symbol.memory.external
        kind = "" if node is None else "leaf" if type(node) is Leaf else "history"
        if external is not None:
            if kind == "history" and external.written:
                raise Uncapturable("a view with a history of a tensor that was written into is returned")
            return _Out(external, 0, symbol.recipe, node=kind)
        if kind == "history":
            if self._spent(x):
                base = tracer.read(symbol)
                self.fresh.append(base)
                return _Out(
                    None, len(self.fresh) - 1, node="spent", spent=getattr(getattr(node, "parent", node), "op", None)
                )
            self.fresh.append(tracer.read(symbol))
            index = len(self.fresh) - 1
            self.differentiable.append((index, x))
            return _Out(None, index, node="history")
        place = self.by_memory.get(id(symbol.memory))
        if place is None:
            self.fresh.append(symbol.memory.value)
            place = self.by_memory[id(symbol.memory)] = len(self.fresh) - 1
        return _Out(None, place, symbol.recipe, node=kind)

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

    def _check_history(self, externals: list[External]) -> None:
        for e in externals:
            node, before = e.tensor.__dict__.get("_node"), e.before.get("_node")
            if hooks_of(before) != e.hooks:
                raise Uncapturable("a hook is registered on a tensor from outside")
            if node is not before and not (type(node) is Leaf and type(before) is not type(None)):
                raise Uncapturable("a tensor from outside gets a history, or loses the one that it has")

    def _check_overlap(self, externals: list[External], written: list[External]) -> None:
        by_owner: dict[int, list[External]] = {}
        anywhere: list[External] = []  # in memory that NumPy has not allocated
        for e in externals:
            memory = owner(e.before["_data"])
            owned = isinstance(memory, np.ndarray) and memory.flags.owndata
            (by_owner.setdefault(id(memory), []) if owned else anywhere).append(e)
        for w in written:
            near = externals if w in anywhere else (*by_owner[id(owner(w.before["_data"]))], *anywhere)
            if any(e is not w and share_memory(e.before["_data"], w.before["_data"]) for e in near):
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


def _mapped(x: Any, function: Callable[[Any], Any]) -> Any:
    """A structure of results with ``function`` applied to what it holds.

    Raises:
        Uncapturable: for a type that may hold tensors where nobody sees them.
    """
    if isinstance(x, _PLAIN):
        return x
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(function, x))
    if isinstance(x, (list, tuple)):
        return type(x)(map(function, x))
    if isinstance(x, dict):
        return type(x)((key, function(value)) for key, value in x.items())
    raise Uncapturable(f"a {type(x).__name__} is returned; tensors, numbers, tuples, lists and dicts can be")
