"""One trace of a call: from what is around the function, through running it on symbols, to a `Variant`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autocasting import autocast_mode
from torchlite.compiler.again import Again
from torchlite.compiler.arguments import exchanged, names_of_arguments, names_of_values
from torchlite.compiler.attributes import tracing
from torchlite.compiler.capture import captured
from torchlite.compiler.captured import Captured
from torchlite.compiler.changes import Traced, repeat_changes
from torchlite.compiler.changing import Decide
from torchlite.compiler.code_names import is_library
from torchlite.compiler.executed import executed, names_of
from torchlite.compiler.growing import Growing
from torchlite.compiler.learned import Learned
from torchlite.compiler.reads import Reads, noted
from torchlite.compiler.rebinding import Rebinding
from torchlite.compiler.settings import modes_now
from torchlite.compiler.state import Slot, State
from torchlite.compiler.surroundings import Surroundings
from torchlite.compiler.texts import GivenText
from torchlite.compiler.tracer import Tracer
from torchlite.compiler.variant import TENSOR, Number, Variant, firsts, signature
from torchlite.compiler.world import watched
from torchlite.tracing import Uncapturable


class Changes(Uncapturable):
    """A function changes Python values."""

    def __init__(self, what: str) -> None:
        super().__init__(f"it changes Python values, which a replay would not: {what}")


@dataclass(frozen=True)
class Call:
    """What a function is called with, and the same as `flatten` gives it."""

    args: Any
    kwargs: Any
    structure: Any
    leaves: list[Any]


@dataclass(frozen=True)
class Traceable:
    """A function, and how it is captured.

    Attributes:
        function: that.
        name: of it.
        once: whether constants that it sets may be what it makes for later calls.
        cuda_graphs: whether programs on a GPU are recorded as CUDA graphs.
    """

    function: Callable[..., Any]
    name: str
    once: bool
    cuda_graphs: bool


class Trace:
    """A function traced in one call.

    Args:
        of: the function.
        call: that.
        learned: in earlier traces.
        fixed: whether nothing shall stand in the places of numbers that change, of lists and of tensors that are replaced.

    Raises:
        Again: where it has to be traced once more.
        Uncapturable: where it can't be captured.
    """

    def __init__(self, of: Traceable, call: Call, learned: Learned, *, fixed: bool) -> None:
        self._of, self._call, self._learned = of, call, learned
        self._growing = Growing([] if fixed else learned.growing_lists(), learned.growing)
        self._surroundings = self._around()
        self._growing.check_holders(self._surroundings)
        self._reads = Reads(self._surroundings.refused)
        self._modes = modes_now()
        self._tracer = Tracer(learned.doubted, learned.branches)
        self._put_numbers(fixed=fixed)
        given = {id(x) for x in call.leaves if isinstance(x, Tensor)}
        self._rebinding = Rebinding(learned.rebound, self._surroundings, given, fixed=fixed)
        self._unidentified = self._tracer.given = given | self._rebinding.spots.keys()

    def variant(self) -> Variant:
        """The capture."""
        with self._undone():
            with self._exchanged():
                made = self._captured()
            asked_for = self._tracer.state.asked_for()
            if asked_for is not None:
                raise Changes(f"{asked_for}, of which it asks what it is")
            taken = self._surroundings.taken()
            effect = self._surroundings.effect()
            if effect is not None:
                raise Changes(effect)
        self._forget_the_unread()
        if self._modes != modes_now():
            raise Uncapturable("it changes a mode, such as set_grad_enabled, and leaves it so")
        return self._variant_of(made, taken)

    def _around(self, reads: Reads | None = None) -> Surroundings:
        of, call = self._of, self._call
        return Surroundings(of.function, (call.args, call.kwargs), call.leaves, reads, self._growing.ids)

    def _put_numbers(self, *, fixed: bool) -> None:
        """Let something stand for the numbers and texts that change, unless they are ``fixed``."""
        call, learned = self._call, self._learned
        counted = [place for place in learned.counted if self._surroundings.holds_place(*place)]
        names = {} if fixed else names_of_values(self._of.function, call.args, call.kwargs, self._surroundings.hold)
        changing = () if fixed else learned.changing.around(self._surroundings)
        self._numbers = learned.changing.among(names, len(call.leaves))
        self._numbers.take(call.leaves)
        self._tracer.state = state = State(self._tracer, self._surroundings.numbers, learned.varying, counted, changing)
        self._texts = {
            i: GivenText(Slot(self._numbers, name, None, call.leaves[i]), len(call.leaves))
            for name, i in self._numbers.places.items()
            if type(call.leaves[i]) is str
        }
        self._stand_ins: dict[int, Any] = {
            i: self._texts[i] if i in self._texts else state.argument(self._numbers, name)
            for name, i in self._numbers.places.items()
        }
        self._fixed = fixed

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Let what the function has changed be as it was where it is not captured, and say which line is to blame."""
        try:
            yield
        except Changes:
            self._surroundings.restore()
            raise
        except Uncapturable as refusal:
            self._surroundings.restore()
            raise Uncapturable(f"{refusal}{where(refusal)}") from None
        except (Exception, Again):
            self._surroundings.restore()
            first = self._tracer.refusal
            if first is not None:
                raise Uncapturable(f"{first}{where(first)}") from None
            raise

    @contextmanager
    def _exchanged(self) -> Iterator[None]:
        """Let everything that stands for something else while the function is traced be in its place."""
        noting = noted(self._reads, self._surroundings.telling)
        with (
            warnings.catch_warnings(),
            _own_conversions(),
            self._tracer.state,
            self._growing.exchanged(),
            tracing(self._tracer),
            noting,
        ):
            warnings.simplefilter("ignore")
            yield

    def _captured(self) -> Captured:
        """Run the function and make a program of what it has done."""
        with exchanged(self._call.args, self._call.kwargs, self._stand_ins) as (args, kwargs):
            return self._captured_of(args, kwargs)

    def _captured_of(self, args: Any, kwargs: Any) -> Captured:
        of, call, tracer = self._of, self._call, self._tracer
        texts = self._texts.values()
        with (
            watched(self._surroundings.imported, self._unidentified),
            executed(wanted=self._learned.looks_at_code) as codes,
        ):
            if not self._fixed:
                self._learned.changing.used = [*tracer.state.changing(), *(text.slot for text in texts)]
            result = of.function(*args, **kwargs)
        self._reads.named = names_of(codes)
        if tracer.refusal is not None:  # an "except:" in the function has swallowed it
            raise tracer.refusal
        if not self._rebinding.spots.keys().isdisjoint(tracer.gradients):
            raise Uncapturable("a tensor around the function is replaced that has a gradient")
        deciding = [*tracer.state.deciding(), *(text.slot for text in texts if text.looked_at)]
        if deciding:
            raise Decide(deciding, len(call.leaves))
        traced = Traced(self._surroundings, self._reads, tracer, self._growing, self._rebinding)
        unrepeated = repeat_changes(traced, result, once=of.once)
        if unrepeated is not None:
            raise Changes(unrepeated)
        names = self._surroundings.names | names_of_arguments(of.function, call.args, call.kwargs)
        made = captured(of.name.rpartition(".")[2], tracer, result, names, cuda_graphs=of.cuda_graphs)
        self._growing.check()
        return made

    def _forget_the_unread(self) -> None:
        """Let the surroundings be those that the function has read and does not change itself."""
        if self._surroundings.telling or self._reads.named is not None:
            everything, self._surroundings = self._surroundings, self._around(self._reads)
            if everything.change() is not None:
                raise Changes("another thread changes Python values around it")
        for container, key in (*self._tracer.state.covers(), *self._rebinding.holders):
            self._surroundings.leave_out(container, key)

    def _variant_of(self, made: Captured, taken: Any) -> Variant:
        leaves, tracer, spots = self._call.leaves, self._tracer, self._rebinding.spots
        varying = [isinstance(x, Tensor) and not self._surroundings.hold(x) for x in leaves]
        position = {id(x): i for i, x in reversed(list(enumerate(leaves))) if varying[i]}
        if any(e.owner is not None and (id(e.tensor) in position or id(e.tensor) in spots) for e in made.externals):
            raise Uncapturable("an argument is also the gradient of a tensor that the function uses")
        return Variant(
            captured=made,
            structure=self._call.structure,
            leaves=[
                TENSOR if v else Number(type(x)) if i in self._stand_ins else x
                for i, (x, v) in enumerate(zip(leaves, varying, strict=True))
            ],
            modes=self._modes,
            surroundings=self._surroundings,
            taken=taken,
            growing=self._growing.holders,
            rebound=[spots.get(id(e.tensor)) for e in made.externals],
            rebinding=self._rebinding.kinds(),
            given_numbers=self._numbers,
            slots=list(tracer.state.slots.values()),
            written=[slot for slot in tracer.state.made if slot.value not in tracer.state.slots],
            conditions=[(question, *answers) for (question, *_), answers in tracer.conditions.items()],
            places=[position.get(id(e.tensor)) for e in made.externals],
            firsts=firsts(leaves, [i for i, varies in enumerate(varying) if varies]),
            signatures=[signature(e.tensor) for e in made.externals],
            entry=[(t, position.get(id(t)), before is None) for t, before, read in tracer.gradients.values() if read],
        )


@contextmanager
def _own_conversions() -> Iterator[None]:
    """Let autocasting neither use nor keep conversions of parameters from outside of a trace."""
    outside, autocast_mode.cache = autocast_mode.cache, {}
    try:
        yield
    finally:
        autocast_mode.cache = outside


def where(error: BaseException) -> str:
    """The innermost line of the program's own code through which an error came."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        if not is_library(trace.tb_frame.f_globals.get("__name__")):
            found = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found
