"""The functions behind the modules of `torchlite.nn`, written with operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.dispatch import apply
from torchlite.ops import random
from torchlite.ops.arithmetic import where
from torchlite.ops.contraction import linear
from torchlite.ops.creation import arange
from torchlite.ops.indexing import gather_op
from torchlite.ops.joining import constant_pad
from torchlite.ops.pointwise import erf, exp, log1p, relu, sigmoid, softplus, tanh
from torchlite.ops.softmax import log_softmax, softmax
from torchlite.ops.standardize import affine, standardize
from torchlite.ops.windows import Window, conv2d_op, flat_indices, max_pool2d_op

__all__ = [
    "adaptive_avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Φ(x), the Gaussian error linear unit (Hendrycks & Gimpel, 2016); "tanh" approximates Φ.

    Raises:
        RuntimeError: for another ``approximate`` than "none" or "tanh".
    """
    if approximate == "none":
        return input * (erf(input * math.sqrt(0.5)) + 1) * 0.5
    if approximate == "tanh":
        inner = (input + input * input * input * 0.044715) * math.sqrt(2 / math.pi)
        return input * (tanh(inner) + 1) * 0.5
    raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")


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
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)  # type: ignore[no-any-return]
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
    out: Tensor = apply(conv2d_op, operands, {"window": window, "groups": groups})
    return out


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding, dilation: an int or (height, width); the stride is the kernel size by default.
        ceil_mode: also count windows that reach beyond the end.
        return_indices: also give where in the flattened plane each element was found.
    """
    if input.ndim not in (3, 4):
        raise RuntimeError(f"max_pool2d: expected 3D or 4D input (N, C, H, W), got shape {list(input.shape)}")
    kernel = pair("kernel_size", kernel_size)
    window = Window(
        kernel,
        pair("stride", stride) if stride not in (None, ()) else kernel,
        pair("padding", padding),
        pair("dilation", dilation),
        ceil_mode,
    )
    if any(2 * p > k for p, k in zip(window.padding, kernel, strict=True)):
        raise RuntimeError(
            f"max_pool2d: pad should be at most half of kernel size, got padding {list(window.padding)} and kernel {list(kernel)}"
        )
    values, places = apply(max_pool2d_op, (input,), {"window": window})
    if not return_indices:
        return values
    return values, flat_indices(places, window, (input.shape[-2], input.shape[-1]))


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over a grid of ``output_size`` (height, width; None keeps a length) regions that cover the input.

    Region i of a length n goes from ⌊i·n/out⌋ to ⌈(i+1)·n/out⌉.
    """
    sizes = output_size if isinstance(output_size, Sequence) else (output_size, output_size)
    out = input
    for axis, wanted in zip((-2, -1), sizes, strict=True):
        n = out.shape[axis]
        wanted = n if wanted is None else wanted
        if wanted == n:
            continue
        if n % wanted == 0:
            place = out.ndim + axis
            out = out.unflatten(place, (wanted, n // wanted)).mean(place + 1)
        else:
            means = _region_means(n, wanted, out)
            out = (out.transpose(axis, -1) @ means).transpose(axis, -1)
    return out


def _region_means(n: int, regions: int, like: Tensor) -> Tensor:
    """The (n, regions) matrix that averages regions of a length ``n``."""
    bounds = [(i * n // regions, -(-(i + 1) * n // regions)) for i in range(regions)]
    weights = [[1 / (end - start) if start <= row < end else 0.0 for start, end in bounds] for row in range(n)]
    means: Tensor = like.new_tensor(weights)
    return means


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias for each channel (Ioffe & Szegedy, 2015).

    In training μ and σ² are the batch's, and the running statistics move towards them (the unbiased variance) by
    ``momentum``; otherwise they are the running ones.

    Shape:
        - input: (N, C, *); the others: (C,)
    """
    if input.ndim < 2:
        raise RuntimeError(f"batch_norm: expected input of shape (N, C, *), got {list(input.shape)}")
    channels = (1, -1, *(1,) * (input.ndim - 2))
    if training or running_mean is None or running_var is None:
        dims = (0, *range(2, input.ndim))
        n = input.numel() // input.shape[1]
        if training and n == 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {list(input.shape)}"
            )
        out, mean, scale = standardize(input, dims, eps)
        if training and running_mean is not None and running_var is not None:
            with no_grad():
                variance = (1 / (scale * scale) - eps).reshape(-1) * (n / (n - 1))
                running_mean.mul_(1 - momentum).add_(mean.reshape(-1).to(running_mean.dtype), alpha=momentum)
                running_var.mul_(1 - momentum).add_(variance.to(running_var.dtype), alpha=momentum)
    else:
        scale = (running_var + eps).rsqrt()
        if weight is not None:
            scale, weight = scale * weight, None
        shift = -running_mean * scale if bias is None else bias - running_mean * scale
        return _scaled(input, scale.view(channels), shift.view(channels))
    return _scaled(
        out, None if weight is None else weight.view(channels), None if bias is None else bias.view(channels)
    )


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """x · weight + bias, in one operator where all three are there and of one dtype."""
    if weight is not None and bias is not None and x.dtype is weight.dtype is bias.dtype:
        return affine(x, weight, bias)
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - μ) / √(σ² + eps) · weight + bias over the last dimensions (Ba, Kiros & Hinton, 2016).

    Raises:
        RuntimeError: when the input does not end in ``normalized_shape``.
    """
    shape = tuple(normalized_shape)
    if tuple(input.shape[input.ndim - len(shape) :]) != shape:
        raise RuntimeError(
            f"layer_norm: given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], "
            f"but got input of size {list(input.shape)}"
        )
    out, _, _ = standardize(input, tuple(range(input.ndim - len(shape), input.ndim)), eps)
    return _scaled(out, weight, bias)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training each element is 0 with probability ``p`` and divided by 1 - p otherwise (Srivastava et al., 2014).

    Raises:
        ValueError: for a probability outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training:
        return input
    out = random.dropout(input, p)
    return input.copy_(out) if inplace else out


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """The rows of ``weight`` that ``input`` names.

    Shape:
        - input: (*) of integers, weight: (num_embeddings, embedding_dim), result: (*, embedding_dim)

    Args:
        input, weight: as above.
        padding_idx: a row that receives no gradient.

    Raises:
        IndexError: naming an index outside the table and the table's size.
    """
    if input._data.dtype.kind not in "iu":
        raise RuntimeError(f"embedding: expected the indices to have an integer dtype such as int64, got {input.dtype}")
    if not input.is_meta and not input.is_cuda and input.numel() and int(input._data.min()) < 0:
        raise IndexError(
            f"index out of range in self: {int(input._data.min())} for an embedding of {weight.shape[0]} rows"
        )
    if padding_idx is not None:
        row = padding_idx % weight.shape[0]
        frozen = (arange(weight.shape[0], device=weight.device) == row).unsqueeze(1)
        weight = where(frozen, weight.detach(), weight)
    return weight[input]


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers as int64 vectors with a single 1; ``num_classes`` -1 takes the largest plus one.

    Raises:
        RuntimeError: for a negative value or one outside the classes.
    """
    if num_classes == -1:
        num_classes = int(tensor.max()) + 1
    if tensor.numel() and not tensor.is_meta and (int(tensor.min()) < 0 or int(tensor.max()) >= num_classes):
        raise RuntimeError(f"Class values must be between 0 and {num_classes - 1}")
    hot: Tensor = (tensor.unsqueeze(-1) == arange(num_classes, device=tensor.device)).to(dtypes.int64)
    return hot


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


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()  # type: ignore[no-any-return]
    if reduction == "sum":
        return loss.sum()  # type: ignore[no-any-return]
    if reduction != "none":
        raise ValueError(f"{reduction} is not a valid value for reduction: use 'mean', 'sum' or 'none'")
    return loss


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """-weight[tᵢ] · inputᵢ[tᵢ], the negative log-likelihood of the target classes.

    The mean is over the weights of the targets that are not ``ignore_index``.

    Shape:
        - input: (N, C, *) or (C,), log-probabilities; target: (N, *) or (), integers; weight: (C,)
    """
    dim = 0 if input.ndim == 1 else 1
    _check_classes(input, target, dim, ignore_index)
    counted = target != ignore_index
    every = target.is_meta or bool(counted.all())
    chosen = target if every else where(counted, target, 0)
    loss = -apply(gather_op, (input, chosen.unsqueeze(dim)), {"dim": dim}).squeeze(dim)  # the classes are checked above
    if weight is not None:
        scale = where(counted, weight[chosen], 0.0)
        loss = loss * scale
        return loss.sum() / scale.sum() if reduction == "mean" else _reduced(loss, reduction)
    if every:
        return _reduced(loss, reduction)
    loss = where(counted, loss, 0.0)
    return loss.sum() / counted.sum() if reduction == "mean" else _reduced(loss, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-Σ_c q_c log softmax(input)_c, where q is the target class or distribution, smoothed towards uniform.

    Args:
        input: logits (N, C, *) or (C,).
        target: class indices (N, *) or (), or probabilities of the shape of ``input``.
        weight: a weight for each class.
        ignore_index: a class index that does not count.
        reduction: "mean" (by the weights of the targets), "sum" or "none".
        label_smoothing: how much of the target's mass is spread over all classes, in [0, 1].

    Raises:
        RuntimeError: naming the shapes where they do not fit, and the class index that is out of range.
    """
    dim = 0 if input.ndim == 1 else 1
    logp = log_softmax(input, dim)
    classes = input.shape[dim]
    if target.is_floating_point():
        if target.shape != input.shape:
            raise RuntimeError(
                f"cross_entropy: target probabilities have shape {list(target.shape)}, but the logits have {list(input.shape)}"
            )
        q = target * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else target
        spread = (
            logp * q if weight is None else logp * q * weight.view([-1 if d == dim else 1 for d in range(input.ndim)])
        )
        loss = -spread.sum(dim)
        return loss.sum() / (input.numel() // classes) if reduction == "mean" else _reduced(loss, reduction)
    sharp = nll_loss(logp, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return sharp
    counted = target != ignore_index
    per_class = -logp if weight is None else -logp * weight.view([-1 if d == dim else 1 for d in range(input.ndim)])
    smooth = where(counted, per_class.sum(dim), 0.0)
    if reduction == "mean":
        norm = counted.sum() if weight is None else where(counted, weight[where(counted, target, 0)], 0.0).sum()
        smooth = smooth.sum() / norm
    else:
        smooth = _reduced(smooth, reduction)
    return sharp * (1 - label_smoothing) + smooth * (label_smoothing / classes)


def _check_classes(input: Tensor, target: Tensor, dim: int, ignore_index: int) -> None:
    expected = [n for d, n in enumerate(input.shape) if d != dim]
    if dim == 1 and target.ndim and target.shape[0] != input.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
        )
    if list(target.shape) != expected:
        raise RuntimeError(
            f"cross_entropy: logits of shape {list(input.shape)} need a target of class indices of shape {expected}, "
            f"but got shape {list(target.shape)}"
        )
    if target._data.dtype.kind not in "iu":
        raise RuntimeError(
            f"cross_entropy: the target must hold class indices (int64), got {target.dtype}; use target.long()"
        )
    if target.is_meta or target.is_cuda or target.numel() == 0:
        return
    low, high = int(target._data.min()), int(target._data.max())
    if low < 0 or high >= input.shape[dim]:
        outside = [t for t in (low, high) if not 0 <= t < input.shape[dim] and t != ignore_index]
        if outside:
            raise IndexError(f"Target {outside[0]} is out of bounds: the logits have {input.shape[dim]} classes")


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)², averaged, summed or as it is.

    Raises:
        RuntimeError: when the shapes differ; a silent broadcast would hide a mistake.
    """
    _same_shape("mse_loss", input, target)
    return _reduced((input - target).square(), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """-(pos_weight · y ln σ(x) + (1 - y) ln(1 - σ(x))) · weight, without overflow.

    Raises:
        ValueError: when the shapes of input and target differ.
    """
    if input.shape != target.shape:
        raise ValueError(f"Target size ({list(target.shape)}) must be the same as input size ({list(input.shape)})")
    log_not = log1p(exp(-input.abs())) + relu(-input)  # -ln σ(x)
    if pos_weight is None:
        loss = (1 - target) * input + log_not
    else:
        loss = (1 - target) * input + (1 + (pos_weight - 1) * target) * log_not
    return _reduced(loss if weight is None else loss * weight, reduction)


def _same_shape(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise RuntimeError(
            f"{name}: input has shape {list(input.shape)} and target {list(target.shape)}; make them equal with "
            ".reshape() or .unsqueeze()"
        )
