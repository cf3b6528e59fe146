"""Discrete Fourier transforms: ``torchlite.fft``.

``n`` (``s`` for several dimensions) is the length of the signal, which is cut or padded with zeros to it. ``norm`` is where
the factor goes: "backward" (1/n on the inverse transform), "forward" (1/n on the forward one) or "ortho" (1/√n on both).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.integers import integer
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.ops.creation import arange
from torchlite.ops.destination import OutDtype, takes_out, takes_out_as
from torchlite.ops.fourier import fourier_op, from_half_spectrum_op, half_spectrum_op
from torchlite.ops.joining import cat

Lengths = list[tuple[int | None, int]]  # the length, None for that of the tensor, and position of every dimension


@takes_out
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """Σₙ xₙ exp(-2πi kn/N) along ``dim``."""
    return _to_complex("fft", input, [(n, input._checked_dim(dim))], norm, inverse=False)


@takes_out
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`."""
    return _to_complex("ifft", input, [(n, input._checked_dim(dim))], norm, inverse=True)


@takes_out
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The `fft` of a real signal: its first n // 2 + 1 frequencies, of which the others are the conjugates.

    Raises:
        RuntimeError: for a complex tensor.
    """
    return _from_real("rfft", input, [(n, input._checked_dim(dim))], norm, inverse=False)


@takes_out
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`: a real signal of length ``n``, by default 2 (m - 1) for m frequencies."""
    return _to_real("irfft", input, [(n, input._checked_dim(dim))], norm, inverse=True)


@takes_out
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real `fft` of a signal with xₙ = conj(x₋ₙ), given by its first half."""
    return _to_real("hfft", input, [(n, input._checked_dim(dim))], norm, inverse=False)


@takes_out
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`."""
    return _from_real("ihfft", input, [(n, input._checked_dim(dim))], norm, inverse=True)


@takes_out
def fftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fft` over several dimensions, by default all."""
    return _to_complex("fftn", input, _lengths("fftn", input, s, dim), norm, inverse=False)


@takes_out
def ifftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`."""
    return _to_complex("ifftn", input, _lengths("ifftn", input, s, dim), norm, inverse=True)


@takes_out
def rfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fftn` of a real signal, with half of the last dimension."""
    return _from_real("rfftn", input, _lengths("rfftn", input, s, dim), norm, inverse=False)


@takes_out
def irfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`."""
    return _to_real("irfftn", input, _lengths("irfftn", input, s, dim), norm, inverse=True)


@takes_out
def hfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fftn` of a signal that equals its conjugate mirrored, given by half of its last dimension: `hfft` along that."""
    return _to_real("hfftn", input, _lengths("hfftn", input, s, dim), norm, inverse=False)


@takes_out
def ihfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `hfftn`."""
    return _from_real("ihfftn", input, _lengths("ihfftn", input, s, dim), norm, inverse=True)


@takes_out
def fft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`fft` over two dimensions."""
    return fftn(input, s, dim, norm)


@takes_out
def ifft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `fft2`."""
    return ifftn(input, s, dim, norm)


@takes_out
def rfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`rfft` over two dimensions."""
    return rfftn(input, s, dim, norm)


@takes_out
def irfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `rfft2`."""
    return irfftn(input, s, dim, norm)


@takes_out
def hfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`hfftn` over two dimensions."""
    return hfftn(input, s, dim, norm)


@takes_out
def ihfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `hfft2`."""
    return ihfftn(input, s, dim, norm)


