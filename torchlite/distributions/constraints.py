"""Sets of numbers that parameters and values of distributions lie in.

Sets without parameters are objects (``real``, ``simplex``); ``interval(0, 1)`` and others are made by their bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torchlite import dtypes, linalg
from torchlite._tensor import Tensor
from torchlite.dtypes import finfo
from torchlite.ops.creation import full
from torchlite.ops.joining import cat as concatenated
from torchlite.ops.joining import stack as stacked
from torchlite.tracing import valid

_UNKNOWN: Any = object()


class Constraint:
    """A set of tensors.

    Attributes:
        is_discrete: whether its elements can be counted.
        event_dim: how many of the last dimensions are judged together.
    """

    is_discrete: Any = False
    event_dim: Any = 0

    def check(self, value: Tensor) -> Tensor:
        """For each element, or group of ``event_dim`` dimensions, whether it lies in the set."""
        raise NotImplementedError(f"{type(self).__name__} does not say which values it holds: override check")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__.lstrip('_')}({shown})"


class _Dependent(Constraint):
    """Stands for a set that depends on other parameters; ``is_discrete`` and ``event_dim`` may be known all the same."""

    def __init__(self, *, is_discrete: Any = _UNKNOWN, event_dim: Any = _UNKNOWN) -> None:
        self._known = {"is_discrete": is_discrete, "event_dim": event_dim}

    @property
    def is_discrete(self) -> Any:
        """Whether its elements can be counted, where that is known."""
        return self._static("is_discrete")

    @property
    def event_dim(self) -> Any:
        """How many of the last dimensions are judged together, where that is known."""
        return self._static("event_dim")

    def _static(self, name: str) -> Any:
        if self._known[name] is _UNKNOWN:
            raise NotImplementedError(f".{name} cannot be determined statically")
        return self._known[name]

    def __call__(self, *, is_discrete: Any = _UNKNOWN, event_dim: Any = _UNKNOWN) -> _Dependent:
        given = {"is_discrete": is_discrete, "event_dim": event_dim}
        return _Dependent(**{k: self._known[k] if v is _UNKNOWN else v for k, v in given.items()})

    def check(self, value: Tensor) -> Tensor:  # noqa: ARG002 - the sets' signature
        """Nothing can be said.

        Raises:
            ValueError: always.
        """
        raise ValueError("Cannot determine validity of dependent constraint")


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint is a placeholder for one that depends on other parameters."""
    return isinstance(constraint, _Dependent)


class dependent_property(property, _Dependent):
    """A property of objects that, asked of their class, is a constraint with the given ``is_discrete`` and ``event_dim``."""

    def __init__(
        self, fn: Callable[..., Any] | None = None, *, is_discrete: Any = _UNKNOWN, event_dim: Any = _UNKNOWN
    ) -> None:
        property.__init__(self, fn)
        _Dependent.__init__(self, is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn: Callable[..., Any]) -> Any:  # type: ignore[override]
        """The property of a function, where this was made without one: ``@dependent_property(event_dim=0)``."""
        return dependent_property(fn, **self._known)


class _Wrapping(Constraint):
    """A set made of another."""

    def __init__(self, base_constraint: Constraint) -> None:
        if not isinstance(base_constraint, Constraint):
            raise AssertionError(f"base_constraint must be a Constraint, got {type(base_constraint).__name__}")
        self.base_constraint = base_constraint

    @property
    def is_discrete(self) -> Any:
        """As the base."""
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> Any:
        """As the base."""
        return self.base_constraint.event_dim


class _IndependentConstraint(_Wrapping):
    """A set asked of groups of the last dimensions, all of which must lie in it."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        super().__init__(base_constraint)
        if not isinstance(reinterpreted_batch_ndims, int) or reinterpreted_batch_ndims < 0:
            raise AssertionError(
                f"reinterpreted_batch_ndims must be an int from 0 up, got {reinterpreted_batch_ndims!r}"
            )
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def event_dim(self) -> int:
        """That of the base and the dimensions taken together."""
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        """Whether all of a group lie in the set."""
        found = self.base_constraint.check(value)
        if found.ndim < self.reinterpreted_batch_ndims:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.ndim}")
        return _all(found, self.reinterpreted_batch_ndims)

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamilyConstraint(_Wrapping):
    """The support of a mixture: values that lie in the support of every component."""

    def check(self, value: Tensor) -> Tensor:
        """Whether a value of the mixture lies in the set of each component."""
        if value.ndim < self.event_dim:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.ndim}")
        found = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        return _all(found, found.ndim - (value.ndim - self.event_dim))

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint})"


def _all(found: Tensor, n: int) -> Tensor:
    return found.reshape((*found.shape[: found.ndim - n], -1)).all(-1) if n else found


class _Boolean(Constraint):
    """0 and 1."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is 0 or 1."""
        return (value == 0) | (value == 1)


class _OneHot(Constraint):
    """Vectors of zeros with one 1."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is one-hot."""
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class _Real(Constraint):
    """All numbers and infinities, not NaN."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is not NaN."""
        return value == value


class _Above(Constraint):
    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound


class _Between(Constraint):
    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound


class _GreaterThan(_Above):
    """Numbers above a bound."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is above."""
        return value > self.lower_bound


class _GreaterThanEq(_Above):
    """Numbers from a bound up."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is not below."""
        return value >= self.lower_bound


