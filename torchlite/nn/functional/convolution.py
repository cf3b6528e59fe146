"""Convolutions."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ops.joining import constant_pad
from torchlite.ops.windows import Window, conv2d_op


def pair(name: str, value: Any) -> tuple[int, int]:
    """One int for both directions, or (height, width)."""
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    if len(values) == 1:
        return values[0], values[0]
    if len(values) != 2:
        raise ValueError(f"{name}: expected an int or two ints (height, width), got {value!r}")
    return values


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """2-D cross-correlation.

    Args:
        input, weight, bias: see Shape.
        stride, dilation: an int or (height, width).
        padding: an int or (height, width) of zeros on both sides, "valid" (none) or "same" (stride 1: keeps the size).
        groups: blocks of channels that are convolved apart.

    Shape:
        - input: (N, C, H, W) or (C, H, W); weight: (O, C / groups, kh, kw); bias: (O,)
        - result: (N, O, H', W') or (O, H', W')

    Raises:
        RuntimeError: naming the shapes where channels, groups or sizes do not fit.
    """
    if input.ndim == 3:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    if input.ndim != 4:
        raise RuntimeError(
            f"Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: {list(input.shape)}"
        )
    kernel, step, spread = (
        pair("kernel", weight.shape[2:]),
        pair("stride", stride),
        pair("dilation", dilation),
    )
    if padding == "same":
        if step != (1, 1):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = [d * (k - 1) for k, d in zip(kernel, spread, strict=True)]
        uneven = [n % 2 for n in total]
        if any(uneven):  # the longer side of the padding is at the end
            input = constant_pad(input, [(0, 0), (0, 0), *((0, u) for u in uneven)])
        border = (total[0] // 2, total[1] // 2)
    elif padding == "valid":
        border = (0, 0)
    else:
        border = pair("padding", padding)
    window = Window(kernel, step, border, spread)
    operands = (input, weight) if bias is None else (input, weight, bias)
    return apply(conv2d_op, operands, {"window": window, "groups": groups})
