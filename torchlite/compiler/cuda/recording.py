"""Programs that are recorded as CUDA graphs: each part on a GPU becomes one launch, which runs in the same memory every time.

The memory is that of a pool that only the graphs use. Parameters and states of optimizers are read and written where they
lie; should one be another array, the program is recorded again. Arguments that come and go are copied to where the first one
lay. Results are copied out; gradients, which the next call replaces, are given away as they are, and where somebody still
has one when the next call comes, that call is launched operation by operation in memory of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Container, Sequence
from operator import is_
from typing import Any

import numpy as np

from torchlite._tensor import wrap
from torchlite.backends import cupy, is_array
from torchlite.backends.philox import Word
from torchlite.compiler.cuda.deferred import deferring
from torchlite.compiler.cuda.execution import Execution, Stage, Values
from torchlite.compiler.cuda.parts import Part
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.ownership import owner, taken
from torchlite.compiler.program.interface import Interface

WARM_UP = 2
"""Calls before a program is recorded: kernels are compiled, algorithms chosen, and it is seen which arguments stay."""
_MOST = 8
_OFTEN = 2  # changes after which an input is taken for one that comes and goes


class Recorded(Execution):
    """A program that is recorded at its third call; where that can't be, it is launched operation by operation."""

    def __init__(self, graph: Graph, parts: Sequence[Part], interface: Interface, source: str) -> None:
        super().__init__(graph, parts, interface, source)
        self.refused: str | None = None
        self.replays = 0
        self._calls = 0
        self._recordings = 0
        self._before: Sequence[Any] | None = None
        self._changes = [0] * len(graph.inputs)
        self._recording: Recording | None = None
        self._recording_lock = threading.Lock()
        self._arrays = [i for i, v in enumerate(graph.inputs) if v.aval is not None and v.aval.device.type == "cuda"]
        written = set(interface.writes.values())
        self.written = {i for i in self._arrays if graph.inputs[i] in written}

    def __call__(self, given: Sequence[Any], idle: Container[int] = ()) -> Sequence[Any]:
        """As `Replay`."""
        with np.errstate(all="ignore"), cupy().cuda.Device(self.device.index):
            if self.refused is not None or not self._recording_lock.acquire(blocking=False):
                return self.launched(given)
            try:
                recording = self._fitting(given)
                if recording is None or not recording.is_free(idle):
                    return self.launched(given)
                self.replays += 1
                return recording.replay(given)
            finally:
                self._recording_lock.release()

    def _fitting(self, given: Sequence[Any]) -> Recording | None:
        """What is recorded for such arrays, now if need be; None where these have to be launched one by one."""
        recording = self._recording
        if recording is not None and recording.fits(given):
            return recording
        stream = cupy().cuda.get_current_stream().ptr
        if recording is not None and stream != recording.stream:
            return None  # which might run before the last replay has ended
        self._calls += 1
        before = self._before if recording is None else recording.given
        if before is not None:
            for i in self._arrays:
                self._changes[i] += given[i] is not before[i]
        if self._calls <= WARM_UP:
            self._before = list(given)
            return None
        self._before = self._recording = None
        if self._recordings == _MOST:
            self._refuse(f"arrays that it works on were others after each of {_MOST} recordings")
            return None
        self._recordings += 1
        moving = [i for i in self._arrays if self._changes[i] >= _OFTEN and i not in self.written]
        try:
            self._recording = Recording(self, given, moving)
        except Exception as error:  # of CUDA, because something can't be recorded
            self._refuse(f"recording raised {type(error).__name__}: {error}{_raising(error, self.stages)}")
        return self._recording

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        if "cudagraphs" in os.environ.get("TORCHLITE_LOG", ""):
            print(f"torchlite.compile: {self.graph.name} is not replayed as a CUDA graph: {reason}", file=sys.stderr)


