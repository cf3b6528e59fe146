"""What all distributions have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import ml_dtypes
import numpy as np

from torchlite import dtypes
from torchlite._tensor import Size, Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions.constraints import Constraint
from torchlite.ops.creation import tensor


class Distribution:
    """A family of probability distributions with tensors as parameters.

    A value has shape ``sample_shape + batch_shape + event_shape``; the numbers of one event depend on each other, the
    events of a batch do not. A family says what it is by its ``arg_constraints``, `support`, `rsample` or `sample`,
    `log_prob` and so on.

    Attributes:
        arg_constraints: what each parameter must satisfy.
        has_rsample: whether `rsample` gives values with gradients by the parameters.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    has_rsample = False
    has_enumerate_support = False
    _validate_args = True

    def __init__(
        self,
        batch_shape: Any = (),
        event_shape: Any = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self.arg_constraints.items():
                if name in self.__dict__:
                    self._check_parameter(name, constraint)

    def _check_parameter(self, name: str, constraint: Constraint) -> None:
        value = self.__dict__[name]
        if not bool(constraint.check(value.detach()).all()):
            raise ValueError(
                f"Expected parameter {name} (Tensor of shape {tuple(value.shape)}) of distribution "
                f"{type(self).__name__} to satisfy the constraint {constraint}, but found invalid values:\n{value}"
            )

    @property
    def batch_shape(self) -> Size:
        """Shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """Shape of one value."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """The values that can come."""
        raise self._lacks("support")

    @property
    def mean(self) -> Tensor:
        """The expectation."""
        raise self._lacks("mean")

    @property
    def variance(self) -> Tensor:
        """The expected squared distance from the mean."""
        raise self._lacks("variance")

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        root: Tensor = self.variance.sqrt()
        return root

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise self._lacks("mode")

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random values without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:  # noqa: ARG002 - the families' signature
        """Random values that can be differentiated by the parameters."""
        raise self._lacks("rsample")

    def log_prob(self, value: Tensor) -> Tensor:  # noqa: ARG002 - the families' signature
        """The logarithm of the density, or of the probability of a discrete value."""
        raise self._lacks("log_prob")

    def cdf(self, value: Tensor) -> Tensor:  # noqa: ARG002 - the families' signature
        """The probability of a value up to ``value``."""
        raise self._lacks("cdf")

    def icdf(self, value: Tensor) -> Tensor:  # noqa: ARG002 - the families' signature
        """The value whose `cdf` is ``value``."""
        raise self._lacks("icdf")

    def entropy(self) -> Tensor:
        """The expectation of -log_prob."""
        raise self._lacks("entropy")

    def enumerate_support(self, expand: bool = True) -> Tensor:  # noqa: ARG002 - the families' signature
        """All values of a finite support, along a new first dimension."""
        raise self._lacks("enumerate_support")

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        result: Tensor = self.entropy().exp()
        return result

    def expand(self, batch_shape: Any) -> Self:
        """The same distribution with its parameters expanded to ``batch_shape``."""
        result = object.__new__(type(self))
        result.__dict__.update(self.__dict__)
        for name in self.arg_constraints:
            if name in self.__dict__:
                value = self.__dict__[name]
                own = value.shape[len(self._batch_shape) :]
                result.__dict__[name] = value.expand((*batch_shape, *own))
        result._batch_shape = Size(batch_shape)
        return result

    def _lacks(self, name: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {name}")

    def _extended_shape(self, sample_shape: Any = ()) -> tuple[int, ...]:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    def _validate_sample(self, value: Tensor) -> None:
        """Check shape and support of a value whose probability is asked for.

        Raises:
            ValueError: naming the shape or the values that do not fit.
        """
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError(f"The value argument to log_prob must be a Tensor, got {type(value).__name__}")
        expected = (*self._batch_shape, *self._event_shape)
        n = len(self._event_shape)
        if tuple(value.shape[value.ndim - n :]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {tuple(value.shape)} vs {tuple(self._event_shape)}"
            )
        try:
            np.broadcast_shapes(tuple(value.shape), expected)
        except ValueError:
            raise ValueError(
                f"Value is not broadcastable with batch_shape+event_shape: {tuple(value.shape)} vs {expected}"
            ) from None
        if not bool(self.support.check(value.detach()).all()):
            raise ValueError(
                f"Expected value argument (Tensor of shape {tuple(value.shape)}) to be within the support "
                f"({self.support}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        given = [(name, self.__dict__[name]) for name in self.arg_constraints if name in self.__dict__]
        return (
            type(self).__name__
            + "("
            + ", ".join(f"{k}: {v if v.numel() == 1 else tuple(v.shape)}" for k, v in given)
            + ")"
        )


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape."""
    like = next((v for v in values if isinstance(v, Tensor)), None)
    dtype = dtypes.get_default_dtype() if like is None else like.dtype
    tensors = [v if isinstance(v, Tensor) else tensor(v, dtype=dtype) for v in values]
    shape = np.broadcast_shapes(*(tuple(x.shape) for x in tensors))
    return tuple(x.expand(shape) for x in tensors)


def sum_rightmost(x: Tensor, n: int) -> Tensor:
    """Sum over the last ``n`` dimensions."""
    total: Tensor = x.sum(tuple(range(-n, 0))) if n else x
    return total


def float_limits(x: Tensor) -> Any:
    """``eps``, ``tiny``, ``min`` and ``max`` of the dtype of a tensor."""
    return ml_dtypes.finfo(x._data.dtype)  # type: ignore[no-untyped-call]


LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
