"""Invertible functions of random values, with the logarithm of the volume they stretch by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.distributions import constraints
from torchlite.nn.functional import softplus
from torchlite.ops.creation import full_like


class Transform:
    """An invertible elementwise function: ``transform(x)``, and ``transform.inv(y)`` back."""

    domain: constraints.Constraint = constraints.real
    codomain: constraints.Constraint = constraints.real
    bijective = True

    def __call__(self, x: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """The value."""
        raise TypeError(f"{type(self).__name__} must define __call__")

    def inverse(self, y: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """The x whose value is ``y``."""
        raise TypeError(f"{type(self).__name__} must define inverse")

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """log |dy/dx|."""
        raise TypeError(f"{type(self).__name__} must define log_abs_det_jacobian")

    @property
    def sign(self) -> Any:
        """1 where the function rises, -1 where it falls."""
        return 1

    @property
    def inv(self) -> Transform:
        """The inverse function."""
        return _Inverse(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Inverse(Transform):
    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self.domain, self.codomain = transform.codomain, transform.domain

    def __call__(self, x: Tensor) -> Tensor:
        return self.transform.inverse(x)

    def inverse(self, y: Tensor) -> Tensor:
        return self.transform(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self.transform.log_abs_det_jacobian(y, x)

    @property
    def sign(self) -> Any:
        return self.transform.sign

    @property
    def inv(self) -> Transform:
        return self.transform


class ExpTransform(Transform):
    """y = exp(x)."""

    codomain = constraints.positive

    def __call__(self, x: Tensor) -> Tensor:
        """The value."""
        y: Tensor = x.exp()
        return y

    def inverse(self, y: Tensor) -> Tensor:
        """log y."""
        x: Tensor = y.log()
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """The input itself."""
        return x


class AffineTransform(Transform):
    """y = loc + scale·x."""

    def __init__(self, loc: Any, scale: Any) -> None:
        self.loc = loc
        self.scale = scale

    def __call__(self, x: Tensor) -> Tensor:
        """The value."""
        return x * self.scale + self.loc

    def inverse(self, y: Tensor) -> Tensor:
        """(y - loc) / scale."""
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """log |scale|."""
        scale = self.scale if isinstance(self.scale, Tensor) else full_like(x.detach(), self.scale)
        result: Tensor = scale.abs().log().expand(x.shape)
        return result

    @property
    def sign(self) -> Any:
        """That of ``scale``."""
        return self.scale.sign() if isinstance(self.scale, Tensor) else (self.scale > 0) - (self.scale < 0)


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x))."""

    codomain = constraints.unit_interval

    def __call__(self, x: Tensor) -> Tensor:
        """The value."""
        y: Tensor = x.sigmoid()
        return y

    def inverse(self, y: Tensor) -> Tensor:
        """log y - log(1 - y)."""
        return y.log() - (-y).log1p()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """log y + log(1 - y), from x."""
        return -softplus(-x) - softplus(x)


class TanhTransform(Transform):
    """y = tanh(x)."""

    codomain = constraints.interval(-1.0, 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        """The value."""
        y: Tensor = x.tanh()
        return y

    def inverse(self, y: Tensor) -> Tensor:
        """½·log((1 + y) / (1 - y))."""
        return (y.log1p() - (-y).log1p()) * 0.5

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """log(1 - tanh² x) = 2(log 2 - x - softplus(-2x))."""
        return (-x - softplus(x * -2) + 0.6931471805599453) * 2


class ComposeTransform(Transform):
    """One transform after the other."""

    def __init__(self, parts: Sequence[Transform]) -> None:
        self.parts = list(parts)
        if self.parts:
            self.domain, self.codomain = self.parts[0].domain, self.parts[-1].codomain

    def __call__(self, x: Tensor) -> Tensor:
        """The value."""
        for part in self.parts:
            x = part(x)
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """The inverses in reverse order."""
        for part in reversed(self.parts):
            y = part.inv(y)
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002 - the transforms' signature
        """The sum over the parts."""
        total = x * 0
        for part in self.parts:
            value = part(x)
            total, x = total + part.log_abs_det_jacobian(x, value), value
        return total

    @property
    def sign(self) -> Any:
        """The product of the parts' signs."""
        sign: Any = 1
        for part in self.parts:
            sign = part.sign * sign
        return sign

    def __repr__(self) -> str:
        return f"ComposeTransform({self.parts})"
