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
from torchlite.autograd.anomaly import anomaly_mode
from torchlite.autograd.forward_ad import _levels as dual_levels
from torchlite.autograd.saved_tensors import _active as saved_tensors_hooks
from torchlite.batching.level import levels as examples
from torchlite.compiler import behaviour
from torchlite.compiler.again import Again
from torchlite.compiler.arguments import flatten
from torchlite.compiler.branches import OtherBranch
from torchlite.compiler.graph import Graph
from torchlite.compiler.learned import Learned
from torchlite.compiler.surroundings import Surroundings
from torchlite.compiler.trace import Call, Changes, Trace, Traceable, where
from torchlite.compiler.tracer import Doubted
from torchlite.compiler.variant import Variant
from torchlite.tracing import Uncapturable, active

LIMIT = 8
_SOME = 4
_LATER = 16
"""At the 16th call, the 32nd, the 64th, … that is not captured because there are captures enough, a new one takes the place of that
which has not been right for the longest time: what a function does in its first steps may not be what it does from then on."""
_OFF = os.environ.get("TORCHLITE_COMPILE") == "0"
_ATTEMPTS = 3


class _Raised(Exception):
    """A function has raised what is the cause of this."""


class CompiledFunction:
    """``function`` captured as a graph and replayed.

    The first call runs the function itself, so that what it makes lazily (the state of an optimizer) is there; the
    second is traced. Calls that differ in shapes, dtypes, modes or in the Python values around the function are traced
    again, up to `LIMIT` times, and seldom after that. What can't be captured runs as it is, after one warning.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        full: bool = False,
        warm: bool = False,
        cuda_graphs: bool = False,
        branches: bool = True,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.full = full
        self.begins_warm = warm
        self.cuda_graphs = cuda_graphs
        self.branches = branches
        self._begin()

    def _begin(self) -> None:
        self.variants: list[Variant] = []
        self.warm = self.begins_warm
        self.gave_up: str | None = None
        self.refused: str | None = None
        self.complete = False
        """Whether what can be captured has been: other calls run uncompiled."""
        self.failures = 0
        self.beyond = 0
        """Calls that were not captured any more, for there were captures enough."""
        self.learned = Learned(branches=self.branches)
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Replay, or run the function and capture it."""
        if self.gave_up is not None or active.tracer is not None or behaviour.stance == "force_eager" or _needs_eager():
            return self.function(*args, **kwargs)
        leaves: list[Any] = []
        structure = [flatten(x, leaves) for x in args], kwargs and flatten(kwargs, leaves)
        reasons: list[str] = []
        others = 0
        for variant in self.variants:
            reason, tensors = variant.fits(structure, leaves)
            if reason is None:
                try:
                    result = self._replay(variant, tensors, args, kwargs)
                except OtherBranch as other:
                    reason, others = str(other), others + 1
                else:
                    if others or (reasons and len(self.variants) >= LIMIT):
                        self._prefer(variant)
                    return result
            reasons.append(reason)
        if others:
            return self._branch_off(Call(args, kwargs, structure, leaves), others, reasons)
        if not self.warm:
            self.warm = True
            return self.function(*args, **kwargs)
        for variant in self._moved(structure, leaves, args, kwargs):
            reason, tensors = variant.fits(structure, leaves)
            if reason is None:
                return self._replay_or_run(variant, tensors, args, kwargs)
        return self._capture(Call(args, kwargs, structure, leaves), reasons)

    def _moved(self, structure: Any, leaves: list[Any], args: Any, kwargs: Any) -> Iterator[Variant]:
        """The captures that are right for what is now around the function, after having been moved there."""
        like_it = [variant for variant in self.variants if variant.takes(structure, leaves)]
        changed = [variant for variant in like_it if variant.surroundings.change() is not None]
        if changed and len(self.variants) < LIMIT:
            with self._lock:
                for variant in changed:
                    if variant.move(functools.partial(Surroundings, self.function, (args, kwargs), leaves)):
                        yield variant

    def _branch_off(self, call: Call, others: int, reasons: list[str]) -> Any:
        """Go on with a call that takes none of so many captured branches: nothing of it has happened yet."""
        branches = self.learned.branches
        wanted = branches.miss(others)
        if not branches.wanted:
            self.variants = [variant for variant in self.variants if not variant.captured.branches]
        if not wanted or len(self.variants) >= LIMIT:
            return self.function(*call.args, **call.kwargs)
        return self._capture(call, reasons, branch=True)

    def _prefer(self, variant: Variant) -> None:
        """Try this capture first from now on."""
        with self._lock:
            self.variants = [variant, *(v for v in self.variants if v is not variant)]

    def _replay(self, variant: Variant, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        """Replay, or run the function where something is wrong.

        Raises:
            OtherBranch: where the numbers of tensors ask for another capture.
        """
        dicts = variant.given((args, kwargs)) if variant.taken else []
        if dicts is None:
            return self.function(*args, **kwargs)
        try:
            outs = variant.outputs(tensors)
        except OtherBranch:
            raise
        except Doubted as doubt:
            if doubt.site is not None:
                with self._lock:
                    self.learned.doubted.add(doubt.site)
                    self.variants = [v for v in self.variants if v is not variant]
                where = ":".join(map(str, doubt.site))
                _log(f"{self.name} is compiled again: what {where} expects of its tensors does not hold")
        except Exception as error:
            _log(f"{self.name} runs uncompiled once, because a replay raised {error!r}")
        else:
            if dicts:
                variant.take(dicts)
            if variant.captured.branches:
                self.learned.branches.hits += 1
            return variant.captured.finished(tensors, outs)
        return self.function(*args, **kwargs)  # nothing has happened yet; where something is wrong, it says so

    def _replay_or_run(self, variant: Variant, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        """Replay, or run the function where its numbers take another branch."""
        try:
            return self._replay(variant, tensors, args, kwargs)
        except OtherBranch:
            return self.function(*args, **kwargs)

    def _capture(self, call: Call, reasons: list[str], *, branch: bool = False) -> Any:
        """Capture a call, or the ``branch`` that it takes, and replay it; where that can't be, run the function.

        Raises:
            RuntimeError: under the stance "fail_on_recompile".
        """
        args, kwargs = call.args, call.kwargs
        if behaviour.stance == "fail_on_recompile":
            raise RuntimeError(
                f"{self.name} would be compiled under the stance 'fail_on_recompile': {'; '.join(reasons) or 'first time'}"
            )
        if behaviour.stance == "eager_on_recompile":
            return self.function(*args, **kwargs)
        if not self._lock.acquire(blocking=False):  # another thread captures it
            return self.function(*args, **kwargs)
        failure = None
        try:
            variant = self._captured(call, reasons, branch=branch)
        except _Raised as raised:
            variant, failure = None, raised.__cause__
        finally:
            self._lock.release()
        if variant is None:
            result = self.function(*args, **kwargs)  # where it has raised something, it does so again
            if failure is not None and not branch:
                self._give_up(
                    f"while tracing, it raised {type(failure).__name__}: {failure}{where(failure)}", keep=False
                )
            return result
        reason, tensors = variant.fits(call.structure, call.leaves)
        if reason is not None:
            self._give_up(f"tracing has changed its surroundings: {reason}", keep=False)
            return self.function(*args, **kwargs)
        return self._replay_or_run(variant, tensors, args, kwargs)

    def _captured(self, call: Call, reasons: list[str], *, branch: bool) -> Variant | None:
        """A new capture for this call; None where it can't be captured."""
        if self.complete:
            return None
        if len(self.variants) >= LIMIT:
            self._give_up(f"it was compiled {LIMIT} times, and now {reasons[-1]}", keep=True)
            self.beyond += 1
            if self.beyond < _LATER or self.beyond.bit_count() > 1:
                return None
            self.variants = self.variants[:-1]
            self.learned.changing.reconsider()
        if len(self.variants) == _SOME:
            self.learned.changing.reconsider()
        if reasons:
            _log(f"{self.name} is compiled again: {'; '.join(reasons)}")
        self.learned.compare(self.variants, call.structure, call.leaves)
        try:
            with _garbage_kept():
                variant = self._traced(call)
        except (Exception, Uncapturable) as failure:
            if branch:
                self.learned.branches.closed = True
            else:
                self._refuse(failure)
            return None
        self.failures = 0
        self.variants.insert(0, variant)
        return variant

    def _refuse(self, failure: BaseException) -> None:
        """Take note of why a call can't be captured.

        Raises:
            _Raised: for an error of the function.
        """
        if not isinstance(failure, Uncapturable):
            raise _Raised from failure
        self.failures += 1
        if isinstance(failure, Changes) and self.failures == 1 and not self.full:  # state for later calls, maybe
            _log(f"{self.name} runs uncompiled once: {failure}")
        else:
            self._give_up(str(failure), keep=self.failures < _ATTEMPTS)

    def _traced(self, call: Call) -> Variant:
        """A capture of a call, traced until a trace finds out nothing more that it should have begun with."""
        fixed = False
        self.learned.changing.refuse_arrays()
        of = Traceable(self.function, self.name, not (self.failures or self.full), self.cuda_graphs)
        while True:
            try:
                variant = Trace(of, call, self.learned, fixed=fixed).variant()
            except Again as found:
                self.learned.take(found)
            except (Exception, Uncapturable):
                if fixed or not self.learned.puts_stand_ins():
                    raise
                fixed = True  # what stands for numbers may have been more than it can work with
            else:
                if fixed:
                    self.learned.put_none(len(call.leaves))
                return variant

    def _give_up(self, reason: str, *, keep: bool) -> None:
        if self.full:
            raise RuntimeError(f"torchlite.compile(fullgraph=True): {self.name} can't be captured: {reason}")
        first = "_warned" not in self.__dict__
        self._warned = True
        self.refused = self.refused or reason
        if not keep and self.variants:
            self.complete = True
        elif not keep:
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
        return CompiledFunction, (self.function, *self._options())

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        return CompiledFunction(copy.deepcopy(self.function, memo), *self._options())

    def _options(self) -> tuple[bool, ...]:
        return self.full, self.begins_warm, self.cuda_graphs, self.branches

    def reset(self) -> None:
        """Forget everything that was captured."""
        self._begin()
        self.__dict__.pop("_warned", None)


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


def _needs_eager() -> bool:
    """Whether something watches the operations themselves, or they run on examples or dual numbers, or results are kept for later."""
    parametrize: Any = sys.modules.get("torchlite.nn.utils.parametrize")
    if parametrize is not None and parametrize.caching():
        return True
    return bool(_OFF or anomaly_mode.enabled or saved_tensors_hooks.hooks or examples.stack or dual_levels)


def _log(message: str) -> None:
    if "recompiles" in os.environ.get("TORCHLITE_LOG", ""):
        print(f"torchlite.compile: {message}", file=sys.stderr)
