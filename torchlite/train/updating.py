"""One optimizer step on its batches: forward, loss, backward, clipping and update, compiled where that pays.

Whether a step runs compiled must not depend on how often the run was interrupted, or the last bits of its numbers
would. So it depends on the step alone: the first of a run makes the state of the optimizer and runs uncompiled (until
one has updated the weights), and all others are compiled. What was learned on the way (a step that can't be captured, a
check of values that did not hold) goes into the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, Self

from torchlite import amp
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.backends.native import toolchain
from torchlite.compiler import compiled
from torchlite.devices import Device
from torchlite.errors import OutOfMemoryError
from torchlite.nn.module import Module
from torchlite.nn.utils import clip_grad_norm_, clip_grad_value_
from torchlite.ops.generator import default_generator
from torchlite.ops.joining import stack
from torchlite.optim import Optimizer
from torchlite.tracing import valid
from torchlite.train.footprint import Footprint
from torchlite.train.precision import mixed

Batch = tuple[Tensor, Tensor]

Wish = Literal["auto", "no-cudagraphs"] | bool
"""What ``train.compile`` may be."""

_MANY_STEPS, _SOME_STEPS, _MUCH = 2_000, 100, 1e12
_MANY_ON_GPU = 500


def pays(wish: Wish, device: Device, optimizer: Optimizer, size: Footprint, samples: int, steps: int) -> bool:
    """Whether the steps of a run are compiled.

    ``auto`` compiles, on the CPU and where there is a C compiler, runs of 2,000 steps or more, and those of 100 or
    more whose forward passes take 10¹² operations or more: shorter ones end before compiling has paid. On a GPU, where
    uncompiled steps take what the host needs to launch them, it compiles runs of 500 steps or more.

    Args:
        wish: ``train.compile`` of the configuration.
        device: where it computes.
        optimizer: one that evaluates the loss itself is not compiled.
        size: of the model.
        samples: in a step.
        steps: of the whole run.
    """
    if wish is False or optimizer.needs_closure:
        return False
    if wish != "auto":
        return True
    if device.type == "cuda":
        return steps >= _MANY_ON_GPU
    long = steps >= _MANY_STEPS or (steps >= _SOME_STEPS and steps * samples * size.flops >= _MUCH)
    return long and device.type == "cpu" and toolchain.available()


class NotFinite(ArithmeticError):
    """The loss or a gradient has become NaN or infinite; nothing was updated.

    Attributes:
        loss: what the loss was.
    """

    def __init__(self, loss: float) -> None:
        super().__init__(loss)
        self.loss = loss


@dataclass(frozen=True, eq=False)
class Moment:
    """What a forward pass changes besides gradients, to be put back where its step does not count."""

    model: Module
    random: tuple[int, int]
    buffers: dict[str, Tensor]

    @classmethod
    def of(cls, model: Module, *, buffers: bool = True) -> Self:
        """The generator, and the buffers unless they may be lost, as they are now."""
        kept = {name: x.clone() for name, x in model.named_buffers()} if buffers else {}
        return cls(model, default_generator.state(), kept)

    def put_back(self) -> None:
        """Make them what they were."""
        default_generator.restore(self.random)
        with no_grad():
            for name, x in self.model.named_buffers():
                if name in self.buffers:
                    x.copy_(self.buffers[name])


@dataclass(eq=False)
class Update:
    """An optimizer step as a function of its batches.

    Where `divides`, batches that do not fit into memory are cut into twice as many `pieces` and tried again, as often as it
    takes: the gradients are those of the whole batch, but for rounding and for layers that look at a batch as a whole.
    The loss must be finite, and so must every gradient where it `checks` them, or knows their norm anyway. (In a compiled
    step the check comes before any update, so none can be made while a gradient is: 2 to 7 % of a step, 30 % where
    layers are wide and batches small.)
    """

    model: Module
    loss: Module
    teacher: Module | None
    optimizer: Optimizer
    scaler: amp.GradScaler
    precision: str
    device: Device
    clip_norm: float | None = None
    clip_value: float | None = None
    divides: bool = False
    pieces: int = 1
    checks: bool = False

    def __call__(self, batches: Sequence[Batch]) -> float:
        """The mean loss over all samples; its gradient is clipped and applied.

        Raises:
            NotFinite: when it, or a gradient, is NaN or infinite. What `scaler` scales may overflow: it looks itself.
        """
        if self.optimizer.needs_closure:  # it evaluates the loss as often as it likes
            mean: float = self.optimizer.step(lambda: self.gradients(batches))
            return mean
        return self.within_memory(batches, self.attempt) if self.divides else self.attempt(batches)

    def attempt(self, batches: Sequence[Batch]) -> float:
        """The same with the batches as they are, by an optimizer that leaves the gradient to the caller."""
        mean = self.gradients(batches)
        try:
            self.scaler.step(self.optimizer)
        except MemoryError as error:
            raise OutOfMemoryError(f"the update itself does not fit into memory: {error}") from error
        self.scaler.update()
        return mean

    def within_memory(self, batches: Sequence[Batch], attempt: Callable[[Sequence[Batch]], float]) -> float:
        """``attempt`` with batches in as many pieces as memory asks for; one that fails leaves nothing behind."""
        before = Moment.of(self.model)
        while True:
            try:
                return attempt([part for batch in batches for part in cut(batch, self.pieces)])
            except OutOfMemoryError:
                raise
            except MemoryError:
                if self.pieces >= max(len(targets) for _, targets in batches):
                    raise
                self.pieces *= 2
            self.optimizer.zero_grad()
            before.put_back()

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        logits = self.model(inputs)
        if self.teacher is None:
            return self.loss(logits, targets)
        with no_grad():
            taught = self.teacher(inputs)
        return self.loss(logits, targets, taught)

    def gradients(self, batches: Sequence[Batch]) -> float:
        """The mean loss; its gradient is clipped and lies in the parameters' ``grad``."""
        self.optimizer.zero_grad()
        samples = sum(len(targets) for _, targets in batches)
        mean, finite = 0.0, True
        for inputs, targets in batches:
            with mixed(self.precision, self.device):
                loss = self._loss(inputs, targets)
            share = len(targets) / samples
            self.scaler.scale(loss if share == 1 else loss * share).backward()
            mean += loss.item() * share
            finite = valid(loss.detach().isfinite()) and finite
        if not finite:
            raise NotFinite(mean)
        self._clip(mean)
        return mean

    def _clip(self, mean: float) -> None:
        scaled = self.scaler.is_enabled()
        if scaled and (self.clip_norm is not None or self.clip_value is not None):
            self.scaler.unscale_(self.optimizer)
        finite = True
        if self.clip_norm is not None:
            norm = clip_grad_norm_(self.model.parameters(), self.clip_norm)
            finite = scaled or valid(norm.isfinite())
        elif self.checks and not scaled:
            finite = valid(gradients_are_finite(self.model))
        if not finite:
            raise NotFinite(mean)
        if self.clip_value is not None:
            clip_grad_value_(self.model.parameters(), self.clip_value)


