"""Attention: averages of values, weighted by how well their keys fit a query."""

from __future__ import annotations

import math
import warnings
from typing import overload

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.composites.rearrangement import repeat_interleave
from torchlite.integers import takes_integers
from torchlite.ir import LOWER
from torchlite.nn.functional.dropout import dropout
from torchlite.nn.functional.linear import linear
from torchlite.ops.arithmetic import where
from torchlite.ops.attention import attention
from torchlite.ops.creation import ones
from torchlite.ops.joining import cat, constant_pad, repeat
from torchlite.ops.softmax import softmax
from torchlite.ops.triangles import tril


@autocasts(LOWER)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q Kᵀ · scale + mask) V (Vaswani et al., 2017).

    Shape:
        - query: (*, heads, L, E), key: (*, heads, S, E), value: (*, heads, S, V); leading dimensions are broadcast
        - attn_mask: broadcast to (*, heads, L, S); result: (*, heads, L, V)

    Args:
        query, key, value: as above.
        attn_mask: True where a key may be attended to; or numbers that are added.
        dropout_p: the share of weights that is dropped; whoever calls says 0 outside training.
        is_causal: position i attends to positions up to i only, whatever the mask says.
        scale: 1 / √E by default.
        enable_gqa: let keys and values have fewer heads, each shared by a group of queries.

    Raises:
        RuntimeError: for shapes that do not fit.
    """
    for name, x in {"query": query, "key": key, "value": value}.items():
        if x.ndim < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: {name} must be at least 2 dimensional, got shape {list(x.shape)}"
            )
    if enable_gqa:
        key, value = (_shared_heads(x, query.shape[-3]) for x in (key, value))
    if scale is None:
        scale = 1 / math.sqrt(max(query.shape[-1], 1))
    if dropout_p == 0 and _side_by_side(query, key, value):
        if attn_mask is None:
            return attention(query, key, value, None, is_causal, scale)
        every = (*query.shape[:-1], key.shape[-2])
        if not attn_mask.requires_grad and not is_causal and _fits_into(attn_mask, every):
            mask = additive_mask("attn_mask", attn_mask if attn_mask.is_floating_point() else ~attn_mask, query.dtype)
            return attention(query, key, value, mask.to(query.dtype).expand(every), False, scale)
    scores = (query * scale) @ key.transpose(-2, -1)
    nothing = None
    if is_causal:
        scores = where(tril(ones(*scores.shape[-2:], dtype=dtypes.bool_, device=query.device)), scores, -math.inf)
    if attn_mask is not None:
        # Where nothing may be attended to the result is 0, not the NaN of a softmax without any finite score.
        if attn_mask.dtype is dtypes.bool_:
            nothing = ~attn_mask.any(-1, keepdim=True)
            scores = where(attn_mask | nothing, scores, -math.inf)
        else:
            nothing = (attn_mask.detach() == -math.inf).all(-1, keepdim=True)
            scores = scores + where(nothing, 0.0, attn_mask)
    out = _weighted(scores, value, dropout_p)
    return out if nothing is None else where(nothing, 0.0, out)


def _side_by_side(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether all three are of one type that one operator serves, without broadcasting and not empty."""
    return (
        query.dtype is key.dtype is value.dtype
        and (
            query.dtype in (dtypes.float32, dtypes.float64)
            or (query.dtype is dtypes.bfloat16 and query.device.type == "cpu")
        )
        and query.shape[:-2] == key.shape[:-2]
        and key.shape[:-1] == value.shape[:-1]
        and query.shape[-1] == key.shape[-1]
        and 0 not in (*query.shape, *key.shape, *value.shape)
    )


