"""A captured call: its programs, what they are given, and what becomes of what they compute."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.engine import FREED
from torchlite.autograd.function import Function, once_differentiable
from torchlite.autograd.grad_mode import enable_grad, no_grad
from torchlite.autograd.graph import Node
from torchlite.backends import array_module, is_array
from torchlite.compiler.arguments import content
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.noted import PLAIN
from torchlite.compiler.ownership import owner
from torchlite.compiler.program import Execution
from torchlite.compiler.replay import Replay
from torchlite.compiler.state import Derived, Effect, Slot
from torchlite.compiler.tracer import External
from torchlite.devices import Device
from torchlite.dtypes import dtype
from torchlite.ops.mutation import replay as view_again
from torchlite.tracing import Uncapturable

PLAIN_RESULTS = (*PLAIN, dtype, Device)
"""Types of what a result may consist of, beside tensors, and that has nothing inside."""
_Bound = Sequence[Tensor]
Computed = tuple[list[Any], list[Any]]
"""The fresh results of a call, and what backward needs."""
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
        frozen: the tensors whose `requires_grad` is changed, and whether they are frozen.
        run: computes ``graph``; its outputs are fresh results, gradients, what is written into tensors, and what is saved.
        run_backward: computes ``backward``.
        branches: whether numbers of tensors decide if it is right for a call.
        slots: the gradients that are exchanged: the place of their tensor, by what, and whether the old one is read.
        writes: the places of tensors that are written into, and how often.
    """

    graph: Graph
    backward: Graph | None
    externals: list[External]
    numbers: list[Slot | Derived]
    updates: list[tuple[Slot, Any]]
    effects: list[Effect]
    frozen: list[tuple[External, bool]]
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
    branches: bool

    @property
    def source(self) -> str:
        """The C of both programs."""
        return self.run.source + (self.run_backward.source if self.run_backward is not None else "")

    def outputs(self, tensors: _Bound, compute: Callable[[_Bound], Computed] | None = None) -> list[Any]:
        """Run the program with these tensors in the places of ``externals``, and give its fresh results.

        Args:
            tensors: those.
            compute: what runs the program, `compute` if nothing else.

        Raises:
            Exception: of an operator, or because a condition does not hold; nothing has been changed then.
        """
        compute = compute or self.compute
        if self.backward is None:
            arrays, _ = compute(tensors)
            return [wrap(a) if is_array(a) else a for a in arrays]
        return list(_Recorded.apply(self, compute, tensors, *[tensors[i] for i in self._targets]))

    def compute(self, tensors: _Bound) -> Computed:
        """Run the program, change what is to be changed, and give fresh results and what backward needs."""
        given = [t._data for t in tensors]
        if self.numbers:
            given += [n.read() for n in self.numbers]
        states = [g.state() for g in self.generators]
        try:
            results = self.run(given, self._idle(tensors))
        except Exception:
            for generator, state in zip(self.generators, states, strict=True):
                generator.restore(state)
            raise
        outs, slots, written, saved = map(list, self.parts(results))
        if saved and self._owners is None:
            saved = self._apart(saved, outs, slots, [tensors[i] for i, _ in self.writes])
        self._write(tensors, written)
        for (i, spec, _), array in zip(self.slots, slots, strict=True):
            if type(spec) is int:
                tensors[i]._grad = wrap(array)
            else:
                tensors[i]._grad = None if spec is None else tensors[self.place[spec]]
        return outs, saved

    def parts(self, outputs: Sequence[Any]) -> tuple[Sequence[Any], ...]:
        """Of the outputs of ``run`` the fresh results, gradients, what is written into tensors, and what is saved."""
        gradients = self.fresh + len(self.slots)
        written = gradients + len(self.writes)
        return outputs[: self.fresh], outputs[self.fresh : gradients], outputs[gradients:written], outputs[written:]

    def owners(self, arrays: list[Any], saved: list[Any], outs: Sequence[Any], tensors: _Bound) -> list[Tensor | None]:
        """For each saved array the tensor that has it and is in the user's hands, or None."""
        if self._owners is not None:
            return [None if i is None else tensors[i] if i >= 0 else outs[~i] for i in self._owners]
        known = {id(a): out for a, out in zip(arrays, outs, strict=True)}
        known |= {id(t._data): t for t in tensors}
        return [known.get(id(array)) for array in saved]

    def owners_are_known(self) -> bool:
        """Whether it is known before a call which tensors have what is saved."""
        return self._owners is not None

    def _known_owners(self) -> list[int | None] | None:
        """Which tensors have what is saved: places, of results inverted; None where only a call can tell.

        It can't be told before whether tensors that are written into share memory with others.
        """
        if not isinstance(self.run, Execution) or self.writes or self.slots:
            return None
        fresh, _, _, saved = self.parts(self.run.outputs)
        results = {number: j for j, (v, kind, number) in enumerate(fresh) if kind == "result" and v is None}
        shared = {number for _, kind, number in fresh if kind == "result"}
        found: list[int | None] = []
        for v, kind, number in saved:
            if kind == "result" and number in shared:
                if v is not None or results.get(number) not in self.differentiable:
                    return None  # a copy has to be saved
                found.append(~results[number])
            else:
                found.append(number if kind == "input" and v is None and number < len(self.externals) else None)
        return found

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
        waiting = [(tensors[i]._data, a) for (i, _), a in zip(self.writes, values, strict=True) if a is not None]
        changed = {id(owner(target)) for target, _ in waiting}
        apart = [(target, a.copy() if id(owner(a)) in changed else a) for target, a in waiting]
        for target, value in apart:
            array_module(value).copyto(target, value)
        for i, times in self.writes:
            tensors[i]._storage.written(times)

    def __post_init__(self) -> None:
        self.place = {e: i for i, e in enumerate(self.externals)}
        place_of = {id(e.tensor): i for i, e in enumerate(self.externals)}
        self.slots = [(place_of[id(tensor)], spec, read) for tensor, spec, read in self.gradients]
        self._replaced = [i for i, spec, read in self.slots if type(spec) is int and not read]
        self.writes = [(self.place[e], e.writes) for e in self.written]
        self._targets = [i for i, e in enumerate(self.externals) if e in self.targets]
        self._owners = self._known_owners()
        only = (
            isinstance(self.result, Out)
            and self.result.is_fresh()
            and not (self.updates or self.effects or self.frozen)
        )
        self._only = self.result if only else None

    def finished(self, tensors: _Bound, outs: list[Any]) -> Any:
        """The result of the function, after the Python numbers have been changed that it changes.

        Raises:
            Exception: of a scheduler; all that came before it in the function has been done then.
        """
        if self._only is not None:
            return self._only.with_history(outs[self._only.index])
        for external, frozen in self.frozen:
            tensors[self.place[external]].requires_grad = not frozen
        build = _Building(tensors, self.place, outs)
        numbers = [build(spec) for _, spec in self.updates]
        for (slot, _), number in zip(self.updates, numbers, strict=True):
            slot.container[slot.key] = number
        for effect in self.effects:
            effect.method(effect.owner, *build(effect.args), **build(effect.kwargs))
        return build(self.result)


