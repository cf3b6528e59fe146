"""The Transformer: encoder and decoder of attention and feed-forward layers (Vaswani et al., 2017)."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.attention import MultiheadAttention
from torchlite.nn.containers import ModuleList
from torchlite.nn.dropout import Dropout
from torchlite.nn.functional.attention import additive_mask
from torchlite.nn.linear import Linear
from torchlite.nn.module import Module
from torchlite.nn.normalization import LayerNorm
from torchlite.ops.creation import full
from torchlite.ops.triangles import triu

Activation = str | Callable[[Tensor], Tensor]


class _FeedForwardLayer(Module):
    """What the layers of encoder and decoder have in common: attentions, a feed-forward network, norms."""

    inferred: ClassVar[Mapping[str, int]] = {"d_model": -1}
    _attentions: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        settings: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        attention = {"dropout": dropout, "batch_first": batch_first, **settings}
        for name in self._attentions:
            self.add_module(name, MultiheadAttention(d_model, nhead, **attention))
        self.linear1 = Linear(d_model, dim_feedforward, **settings)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **settings)
        self.norm_first = norm_first
        numbers = range(1, len(self._attentions) + 2)
        for i in numbers:
            self.add_module(f"norm{i}", LayerNorm(d_model, eps=layer_norm_eps, **settings))
        for i in numbers:
            self.add_module(f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def _attended(self, attention: Module, dropout: Module, x: Tensor, memory: Tensor, *masks: Any) -> Tensor:
        """What ``x`` finds in ``memory``; masks are attn_mask, key_padding_mask and is_causal."""
        attn_mask, key_padding_mask, is_causal = masks
        out = attention(
            x,
            memory,
            memory,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            need_weights=False,
            is_causal=is_causal,
        )[0]
        return dropout(out)

    def _fed_forward(self, x: Tensor, dropout: Module) -> Tensor:
        return dropout(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoderLayer(_FeedForwardLayer):
    """Self-attention and a feed-forward network, each with a residual connection and a norm.

    Args:
        d_model: features of every step.
        nhead: heads of attention.
        dim_feedforward: features inside the feed-forward network.
        dropout: the share of results that is dropped in training.
        activation: "relu", "gelu" or a function, inside the feed-forward network.
        layer_norm_eps: of the norms.
        batch_first: tensors are (N, L, d_model) and not (L, N, d_model).
        norm_first: norms stand before attention and feed-forward network, and not behind.
        bias: whether maps and norms have one.
        device, dtype: of the parameters.

    Shape:
        (L, N, d_model), (N, L, d_model) or (L, d_model), unchanged.
    """

    _attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The layer's result; masks as in `MultiheadAttention`."""
        masks = (*_additive(src, src_mask, src_key_padding_mask), is_causal)
        x = src
        if self.norm_first:
            normed = self.norm1(x)
            x = x + self._attended(self.self_attn, self.dropout1, normed, normed, *masks)
            return x + self._fed_forward(self.norm2(x), self.dropout2)
        x = self.norm1(x + self._attended(self.self_attn, self.dropout1, x, x, *masks))
        return self.norm2(x + self._fed_forward(x, self.dropout2))


class TransformerDecoderLayer(_FeedForwardLayer):
    """Self-attention, attention to a memory, and a feed-forward network, each with a residual and a norm.

    Args:
        d_model: features of every step.
        nhead: heads of attention.
        dim_feedforward: features inside the feed-forward network.
        dropout: the share of results that is dropped in training.
        activation: "relu", "gelu" or a function, inside the feed-forward network.
        layer_norm_eps: of the norms.
        batch_first: tensors are (N, L, d_model) and not (L, N, d_model).
        norm_first: norms stand before attention and feed-forward network, and not behind.
        bias: whether maps and norms have one.
        device, dtype: of the parameters.

    Shape:
        tgt (L, N, d_model) and memory (S, N, d_model) → (L, N, d_model); batch first or without a batch accordingly.
    """

    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The layer's result; masks as in `MultiheadAttention`."""
        own = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        other = (memory_mask, memory_key_padding_mask, memory_is_causal)
        x = tgt
        if self.norm_first:
            normed = self.norm1(x)
            x = x + self._attended(self.self_attn, self.dropout1, normed, normed, *own)
            x = x + self._attended(self.multihead_attn, self.dropout2, self.norm2(x), memory, *other)
            return x + self._fed_forward(self.norm3(x), self.dropout3)
        x = self.norm1(x + self._attended(self.self_attn, self.dropout1, x, x, *own))
        x = self.norm2(x + self._attended(self.multihead_attn, self.dropout2, x, memory, *other))
        return self.norm3(x + self._fed_forward(x, self.dropout3))


