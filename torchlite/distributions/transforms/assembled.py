"""Several transforms, each for its part of a tensor along a dimension."""

from __future__ import annotations

from collections.abc import Sequence

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.distributions.transforms.transform import Transform
from torchlite.distributions.utils import sum_rightmost
from torchlite.ops.joining import cat, stack


class _Parts(Transform):
    """Splits a tensor along ``dim``, transforms the parts and puts them together."""

    def __init__(self, tseq: Sequence[Transform], dim: int, cache_size: int) -> None:
        super().__init__(cache_size)
        if not all(isinstance(t, Transform) for t in tseq):
            raise AssertionError("All elements of tseq must be Transform instances")
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    @property
    def bijective(self) -> bool:
        """Whether all parts are."""
        return all(t.bijective for t in self.transforms)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError(f"{type(self).__name__} has no _split")

    def _join(self, parts: list[Tensor]) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no _join")

    def _checked(self, x: Tensor, length: int) -> Tensor:
        if not -x.ndim <= self.dim < x.ndim:
            raise AssertionError(f"dim {self.dim} out of range for tensor with {x.ndim} dimensions")
        if x.shape[self.dim] != length:
            raise AssertionError(f"x.size({self.dim}) = {x.shape[self.dim]} must equal length {length}")
        return x

    def _call(self, x: Tensor) -> Tensor:
        return self._join([t(part) for t, part in zip(self.transforms, self._split(x), strict=True)])

    def _inverse(self, y: Tensor) -> Tensor:
        return self._join([t.inv(part) for t, part in zip(self.transforms, self._split(y), strict=True)])

    def _log_jacobians(self, x: Tensor, y: Tensor) -> list[Tensor]:
        parts = zip(self.transforms, self._split(x), self._split(y), strict=True)
        return [t.log_abs_det_jacobian(part, result) for t, part, result in parts]


class CatTransform(_Parts):
    """Transforms of slices along ``dim``, ``lengths`` long, as `torch.cat` puts them together."""

    def __init__(
        self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise AssertionError(f"lengths ({len(self.lengths)}) must match transforms ({len(self.transforms)})")

    @property
    def event_dim(self) -> int:
        """The largest of the parts'."""
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """That of all slices together."""
        return sum(self.lengths)

    def _cached(self, cache_size: int) -> CatTransform:
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        return self._checked(x, self.length).split(self.lengths, self.dim)

    def _join(self, parts: list[Tensor]) -> Tensor:
        return cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Those of the parts, put together along ``dim`` or, where it belongs to the event, added."""
        own = [
            sum_rightmost(part, self.event_dim - t.event_dim)
            for t, part in zip(self.transforms, self._log_jacobians(x, y), strict=True)
        ]
        dim = (self.dim if self.dim < 0 else self.dim - x.ndim) + self.event_dim
        if dim < 0:
            return cat(own, dim)
        total = own[0]
        for part in own[1:]:
            total = total + part
        return total

    @constraints.dependent_property
    def domain(self) -> constraints.Constraint:
        """Those of the parts."""
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> constraints.Constraint:
        """Those of the parts."""
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)


class StackTransform(_Parts):
    """Transforms of the parts along ``dim``, as `torch.stack` puts them together."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    def _cached(self, cache_size: int) -> StackTransform:
        return StackTransform(self.transforms, self.dim, cache_size)

    def _split(self, x: Tensor) -> Sequence[Tensor]:
        return self._checked(x, len(self.transforms)).unbind(self.dim)

    def _join(self, parts: list[Tensor]) -> Tensor:
        return stack(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Those of the parts, put together along ``dim``."""
        return stack(self._log_jacobians(x, y), self.dim)

    @constraints.dependent_property
    def domain(self) -> constraints.Constraint:
        """Those of the parts."""
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> constraints.Constraint:
        """Those of the parts."""
        return constraints.stack([t.codomain for t in self.transforms], self.dim)
