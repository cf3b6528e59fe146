"""What a trained model says of new inputs, as records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torchlite import backends
from torchlite.autograd.grad_mode import no_grad
from torchlite.errors import UsageError
from torchlite.train.config.load import data_card
from torchlite.train.config.own_data import CsvData, TextData
from torchlite.train.config.schema import Config
from torchlite.train.data import Samples, batches, in_order
from torchlite.train.generation import Alphabet, Sampling, generate
from torchlite.train.precision import mixed
from torchlite.train.trained import Trained

Array = np.ndarray[Any, Any]
Record = dict[str, Any]


def outputs(trained: Trained, samples: Samples) -> Iterator[Array]:
    """What the model makes of the samples, batch by batch, in their order."""
    config = trained.config
    size = config.eval.batch_size or config.data.batch_size
    with no_grad(), mixed(config.train.precision, trained.device):
        for inputs, _ in batches(samples, in_order(samples, size), 0, trained.device):
            yield backends.to_numpy(trained.model(inputs).detach()._data).astype(np.float64)


def records(trained: Trained, batch: Array, first: int, topk: int) -> list[Record]:
    """One record a sample: what is predicted, how probable, and with ``topk`` above 1 the next best classes."""
    config = trained.config
    if target_kind(config) == "number":
        return [{"index": first + i, "prediction": float(value)} for i, value in enumerate(numbers(config, batch))]
    classes = class_names(config)
    return [_ranked(first + i, row, classes, topk) for i, row in enumerate(probabilities(config, batch))]


def target_kind(config: Config) -> str:
    """What the model tells: a "class", "binary" (yes or no) or a "number"."""
    return config.data.target.kind if isinstance(config.data, CsvData) else "class"


def class_names(config: Config) -> tuple[str, ...]:
    """The classes, of yes or no that of yes last; none of other targets."""
    if isinstance(config.data, CsvData) and config.data.target.kind == "binary":
        return tuple(config.data.target.classes or ("0", "1"))
    return tuple(data_card(config.data).classes)


def numbers(config: Config, batch: Array) -> Array:
    """The numbers that a model of outputs (N, 1) predicts, in the units of the data."""
    assert isinstance(config.data, CsvData)
    return np.asarray(np.expm1(batch[:, 0]) if config.data.target.transform == "log1p" else batch[:, 0])


def probabilities(config: Config, batch: Array) -> Array:
    """Those of each class (N, classes), from what the model makes of the samples."""
    if target_kind(config) == "binary":
        yes = 1 / (1 + np.exp(-batch[:, 0]))
        return np.stack([1 - yes, yes], axis=1)
    shifted = np.exp(batch - batch.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def _ranked(index: int, probabilities: Array, classes: tuple[str, ...], topk: int) -> Record:
    order = np.argsort(-probabilities, kind="stable")[: max(topk, 1)]
    record: Record = {
        "index": index,
        "prediction": classes[order[0]],
        "probability": float(probabilities[order[0]]),
        "probabilities": {name: float(p) for name, p in zip(classes, probabilities, strict=True)},
    }
    if topk > 1:
        record["top"] = [[classes[i], float(probabilities[i])] for i in order]
    return record


def write_on(trained: Trained, prompt: str, count: int, sampling: Sampling, rng: np.random.Generator) -> Iterator[str]:
    """Pieces of the text that a model of text writes behind a prompt.

    Raises:
        UsageError: for a model of something else, and a prompt with characters that are no tokens.
    """
    data = trained.config.data
    if not isinstance(data, TextData):
        raise UsageError(f"--prompt is for models of text; this one was trained on {data.type}")
    alphabet = Alphabet(data.alphabet)
    unknown = alphabet.unknown(prompt)
    if unknown:
        raise UsageError(f"the prompt has characters that the model does not know: {unknown!r}")
    tokens = generate(
        trained.model,
        alphabet.encode(prompt),
        count,
        context=trained.traces["model"].input.shape[1],
        sampling=sampling,
        rng=rng,
        device=trained.device,
    )
    return alphabet.decoded(tokens)
