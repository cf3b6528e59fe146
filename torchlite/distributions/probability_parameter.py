"""What families share whose parameter is a probability, given as ``probs`` or as its log-odds ``logits``."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution
from torchlite.distributions.utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits
from torchlite.size import Size


class HasProbability(Distribution):
    """Distributions with a probability, of which ``probs`` or ``logits`` was given and the other follows."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}

    def _set_probability(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        """Keep what was given, broadcast with ``others``, which are returned.

        Raises:
            ValueError: when not exactly one was given.
        """
        name, given = exactly_one(probs, logits)
        *broadcast, self.__dict__[name] = broadcast_all(*others, given)
        return broadcast

    @lazy_property
    def logits(self) -> Tensor:
        """log p - log(1 - p)."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """1 / (1 + exp(-logits))."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self) -> Tensor:
        return self.__dict__["probs"] if "probs" in self.__dict__ else self.__dict__["logits"]

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter."""
        return self._param.shape


def exactly_one(probs: Any, logits: Any) -> tuple[str, Any]:
    """Name and value of the one that is not None.

    Raises:
        ValueError: where that is not exactly one.
    """
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return ("probs", probs) if logits is None else ("logits", logits)