def _fits_into(mask: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a mask can be expanded to ``shape``."""
    return mask.ndim <= len(shape) and all(
        n in (1, whole) for n, whole in zip(mask.shape[::-1], shape[::-1], strict=False)
    )


def _weighted(scores: Tensor, value: Tensor, dropout_p: float) -> Tensor:
    weights = softmax(scores, -1)
    return (dropout(weights, dropout_p) if dropout_p > 0 else weights) @ value


def _shared_heads(x: Tensor, heads: int) -> Tensor:
    if heads % x.shape[-3]:
        raise RuntimeError(
            f"scaled_dot_product_attention: {heads} heads of queries can't share {x.shape[-3]} heads of keys or values"
        )
    return repeat_interleave(x, heads // x.shape[-3], -3)


@takes_integers
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Several attentions side by side, each on its own projection of query, key and value (Vaswani et al., 2017).

    Shape:
        - query: (L, N, E) or (L, E); key: (S, N, kdim), value: (S, N, vdim), or without N
        - key_padding_mask: (N, S) or (S,); attn_mask: (L, S) or (N · num_heads, L, S)
        - result: (L, N, E) or (L, E), and weights (N, L, S), (N, num_heads, L, S) without averaging, or without N

    Args:
        query, key, value: as above.
        embed_dim_to_check, num_heads: E, and into how many heads it is divided.
        in_proj_weight, in_proj_bias: the three projections stacked, (3E, E) and (3E,).
        bias_k, bias_v: one more key and value, (1, 1, E), for every sample.
        add_zero_attn: one more key and value of zeros.
        dropout_p: the share of attention weights that is dropped in training.
        out_proj_weight, out_proj_bias: the projection of the result.
        training: whether to drop.
        key_padding_mask, attn_mask: True where a key must not be attended to; or numbers that are added.
        need_weights, average_attn_weights: whether the weights are returned, and averaged over the heads.
        use_separate_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight: in the place of ``in_proj_weight``.
        static_k, static_v: in the place of the projected keys and values, (N · num_heads, S, E / num_heads).
        is_causal: says that ``attn_mask`` is the causal one.

    Raises:
        AssertionError, RuntimeError: naming the shapes that do not fit, as PyTorch does.
    """
    batched = _check_attention_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, samples, width = query.shape
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if key_padding_mask is not None and attn_mask is not None and key_padding_mask.dtype is not attn_mask.dtype:
        warnings.warn(
            "Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type for both instead.",
            stacklevel=2,
        )
    key_padding_mask = additive_mask("key_padding_mask", key_padding_mask, query.dtype)
    attn_mask = additive_mask("attn_mask", attn_mask, query.dtype)
    if width != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    head_width = width // num_heads
    if head_width * num_heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {list(key.shape[:2])} do not match value's {list(value.shape[:2])}"
            )
    elif key.shape != value.shape:
        raise AssertionError(f"key shape {list(key.shape)} does not match value shape {list(value.shape)}")
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else (in_proj_weight,)
    q, k, v = _projected((query, key, value), weights, in_proj_bias)
    if attn_mask is not None:
        attn_mask = _fitting_mask(attn_mask, length, key.shape[0], samples * num_heads)

    added = 0
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k, v = cat([k, repeat(bias_k, 1, samples, 1)]), cat([v, repeat(bias_v, 1, samples, 1)])
        added += 1
    elif bias_k is not None or bias_v is not None:
        raise AssertionError("bias_k and bias_v must be given together")

    def by_head(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], samples * num_heads, head_width).transpose(0, 1)  # (N · heads, length, E / heads)

    q = by_head(q)
    k = by_head(k) if static_k is None else _fitting_static("static_k", static_k, samples * num_heads, head_width)
    v = by_head(v) if static_v is None else _fitting_static("static_v", static_v, samples * num_heads, head_width)
    if add_zero_attn:
        zero = k.new_zeros((samples * num_heads, 1, head_width))
        k, v = cat([k, zero], 1), cat([v, zero], 1)
        added += 1
    sources = k.shape[1]
    mask = _merged_masks(attn_mask, key_padding_mask, added, samples, num_heads, sources)

    dropped = dropout_p if training else 0.0
    attention = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head_width)) @ k.transpose(-2, -1)
        attention = softmax(scores if mask is None else scores + mask, -1)
        if dropped > 0:
            attention = dropout(attention, dropped)
        out = attention @ v
    else:
        out = scaled_dot_product_attention(q, k, v, mask, dropped)
    out = linear(out.transpose(0, 1).reshape(length * samples, width), out_proj_weight, out_proj_bias)
    out = out.reshape(length, samples, out.shape[1])
    if attention is not None:
        attention = attention.reshape(samples, num_heads, length, sources)
        if average_attn_weights:
            attention = attention.mean(1)
    if batched:
        return out, attention
    return out.squeeze(1), None if attention is None else attention.squeeze(0)


