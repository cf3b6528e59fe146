"""Models of text, which write on after prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torchlite.errors import UsageError
from torchlite.serve.limits import Limits
from torchlite.serve.refusal import Refused, quoted
from torchlite.serve.requests import Check
from torchlite.serve.tensors import TensorSpec
from torchlite.train.config.own_data import TextData
from torchlite.train.generation import Sampling
from torchlite.train.prediction import write_on
from torchlite.train.trained import Trained

Array = np.ndarray[Any, Any]

_TOKENS = 200
_LARGEST_SEED = 2**63 - 1


class Writer:
    """What `torchlite predict` writes after prompts, with its options as parameters of the request."""

    parameters: tuple[str, ...] = ("max_new_tokens", "temperature", "top_k", "top_p", "seed")

    def __init__(self, trained: Trained, limits: Limits) -> None:
        if not isinstance(trained.config.data, TextData):
            raise TypeError(f"expected a model of text, got one of {trained.config.data.type}")
        self.name, self.version = trained.config.name, str(trained.checkpoint.step)
        self._trained, self._limits = trained, limits
        alphabet = trained.config.data.alphabet
        self.inputs: tuple[TensorSpec, ...] = (
            TensorSpec("prompt", "str", parameters={"alphabet": alphabet} if alphabet else {}),
        )
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec("text", "str"),)
        self.answer({"prompt": np.array([""], object)}, {"max_new_tokens": 1}, lambda: None)

    def answer(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any], check: Check) -> dict[str, Array]:
        """The text behind each prompt; the draws of later ones go on behind those of earlier ones, as in `predict`."""
        most = self._limits.max_tokens
        count = _whole(parameters, "max_new_tokens", min(_TOKENS, most), 1, most)
        seed = _whole(parameters, "seed", self._trained.config.seed, 0, _LARGEST_SEED)
        rng = np.random.default_rng(seed)
        try:
            sampling = _sampling(parameters)
            texts = [self._text(prompt, count, sampling, rng, check) for prompt in inputs["prompt"]]
        except UsageError as error:
            raise Refused(400, str(error)) from None
        return {"text": np.array(texts, object)}

    def _text(self, prompt: str, count: int, sampling: Sampling, rng: np.random.Generator, check: Check) -> str:
        pieces = []
        for piece in write_on(self._trained, prompt, count, sampling, rng):
            check()
            pieces.append(piece)
        return "".join(pieces)


def _sampling(parameters: Mapping[str, Any]) -> Sampling:
    top_k = _whole(parameters, "top_k", 1, 1, _LARGEST_SEED) if "top_k" in parameters else None
    top_p = _number(parameters, "top_p", 1.0) if "top_p" in parameters else None
    return Sampling(_number(parameters, "temperature", 1.0), top_k, top_p)


def _whole(parameters: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = parameters.get(name, default)
    if type(value) is not int or not (low <= value <= high or value == default):
        raise Refused(400, f"{name}: expected a whole number from {low} to {high}, got {quoted(value)}")
    return value


def _number(parameters: Mapping[str, Any], name: str, default: float) -> float:
    value = parameters.get(name, default)
    try:
        number = float(value) if type(value) in (int, float) else np.inf
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        raise Refused(400, f"{name}: expected a number, got {quoted(value)}")
    return number