class Recording:
    """The graphs of a program, and the memory in which they run.

    Args:
        program: what is recorded.
        given: the inputs.
        moving: which of them are copied at each call.

    Attributes:
        stream: in which it replays.
        given: the inputs that are read where they lie.
    """

    def __init__(self, program: Recorded, given: Sequence[Any], moving: Sequence[int]) -> None:
        xp = cupy()
        self._program = program
        self._moving = moving
        self._pool, self._pool_of_copies = xp.cuda.MemoryPool(), xp.cuda.MemoryPool()
        self._recorder = xp.cuda.Stream(non_blocking=True)
        self._graphs: dict[Stage, Any] = {}
        self._fixed: Values = {}
        self._results: list[Any] = []
        self._kept: list[Any] = []  # what kernels read by address
        self.stream = xp.cuda.get_current_stream().ptr
        self.given = list(given)
        self._staying = [i for i in program._arrays if i not in set(moving)]
        xp.get_default_memory_pool().free_all_blocks()  # what the launches before took and nobody uses now
        with xp.cuda.using_allocator(self._pool.malloc):
            for i in moving:
                self.given[i] = xp.empty_like(given[i])
                xp.copyto(self.given[i], given[i])  # what computes while it is recorded finds numbers that make sense
            self._slots = {stage: stage.slots() for stage in program.stages if stage.part.device is not None}
            self._record()
        self._check_room()
        self._arrays = [given[i] for i in self._staying]
        gradients = [a for a in self._results[program.interface.results :] if a is not None]
        self._gradients = [(array, owner(array), _references_of_a_tensor(array)) for array in gradients]
        self._own = self._references()

    def _check_room(self) -> None:
        """See that what is launched beside the graphs, such as an evaluation or a batch of another length, still has room.

        Raises:
            MemoryError: where less is free than the graphs keep.
        """
        kept, (free, _) = self._pool.total_bytes(), cupy().cuda.runtime.memGetInfo()
        if kept > free:
            raise MemoryError(f"{kept:,} bytes would be kept for it, and {free:,} are left for all that runs beside it")

    def fits(self, given: Sequence[Any]) -> bool:
        """Whether all that is read where it lies is still there, and the stream is the same."""
        here = cupy().cuda.get_current_stream().ptr == self.stream
        return here and all(map(is_, self._arrays, [given[i] for i in self._staying]))

    def is_free(self, idle: Container[int]) -> bool:
        """Whether nobody has a gradient that the last replay gave away, but for those in ``idle``, which one tensor may have."""
        now = self._references()
        if now == self._own:
            return True
        return all(
            references <= own + (of_tensor if id(array) in idle else 0) and (base is array or of_base <= own_of_base)
            for (array, base, of_tensor), (references, of_base), (own, own_of_base) in zip(
                self._gradients, now, self._own, strict=True
            )
        )

    def replay(self, given: Sequence[Any]) -> list[Any]:
        """The outputs for these inputs."""
        values = dict(zip(self._program.graph.inputs, given, strict=True)) | self._fixed
        for i in self._moving:
            cupy().copyto(self.given[i], given[i])
        self._program.through(values, self._slots, self._launch)
        return self._given_away(values)

    def _launch(self, stage: Stage, _values: Values) -> None:
        graph = self._graphs[stage]
        if graph is not None:
            graph.launch()

    def _record(self) -> None:
        """Record all parts on the GPU, without anything being computed."""
        inputs = self._program.graph.inputs
        values: Values = {inputs[i]: self.given[i] for i in self._program._arrays}
        stages = [stage for stage in self._program.stages if stage.part.device is not None]
        for stage in stages:
            arrays = self._slots[stage].arrays
            values.update((node.outputs[0], a) for node, a in zip(stage.singles, arrays, strict=False))
            for node in stage.others:
                aval = node.outputs[0].aval
                assert aval is not None
                values[node.outputs[0]] = cupy().empty(aval.shape, aval.dtype)
            with deferring(self._pool_of_copies) as copies:
                self._graphs[stage] = self._recorded(stage, values, final=stage is stages[-1])
            for there, here in copies:
                there.set(here)
            self._kept += [there for there, _ in copies]
        self._fixed = values

    def _recorded(self, stage: Stage, values: Values, *, final: bool) -> Any:
        """The graph of a part, of which ``values`` gets the results."""
        part = stage.part
        arrays = self._slots[stage].arrays
        words = {v: Word(a) for v, a in zip(stage.numbers, arrays[len(stage.singles) :], strict=True)}
        arrived = [values[node.outputs[0]] for node in part.arrivals]
        given = [words[v] if v in words else values[v] for v in part.inputs]
        with self._recorder:
            self._recorder.begin_capture()
            try:
                results = stage.function(*given, *arrived)
                values.update(zip(part.outputs, results, strict=True))
                if final:
                    self._results = self._ended(values)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._recorder.end_capture()
                raise
            return self._recorder.end_capture()

    def _ended(self, values: Values) -> list[Any]:
        """What leaves, as far as it is on the GPU, in memory of its own, after what is written into inputs there has been."""
        program = self._program
        outputs, leaving = program.graph.outputs, program.interface.leaving
        owners = {id(owner(self.given[i])) for i in program._arrays}
        owners |= program.constants | {id(owner(a)) for slots in self._slots.values() for a in slots.arrays}
        results = [self._on_gpu(v, values) for v in outputs[:leaving]]
        results = [None if a is None else taken(a, owners) for a in results]
        targets = {v: values[v] for v in program.interface.writes.values() if v in values}
        changed = {id(owner(a)) for a in targets.values()}
        writes = [
            (targets[v], self._on_gpu(outputs[i], values)) for i, v in program.interface.writes.items() if v in targets
        ]
        found = [(t, a.copy() if id(owner(a)) in changed else a) for t, a in writes if a is not None]
        for target, value in found:
            cupy().copyto(target, value)
        return results

    @staticmethod
    def _on_gpu(v: Value, values: Values) -> Any:
        array = values.get(v, v.constant)
        return array if is_array(array) and not isinstance(array, np.ndarray) else None

    def _references(self) -> list[tuple[int, int]]:
        """To the gradients that are given away and to the arrays in whose memory they lie."""
        return [(sys.getrefcount(array), sys.getrefcount(base)) for array, base, _ in self._gradients]

    def _given_away(self, values: Values) -> list[Any]:
        """The outputs: results copied, gradients as they are, and None for what is written into inputs of the GPU."""
        program = self._program
        interface, outputs = program.interface, program.graph.outputs
        found = []
        for i, v in enumerate(outputs):
            array: Any = self._results[i] if i < interface.leaving else None
            if array is not None:
                found.append(array.copy() if i < interface.results else array)
            elif i >= interface.leaving and interface.writes.get(i) in self._fixed:
                found.append(None)
            else:
                found.append(values.get(v, v.constant))
        return found


def _raising(error: Exception, stages: Sequence[Stage]) -> str:
    """In parentheses the call of an operator that raised, as a part's text has it; nothing where it was none."""
    graphs = {f"<graph of {stage.graph.name}>": stage.graph for stage in stages}
    for frame, line in traceback.walk_tb(error.__traceback__):
        graph = graphs.get(frame.f_code.co_filename)
        if graph is not None:
            return f" (in {str(graph).splitlines()[line - 1].partition('#')[0].strip()})"
    return ""


def _references_of_a_tensor(array: Any) -> int:
    """How many a tensor holds to its array."""
    before = sys.getrefcount(array)
    tensor = wrap(array)
    return sys.getrefcount(array) - before if tensor is not None else 0
