"""Batches whose samples are mixed with each other, and their targets with them.

What is done to a batch depends on (seed, epoch, indices of its samples) alone, so neither on who loads it nor on interruptions.

Sources: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018; S. Yun et al., "CutMix: Regularization Strategy to
Train Strong Classifiers with Localizable Features", 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.train.config.schema import Mix

Array = np.ndarray[Any, Any]


class Mixing:
    """Mixup and CutMix of whole batches.

    Args:
        mix: what the configuration asks for.
        num_classes: of targets that are indices of classes; these become shares (N, num_classes) of float32. Others are floats and
            are averaged as they are.
    """

    def __init__(self, mix: Mix, num_classes: int) -> None:
        self.mix = mix
        self.num_classes = num_classes

    def __call__(self, inputs: Array, targets: Array, keys: Array) -> tuple[Array, Array]:
        """The mixed batch; ``keys`` (N,) of uint64 are those of its samples."""
        random = np.random.Generator(np.random.Philox(int(np.bitwise_xor.reduce(keys))))
        targets = self.shares(targets)
        if random.random() >= self.mix.p:
            return inputs, targets
        both = self.mix.mixup is not None and self.mix.cutmix is not None
        cuts = random.random() < 0.5 if both else self.mix.cutmix is not None
        partners = random.permutation(len(inputs))
        parameter = self.mix.cutmix if cuts else self.mix.mixup
        assert parameter is not None
        share = float(random.beta(parameter, parameter))
        if cuts:
            inputs, share = _cut(inputs, partners, share, random)
        else:
            inputs = _weighted(inputs, partners, share)
        return inputs, _weighted(targets, partners, share)

    def shares(self, targets: Array) -> Array:
        """Targets that can be averaged."""
        if targets.dtype.kind == "f":
            return targets
        return (targets[:, None] == np.arange(self.num_classes)).astype(np.float32)


def why_not(mix: Mix, shape: tuple[int, ...], is_float: bool, target_shape: tuple[int, ...]) -> str | None:
    """Why samples of that shape and kind can't be mixed; None where they can."""
    if not is_float:
        return "mixing adds samples, so these must be floats: put to_float into data.transforms"
    if mix.cutmix is not None and len(shape) != 3:
        return f"cutmix needs images (channels, height, width), not samples of shape {list(shape)}"
    if len(target_shape) > 1:
        return "targets that are sequences can't be mixed"
    return None


def _weighted(values: Array, partners: Array, share: float) -> Array:
    """share · x + (1 - share) · partner."""
    weight = values.dtype.type(share)
    return values * weight + values[partners] * (1 - weight)


def _cut(inputs: Array, partners: Array, share: float, random: np.random.Generator) -> tuple[Array, float]:
    """The images with a rectangle of their partners' on them, and the share of the area that is still their own."""
    height, width = inputs.shape[-2:]
    side = (1 - share) ** 0.5
    rows, columns = (_stretch(length, side, random) for length in (height, width))
    mixed = inputs.copy()
    mixed[..., rows, columns] = inputs[partners][..., rows, columns]
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - covered / (height * width)


def _stretch(length: int, side: float, random: np.random.Generator) -> slice:
    """The part within ``length`` of a stretch of ``side`` times that length, its middle anywhere."""
    size, middle = int(side * length), int(random.integers(length))
    return slice(max(0, middle - size // 2), min(length, middle + (size + 1) // 2))
