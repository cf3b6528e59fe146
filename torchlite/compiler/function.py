"""`CompiledFunction`: a function that is captured when it is called, and replayed when it is called like that again."""

from __future__ import annotations

import copy
import functools
import gc
import os
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autocasting import autocast_mode
from torchlite.autograd.anomaly import anomaly_mode
from torchlite.autograd.forward_ad import _levels as dual_levels
from torchlite.autograd.saved_tensors import _active as saved_tensors_hooks
from torchlite.batching.level import levels as examples
from torchlite.compiler import behaviour
from torchlite.compiler.arguments import flatten, names_of_arguments, names_of_numbers, with_numbers
from torchlite.compiler.capture import captured
from torchlite.compiler.changes import Written, repeat_changes
from torchlite.compiler.changing import Changing, Decide
from torchlite.compiler.code_names import is_library
from torchlite.compiler.executed import executed, names_of
from torchlite.compiler.graph import Graph
from torchlite.compiler.growing import STAND_INS, Growing, Grown, Holder, Looked, holder_key
from torchlite.compiler.reads import Reads, noted
from torchlite.compiler.rebinding import Rebinding, Rebound
from torchlite.compiler.settings import modes_now
from torchlite.compiler.state import State, Varies
from torchlite.compiler.surroundings import Surroundings
from torchlite.compiler.tracer import Doubted, Site, Tracer, tracing
from torchlite.compiler.variant import TENSOR, Number, Variant, firsts, signature
from torchlite.compiler.world import watched
from torchlite.tracing import Uncapturable, active

LIMIT = 8
_OFF = os.environ.get("TORCHLITE_COMPILE") == "0"
_ATTEMPTS = 3


class Changes(Uncapturable):
    """A function changes Python values."""


class _Raised(Exception):
    """A function has raised what is the cause of this."""


