"""Losses that only configurations need, because a program would write them as an expression."""

from __future__ import annotations

from typing import Any

from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.train.hints import Hints, read_hints


class SequenceCrossEntropy(nn.Module):
    """The cross-entropy of every place of a sequence, averaged over all.

    Shape: logits (N, T, C), targets (N, T) of int64.
    """

    def __init__(self, ignore_index: int = -100, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss."""
        if logits.ndim != 3 or tuple(logits.shape[:2]) != tuple(targets.shape):
            raise ValueError(
                f"expected logits (N, T, C) and targets (N, T), got {tuple(logits.shape)} and {tuple(targets.shape)}"
            )
        return F.cross_entropy(
            logits.flatten(0, 1),  # (N · T, C)
            targets.flatten(),
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )


class Distillation(nn.Module):
    """What a student learns from the targets and from a teacher (Hinton, Vinyals and Dean, 2015).

    (1 - alpha) · CE(student, targets) + alpha · T² · KL(softmax(teacher / T) ‖ softmax(student / T)), and for each of the
    `hints` weight · the difference of what two modules give; without the teacher's logits, as in evaluation, the first alone.
    A hint is ``{student: NAME, teacher: NAME, type: mse, weight: 1.0}``, mse or l1.

    Shape: logits of both (N, C), targets (N,) of int64.
    """

    needs_teacher = True

    def __init__(
        self,
        alpha: float = 0.7,
        temperature: float = 4.0,
        label_smoothing: float = 0.0,
        hints: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.temperature = temperature
        self.label_smoothing = label_smoothing
        self.hints = read_hints(hints or ())
        self._watching: Hints | None = None

    def watch(self, student: nn.Module, teacher: nn.Module) -> None:
        """See from now on what the modules give that the hints name.

        Raises:
            ValueError: when there is no such module.
        """
        if self.hints:
            self._watching = Hints(self.hints, student, teacher)

    def forward(self, logits: Tensor, targets: Tensor, taught: Tensor | None = None) -> Tensor:
        """The loss."""
        hard = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if taught is None:
            return hard
        t = self.temperature
        student, teacher = F.log_softmax(logits / t, dim=-1), F.log_softmax(taught / t, dim=-1)
        soft = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        total = (1 - self.alpha) * hard + self.alpha * t * t * soft
        return total if self._watching is None else total + self._watching.loss()


LOSSES = {"sequence_cross_entropy": SequenceCrossEntropy, "distill": Distillation}