def _check_attention_shapes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> bool:
    """Whether there is a batch dimension, once the numbers of dimensions are known to fit."""
    ndim = query.ndim
    if ndim not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {ndim}-D query tensor")
    kind = "batched (3-D)" if ndim == 3 else "unbatched (2-D)"
    if key.ndim != ndim or value.ndim != ndim:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {ndim}-D but found {key.ndim}-D and {value.ndim}-D "
            "tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.ndim != ndim - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {ndim - 1}-D but found "
            f"{key_padding_mask.ndim}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.ndim not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.ndim}-D tensor "
                "instead"
            )
        expected = (num_heads, query.shape[0], key.shape[0])
        if ndim == 2 and attn_mask.ndim == 3 and tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {list(attn_mask.shape)}")
    return ndim == 3


@overload
def additive_mask(name: str, mask: Tensor, dtype: dtypes.dtype) -> Tensor: ...
@overload
def additive_mask(name: str, mask: Tensor | None, dtype: dtypes.dtype) -> Tensor | None: ...
def additive_mask(name: str, mask: Tensor | None, dtype: dtypes.dtype) -> Tensor | None:
    """A mask as numbers to be added to scores: -inf where it is True."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype is not dtypes.bool_:
        raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}")
    return where(mask, mask.new_full((), -math.inf, dtype=dtype), 0.0)


def _fitting_mask(mask: Tensor, length: int, sources: int, heads: int) -> Tensor:
    """(L, S) or (N · heads, L, S) with three dimensions."""
    expected = (length, sources) if mask.ndim == 2 else (heads, length, sources)
    if tuple(mask.shape) != expected:
        raise RuntimeError(f"The shape of the {mask.ndim}D attn_mask is {list(mask.shape)}, but should be {expected}.")
    return mask.unsqueeze(0) if mask.ndim == 2 else mask


def _fitting_static(name: str, x: Tensor, heads: int, head_width: int) -> Tensor:
    if (x.shape[0], x.shape[2]) != (heads, head_width):
        raise AssertionError(f"expecting {name} of shape [{heads}, *, {head_width}], but got {list(x.shape)}")
    return x


def _merged_masks(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, added: int, samples: int, num_heads: int, sources: int
) -> Tensor | None:
    """The sum of both masks, with columns for the ``added`` keys, or None where there is none."""
    if attn_mask is not None and added:
        attn_mask = constant_pad(attn_mask, [(0, 0), (0, 0), (0, added)], 0.0)
    if key_padding_mask is None:
        return attn_mask
    if added:
        key_padding_mask = constant_pad(key_padding_mask, [(0, 0), (0, added)], 0.0)
    if tuple(key_padding_mask.shape) != (samples, sources):
        raise AssertionError(
            f"Expected key_padding_mask of shape {[samples, sources]}, but got {list(key_padding_mask.shape)}"
        )
    by_head = key_padding_mask.reshape(samples, 1, 1, sources).expand(samples, num_heads, 1, sources)
    by_head = by_head.reshape(samples * num_heads, 1, sources)
    return by_head if attn_mask is None else attn_mask + by_head


def _projected(
    inputs: tuple[Tensor, Tensor, Tensor], weights: tuple[Tensor | None, ...], bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Query, key and value by three weights, or by the parts of one; in one product where they are one tensor."""
    given = [weight for weight in weights if weight is not None]
    if len(given) < len(weights):
        missing = "in_proj_weight" if len(weights) == 1 else "q_proj_weight, k_proj_weight or v_proj_weight"
        raise AssertionError(f"{missing} is missing")
    query, key, value = inputs
    if len(given) == 1 and query is key is value:
        return linear(query, given[0], bias).chunk(3, -1)
    parts = given[0].chunk(3) if len(given) == 1 else given
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    width = query.shape[-1]
    for name, x, part in zip(("query", "key", "value"), inputs, parts, strict=True):
        if tuple(part.shape) != (width, x.shape[-1]):
            raise AssertionError(
                f"expecting {name} weights shape of {(width, x.shape[-1])}, but got {list(part.shape)}"
            )
    return tuple(linear(x, part, b) for x, part, b in zip(inputs, parts, biases, strict=True))
