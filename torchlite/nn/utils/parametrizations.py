"""Parametrizations of weights: length and direction apart, bounded singular values, orthogonal matrices."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.composites.general import allclose
from torchlite.nn.functional.main_namespace import norm_except_dim
from torchlite.nn.module import Module
from torchlite.nn.utils.parametrize import register_parametrization
from torchlite.nn.utils.spectral_norm import as_matrix, output_dim, random_direction, unit
from torchlite.nn.utils.weight_norm import normalized
from torchlite.ops.creation import eye, zeros_like
from torchlite.ops.joining import cat

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        tall = x.shape[-2] >= x.shape[-1]
        q = self._tall(x if tall else x.mT)
        if "base" in self._buffers:
            q = self.base @ q
        return q if tall else q.mT

    def _tall(self, x: Tensor) -> Tensor:
        """Orthonormal columns from the lower triangle of ``x`` (..., n, k), n ≥ k."""
        linalg = import_module("torchlite.linalg")
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            below = x.tril(-1)
            q = linalg.householder_product(below, 2.0 / (1.0 + (below * below).sum(-2)))
            return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        x = x.tril()
        if n != k:
            x = cat([x, x.new_zeros((*x.shape[:-1], n - k))], -1)
        skew = x - x.mH
        if self.orthogonal_map == "matrix_exp":
            q = linalg.matrix_exp(skew)
        else:
            identity = eye(n, dtype=x.dtype, device=x.device)
            q = linalg.solve(identity - 0.5 * skew, identity + 0.5 * skew)
        return q[..., :k]

    @no_grad()
    def right_inverse(self, q: Tensor) -> Tensor:
        if q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}."
            )
        tall = q.shape[-2] >= q.shape[-1]
        columns = q if tall else q.mT
        n, k = columns.shape[-2:]
        if "base" not in self._buffers:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            a, tau = import_module("torchlite").geqrf(columns)
            signs = a.diagonal(dim1=-2, dim2=-1)
            signs.copy_(signs.sign() * (1 - 2 * (tau == 0).to(a.dtype)))
            return a if tall else a.mT
        if n != k:
            noise = q.new_empty((*columns.shape[:-1], n - k)).normal_()
            self.base = _orthonormal(cat([columns, noise], -1))
        else:
            self.base = columns.clone() if _is_orthonormal(columns) else _orthonormal(columns)
        start = zeros_like(q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def _is_orthonormal(q: Tensor) -> bool:
    n, k = q.shape[-2:]
    return allclose(q.mH @ q, eye(k, dtype=q.dtype, device=q.device), atol=10.0 * n * dtypes.finfo(q.dtype).eps)


def _orthonormal(a: Tensor) -> Tensor:
    """Q of a QR with a positive diagonal of R."""
    q, r = import_module("torchlite.linalg").qr(a)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a weight (..., m, n) orthogonal (unitary): orthonormal columns where m ≥ n, orthonormal rows otherwise.

    Args:
        module: has the tensor.
        name: of the tensor.
        orthogonal_map: from the lower triangle A of what is trained to the weight: "matrix_exp", exp(A - Aᴴ); "cayley",
            (I - (A - Aᴴ) / 2)⁻¹ (I + (A - Aᴴ) / 2); "householder", a product of reflections. Where None the first for
            square and complex ones, and the last otherwise.
        use_trivialization: multiply by a constant orthogonal matrix, so that any orthogonal weight can be assigned
            (Lezcano-Casado, 2019).

    Raises:
        ValueError: for a tensor that is no (batch of) matrices, or an unknown map.

    >>> import torchlite as torch
    >>> layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(4, 2))
    >>> torch.allclose(layer.weight @ layer.weight.mT, torch.eye(2), atol=1e-6)
    True
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    function = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, function, unsafe=True)


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Train length and direction of a weight apart: w = g v / ‖v‖ (Salimans & Kingma, 2016).

    Args:
        module: has the tensor.
        name: of the tensor; g is ``parametrizations.<name>.original0`` and v ``original1``.
        dim: along which each index has a length of its own; one length for all where None.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict[str, Any], prefix: str, *_rest: Any) -> None:
        """States of the older `torchlite.nn.utils.weight_norm`."""
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        self.dim = weight._checked_dim(dim)
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            u, v = (random_direction(matrix, n, eps) for n in matrix.shape)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            self._iterate(matrix, 15)

    @no_grad()
    def _iterate(self, matrix: Tensor, steps: int) -> None:
        """Move u and v towards the singular vectors of the largest singular value."""
        for _ in range(steps):
            self._u.copy_(unit(matrix @ self._v, self.eps))
            self._v.copy_(unit(matrix.mH @ self._u, self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return unit(weight, self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # backward may come after the next iteration
        return weight / u.vdot(matrix @ v)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value (Miyato et al., 2018), found by a power iteration in training.

    Args:
        module: has the tensor.
        name: of the tensor.
        n_power_iterations: steps towards the singular vectors whenever the weight is computed in training.
        eps: smallest length that is divided by.
        dim: of the outputs in the weight; 1 for transposed convolutions and 0 otherwise where None.

    Raises:
        ValueError: when there is no such tensor, or for a number of steps that is not positive.
        IndexError: for a dimension that the weight has not.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    function = _SpectralNorm(weight, n_power_iterations, output_dim(module, dim), eps)
    return register_parametrization(module, name, function)
