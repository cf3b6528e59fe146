"""Where the time of training steps goes, and how fast they are."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torchlite import cuda, nn
from torchlite.autograd.profiler import FunctionEventAvg, profile
from torchlite.devices import Device
from torchlite.errors import UsageError
from torchlite.train.config.schema import Config
from torchlite.train.data import batch_indices, batches
from torchlite.train.loop import Group, Step, groups, make_update, steps, take_step
from torchlite.train.plan import Plan, make_plan
from torchlite.train.progress import start


@dataclass(frozen=True)
class Profile:
    """What some steps took; times in seconds a step.

    Attributes:
        steps: how many were looked at.
        total: of a step.
        waited: for data.
        layers: the forward pass of each layer that holds no others, with its calls a step, in their order.
        operators: of forward, backward and update, the costliest first: name, calls a step, time of its own.
    """

    steps: int
    total: float
    waited: float
    layers: list[tuple[str, str, float, float]]
    operators: list[tuple[str, float, float]]


def profile_steps(config: Config, count: int, trace: Path | None = None) -> Profile:
    """Take ``count`` uncompiled steps behind two that are not looked at, layer by layer and operator by operator."""
    plan = make_plan(config)
    plan.compiled = False
    progress = start(plan)
    update = make_update(plan, progress)
    plan.model.train()
    taken: list[Step] = []
    with _layer_times(plan.model) as times:
        stream = endless(plan)
        for group in islice(stream, 2):
            take_step(plan, progress, group, update)
        times.clear()
        with profile() as recorded:
            for group in islice(stream, count):
                taken.append(take_step(plan, progress, group, update))
    if trace is not None:
        try:
            recorded.export_chrome_trace(trace)
        except OSError as error:
            raise UsageError(f"cannot write '{trace}': {error.strerror}") from error
    names = {name: type(module).__name__ for name, module in plan.model.named_modules()}
    layers = [(name or "model", names[name], len(t) / count, sum(t) / count) for name, t in times.items()]
    averages: list[FunctionEventAvg] = list(recorded.key_averages())
    averages.sort(key=lambda one: -one.self_cpu_time_total)
    operators = [(one.key, one.count / count, one.self_cpu_time_total / 1e6 / count) for one in averages]
    seconds = [step.seconds for step in taken]
    return Profile(count, sum(seconds) / count, sum(step.waited for step in taken) / count, layers, operators)


@contextmanager
def _layer_times(model: nn.Module) -> Iterator[dict[str, list[float]]]:
    """The times of the forward passes of every layer that holds no others, by name, while the block runs."""
    times: dict[str, list[float]] = {}
    handles = []
    begun: dict[str, float] = {}
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            continue

        def before(_module: Any, _inputs: Any, name: str = name) -> None:
            begun[name] = time.perf_counter()

        def after(_module: Any, _inputs: Any, _output: Any, name: str = name) -> None:
            times.setdefault(name, []).append(time.perf_counter() - begun[name])

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield times
    finally:
        for handle in handles:
            handle.remove()


def endless(plan: Plan) -> Iterator[Group]:
    """The groups of batches of one epoch after the other, without end."""
    data, epoch = plan.config.data, 0
    while True:
        indices = batch_indices(len(plan.splits.train), data.batch_size, data.drop_last, plan.config.seed, epoch)
        plan.splits.train.epoch = epoch
        yield from groups(batches(plan.splits.train, indices, data.workers, plan.device), plan.config.train.accumulate)
        epoch += 1


@dataclass(frozen=True)
class Speed:
    """How fast steps are; times in seconds.

    Attributes:
        steps, samples: how many were timed.
        median, p90: of a step.
        samples_per_second: over all of them.
        waited: the share of the time that went into waiting for data.
        peak_bytes: the most memory that the process has held.
    """

    steps: int
    samples: int
    median: float
    p90: float
    samples_per_second: float
    waited: float
    peak_bytes: int


def measure_speed(config: Config, count: int, warmup: int) -> Speed:
    """Time ``count`` steps as training takes them, compiled where it would, behind ``warmup`` that are not timed."""
    plan = make_plan(config)
    plan.total_steps = max(plan.total_steps, warmup + count)
    progress = start(plan)
    plan.model.train()
    taken = list(islice(steps(plan, progress, make_update(plan, progress)), warmup + count))[warmup:]
    seconds = sorted(step.seconds for step in taken)
    samples = sum(step.samples for step in taken)
    return Speed(
        steps=count,
        samples=samples,
        median=statistics.median(seconds),
        p90=seconds[min(len(seconds) - 1, int(0.9 * len(seconds)))],
        samples_per_second=samples / sum(seconds),
        waited=sum(step.waited for step in taken) / sum(seconds),
        peak_bytes=peak_memory(),
    )


def memory_in_use(device: Device) -> int:
    """The bytes that tensors hold on a GPU, or that this process holds of the machine's memory."""
    if device.type == "cuda":
        return cuda.memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return peak_memory()


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