@takes_out_as(OutDtype.CREATE)
def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of `fft` in cycles per unit: 0, 1, ..., then the negative ones, over n · d."""
    numbers = cat([arange(0, (n + 1) // 2, device=device), arange(-(n // 2), 0, device=device)])
    return _frequencies("fftfreq", numbers, n, d, dtype, requires_grad)


@takes_out_as(OutDtype.CREATE)
def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of `rfft` in cycles per unit: 0, 1, ..., n // 2, over n · d."""
    return _frequencies("rfftfreq", arange(0, n // 2 + 1, device=device), n, d, dtype, requires_grad)


def _frequencies(
    name: str, numbers: Tensor, n: int, d: float, dtype: dtypes.dtype | None, requires_grad: bool
) -> Tensor:
    dtype = dtype or dtypes.get_default_dtype()
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"{name} requires a floating point or complex dtype, got {dtype}")
    scaled: Tensor = numbers.to(dtype) * (1 / (n * d) if n else 1.0)
    return scaled.requires_grad_(requires_grad)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequency 0 in the middle of each dimension."""
    return _rolled(input, dim, lambda n: n - n // 2)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _rolled(input, dim, lambda n: n // 2)


def _rolled(input: Tensor, dim: Any, first: Any) -> Tensor:
    dims = range(input.ndim) if dim is None else (int(dim),) if isinstance(dim, (int, np.integer)) else dim
    for d in dims:
        n = input.shape[input._checked_dim(d)]
        start = first(n)
        input = cat([input.narrow(d, start, n - start), input.narrow(d, 0, start)], d)
    return input


@autocasts(FLOAT32_ON_CPU)
def _to_complex(name: str, input: Tensor, lengths: Lengths, norm: str | None, *, inverse: bool) -> Tensor:
    x = _floating(name, input)
    x, total = _transformed(name, x if x.is_complex() else x.to(_complex_of(x)), lengths, inverse)
    return _scaled(name, x, total, norm, inverse)


@autocasts(FLOAT32_ON_CPU)
def _from_real(name: str, input: Tensor, lengths: Lengths, norm: str | None, *, inverse: bool) -> Tensor:
    """The half spectrum along the last of ``lengths``, and the transform of that along the others."""
    if input.is_complex():
        raise RuntimeError(f"{name} expects a real input tensor, but got {input.dtype}")
    *others, (n, last) = _at_least_one(name, lengths)
    x = _resized(name, _floating(name, input), n, last)
    half: Tensor = apply(half_spectrum_op, (x,), {"dim": last})
    out, total = _transformed(name, half.conj() if inverse else half, others, inverse)
    return _scaled(name, out, total * x.shape[last], norm, inverse)


@autocasts(FLOAT32_ON_CPU)
def _to_real(name: str, input: Tensor, lengths: Lengths, norm: str | None, *, inverse: bool) -> Tensor:
    """The transform along all but the last of ``lengths``, and along that one the real signal of a half spectrum."""
    x = _floating(name, input)
    *others, (n, last) = _at_least_one(name, lengths)
    n = 2 * (x.shape[last] - 1) if n is None else n
    if n < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({n}) specified")
    x, total = _transformed(name, x if x.is_complex() else x.to(_complex_of(x)), others, inverse)
    half = _resized(name, x, n // 2 + 1, last)
    out: Tensor = apply(from_half_spectrum_op, (half if inverse else half.conj(),), {"dim": last, "n": n})
    return _scaled(name, out, total * n, norm, inverse)


def _floating(name: str, input: Tensor) -> Tensor:
    x = input if input._data.dtype.kind in "fc" else input.to(dtypes.get_default_dtype())
    if x.dtype not in (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128):
        raise RuntimeError(f"{name}: Unsupported dtype {x.dtype}; use one of 32 bits or more")
    return x


def _complex_of(x: Tensor) -> dtypes.dtype:
    return dtypes.complex64 if x.dtype is dtypes.float32 else dtypes.complex128


def _transformed(name: str, x: Tensor, lengths: Lengths, inverse: bool) -> tuple[Tensor, int]:
    """The transform of a complex tensor along some dimensions, without a factor, and the number of its points."""
    total = 1
    for n, d in reversed(lengths):
        x = _resized(name, x, n, d)
        total *= x.shape[d]
        x = apply(fourier_op, (x,), {"dim": d, "inverse": inverse})
    return x, total


def _resized(name: str, x: Tensor, n: int | None, dim: int) -> Tensor:
    """``x`` cut or padded with zeros to length ``n`` along ``dim``."""
    length = x.shape[dim] if n is None else integer(n)
    if length < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({length}) specified")
    if length < x.shape[dim]:
        return x.narrow(dim, 0, length)
    if length == x.shape[dim]:
        return x
    return cat([x, x.new_zeros([length - m if d == dim else m for d, m in enumerate(x.shape)])], dim)


def _scaled(name: str, x: Tensor, points: int, norm: str | None, inverse: bool) -> Tensor:
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f'{name}: Invalid normalization mode: "{norm}"; use "backward", "forward" or "ortho"')
    if norm == "ortho":
        return x * (1 / math.sqrt(points))
    return x * (1 / points) if (norm == "forward") != inverse else x


def _at_least_one(name: str, lengths: Lengths) -> Lengths:
    if not lengths:
        raise RuntimeError(f"{name} must transform at least one axis")
    return [(n if n is None else integer(n), d) for n, d in lengths]


def _lengths(name: str, input: Tensor, s: Sequence[int] | None, dim: Any) -> Lengths:
    if dim is None:
        count = input.ndim if s is None else len(s)
        if count > input.ndim:
            raise RuntimeError(
                f"{name}: Got shape with {count} values but input tensor only has {input.ndim} dimensions."
            )
        dims = list(range(input.ndim - count, input.ndim))
    else:
        dims = [input._checked_dim(d) for d in ([int(dim)] if isinstance(dim, (int, np.integer)) else dim)]
    if len(set(dims)) < len(dims):
        raise RuntimeError(f"{name}: FFT dims must be unique, got {list(dims)}")
    s = None if s is None else [int(s)] if isinstance(s, (int, np.integer)) else s
    if s is not None and len(s) != len(dims):
        raise RuntimeError(
            f"{name}: When given, dim and shape arguments must have the same length: {list(s)} and {dims}"
        )
    lengths: list[int | None] = [None] * len(dims) if s is None else [None if n == -1 else n for n in s]
    return list(zip(lengths, dims, strict=True))