class _Building:
    """Puts the parts of a result together. (A function that calls itself would keep them until garbage is collected.)"""

    def __init__(self, tensors: _Bound, place: dict[External, int], outs: list[Any]) -> None:
        self._parts = tensors, place, outs
        self._made: dict[int, Tensor] = {}
        self._built: dict[Out, Tensor] = {}

    def __call__(self, spec: Any) -> Any:
        if isinstance(spec, Out):
            if spec not in self._built:
                self._built[spec] = spec.tensor(*self._parts, self._made)
            return self._built[spec]
        if isinstance(spec, NumberOut):
            number = self._parts[2][spec.index]
            return np.float64(number) if spec.of_numpy else number
        if isinstance(spec, Known):
            return spec.now()
        return spec.now() if isinstance(spec, Slot) else mapped(spec, self)


@dataclass(frozen=True, eq=False)
class NumberOut:
    """A Python number among the results, or one of NumPy's."""

    index: int
    of_numpy: bool


@dataclass(frozen=True, eq=False)
class Known:
    """A Python number that depends on nothing but those that are read, so that no program has to compute it."""

    now: Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Out:
    """Where a tensor of the result comes from: a tensor outside or a fresh array, seen through view operators."""

    external: External | None
    index: int
    recipe: Any = ()
    itself: bool = False
    node: str = ""
    spent: Any = None

    def is_fresh(self) -> bool:
        """Whether it is the fresh array itself."""
        return self.external is None and not self.recipe

    def with_history(self, result: Tensor) -> Tensor:
        """The tensor, given the history that it has."""
        if self.node == "leaf":
            result.requires_grad = True
        elif self.node == "spent":
            result._node = Node(self.spent, {}, [], FREED, result._data.shape, result._data.dtype)
        return result

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
            if base._node is not None or (shared and not self.recipe):
                base = base.detach()
            result = view_again(base, self.recipe) if self.recipe else base
        return self.with_history(result)


class _Recorded(Function):
    """The program as one operation of autograd."""

    @staticmethod
    def forward(
        ctx: Any, captured: Captured, compute: Callable[[_Bound], Computed], tensors: _Bound, *_targets: Tensor
    ) -> Any:
        """Run it."""
        arrays, saved = compute(tensors)
        outs = tuple(wrap(a) if is_array(a) else a for a in arrays)
        # What is also in the user's hands is saved as a tensor, so that a write into it before backward is noticed.
        owners = captured.owners(arrays, saved, outs, tensors)
        ctx.kept = [array if tensor is None else None for array, tensor in zip(saved, owners, strict=True)]
        ctx.save_for_backward(*[tensor for tensor in owners if tensor is not None])
        ctx.captured = captured
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
        return (None, None, None, *(None if a is None else wrap(a) for a in results))


def mapped(x: Any, function: Callable[[Any], Any]) -> Any:
    """A structure of results with ``function`` applied to what it holds.

    Raises:
        Uncapturable: for a type that may hold tensors where nobody sees them.
    """
    if isinstance(x, PLAIN_RESULTS):
        return x
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(function, x))
    if isinstance(x, (list, tuple)):
        return type(x)(map(function, x))
    if isinstance(x, defaultdict):
        return defaultdict(x.default_factory, ((key, function(value)) for key, value in x.items()))
    if isinstance(x, dict):
        return type(x)((key, function(value)) for key, value in x.items())
    if isinstance(x, set | frozenset) and all(isinstance(part, PLAIN_RESULTS) for part in x):
        return x.copy()
    if is_dataclass(x) and not isinstance(x, type) and content(x) is not None:
        made = object.__new__(type(x))
        vars(made).update((key, function(value)) for key, value in vars(x).items())
        return made
    raise Uncapturable(
        f"a {type(x).__name__} is returned; tensors, numbers, tuples, lists, dicts and dataclasses can be"
    )
