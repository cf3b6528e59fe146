"""Channels moved to space, back, and among each other."""

from __future__ import annotations

from torchlite._tensor import Tensor
from torchlite.integers import takes_integers


@takes_integers
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C·r², H, W) → (*, C, H·r, W·r) for r = ``upscale_factor`` (Shi et al., 2016).

    Raises:
        RuntimeError: when r² does not divide the channels.
    """
    r = upscale_factor
    _check("pixel_shuffle", input, "upscale_factor", r)
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    split = input.reshape((*lead, c // (r * r), r, r, h, w))
    n = len(lead)
    return split.permute((*range(n), n, n + 3, n + 1, n + 4, n + 2)).reshape((*lead, c // (r * r), h * r, w * r))


@takes_integers
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H·r, W·r) → (*, C·r², H, W) for r = ``downscale_factor``: the inverse of `pixel_shuffle`.

    Raises:
        RuntimeError: when r does not divide height and width.
    """
    r = downscale_factor
    _check("pixel_unshuffle", input, "downscale_factor", r)
    *lead, c, h, w = input.shape
    if h % r or w % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but {h} × {w} is not divisible "
            f"by {r}"
        )
    split = input.reshape((*lead, c, h // r, r, w // r, r))
    n = len(lead)
    return split.permute((*range(n), n, n + 2, n + 4, n + 1, n + 3)).reshape((*lead, c * r * r, h // r, w // r))


@takes_integers
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, groups · c, *): the channels of all groups in turn (Zhang et al., 2018).

    Raises:
        RuntimeError: when ``groups`` does not divide the channels.
    """
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    n, c, *space = input.shape
    if groups <= 0 or c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape((n, groups, c // groups, *space)).transpose(1, 2).reshape(input.shape)


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """`channel_shuffle` by another name."""
    return channel_shuffle(input, groups)


def _check(name: str, input: Tensor, argument: str, factor: int) -> None:
    if input.ndim < 3:
        raise RuntimeError(f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim}")
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {argument}, but got {factor}")
