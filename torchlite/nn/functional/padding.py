"""Borders around tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torchlite._tensor import Tensor
from torchlite.ops.joining import constant_pad


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Constant borders: ``pad`` lists (before, after) from the last dimension forwards; negative widths crop.

    Raises:
        RuntimeError: for an odd number of widths, or more of them than dimensions.
        ValueError: for another mode than "constant".
    """
    if mode != "constant":
        raise ValueError(f"pad: mode must be 'constant', got {mode!r}")
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise RuntimeError(
            f"Padding length must be divisible by 2 and at most twice the number of dimensions, got {list(pad)}"
        )
    widths = [(0, 0)] * input.ndim
    for i in range(len(pad) // 2):
        widths[-1 - i] = (pad[2 * i], pad[2 * i + 1])
    crop = tuple(slice(-min(a, 0), n + min(b, 0)) for (a, b), n in zip(widths, input.shape, strict=True))
    return constant_pad(input[crop], [(max(a, 0), max(b, 0)) for a, b in widths], value or 0.0)