class CompiledFunction:
    """``function`` captured as a graph and replayed.

    The first call runs the function itself, so that what it makes lazily (the state of an optimizer) is there; the
    second is traced. Calls that differ in shapes, dtypes, modes or in the Python values around the function are traced
    again, up to `LIMIT` times. What can't be captured runs as it is, after one warning.
    """

    def __init__(
        self, function: Callable[..., Any], full: bool = False, warm: bool = False, cuda_graphs: bool = False
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.full = full
        self.begins_warm = warm
        self.cuda_graphs = cuda_graphs
        self._begin()

    def _begin(self) -> None:
        self.variants: list[Variant] = []
        self.warm = self.begins_warm
        self.gave_up: str | None = None
        self.refused: str | None = None
        self.failures = 0
        self.doubted: set[Site] = set()
        self.varying: set[str] = set()
        self.counted: list[tuple[Any, str]] = []
        self.changing = Changing()
        self.growing: dict[tuple[int, str], Holder] = {}
        self.rebound: dict[tuple[int, str], Holder] = {}
        self.looked_at: set[tuple[int, str]] = set()
        self.looks_at_code = False
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay, or run the function and capture it."""
        if self.gave_up is not None or active.tracer is not None or behaviour.stance == "force_eager" or _needs_eager():
            return self.function(*args, **kwargs)
        leaves: list[Any] = []
        structure = [flatten(x, leaves) for x in args], kwargs and flatten(kwargs, leaves)
        reasons: list[str] = []
        for variant in self.variants:
            reason, tensors = variant.fits(structure, leaves)
            if reason is None:
                return self._replay(variant, tensors, args, kwargs)
            reasons.append(reason)
        if not self.warm:
            self.warm = True
            return self.function(*args, **kwargs)
        for variant in self._moved(structure, leaves, args, kwargs):
            reason, tensors = variant.fits(structure, leaves)
            if reason is None:
                return self._replay(variant, tensors, args, kwargs)
        if behaviour.stance == "fail_on_recompile":
            raise RuntimeError(
                f"{self.name} would be compiled under the stance 'fail_on_recompile': {'; '.join(reasons) or 'first time'}"
            )
        if behaviour.stance == "eager_on_recompile":
            return self.function(*args, **kwargs)
        return self._capture(structure, leaves, args, kwargs, reasons)

    def _moved(self, structure: Any, leaves: list[Any], args: Any, kwargs: Any) -> Iterator[Variant]:
        """The captures that are right for what is now around the function, after having been moved there."""
        like_it = [variant for variant in self.variants if variant.takes(structure, leaves)]
        changed = [variant for variant in like_it if variant.surroundings.change() is not None]
        if changed and len(self.variants) < LIMIT:
            with self._lock:
                for variant in changed:
                    if variant.move(functools.partial(Surroundings, self.function, (args, kwargs), leaves)):
                        yield variant

    def _replay(self, variant: Variant, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        dicts = variant.given((args, kwargs))
        if dicts is None:
            return self.function(*args, **kwargs)
        try:
            outs = variant.outputs(tensors)
        except Doubted as doubt:
            if doubt.site is not None:
                with self._lock:
                    self.doubted.add(doubt.site)
                    self.variants = [v for v in self.variants if v is not variant]
                where = ":".join(map(str, doubt.site))
                _log(f"{self.name} is compiled again: what {where} expects of its tensors does not hold")
        except Exception as error:
            _log(f"{self.name} runs uncompiled once, because a replay raised {error!r}")
        else:
            variant.take(dicts)
            return variant.captured.finished(tensors, outs)
        return self.function(*args, **kwargs)  # nothing has happened yet; where something is wrong, it says so

    def _capture(self, structure: Any, leaves: list[Any], args: Any, kwargs: Any, reasons: list[str]) -> Any:
        if not self._lock.acquire(blocking=False):  # another thread captures it
            return self.function(*args, **kwargs)
        failure = None
        try:
            variant = self._captured(structure, leaves, args, kwargs, reasons)
        except _Raised as raised:
            variant, failure = None, raised.__cause__
        finally:
            self._lock.release()
        if variant is None:
            result = self.function(*args, **kwargs)  # where it has raised something, it does so again
            if failure is not None:
                self._give_up(f"while tracing, it raised {type(failure).__name__}: {failure}", keep=False)
            return result
        reason, tensors = variant.fits(structure, leaves)
        if reason is not None:
            self._give_up(f"tracing has changed its surroundings: {reason}", keep=False)
            return self.function(*args, **kwargs)
        return self._replay(variant, tensors, args, kwargs)

    def _captured(
        self, structure: Any, leaves: list[Any], args: Any, kwargs: Any, reasons: list[str]
    ) -> Variant | None:
        """A new capture for this call; None where it can't be captured."""
        if len(self.variants) >= LIMIT:
            self._give_up(f"it was compiled {LIMIT} times, and now {reasons[-1]}", keep=True)
            return None
        if reasons:
            _log(f"{self.name} is compiled again: {'; '.join(reasons)}")
        self.varying |= {key for v in self.variants for key in v.surroundings.changed_numbers()}
        self.changing.note(self.variants, structure, leaves)
        self.looks_at_code |= any(v.surroundings.class_has_changed() for v in self.variants)
        try:
            with _garbage_kept():
                variant = self._traced(structure, leaves, args, kwargs)
        except Changes as refusal:
            self.failures += 1
            if (
                self.failures == 1 and not self.full
            ):  # it may have made state for later calls, which is there after this one
                _log(f"{self.name} runs uncompiled once: {refusal}")
            else:
                self._give_up(str(refusal), keep=self.failures < _ATTEMPTS)
            return None
        except Uncapturable as refusal:
            self.failures += 1
            self._give_up(str(refusal), keep=self.failures < _ATTEMPTS)
            return None
        except Exception as error:
            raise _Raised from error
        self.failures = 0
        self.variants.insert(0, variant)
        return variant

    def _traced(self, structure: Any, leaves: list[Any], args: Any, kwargs: Any) -> Variant:
        fixed = False
        while True:
            try:
                variant = _traced(self, structure, leaves, args, kwargs, fixed)
            except Varies as found:
                self.varying |= found.keys
            except Written as found:
                self.counted += found.numbers
            except Grown as found:
                self.growing |= {holder_key(holder): holder for holder in found.holders}
            except Rebound as found:
                self.rebound |= {holder_key(holder): holder for holder in found.holders}
            except Looked as found:
                self.looked_at |= set(map(holder_key, found.holders))
            except Decide as found:
                self.changing.decide(found.slots, len(leaves))
            except (Exception, Uncapturable):
                if fixed or not (self.changing.used or self.growing_lists() or self.rebound):
                    raise
                fixed = True  # what stands for numbers may have been more than it can work with
            else:
                if fixed:
                    self.changing.decide(self.changing.used, len(leaves))
                    self.looked_at |= self.growing.keys()
                return variant

    def growing_lists(self) -> list[Holder]:
        """What holds lists that only become longer."""
        known = (holder for key, holder in self.growing.items() if key not in self.looked_at)
        return [(container, key) for container, key in known if type(container.get(key)) in STAND_INS]

    def _give_up(self, reason: str, *, keep: bool) -> None:
        if self.full:
            raise RuntimeError(f"torchlite.compile(fullgraph=True): {self.name} can't be captured: {reason}")
        first = "_warned" not in self.__dict__
        self._warned = True
        self.refused = self.refused or reason
        if not keep:
            self.gave_up = reason
        if first:
            warnings.warn(f"torchlite.compile: {self.name} runs uncompiled: {reason}", stacklevel=4)

    @property
    def name(self) -> str:
        """The function's."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)

    @property
    def graph(self) -> Graph:
        """The graph of the newest capture; printed, it is a Python function.

        Raises:
            RuntimeError: before the second call, and where nothing could be captured.
        """
        if not self.variants:
            why = self.gave_up or "it is captured at its second call"
            raise RuntimeError(f"{self.name} has no graph: {why}")
        return self.variants[0].captured.graph

    @property
    def source(self) -> str:
        """The C text of the newest capture: its fused operations; empty without any, or without a C compiler.

        Raises:
            RuntimeError: as `graph`.
        """
        return self.variants[0].captured.source if self.graph else ""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"torchlite.compile({self.function!r})"

    def __reduce__(self) -> Any:
        name = vars(self).get("__qualname__", "")
        try:
            found = attrgetter(name)(sys.modules[self.__module__])
        except (AttributeError, KeyError):
            found = None
        if found is self:  # a decorated function is found under its name
            return name
        return CompiledFunction, (self.function, self.full, self.begins_warm, self.cuda_graphs)

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        return CompiledFunction(copy.deepcopy(self.function, memo), self.full, self.begins_warm, self.cuda_graphs)

    def reset(self) -> None:
        """Forget everything that was captured."""
        self._begin()
        self.__dict__.pop("_warned", None)


def _traced(
    compiled: CompiledFunction, structure: Any, leaves: list[Any], args: Any, kwargs: Any, fixed: bool
) -> Variant:
    """A capture of a call, in which numbers that change are constants where they are ``fixed``."""
    growing = Growing([] if fixed else compiled.growing_lists(), compiled.growing)
    surroundings = Surroundings(compiled.function, (args, kwargs), leaves, growing=growing.ids)
    growing.check_holders(surroundings)
    reads = Reads(surroundings.refused)
    noting = noted(reads, surroundings.telling)
    modes = modes_now()
    tracer = Tracer(compiled.doubted)
    counted = [place for place in compiled.counted if surroundings.holds_place(*place)]
    names_given = names_of_numbers(compiled.function, args, kwargs)
    free = not (fixed or surroundings.asks_for_types)
    changing = compiled.changing.around(surroundings) if free else ()
    numbers = compiled.changing.among(names_given if free else {}, len(leaves))
    numbers.take(leaves)
    tracer.state = State(tracer, surroundings.numbers, compiled.varying, counted, changing)
    stand_ins = {i: tracer.state.argument(numbers, name) for name, i in numbers.places.items()}
    given = {id(x) for x in leaves if isinstance(x, Tensor)}
    rebinding = Rebinding(compiled.rebound, surroundings, given, fixed=fixed)
    given_args, given_kwargs = with_numbers(args, kwargs, stand_ins) if stand_ins else (args, kwargs)
    try:
        with warnings.catch_warnings(), _own_conversions(), tracer.state, growing.exchanged(), tracing(tracer), noting:
            warnings.simplefilter("ignore")
            with (
                watched(surroundings.imported, given | rebinding.spots.keys()),
                executed(wanted=compiled.looks_at_code) as codes,
            ):
                if free:
                    compiled.changing.used = tracer.state.changing()
                result = compiled.function(*given_args, **given_kwargs)
            reads.named = names_of(codes)
            if tracer.refusal is not None:  # an "except:" in the function has swallowed it
                raise tracer.refusal
            once = not (compiled.failures or compiled.full)
            if not rebinding.spots.keys().isdisjoint(tracer.gradients):
                raise Uncapturable("a tensor around the function is replaced that has a gradient")
            deciding = tracer.state.deciding()
            if deciding:
                raise Decide(deciding)
            unrepeated = repeat_changes(surroundings, reads, tracer, growing, rebinding, result, once=once)
            if unrepeated is not None:
                raise Changes(f"it changes Python values, which a replay would not: {unrepeated}")
            names = surroundings.names | names_of_arguments(compiled.function, args, kwargs)
            name = compiled.name.rpartition(".")[2]
            what = captured(name, tracer, result, names, cuda_graphs=compiled.cuda_graphs)
            growing.check()
    except Changes:
        surroundings.restore()
        raise
    except Uncapturable as refusal:
        surroundings.restore()
        raise Uncapturable(f"{refusal}{_where(refusal)}") from None
    except (Exception, Varies, Written, Decide, Grown, Looked, Rebound):
        surroundings.restore()
        if tracer.refusal is not None:
            raise Uncapturable(f"{tracer.refusal}{_where(tracer.refusal)}") from None
        raise
    asked_for = tracer.state.asked_for()
    if asked_for is not None:
        raise Changes(f"it changes Python values, which a replay would not: {asked_for}, of which it asks what it is")
    taken = surroundings.taken()
    effect = surroundings.effect()
    if effect is not None:
        surroundings.restore()
        raise Changes(f"it changes Python values, which a replay would not: {effect}")
    if surroundings.telling or reads.named is not None:
        everything, surroundings = (
            surroundings,
            Surroundings(compiled.function, (args, kwargs), leaves, reads, growing.ids),
        )
        if everything.change() is not None:
            raise Changes("another thread changes Python values around it")
    for container, key in (*tracer.state.covers(), *rebinding.holders):
        surroundings.leave_out(container, key)
    if modes != modes_now():
        raise Uncapturable("it changes a mode, such as set_grad_enabled, and leaves it so")
    varying = [isinstance(x, Tensor) and not surroundings.hold(x) for x in leaves]
    position = {id(x): i for i, x in reversed(list(enumerate(leaves))) if varying[i]}
    if any(
        e.owner is not None and (id(e.tensor) in position or id(e.tensor) in rebinding.spots) for e in what.externals
    ):
        raise Uncapturable("an argument is also the gradient of a tensor that the function uses")
    places = [position.get(id(e.tensor)) for e in what.externals]
    return Variant(
        captured=what,
        structure=structure,
        leaves=[
            TENSOR if v else Number(type(x)) if i in stand_ins else x
            for i, (x, v) in enumerate(zip(leaves, varying, strict=True))
        ],
        modes=modes,
        surroundings=surroundings,
        taken=taken,
        growing=growing.holders,
        rebound=[rebinding.spots.get(id(e.tensor)) for e in what.externals],
        rebinding=rebinding.kinds(),
        given_numbers=numbers,
        slots=list(tracer.state.slots.values()),
        written=[slot for slot in tracer.state.made if slot.value not in tracer.state.slots],
        conditions=[(question, *answers) for (question, *_), answers in tracer.conditions.items()],
        places=places,
        firsts=firsts(leaves, [i for i, varies in enumerate(varying) if varies]),
        signatures=[signature(e.tensor) for e in what.externals],
        entry=[(t, position.get(id(t)), before is None) for t, before, read in tracer.gradients.values() if read],
    )


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Let the collector of garbage wait: a capture makes many objects, nearly all of which stay, and it would go through them often."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _own_conversions() -> Iterator[None]:
    """Let autocasting neither use nor keep conversions of parameters from outside of a trace."""
    outside, autocast_mode.cache = autocast_mode.cache, {}
    try:
        yield
    finally:
        autocast_mode.cache = outside


def _needs_eager() -> bool:
    """Whether something watches the operations themselves, or they run on examples or dual numbers, or results are kept for later."""
    parametrize: Any = sys.modules.get("torchlite.nn.utils.parametrize")
    if parametrize is not None and parametrize.caching():
        return True
    return bool(_OFF or anomaly_mode.enabled or saved_tensors_hooks.hooks or examples.stack or dual_levels)


def _where(error: BaseException) -> str:
    """The innermost line of the program's own code through which an error came."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        if not is_library(trace.tb_frame.f_globals.get("__name__")):
            found = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


def _log(message: str) -> None:
    if "recompiles" in os.environ.get("TORCHLITE_LOG", ""):
        print(f"torchlite.compile: {message}", file=sys.stderr)
