"""What all distributions have in common."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.distributions import constraints
from torchlite.distributions.constraints import Constraint
from torchlite.distributions.utils import lazy_property
from torchlite.size import Size
from torchlite.tracing import valid


class Distribution:
    """A family of probability distributions with tensors as parameters.

    A value has shape ``sample_shape + batch_shape + event_shape``; the numbers of one event depend on each other, the
    events of a batch do not. A family says what it is by its ``arg_constraints``, `support`, `rsample` or `sample`,
    `log_prob` and so on.

    Attributes:
        has_rsample: whether `rsample` gives values with gradients by the parameters.
        has_enumerate_support: whether `enumerate_support` lists all values.
    """

    has_rsample: Any = False
    has_enumerate_support: Any = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check parameters and values where their ``validate_args`` does not say."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args expects True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            for name, constraint in self._constraints_to_check().items():
                self._check_parameter(name, constraint)

    def _constraints_to_check(self) -> Mapping[str, Constraint]:
        try:
            given = self.arg_constraints
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or initialize the "
                "distribution with `validate_args=False` to turn off validation.",
                stacklevel=4,
            )
            return {}
        return {
            name: constraint
            for name, constraint in given.items()
            if not constraints.is_dependent(constraint) and (name in self.__dict__ or not _is_lazy(type(self), name))
        }

    def _check_parameter(self, name: str, constraint: Constraint) -> None:
        value = getattr(self, name)
        if not _all_in(constraint, value):
            raise ValueError(
                f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
            )

    @property
    def arg_constraints(self) -> Mapping[str, Constraint]:
        """What each parameter must satisfy."""
        raise self._lacks("arg_constraints")

    @property
    def batch_shape(self) -> Size:
        """Shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """Shape of one value."""
        return self._event_shape

    @property
    def support(self) -> Any:
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
        return self.variance.sqrt()

    @property
    def mode(self) -> Tensor:
        """The most likely value."""
        raise self._lacks("mode")

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Random values without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def sample_n(self, n: int) -> Tensor:
        """``sample((n,))``."""
        warnings.warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2)
        return self.sample((n,))

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
        """All values of a finite support, along a new first dimension; of one batch element where not ``expand``."""
        raise self._lacks("enumerate_support")

    def perplexity(self) -> Tensor:
        """exp(entropy)."""
        return self.entropy().exp()

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """The same distribution with its parameters expanded to ``batch_shape``.

        A subclass that overrides this makes its object with `_get_checked_instance`, sets what it adds, and passes it
        here as ``_instance``.
        """
        batch_shape = Size(batch_shape)
        new: Self = object.__new__(type(self)) if _instance is None else _instance
        parameters = self._parameter_names()
        for name, value in self.__dict__.items():
            if name in new.__dict__ or (name not in parameters and _is_lazy(type(self), name)):
                continue
            if name in parameters and isinstance(value, Tensor):
                value = value.expand((*batch_shape, *value.shape[len(self._batch_shape) :]))
            elif isinstance(value, Distribution):
                value = value.expand((*batch_shape, *value.batch_shape[len(self._batch_shape) :]))
            new.__dict__[name] = value
        new._batch_shape = batch_shape
        return new

    def _parameter_names(self) -> set[str]:
        """Those of the family and of the families that it is derived from."""
        given = [vars(kind).get("arg_constraints") for kind in type(self).__mro__]
        return {name for names in (*given, self.arg_constraints) if isinstance(names, Mapping) for name in names}

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """The object that an overridden `expand` of ``cls`` fills.

        Raises:
            NotImplementedError: for a subclass that has an ``__init__`` of its own but no `expand`.
        """
        if _instance is None and type(self).__init__ is not cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ method must also "
                "define a custom .expand() method."
            )
        return object.__new__(type(self)) if _instance is None else _instance

    def _lacks(self, name: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not implement {name}")

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Tensor) -> None:
        """Where arguments are validated, check shape and support of a value whose probability is asked for.

        Raises:
            ValueError: naming the shape or the values that do not fit.
        """
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError(f"The value argument to log_prob must be a Tensor, got {type(value).__name__}")
        shape, expected = tuple(value.shape), (*self._batch_shape, *self._event_shape)
        if shape[len(shape) - len(self._event_shape) :] != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {shape} vs {tuple(self._event_shape)}."
            )
        if any(1 not in (i, j) and i != j for i, j in zip(reversed(shape), reversed(expected), strict=False)):
            raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {shape} vs {expected}.")
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self)} does not define `support` to enable sample validation. Please initialize the "
                "distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if not _all_in(support, value):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {shape}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        given = [(name, self.__dict__[name]) for name in self.arg_constraints if name in self.__dict__]
        shown = (f"{name}: {value if value.numel() == 1 else value.shape}" for name, value in given)
        return f"{type(self).__name__}({', '.join(shown)})"


def _is_lazy(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), lazy_property)


def _all_in(constraint: Constraint, value: Tensor) -> bool:
    return value.is_meta or valid(constraint.check(value.detach()).all())
