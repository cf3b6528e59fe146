"""What all transforms have in common, and the inverse of one."""

from __future__ import annotations

import copy
from typing import Any, Self

from torchlite._tensor import Tensor
from torchlite.distributions import constraints

Shape = tuple[int, ...]


class Transform:
    """A function of tensors: ``transform(x)``, and ``transform.inv(y)`` back.

    A class defines ``_call``, ``_inverse`` and, where it is bijective, `log_abs_det_jacobian`.

    Args:
        cache_size: 1 to keep the last pair of value and result, so that the inverse of a result is the very tensor it
            came from; 0 to keep nothing.

    Attributes:
        domain, codomain: where values and results lie.
        bijective: whether each result comes from one value.
    """

    domain: Any
    codomain: Any
    bijective: Any = False
    _inv: Transform | None = None
    _last: tuple[Any, Any] = (None, None)

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ValueError(f"cache_size must be 0 or 1, got {cache_size}")
        self._cache_size = cache_size

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inv": None, "_last": (None, None)}

    @property
    def event_dim(self) -> int:
        """How many of the last dimensions belong together, where that is the same before and after.

        Raises:
            ValueError: where it is not.
        """
        if self.domain.event_dim != self.codomain.event_dim:
            raise ValueError("Please use either .domain.event_dim or .codomain.event_dim")
        return self.domain.event_dim

    @property
    def inv(self) -> Transform:
        """The inverse function; ``t.inv.inv is t``."""
        if self._inv is None:
            self._inv = _InverseTransform(self)
        return self._inv

    @property
    def sign(self) -> Any:
        """1 where the function rises, -1 where it falls; of functions of single numbers."""
        raise NotImplementedError(f"{type(self).__name__} has no sign")

    def with_cache(self, cache_size: int = 1) -> Transform:
        """The same function with another ``cache_size``."""
        if self._cache_size == cache_size:
            return self
        return self._cached(cache_size)

    def _cached(self, cache_size: int) -> Self:
        twin = copy.copy(self)
        twin._cache_size = cache_size
        return twin

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and (self is other or self._same(other))

    __hash__ = object.__hash__

    def _same(self, other: Any) -> bool:  # noqa: ARG002
        """Whether two transforms of this class are the same function; those without parameters say so here."""
        return False

    def __call__(self, x: Tensor) -> Tensor:
        """The value, the same tensor as before where ``x`` is and it was kept."""
        if self._cache_size == 0:
            return self._call(x)
        if x is not self._last[0]:
            self._last = x, self._call(x)
        return self._last[1]

    def _inv_call(self, y: Tensor) -> Tensor:
        if self._cache_size == 0:
            return self._inverse(y)
        if y is not self._last[1]:
            self._last = self._inverse(y), y
        return self._last[0]

    def _call(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no _call")

    def _inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no _inverse")

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """log |det dy/dx| from a value and its result."""
        raise NotImplementedError(f"{type(self).__name__} has no log_abs_det_jacobian")

    def forward_shape(self, shape: Shape) -> Shape:
        """The shape of the result for a value of the given shape."""
        return shape

    def inverse_shape(self, shape: Shape) -> Shape:
        """The shape of the value for a result of the given shape."""
        return shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _InverseTransform(Transform):
    def __init__(self, transform: Transform) -> None:
        super().__init__(transform._cache_size)
        self._inv: Transform = transform

    @constraints.dependent_property(is_discrete=False)
    def domain(self) -> constraints.Constraint:
        return self._inv.codomain

    @constraints.dependent_property(is_discrete=False)
    def codomain(self) -> constraints.Constraint:
        return self._inv.domain

    @property
    def bijective(self) -> bool:
        return self._inv.bijective

    @property
    def sign(self) -> Any:
        return self._inv.sign

    @property
    def inv(self) -> Transform:
        return self._inv

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self._inv.with_cache(cache_size).inv

    def _same(self, other: Any) -> bool:
        return self._inv == other._inv

    def __call__(self, x: Tensor) -> Tensor:
        return self._inv._inv_call(x)

    def _inv_call(self, y: Tensor) -> Tensor:
        return self._inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self._inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Shape) -> Shape:
        return self._inv.inverse_shape(shape)

    def inverse_shape(self, shape: Shape) -> Shape:
        return self._inv.forward_shape(shape)

    def __repr__(self) -> str:
        return f"_InverseTransform({self._inv})"
