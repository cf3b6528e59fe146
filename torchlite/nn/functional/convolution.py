"""Convolutions and transposed convolutions."""

from __future__ import annotations

from typing import Any

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.composites.padding import pad
from torchlite.dispatch import apply
from torchlite.integers import integer
from torchlite.ir import LOWER
from torchlite.nn.functional.lengths import batched, lengths
from torchlite.ops import convolution as primitives
from torchlite.ops.convolution import check_dtypes
from torchlite.ops.joining import constant_pad
from torchlite.ops.windows import Lengths, Window


@autocasts(LOWER)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """1-D cross-correlation: `conv2d` over one dimension.

    Shape:
        - input: (N, C, L) or (C, L); weight: (O, C / groups, k); bias: (O,)
    """
    return _convolved(1, input, weight, bias, stride, padding, dilation, groups)


@autocasts(LOWER)
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
    return _convolved(2, input, weight, bias, stride, padding, dilation, groups)


@autocasts(LOWER)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """3-D cross-correlation: `conv2d` over three dimensions.

    Shape:
        - input: (N, C, D, H, W) or (C, D, H, W); weight: (O, C / groups, kd, kh, kw); bias: (O,)
    """
    return _convolved(3, input, weight, bias, stride, padding, dilation, groups)


@autocasts(LOWER)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv1d`; the arguments are those of `conv_transpose2d`."""
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@autocasts(LOWER)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv2d`: its gradient with respect to its input.

    Args:
        input, weight, bias: see Shape.
        stride, padding, dilation: of the convolution that this is the transpose of.
        output_padding: rows and columns added at the end of the result, of which several sizes would fit.
        groups: blocks of channels that are convolved apart.

    Shape:
        - input: (N, C, H, W) or (C, H, W); weight: (C, O / groups, kh, kw); bias: (O,)
        - result: (N, O, H', W') with H' = (H - 1)·stride - 2·padding + dilation·(kh - 1) + output_padding + 1
    """
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@autocasts(LOWER)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The transpose of `conv3d`; the arguments are those of `conv_transpose2d`."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


@autocasts(LOWER)
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """A convolution or its transpose, over as many dimensions as the weight has beyond two."""
    n = weight.ndim - 2
    if transposed:
        return _transposed(n, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return _convolved(n, input, weight, bias, stride, padding, dilation, groups)


@autocasts(LOWER)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """`conv1d` in the order (time, batch, channels).

    Shape:
        - input: (L, N, C); weight: (k, C, O); bias: (O,); result: (L', N, O)
    """
    if input.ndim != 3 or weight.ndim != 3:
        raise RuntimeError(f"conv_tbc: Input must have 3 dims: time, batch, in_channel, got shape {list(input.shape)}")
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


def _convolved(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    name, groups = f"conv{n}d", integer(groups)
    x, had_batch = batched(name, input, n)
    kernel, step, spread = _geometry(name, n, x, weight, bias, stride, dilation, groups)
    if padding == "same":
        if any(s != 1 for s in step):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = [d * (k - 1) for k, d in zip(kernel, spread, strict=True)]
        uneven = [t % 2 for t in total]
        if any(uneven):  # the longer side of the padding is at the end
            x = constant_pad(x, [(0, 0), (0, 0), *((0, u) for u in uneven)])
        border: Lengths = tuple(t // 2 for t in total)
    elif isinstance(padding, str):
        if padding != "valid":
            raise RuntimeError(f"{name}: Invalid padding string: {padding!r}, should be 'valid' or 'same'")
        border = (0,) * n
    else:
        border = _positive(name, "padding", lengths(name, "padding", padding, n), 0)
    operands = (x, weight) if bias is None else (x, weight, bias)
    window = Window(kernel, step, border, spread)
    out: Tensor = apply(primitives.convolution, operands, {"window": window, "groups": groups})
    return out if had_batch else out.squeeze(0)


def _transposed(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    name, groups = f"conv_transpose{n}d", integer(groups)
    x, had_batch = batched(name, input, n)
    kernel, step, spread = _geometry(name, n, x, weight, bias, stride, dilation, groups)
    border = _positive(name, "padding", lengths(name, "padding", padding, n), 0)
    extra = _positive(name, "output_padding", lengths(name, "output_padding", output_padding, n), 0)
    if any(e >= s and e >= d for e, s, d in zip(extra, step, spread, strict=True)):
        raise RuntimeError(
            f"output padding must be smaller than either stride or dilation, but got output_padding {list(extra)}, "
            f"stride {list(step)} and dilation {list(spread)}"
        )
    reach = tuple((m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(x.shape[2:], step, spread, kernel, strict=True))
    size = tuple(r - 2 * p + e for r, p, e in zip(reach, border, extra, strict=True))
    if any(m < 1 for m in size):
        raise RuntimeError(
            f"{name}: Given input size {list(x.shape[2:])}, calculated output size {list(size)} is too small"
        )
    if any(e >= s for e, s in zip(extra, step, strict=True)):
        # A convolution of a result of this size would have more positions than the input: crop and extend instead.
        whole = {"window": Window(kernel, step, (0,) * n, spread), "groups": groups, "size": reach}
        sides = [side for p, e in reversed(list(zip(border, extra, strict=True))) for side in (-p, e - p)]
        out = pad(apply(primitives.convolution_input_grad, (x, weight), whole), sides)
    else:
        window = Window(kernel, step, border, spread)
        out = apply(primitives.convolution_input_grad, (x, weight), {"window": window, "groups": groups, "size": size})
    if bias is not None:
        if bias.shape != out.shape[1:2]:
            raise RuntimeError(
                f"{name}: expected bias to be 1-dimensional with {out.shape[1]} elements, got shape {list(bias.shape)}"
            )
        out = out + bias.reshape((-1, *(1,) * n))
    return out if had_batch else out.squeeze(0)


def _geometry(
    name: str,
    n: int,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    dilation: Any,
    groups: int,
) -> tuple[Lengths, Lengths, Lengths]:
    """Kernel size, stride and dilation, once they and the dtypes are known to be usable."""
    if weight.ndim != n + 2:
        raise RuntimeError(
            f"{name}: Expected {n + 2}-dimensional weight for an input of size {list(x.shape)}, but got weight of size "
            f"{list(weight.shape)}"
        )
    check_dtypes(name, x._data, weight._data, *(() if bias is None else (bias._data,)))
    if groups <= 0:
        raise RuntimeError(f"{name}: non-positive groups is not supported, got {groups}")
    if weight.shape[0] < groups:
        raise RuntimeError(
            f"{name}: Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of "
            f"size {list(weight.shape)} instead"
        )
    step = _positive(name, "stride", lengths(name, "stride", stride, n), 1)
    spread = _positive(name, "dilation", lengths(name, "dilation", dilation, n), 1)
    return tuple(weight._data.shape[2:]), step, spread


def _positive(name: str, argument: str, values: Lengths, least: int) -> Lengths:
    if min(values) < least:
        kind = "negative" if least == 0 else "non-positive"
        raise RuntimeError(f"{name}: {kind} {argument} is not supported, got {list(values)}")
    return values
