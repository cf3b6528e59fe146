"""The half-Cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions.cauchy import Cauchy
from torchlite.distributions.folded import Folded


class HalfCauchy(Folded):
    """The absolute value of a Cauchy number with median 0."""

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Cauchy(0, scale, validate_args=False), validate_args)

    @property
    def mean(self) -> Tensor:
        """Infinite."""
        return self.scale.new_full(self._extended_shape(), math.inf)

    variance = mean
