"""Discrete Fourier transforms: ``torchlite.fft``.

``n`` (``s`` for several dimensions) is the length of the signal, which is cut or padded with zeros to it. ``norm`` is where
the factor goes: "backward" (1/n on the inverse transform), "forward" (1/n on the forward one) or "ortho" (1/√n on both).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ops.complex import complex as _complex
from torchlite.ops.creation import arange
from torchlite.ops.fourier import fourier_op
from torchlite.ops.joining import cat, flip


def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """Σₙ xₙ exp(-2πi kn/N) along ``dim``."""
    return _transform("fft", input, n, dim, norm, inverse=False)


def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`."""
    return _transform("ifft", input, n, dim, norm, inverse=True)


def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The `fft` of a real signal: its first n // 2 + 1 frequencies, of which the others are the conjugates.

    Raises:
        RuntimeError: for a complex tensor.
    """
    _expect_real("rfft", input)
    spectrum = _transform("rfft", input, n, dim, norm, inverse=False)
    return spectrum.narrow(dim, 0, spectrum.shape[dim] // 2 + 1)


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`: a real signal of length ``n``, by default 2 (m - 1) for m frequencies."""
    return _to_real("irfft", input, n, dim, norm, inverse=True)


def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real `fft` of a signal with xₙ = conj(x₋ₙ), given by its first half."""
    return _to_real("hfft", input, n, dim, norm, inverse=False)


def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`."""
    _expect_real("ihfft", input)
    signal = _transform("ihfft", input, n, dim, norm, inverse=True)
    return signal.narrow(dim, 0, signal.shape[dim] // 2 + 1)


def fftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fft` over several dimensions, by default all."""
    for n, d in _lengths("fftn", input, s, dim):
        input = fft(input, n, d, norm)
    return input


def ifftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`."""
    for n, d in _lengths("ifftn", input, s, dim):
        input = ifft(input, n, d, norm)
    return input


def rfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """`fftn` of a real signal, with half of the last dimension."""
    *others, (n, last) = _lengths("rfftn", input, s, dim)
    input = rfft(input, n, last, norm)
    for n, d in others:
        input = fft(input, n, d, norm)
    return input


def irfftn(input: Tensor, s: Sequence[int] | None = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`."""
    *others, (n, last) = _lengths("irfftn", input, s, dim)
    for length, d in others:
        input = ifft(input, length, d, norm)
    return irfft(input, n if s is not None else None, last, norm)


def fft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`fft` over two dimensions."""
    return fftn(input, s, dim, norm)


def ifft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `fft2`."""
    return ifftn(input, s, dim, norm)


def rfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """`rfft` over two dimensions."""
    return rfftn(input, s, dim, norm)


def irfft2(input: Tensor, s: Sequence[int] | None = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `rfft2`."""
    return irfftn(input, s, dim, norm)


def fftfreq(n: int, d: float = 1.0, *, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """The frequencies of `fft` in cycles per unit: 0, 1, ..., then the negative ones, over n · d."""
    dtype = dtype or dtypes.get_default_dtype()
    numbers = cat([arange(0, (n + 1) // 2, device=device), arange(-(n // 2), 0, device=device)])
    return numbers.to(dtype) * (1 / (n * d))


def rfftfreq(n: int, d: float = 1.0, *, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """The frequencies of `rfft` in cycles per unit: 0, 1, ..., n // 2, over n · d."""
    return arange(0, n // 2 + 1, device=device).to(dtype or dtypes.get_default_dtype()) * (1 / (n * d))


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequency 0 in the middle of each dimension."""
    return _rolled(input, dim, lambda n: n - n // 2)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _rolled(input, dim, lambda n: n // 2)


def _rolled(input: Tensor, dim: Any, first: Any) -> Tensor:
    dims = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    for d in dims:
        n = input.shape[d]
        start = first(n)
        input = cat([input.narrow(d, start, n - start), input.narrow(d, 0, start)], d)
    return input


def _expect_real(name: str, input: Tensor) -> None:
    if input.is_complex():
        raise RuntimeError(f"{name} expects a real input tensor, but got {input.dtype}")


def _as_complex(input: Tensor) -> Tensor:
    if input.is_complex():
        return input
    x = input if input.is_floating_point() else input.to(dtypes.get_default_dtype())
    x = x.to(dtypes.float32) if x.itemsize < 4 else x
    return _complex(x, x.new_zeros(x.shape))


def _transform(name: str, input: Tensor, n: int | None, dim: int, norm: str | None, *, inverse: bool) -> Tensor:
    x = _as_complex(input)
    dim = x._checked_dim(dim)
    length = x.shape[dim] if n is None else n
    if length < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({length}) specified")
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f'{name}: Invalid normalization mode: "{norm}"; use "backward", "forward" or "ortho"')
    if length < x.shape[dim]:
        x = x.narrow(dim, 0, length)
    elif length > x.shape[dim]:
        missing = [length - x.shape[dim] if d == dim else m for d, m in enumerate(x.shape)]
        x = cat([x, x.new_zeros(missing)], dim)
    out: Tensor = apply(fourier_op, (x,), {"dim": dim, "inverse": inverse})
    if norm == "ortho":
        return out * (1 / math.sqrt(length))
    return out * (1 / length) if (norm == "forward") != inverse else out


def _to_real(name: str, input: Tensor, n: int | None, dim: int, norm: str | None, *, inverse: bool) -> Tensor:
    """The transform of a spectrum whose second half is the conjugate of the first, which is given."""
    x = _as_complex(input)
    dim = x._checked_dim(dim)
    length = 2 * (x.shape[dim] - 1) if n is None else n
    if length < 1:
        raise RuntimeError(f"{name}: Invalid number of data points ({length}) specified")
    half = length // 2 + 1
    if half > x.shape[dim]:
        missing = [half - x.shape[dim] if d == dim else m for d, m in enumerate(x.shape)]
        x = cat([x, x.new_zeros(missing)], dim)
    x = x.narrow(dim, 0, half)
    mirrored = flip(x.narrow(dim, 1, length - half), (dim,)).conj()
    return _transform(name, cat([x, mirrored], dim), None, dim, norm, inverse=inverse).real.clone()


def _lengths(name: str, input: Tensor, s: Sequence[int] | None, dim: Any) -> list[tuple[int | None, int]]:
    """(length or None, position) of every dimension to transform."""
    if dim is None:
        dims = list(range(input.ndim if s is None else len(s)))
        dims = [d + input.ndim - len(dims) for d in dims]
    else:
        dims = [dim] if isinstance(dim, int) else list(dim)
    if s is not None and len(s) != len(dims):
        raise RuntimeError(
            f"{name}: When given, dim and shape arguments must have the same length: {list(s)} and {dims}"
        )
    lengths: list[int | None] = [None] * len(dims) if s is None else [None if n == -1 else n for n in s]
    return list(zip(lengths, dims, strict=True))
