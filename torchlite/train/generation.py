"""Text from a language model: one token after another, each drawn from what the model expects."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite import backends, nn
from torchlite.autograd.grad_mode import no_grad
from torchlite.devices import Device
from torchlite.errors import UsageError
from torchlite.ops.exchange import from_numpy

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: logits are divided by it; with 0 the most probable token is taken.
        top_k: only so many of the most probable tokens are drawn from.
        top_p: only the most probable tokens that together have this probability are drawn from.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if self.temperature < 0 or (self.top_k is not None and self.top_k < 1):
            raise UsageError("the temperature must not be negative, and top-k at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UsageError(f"top-p must be above 0 and at most 1, got {self.top_p:g}")

    def draw(self, logits: Array, rng: np.random.Generator) -> int:
        """A token for logits (C,); of equal ones the first."""
        if self.temperature == 0:
            return int(logits.argmax())
        raised = logits.astype(np.float64)
        shares = np.exp((raised - raised.max()) / self.temperature)  # in this order for temperatures near 0
        shares /= shares.sum()
        if self.top_k is not None or self.top_p is not None:
            shares = self._truncated(shares)
        return int(rng.choice(len(shares), p=shares))

    def _truncated(self, shares: Array) -> Array:
        order = np.argsort(-shares, kind="stable")
        kept = len(order) if self.top_k is None else min(self.top_k, len(order))
        if self.top_p is not None:
            before = np.cumsum(shares[order]) - shares[order]  # how much those before each have together
            kept = min(kept, int(np.count_nonzero(before < self.top_p)))
        chosen = np.zeros_like(shares)
        chosen[order[:kept]] = shares[order[:kept]]
        return chosen / chosen.sum()


class Alphabet:
    """The characters of a text as tokens.

    Args:
        characters: those that there are; where None, tokens are the bytes of UTF-8.
    """

    def __init__(self, characters: str | None) -> None:
        self.characters = characters
        self._tokens = {} if characters is None else {one: token for token, one in enumerate(characters)}

    def unknown(self, text: str) -> str:
        """The characters of a text that are no tokens."""
        return "" if self.characters is None else "".join(dict.fromkeys(one for one in text if one not in self._tokens))

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without characters that are none."""
        if self.characters is None:
            return list(text.encode())
        return [self._tokens[one] for one in text if one in self._tokens]

    def decoded(self, tokens: Iterator[int]) -> Iterator[str]:
        """Pieces of text as soon as tokens make up whole characters."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            piece = decoder.decode(bytes([token])) if self.characters is None else self.characters[token]
            if piece:
                yield piece
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest


def generate(
    model: nn.Module,
    prompt: Sequence[int],
    count: int,
    *,
    context: int,
    sampling: Sampling,
    rng: np.random.Generator,
    device: Device,
) -> Iterator[int]:
    """``count`` tokens that follow ``prompt``; the model, in evaluation mode, sees the last ``context`` of them.

    Shape: the model maps tokens (1, context) to logits (1, context, C), of which those of the last token count, so it must
    not look ahead. Without a prompt the first token is the one before it.
    """
    written = list(prompt) or [0]
    for _ in range(count):
        recent = written[-context:]
        padded = np.array([recent + [0] * (context - len(recent))], np.int64)
        with no_grad():
            logits = model(from_numpy(padded).to(device))
        token = sampling.draw(backends.to_numpy(logits._data)[0, len(recent) - 1].astype(np.float64), rng)
        written.append(token)
        yield token