class TransformerEncoder(Module):
    """A stack of ``num_layers`` copies of ``encoder_layer``, with ``norm`` at the end where given.

    ``enable_nested_tensor`` and ``mask_check`` are for PyTorch's sake.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The result of the last layer; masks as in `MultiheadAttention`."""
        mask, src_key_padding_mask = _additive(src, mask, src_key_padding_mask)
        out = src
        for layer in self.layers:
            out = layer(out, src_mask=mask, is_causal=is_causal is True, src_key_padding_mask=src_key_padding_mask)
        return out if self.norm is None else self.norm(out)


class TransformerDecoder(Module):
    """A stack of ``num_layers`` copies of ``decoder_layer``, with ``norm`` at the end where given."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The result of the last layer; masks as in `MultiheadAttention`."""
        out = tgt
        for layer in self.layers:
            out = layer(
                out,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal is True,
                memory_is_causal=memory_is_causal,
            )
        return out if self.norm is None else self.norm(out)


class Transformer(Module):
    """An encoder, and a decoder that attends to what it makes.

    Args:
        d_model, nhead: as in `TransformerEncoderLayer`.
        num_encoder_layers, num_decoder_layers: layers of each.
        dim_feedforward, dropout, activation: as in `TransformerEncoderLayer`.
        custom_encoder, custom_decoder: modules in the place of those that are made here.
        layer_norm_eps, batch_first, norm_first, bias, device, dtype: as in `TransformerEncoderLayer`.

    Shape:
        src (S, N, d_model) and tgt (T, N, d_model) → (T, N, d_model); batch first or without a batch accordingly.
    """

    inferred: ClassVar[Mapping[str, int]] = {"d_model": -1}

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        layer = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device,
            dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        if custom_encoder is None:
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*layer), num_encoder_layers, norm())
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*layer), num_decoder_layers, norm())
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        """All matrices by Glorot's rule."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """What the decoder makes of ``tgt`` and the encoded ``src``; masks as in `MultiheadAttention`."""
        samples = 0 if self.batch_first else 1
        if src.ndim == 3 and src.shape[samples] != tgt.shape[samples]:
            raise RuntimeError(
                f"the batch number of src and tgt must be equal, got {src.shape[samples]} and {tgt.shape[samples]}"
            )
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError(
                f"the feature number of src and tgt must be equal to d_model {self.d_model}, got {src.shape[-1]} and "
                f"{tgt.shape[-1]}"
            )
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: dtypes.dtype | None = None) -> Tensor:
        """(sz, sz) with 0 on and below the diagonal and -inf above: every position attends to those before it."""
        return triu(full((sz, sz), -math.inf, device=device, dtype=dtype), 1)


def _additive(x: Tensor, mask: Tensor | None, key_padding_mask: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Both masks as numbers to be added, with a warning where they are of different kinds."""
    if mask is not None and key_padding_mask is not None and mask.dtype is not key_padding_mask.dtype:
        warnings.warn(
            "Support for mismatched src_key_padding_mask and mask is deprecated. Use same type for both instead.",
            stacklevel=4,
        )
    return additive_mask("mask", mask, x.dtype), additive_mask("src_key_padding_mask", key_padding_mask, x.dtype)


def _copies(module: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


def _activation(activation: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return F.relu if activation == "relu" else F.gelu