class _LessThan(Constraint):
    """Numbers below a bound."""

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is below."""
        return value < self.upper_bound


class _Interval(_Between):
    """Numbers between two bounds, which belong to it."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is between the bounds."""
        return (value >= self.lower_bound) & (value <= self.upper_bound)


class _HalfOpenInterval(_Between):
    """Numbers between two bounds, of which the lower belongs to it."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is between the bounds."""
        return (value >= self.lower_bound) & (value < self.upper_bound)


class _IntegerInterval(_Between):
    """Integers between two bounds, which belong to it."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is an integer between the bounds."""
        return (value.remainder(1) == 0) & (value >= self.lower_bound) & (value <= self.upper_bound)


class _IntegerGreaterThan(_Above):
    """Integers from a bound up."""

    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        """Whether each element is an integer that is not below."""
        return (value.remainder(1) == 0) & (value >= self.lower_bound)


class _Simplex(Constraint):
    """Vectors of numbers from 0 up that sum to 1."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector is one of probabilities."""
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _Multinomial(Constraint):
    """Vectors of counts whose sum is at most a bound."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        """Whether each vector can be one of counts."""
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


class _LowerTriangular(Constraint):
    """Matrices with zeros above the diagonal."""

    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is lower triangular."""
        return (value.tril() == value).flatten(-2).all(-1)


class _LowerCholesky(_LowerTriangular):
    """Lower triangular matrices with a positive diagonal."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is a Cholesky factor."""
        return super().check(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _CorrCholesky(_LowerCholesky):
    """Cholesky factors of correlation matrices: rows of length 1."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is the Cholesky factor of a correlation matrix."""
        tolerance = finfo(value.dtype).eps * value.shape[-1] * 10
        length = value.square().sum(-1).sqrt()
        return super().check(value) & ((length - 1).abs() <= tolerance).all(-1)


class _Square(Constraint):
    """Square matrices."""

    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is square."""
        square = value.shape[-2] == value.shape[-1]
        return full(value.shape[:-2], square, dtype=dtypes.bool_, device=value.device)


class _Symmetric(_Square):
    """Symmetric matrices."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is symmetric, up to 1e-6."""
        if value.shape[-2] != value.shape[-1]:
            return super().check(value)
        return value.isclose(value.mT, atol=1e-6).flatten(-2).all(-1)


class _PositiveSemidefinite(_Symmetric):
    """Symmetric matrices without negative eigenvalues."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is positive semidefinite."""
        symmetric = super().check(value)
        return (linalg.eigvalsh(value) >= 0).all(-1) if valid(symmetric.all()) else symmetric


class _PositiveDefinite(_Symmetric):
    """Symmetric matrices with positive eigenvalues."""

    def check(self, value: Tensor) -> Tensor:
        """Whether each matrix is positive definite."""
        symmetric = super().check(value)
        return linalg.cholesky_ex(value).info == 0 if valid(symmetric.all()) else symmetric


class _Sequence(Constraint):
    """Several sets for the parts of a tensor along a dimension."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        if not all(isinstance(c, Constraint) for c in cseq):
            raise AssertionError("All elements of cseq must be Constraint instances")
        self.cseq = list(cseq)
        self.dim = dim

    @property
    def is_discrete(self) -> bool:
        """Whether one of the sets is."""
        return any(c.is_discrete for c in self.cseq)

    def _check_dim(self, value: Tensor) -> None:
        if not -value.ndim <= self.dim < value.ndim:
            raise AssertionError(f"dim {self.dim} out of range for value with {value.ndim} dimensions")


class _Cat(_Sequence):
    """Several sets for slices along a dimension, of the given lengths, as `torch.cat` puts them together."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> None:
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.cseq):
            raise AssertionError(f"lengths ({len(self.lengths)}) must match cseq ({len(self.cseq)})")

    @property
    def event_dim(self) -> int:
        """The largest of the sets'."""
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        """Each slice by its set."""
        self._check_dim(value)
        slices = value.split(self.lengths, self.dim)
        return concatenated([c.check(v) for c, v in zip(self.cseq, slices, strict=True)], self.dim)


class _Stack(_Sequence):
    """Several sets for the parts along a dimension, as `torch.stack` puts them together."""

    @property
    def event_dim(self) -> int:
        """The largest of the sets', and one more where the dimension lies within."""
        dim = max(c.event_dim for c in self.cseq)
        return dim + 1 if self.dim + dim < 0 else dim

    def check(self, value: Tensor) -> Tensor:
        """Each part by its set."""
        self._check_dim(value)
        return stacked([c.check(v) for v, c in zip(value.unbind(self.dim), self.cseq, strict=False)], self.dim)


dependent = _Dependent()
independent = _IndependentConstraint
boolean = _Boolean()
one_hot = _OneHot()
nonnegative_integer = _IntegerGreaterThan(0)
positive_integer = _IntegerGreaterThan(1)
integer_interval = _IntegerInterval
real = _Real()
real_vector = independent(real, 1)
positive = _GreaterThan(0.0)
nonnegative = _GreaterThanEq(0.0)
greater_than = _GreaterThan
greater_than_eq = _GreaterThanEq
less_than = _LessThan
multinomial = _Multinomial
unit_interval = _Interval(0.0, 1.0)
interval = _Interval
half_open_interval = _HalfOpenInterval
simplex = _Simplex()
lower_triangular = _LowerTriangular()
lower_cholesky = _LowerCholesky()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive_definite = _PositiveDefinite()
cat = _Cat
stack = _Stack
