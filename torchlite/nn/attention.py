"""Attention with several heads, as a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.integers import takes_integers
from torchlite.nn import functional as F
from torchlite.nn import init
from torchlite.nn.attention_backends import SDPBackend as SDPBackend
from torchlite.nn.attention_backends import sdpa_kernel as sdpa_kernel
from torchlite.nn.linear import Linear
from torchlite.nn.module import Module
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter


class MultiheadAttention(Module):
    """Several attentions side by side, each on its own projection of query, key and value (Vaswani et al., 2017).

    Args:
        embed_dim: E, features of query and result.
        num_heads: how many attentions, each with E / num_heads features.
        dropout: the share of attention weights that is dropped in training.
        bias: whether the projections have one.
        add_bias_kv: one more key and value, trained, for every sample.
        add_zero_attn: one more key and value of zeros.
        kdim, vdim: features of key and value; E by default.
        batch_first: tensors are (N, L, E) and not (L, N, E).
        device, dtype: of the parameters.

    Shape:
        query (L, N, E), key (S, N, kdim), value (S, N, vdim), or without N → result (L, N, E) and weights (N, L, S);
        in_proj_weight: (3E, E), or q_proj_weight, k_proj_weight and v_proj_weight where kdim or vdim differ.

    Raises:
        ValueError: for sizes that are not positive.
    """

    inferred: ClassVar[Mapping[str, int | tuple[int, int]]] = {"embed_dim": -1, "kdim": (1, -1), "vdim": (2, -1)}

    @takes_integers
    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim == self.vdim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")
        extra = (1, 1, embed_dim) if add_bias_kv else None
        shapes: dict[str, tuple[int, ...] | None] = {
            "q_proj_weight": (embed_dim, embed_dim) if not self._qkv_same_embed_dim else None,
            "k_proj_weight": (embed_dim, self.kdim) if not self._qkv_same_embed_dim else None,
            "v_proj_weight": (embed_dim, self.vdim) if not self._qkv_same_embed_dim else None,
            "in_proj_weight": (3 * embed_dim, embed_dim) if self._qkv_same_embed_dim else None,
            "in_proj_bias": (3 * embed_dim,) if bias else None,
            "bias_k": extra,
            "bias_v": extra,
        }
        for name, shape in shapes.items():
            parameter = None if shape is None else Parameter(empty(*shape, device=device, dtype=dtype))
            self.register_parameter(name, parameter)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Weights by Glorot's rule, biases 0."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = self._parameters[name]
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for parameter in (self.bias_k, self.bias_v):
            if parameter is not None:
                init.xavier_normal_(parameter)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result and, where needed, the attention weights; see `torchlite.nn.functional.multi_head_attention_forward`."""
        swapped = self.batch_first and query.ndim == 3
        if swapped:
            query, key, value = _without_copies((query, key, value))
        out, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (out.transpose(0, 1) if swapped else out), weights


def _without_copies(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Each input with the batch second; what was one tensor stays one, as one product then projects it."""
    swapped = {id(x): x.transpose(0, 1) for x in inputs}
    return tuple(swapped[id(x)] for x in inputs)