def gradients_are_finite(model: Module) -> Tensor:
    """One flag of all gradients: a number times zero is zero, unless it is NaN or infinite."""
    zeros = [(p.grad.detach() * 0).sum() for p in model.parameters() if p.grad is not None]
    return stack(zeros).sum() == 0


def cut(batch: Batch, pieces: int) -> Sequence[Batch]:
    """A batch in parts of nearly equal size, none of them empty."""
    inputs, targets = batch
    size = -(-len(targets) // pieces)
    return [(inputs[i : i + size], targets[i : i + size]) for i in range(0, len(targets), size)]


class CompiledUpdate:
    """`Update`, compiled but for the first step of a run and those that begin to train frozen parameters.

    Args:
        update: the step.
        ends: the steps that begin to train frozen parameters.
        learned: what `learned` gave when the run was interrupted.
        cuda_graphs: whether steps on a GPU are replayed as CUDA graphs. They are the kernels that are launched without,
            so the numbers are the same, whichever steps are replayed.
    """

    def __init__(self, update: Update, ends: Set[int], learned: dict[str, Any], *, cuda_graphs: bool) -> None:
        self.uncompiled = update
        self._first = {0} | ends
        self._compiled = compiled(update.attempt, warm=True, cuda_graphs=cuda_graphs, branches=False)
        self._compiled.learned.doubted = {(file, line) for file, line in learned.get("doubted", [])}
        self._compiled.learned.varying = set(learned.get("varying", []))
        self._compiled.gave_up = self._compiled.refused = learned.get("gave_up")

    def __call__(self, batches: Sequence[Batch], step: int, updated: int) -> float:
        """The mean loss of step ``step``, from 0, where ``updated`` were done when the weights were updated last."""
        if any(updated <= first <= step for first in self._first):  # which makes the state of the optimizer
            return self.uncompiled(batches)
        divides = self.uncompiled.divides
        mean: float = self.uncompiled.within_memory(batches, self._compiled) if divides else self._compiled(batches)
        self._compiled.gave_up = self._compiled.refused  # other steps must not depend on when this one was
        return mean

    def learned(self) -> dict[str, Any]:
        """What decides about the steps to come: places whose checks failed, changing hyper-parameters, having given up."""
        found = self._compiled.learned
        return {"doubted": sorted(found.doubted), "varying": sorted(found.varying), "gave_up": self._compiled.refused}
