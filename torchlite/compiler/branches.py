"""Questions about the numbers of tensors that decide what a function does next: `if torch.isnan(loss)`, `loss.item() < best`.

The function is traced with the answer that its tensors give in the traced call. Every replay asks again, before it
changes anything, and where the answer is another the call is that of another capture, or of the function itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import no_grad
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.numbers import HostNumber, item
from torchlite.compiler.symbols import Memory, Symbol
from torchlite.ops import pointwise
from torchlite.tracing import Uncapturable, active

BRANCH = "a branch"
"""In the place of a site: the condition is the answer to such a question."""
MOST_QUESTIONS = 256
MOST_CAPTURES = 4
_EXACT = 1 << 53
_FEW_MISSES = 16
_HITS_FOR_A_MISS = 4

_COMPARED = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_ANSWERS: dict[str, Callable[..., Tensor]] = {
    "bool": lambda x: x != 0,
    "isnan": pointwise.isnan,
    "isinf": pointwise.isinf,
    "isfinite": pointwise.isfinite,
    **{name: getattr(operator, name) for name in _COMPARED},
    **{of_numpy: getattr(operator, name) for name, of_numpy in _COMPARED.items()},
}


class OtherBranch(RuntimeError):
    """The numbers of tensors answer otherwise than in the traced call; nothing has been changed."""

    def __init__(self) -> None:
        super().__init__("numbers of tensors answer differently")


class Branches:
    """When the branches of a function are captured.

    Attributes:
        wanted: whether any are: not where too many calls have taken one that was not captured.
        closed: whether those that are not captured yet can't be.
        hits: calls that have taken a captured branch.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self.wanted = wanted
        self.closed = False
        self.hits = 0
        self._misses = 0

    def miss(self, captures: int) -> bool:
        """Whether to capture the branch of a call that has taken none of so many; the first such call may be the only one."""
        self._misses += 1
        if self._misses >= _FEW_MISSES and self._misses * _HITS_FOR_A_MISS > self.hits:
            self.wanted = False
        return self.wanted and not self.closed and captures < MOST_CAPTURES and self._misses % 2 == 0


class Answers:
    """The questions of one traced call about numbers of tensors.

    Args:
        tracer: of the call.
        branches: of the function.
    """

    def __init__(self, tracer: Any, branches: Branches) -> None:
        self._tracer, self._branches = tracer, branches
        self._known: dict[Value, Any] = {}
        self._states: list[Any] = []
        self.asked = 0

    def ask(self, question: str, *numbers: Any) -> bool:
        """The answer, which each replay has to give, too.

        Raises:
            Uncapturable: for another question, and where branches are not captured.
        """
        answer = _ANSWERS.get(question)
        self.asked += 1
        if not self._branches.wanted or answer is None or self.asked > MOST_QUESTIONS or self._tracer.in_backward:
            raise Uncapturable("the value of a tensor decides what happens next (.item(), if tensor, int(tensor))")
        with no_grad():
            condition = answer(*map(self._exact, numbers))
            holds = bool(self._now(condition._data))
            self._tracer.check(condition if holds else ~condition, BRANCH)
        return holds

    def count(self, mask: Tensor) -> int | None:
        """How many elements of a mask are true, which has to be so in each replay.

        None where branches are not captured, and for a mask that may be another at every call: one that depends on
        arguments, on random numbers, or on what the function or a gradient changes.
        """
        if not self._branches.wanted or self.asked >= MOST_QUESTIONS or self._tracer.in_backward:
            return None
        with no_grad():
            total = mask.sum()
            if not self._stays(total._data):
                return None
            self.asked += 1
            found = int(self._now(total._data))
            self._tracer.check(total == found, BRANCH)
        return found

    def _stays(self, x: Symbol) -> bool:
        """Whether a value is computed of nothing but tensors around the function that nobody trains and it has not changed."""
        tracer = self._tracer
        needed = {tracer.read(x)}
        for node in reversed(tracer.nodes):
            if not needed.isdisjoint(node.outputs):
                if node.op.kind in ("random", "host"):
                    return False
                needed.update(node.reads())
        computed = {v for node in tracer.nodes for v in node.outputs}
        given = {v for v in needed - computed if v.constant is None}
        around = {
            e.input
            for e in tracer.externals.values()
            if id(e.tensor) not in tracer.given and e.before.get("_node") is None and not e.written
        }
        return given <= around

    def _exact(self, x: Any) -> Any:
        """A number in float64, without rounding."""
        number = isinstance(x, HostNumber)
        kind = x.kind if number else type(x)
        if not issubclass(kind, (int, float)):
            raise Uncapturable(f"a {kind.__name__} decides what happens next")
        if not number or x.now is not None:
            if issubclass(kind, int) and not (x.ask("is small", _is_small) if number else _is_small(x)):
                raise Uncapturable("an integer that is no float decides what happens next")
            return self._tracer.tensor_of(x, np.float64)
        source = x.value.node
        if source is not None and source.op is item:
            array = source.inputs[0]
            exact = wrap(Symbol.of(Memory(array), array.shape, array.aval.dtype)).reshape(()).double()
            narrow = array.aval.dtype.kind in "bf" or array.aval.dtype.itemsize < 8
        else:
            exact = self._tracer.tensor_of(x, np.float64)
            narrow = kind is not int
        if not narrow:
            self._tracer.check(exact.abs() < _EXACT, None)
        return exact

    def _now(self, x: Symbol) -> Any:
        """What a value is in the traced call, computed by the operators one after the other."""
        tracer = self._tracer
        wanted = tracer.read(x)
        nodes, needed = [], {wanted}
        for node in reversed(tracer.nodes):
            draws = node.op.name in ("take", "state", "restore")
            if (draws or not needed.isdisjoint(node.outputs)) and not self._known.keys() >= set(node.outputs):
                nodes.append(node)
                needed.update(node.reads())
        nodes.reverse()
        computed = [v for node in nodes for v in node.outputs]
        given = [v for v in needed.difference(computed) if v.constant is None]
        graph = Graph("asked", tuple(given), tuple(nodes), (*computed, wanted))
        arrays = [self._given(v) for v in given]
        with self._outside(), np.errstate(all="ignore"):
            *results, found = graph.function()(*arrays)
        self._known.update(zip(computed, results, strict=True))
        return found

    @contextmanager
    def _outside(self) -> Iterator[None]:
        """Let nothing be traced inside the block, and random streams be where the traced call has got to."""
        generators = self._tracer.generators
        active.tracer = None
        before = [generator.state() for generator in generators]
        for generator, state in zip(generators, self._states, strict=False):
            generator.restore(state)
        try:
            yield
        finally:
            self._states = [generator.state() for generator in generators]
            for generator, state in zip(generators, before, strict=True):
                generator.restore(state)
            active.tracer = self._tracer

    def _given(self, v: Value) -> Any:
        if v in self._known:
            return self._known[v]
        tracer = self._tracer
        if v in tracer.state.slots:
            return tracer.state.slots[v].now()
        if v in tracer.state.derived:
            return tracer.state.derived[v].read()
        return next(e.before["_data"] for e in tracer.externals.values() if e.input is v)


def _is_small(x: int) -> bool:
    return abs(x) < _EXACT
