"""Max pooling over regions at random distances (Graham, 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.nn.functional.lengths import lengths
from torchlite.ops.creation import arange
from torchlite.ops.joining import cat
from torchlite.ops.pointwise import trunc
from torchlite.ops.pooling import max_pool, pick
from torchlite.ops.random import rand
from torchlite.ops.windows import Lengths, Window


@autocasts(FLOAT32_ON_CPU)
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest elements of windows that begin at random, nearly even distances.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: of the windows, an int or (height, width).
        output_size: of the result, an int or (height, width).
        output_ratio: instead of it, the ratio of that to the size of the input.
        return_indices: also give where in the flattened plane each element was found.

    Raises:
        ValueError: when neither size nor ratio is given.
        RuntimeError: when the windows do not fit.
    """
    return _pooled(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


@autocasts(FLOAT32_ON_CPU)
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """`fractional_max_pool2d` of (N, C, D, H, W) or (C, D, H, W)."""
    return _pooled(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


@autocasts(FLOAT32_ON_CPU)
def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` with ``return_indices=True``."""
    return _pooled(2, input, kernel_size, output_size, output_ratio, True, _random_samples)


@autocasts(FLOAT32_ON_CPU)
def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = True,  # noqa: ARG001 - PyTorch's signature
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` with ``return_indices=True``."""
    return _pooled(3, input, kernel_size, output_size, output_ratio, True, _random_samples)


def _pooled(
    n: int,
    input: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (n + 1, n + 2) or 0 in input.shape[input.ndim - n - 1 :]:
        raise RuntimeError(f"{name}: Expected {n + 1}D or {n + 2}D tensor, but got shape {list(input.shape)}")
    size = tuple(input.shape[input.ndim - n :])
    wanted = _wanted(name, n, size, output_size, output_ratio)
    kernel = lengths(name, "kernel_size", kernel_size, n)
    for d, (m, w, k) in enumerate(zip(size, wanted, kernel, strict=True)):
        if not 0 < w <= m - k + (n == 2):  # PyTorch's bound in three dimensions is one less
            raise RuntimeError(
                f"{name}: pool size {k} and output size {w} are too large for the input's length {m} in dimension {d}"
            )
    x = input if input.ndim == n + 2 else input.unsqueeze(0)
    if samples is None:
        samples = rand(*x.shape[:2], n, dtype=input.dtype, device=input.device)
    if samples.ndim != 3 or samples.shape[0] < x.shape[0] or tuple(samples.shape[1:]) != (x.shape[1], n):
        raise RuntimeError(
            f"{name}: Expected _random_samples of shape {[*x.shape[:2], n]} or longer, got {list(samples.shape)}"
        )
    samples = samples[: x.shape[0]]
    # In two dimensions PyTorch takes the first number for the width.
    order = (1, 0) if n == 2 else (0, 1, 2)
    places = [_places(samples[..., order[d]], size[d], wanted[d], kernel[d]) for d in range(n)]  # (N, C, out · k) each
    places = [p.reshape((*x.shape[:2], *(p.shape[2] if e == d else 1 for e in range(n)))) for d, p in enumerate(places)]
    batch = arange(x.shape[0], device=x.device).reshape((-1, 1, *(1,) * n))
    channel = arange(x.shape[1], device=x.device).reshape((-1, *(1,) * n))
    window = Window.of(kernel, kernel)
    values, chosen = apply(max_pool, (x[(batch, channel, *places)],), {"window": window})
    if input.ndim == n + 1:
        values = values.squeeze(0)
    if not return_indices:
        return values
    flat = places[0]
    for m, p in zip(size[1:], places[1:], strict=True):
        flat = flat * m + p
    indices = pick(flat, chosen, window)
    return values, indices.squeeze(0) if input.ndim == n + 1 else indices


def _wanted(name: str, n: int, size: Lengths, output_size: Any, output_ratio: Any) -> Lengths:
    if output_size is not None:
        return lengths(name, "output_size", output_size, n)
    ratios = tuple(output_ratio) if isinstance(output_ratio, Sequence) else (output_ratio,) * n
    if len(ratios) != n:
        raise ValueError(f"{name} requires output_ratio to be a number or {n} of them, got {output_ratio!r}")
    return tuple(int(m * ratio) for m, ratio in zip(size, ratios, strict=True))


def _places(sample: Tensor, n: int, count: int, kernel: int) -> Tensor:
    """The elements of ``count`` windows over a length ``n``, one after the other: (*, count · kernel)."""
    starts = sample.new_full((*sample.shape, 1), n - kernel)
    if count > 1:
        step, sample = (n - kernel) / (count - 1), sample.unsqueeze(-1)
        at = arange(count - 1, dtype=sample.dtype, device=sample.device)
        starts = cat([trunc((at + sample) * step) - trunc(sample * step), starts], -1)
    within = arange(kernel, device=sample.device)
    return (starts.to(dtypes.int64).unsqueeze(-1) + within).flatten(-2)
