"""Data made up from what a configuration says of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.ops.creation import tensor
from torchlite.ops.exchange import from_numpy
from torchlite.train.check import mixing_of, pipeline
from torchlite.train.config.load import data_card
from torchlite.train.config.schema import Config
from torchlite.train.model import Trace
from torchlite.vision.transforms import sample_keys


def made_up_batch(config: Config, rng: np.random.Generator, step: int) -> tuple[Tensor, Tensor]:
    """A small batch as the loop's step gets it, behind the transforms of training."""
    card = data_card(config.data)
    batch = min(config.data.batch_size, 8)
    inputs = _made_up_samples(config, rng, batch, "train")
    targets = _made_up(rng, (batch, *card.target.shape), card.target.dtype, card.num_classes)
    mixing = mixing_of(config)
    if mixing is not None:
        inputs, targets = mixing(inputs, targets, sample_keys(config.seed, step, np.arange(batch)))
    return from_numpy(inputs), tensor(targets)


def made_up_inputs(config: Config, trace: Trace, batch: int, seed: int) -> Tensor:
    """A batch of what a model takes, made up: samples behind the transforms of evaluation, or numbers where it says what it takes."""
    rng = np.random.default_rng(seed)
    if trace.model.input is not None:
        return from_numpy(rng.normal(size=(batch, *trace.model.input)).astype(np.float32))
    return from_numpy(_made_up_samples(config, rng, batch, "eval"))


def _made_up_samples(config: Config, rng: np.random.Generator, batch: int, stage: str) -> np.ndarray[Any, Any]:
    card = data_card(config.data)
    samples = _made_up(rng, (batch, *card.input.shape), card.input.dtype, card.scale + 1)
    keys = sample_keys(config.seed, 0, np.arange(batch))
    return np.ascontiguousarray(pipeline(config, stage)(samples, keys))


def _made_up(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, values: int) -> np.ndarray[Any, Any]:
    """Whole numbers below ``values``; of floats those between 0 and 1, which every loss takes."""
    made = rng.random(shape) if dtype.startswith("float") else rng.integers(0, values, shape)
    return made.astype(dtype)
