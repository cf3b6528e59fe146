"""Borders around tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import FLOAT32_ON_CPU
from torchlite.ops.joining import cat, constant_pad, flip
from torchlite.ops.views import narrow


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """``input`` with borders: ``pad`` lists (before, after) from the last dimension forwards; negative widths crop.

    Args:
        input: of any shape; (C, *) or (N, C, *) with as many * as padded dimensions for the modes but "constant".
        pad: the widths.
        mode: "constant" (``value`` around), "reflect" (mirrored at the edge elements), "replicate" (the edge elements
            repeated) or "circular" (the other end).
        value: what a constant border holds; 0 by default.

    Raises:
        RuntimeError: for an odd number of widths or too many, and for widths that the mode has no elements for.
    """
    pairs = _pairs(input, pad)
    if mode == "constant":
        return _constant(input, pairs, 0.0 if value is None else value)
    if mode not in _BORDERS:
        raise RuntimeError(f"pad: Unrecognised padding mode {mode!r}: use 'constant' or one of {sorted(_BORDERS)}")
    if value:
        raise RuntimeError(f"pad: Padding mode {mode!r} doesn't take in value argument")
    if not 1 <= len(pairs) <= 3 or input.ndim - len(pairs) not in (1, 2):
        raise RuntimeError(
            f"pad: Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: got {list(pad)} for "
            f"shape {list(input.shape)}"
        )
    for dim, before, after in pairs:
        input = _BORDERS[mode](input, dim, before, after)
    return input


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0.0) -> Tensor:
    """`pad` with a constant border of ``value``."""
    return _constant(input, _pairs(input, pad), value)


def _pairs(input: Tensor, pad: Sequence[int]) -> list[tuple[int, int, int]]:
    """(dimension, before, after) from the last dimension forwards, once they fit ``input``."""
    widths = tuple(int(n) for n in pad)
    if len(widths) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {list(widths)}")
    if len(widths) // 2 > input.ndim:
        raise RuntimeError(
            f"pad: Padding length must be at most twice the number of dimensions of the input, got {list(widths)} for "
            f"shape {list(input.shape)}"
        )
    dims = range(input.ndim - 1, -1, -1)
    pairs = [(dim, *sides) for dim, sides in zip(dims, zip(widths[::2], widths[1::2], strict=True), strict=False)]
    for dim, before, after in pairs:
        if input.shape[dim] + before + after < 0:
            raise RuntimeError(
                f"pad: the input size {input.shape[dim]}, plus negative padding {before} and {after}, resulted in a "
                f"negative output size; check dimension {dim} of the input {list(input.shape)}"
            )
    return pairs


def _constant(input: Tensor, pairs: Sequence[tuple[int, int, int]], value: float) -> Tensor:
    widths = [(0, 0)] * input.ndim
    for dim, before, after in pairs:
        input = _cropped(input, dim, before, after)
        widths[dim] = (max(before, 0), max(after, 0))
    return constant_pad(input, widths, value) if any(a or b for a, b in widths) else input.clone()


def _cropped(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    """``x`` without what negative widths cut off."""
    start, end = max(-before, 0), x.shape[dim] - max(-after, 0)
    return x if end - start == x.shape[dim] else narrow(x, dim, start, end - start)


def _joined(x: Tensor, dim: int, before: int, after: int, first: Tensor | None, last: Tensor | None) -> Tensor:
    parts = [part for part in (first, _cropped(x, dim, before, after), last) if part is not None]
    return cat(parts, dim) if len(parts) > 1 else parts[0].clone()


@autocasts(FLOAT32_ON_CPU)
def _reflect(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    n = x.shape[dim]
    if max(before, after) >= n:
        raise RuntimeError(
            f"pad: Padding size should be less than the corresponding input dimension, but got: padding ({before}, "
            f"{after}) at dimension {dim} of input {list(x.shape)}"
        )
    first = flip(narrow(x, dim, 1, before), dim) if before > 0 else None
    last = flip(narrow(x, dim, n - 1 - after, after), dim) if after > 0 else None
    return _joined(x, dim, before, after, first, last)


@autocasts(FLOAT32_ON_CPU)
def _replicate(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    n = x.shape[dim]
    if n == 0:
        raise RuntimeError(f"pad: Expected a non-empty dimension to replicate, got dimension {dim} of {list(x.shape)}")

    def repeated(position: int, times: int) -> Tensor | None:
        shape = [times if d == dim else m for d, m in enumerate(x.shape)]
        return narrow(x, dim, position, 1).expand(shape) if times > 0 else None

    return _joined(x, dim, before, after, repeated(0, before), repeated(n - 1, after))


def _circular(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    x = _cropped(x, dim, before, after)
    n = x.shape[dim]
    if max(before, after) > n:
        raise RuntimeError(
            f"pad: Padding value causes wrapping around more than once: ({before}, {after}) at dimension {dim} of length {n}"
        )
    first = narrow(x, dim, n - before, before) if before > 0 else None
    last = narrow(x, dim, 0, after) if after > 0 else None
    return _joined(x, dim, 0, 0, first, last)


_BORDERS: dict[str, Callable[[Tensor, int, int, int], Tensor]] = {
    "reflect": _reflect,
    "replicate": _replicate,
    "circular": _circular,
}
