"""Distributions of tries that succeed or fail: Bernoulli and geometric."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.distribution import Distribution, broadcast_all, float_limits
from torchlite.nn.functional import binary_cross_entropy_with_logits
from torchlite.ops.creation import arange
from torchlite.ops.random import rand
from torchlite.ops.variates import bernoulli


class _Binary(Distribution):
    """A probability of success, given as ``probs`` or as its log-odds ``logits``."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}  # noqa: RUF012

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        name, given = ("probs", probs) if logits is None else ("logits", logits)
        (self.__dict__[name],) = broadcast_all(given)
        super().__init__(self.__dict__[name].shape, (), validate_args)

    def __getattr__(self, name: str) -> Any:
        # Called only for what was not given: the other of the two parameters.
        if name == "probs" and "logits" in self.__dict__:
            return self.__dict__["logits"].sigmoid()
        if name == "logits" and "probs" in self.__dict__:
            probs = self.__dict__["probs"]
            smallest = float(float_limits(probs).eps)
            clamped = probs.clamp(min=smallest, max=1 - smallest)
            return clamped.log() - (-clamped).log1p()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class Bernoulli(_Binary):
    """1 with probability ``probs``, else 0."""

    support = constraints.boolean
    has_enumerate_support = True

    @property
    def mean(self) -> Tensor:
        """``probs``."""
        result: Tensor = self.probs
        return result

    @property
    def mode(self) -> Tensor:
        """1 or 0, NaN where both are as likely."""
        probs = self.probs
        result: Tensor = (probs >= 0.5).to(probs.dtype).masked_fill(probs == 0.5, math.nan)
        return result

    @property
    def variance(self) -> Tensor:
        """p(1 - p)."""
        probs: Tensor = self.probs
        return probs * (1 - probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random values without gradients."""
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """log p for 1 and log(1 - p) for 0."""
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        """-p·log p - (1 - p)·log(1 - p)."""
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 and 1."""
        values = arange(2, dtype=self.probs.dtype, device=self.probs.device).view(-1, *([1] * len(self._batch_shape)))
        return values.expand(2, *self._batch_shape) if expand else values


class Geometric(_Binary):
    """The number of failures before the first success: P(k) = (1 - p)ᵏ·p."""

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        if self._validate_args and not bool((self.probs > 0).all()):
            raise ValueError(f"Geometric: expected parameter probs to be above 0, got {self.probs}")

    @property
    def mean(self) -> Tensor:
        """1/p - 1."""
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        """0."""
        zero: Tensor = self.probs.detach() * 0
        return zero

    @property
    def variance(self) -> Tensor:
        """(1/p - 1) / p."""
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """⌊log u / log(1 - p)⌋ with u uniform in (0, 1)."""
        with no_grad():
            probs = self.probs
            u = rand(self._extended_shape(sample_shape), dtype=probs.dtype, device=probs.device)
            result: Tensor = (u.clamp(min=float(float_limits(probs).tiny)).log() / (-probs).log1p()).floor()
            return result

    def log_prob(self, value: Tensor) -> Tensor:
        """k·log(1 - p) + log p."""
        self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        failures = (-probs.masked_fill((probs == 1) & (value == 0), 0.0)).log1p()
        return value * failures + self.probs.log()

    def entropy(self) -> Tensor:
        """That of one Bernoulli try, divided by p."""
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
