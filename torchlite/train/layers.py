"""Layers that only configurations need: lists whose layers name each other's values, structures made of such lists, and a
few steps that a program would write as an expression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torchlite
from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.nn import functional as F
from torchlite.train.config.components import INPUT, PREVIOUS


class Value(NamedTuple):
    """What a layer gave: the part that went on, and the whole."""

    chosen: Any
    whole: Any


Values = Mapping[str, Value]


class Call(NamedTuple):
    """How a list calls one of its layers.

    Attributes:
        key: the layer's name among the parameters, and that of its value where it was given.
        inputs: names of the values that it takes.
        output: what of its result goes on, see `chosen`.
    """

    key: str
    inputs: tuple[str, ...] = (PREVIOUS,)
    output: int | str | None = None

    @property
    def is_named(self) -> bool:
        """Whether the key is a name that the configuration gives, not a number."""
        return not self.key.isdecimal()


class Structure(nn.Module):
    """A layer made of lists of layers, called with the value before it and those of the lists around it by name."""


class LayerList(Structure):
    """Layers in order, each on the value before it or on those that it names."""

    is_layer_list: ClassVar[bool] = True

    def __init__(self, layers: Sequence[nn.Module], calls: Sequence[Call]) -> None:
        super().__init__()
        self.calls = tuple(calls)
        for layer, call in zip(layers, calls, strict=True):
            self.add_module(call.key, layer)

    def forward(self, x: Tensor, values: Values | None = None) -> Tensor:
        """The value of the last layer."""
        named = dict(values or {INPUT: Value(x, x)})
        for layer, call in zip(self.children(), self.calls, strict=True):
            result = called(layer, call, x, named)
            x = chosen(layer, result, call.output)
            if call.is_named:
                named[call.key] = Value(x, result)
        return x


def called(layer: nn.Module, call: Call, x: Any, values: Values) -> Any:
    """What ``layer`` makes of its inputs."""
    inputs = [value_of(name, x, values) for name in call.inputs]
    return layer(*inputs, values) if isinstance(layer, Structure) else layer(*inputs)


def value_of(name: str, x: Any, values: Values) -> Any:
    """The value called ``name``; ``name.1`` is the second of a layer that gives several, and ``previous`` is ``x``."""
    if name == PREVIOUS:
        return x
    base, _, index = name.partition(".")
    return values[base].whole[int(index)] if index else values[base].chosen


def chosen(layer: nn.Module, result: Any, output: int | str | None) -> Any:
    """What goes on of a result: the first of several, the one at ``output``, or of a recurrent layer the "last" states.

    These are the final states of its last layer, (N, H), or (N, 2H) where it runs in both directions.
    """
    if output == "last":
        if not isinstance(layer, nn.RNNBase):
            raise TypeError("only recurrent layers have `output: last`")
        state = result[1][0] if isinstance(result[1], tuple) else result[1]  # (layers · directions, N, H)
        return torchlite.cat((state[-2], state[-1]), dim=1) if layer.bidirectional else state[-1]
    if output is not None:
        if not isinstance(result, tuple) or not isinstance(output, int) or output >= len(result):
            count = len(result) if isinstance(result, tuple) else 1
            raise TypeError(f"its result has {count} part{'s' if count > 1 else ''}, so there is no `output: {output}`")
        return result[output]
    while isinstance(result, tuple):
        result = result[0]
    return result


class Residual(Structure):
    """What the layers make of x, plus x, or plus what the ``shortcut`` makes of it.

    With ``shortcut: auto`` that is a convolution of kernel size 1, or a linear map, where the shapes differ.
    """

    def __init__(self, layers: LayerList, shortcut: LayerList | Literal["auto"] | None = None) -> None:
        super().__init__()
        self.layers = layers
        self.shortcut = shortcut

    def forward(self, x: Tensor, values: Values | None = None) -> Tensor:
        """layers(x) + shortcut(x), of one shape."""
        out = _through(self.layers, x, values)
        beside = x if self.shortcut is None else _through(self.shortcut, x, values)
        return _same_shapes("residual", (out, beside), "the layers and the shortcut; try shortcut: auto")[0] + beside


class Branches(Structure):
    """Several lists on the same value, joined: along a dimension ("concat"), on a new one ("stack"), "add" or "multiply"."""

    def __init__(
        self,
        paths: list[LayerList],
        join: Literal["concat", "stack", "add", "multiply"] = "concat",
        dim: int = 1,
    ) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)
        self.join = join
        self.dim = dim

    def forward(self, x: Tensor, values: Values | None = None) -> Tensor:
        """The joined results of all paths."""
        results = [_through(path, x, values) for path in self.paths]
        if self.join == "concat":
            return torchlite.cat(results, dim=self.dim)
        if self.join == "stack":
            return torchlite.stack(results, dim=self.dim)
        return _folded(self.join, _same_shapes("branches", results, "the paths"))


def _through(path: Any, x: Tensor, values: Values | None) -> Tensor:
    return path(x, values) if isinstance(path, Structure) else path(x)


def _same_shapes(name: str, results: Sequence[Tensor], whose: str) -> Sequence[Tensor]:
    shapes = dict.fromkeys(tuple(result.shape[1:]) for result in results)
    if len(shapes) > 1:
        shown = " and ".join(f"[{', '.join(['N', *map(str, shape)])}]" for shape in shapes)
        raise RuntimeError(f"{name} adds values of one shape, but got {shown} from {whose}")
    return results


def _folded(join: str, results: Sequence[Tensor]) -> Tensor:
    total = results[0]
    for result in results[1:]:
        total = total + result if join == "add" else total * result
    return total


class Add(nn.Module):
    """The sum of the values that ``inputs`` names."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Their sum; they have one shape."""
        return _folded("add", _same_shapes("Add", inputs, "its inputs"))


class Multiply(nn.Module):
    """The product, element by element, of the values that ``inputs`` names."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Their product; they have one shape."""
        return _folded("multiply", _same_shapes("Multiply", inputs, "its inputs"))


class Concat(nn.Module):
    """The values that ``inputs`` names, one behind the other along ``dim``."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Tensor) -> Tensor:
        """One tensor of all."""
        return torchlite.cat(inputs, dim=self.dim)


class Permute(nn.Module):
    """Dimensions in another order; 0 is the batch."""

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = tuple(dims)

    def forward(self, x: Tensor) -> Tensor:
        """The same numbers, permuted."""
        return x.permute(self.dims)


class GlobalAvgPool2d(nn.Module):
    """The mean of each channel: (N, C, H, W) → (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Means over height and width."""
        if x.ndim != 4:
            raise RuntimeError(f"GlobalAvgPool2d takes images (N, C, H, W), got {x.ndim} dimensions")
        return x.mean((2, 3))


class Pool(nn.Module):
    """One vector for a sequence: (N, T, C) → (N, C), by the mean or the maximum over time, or the first or last step."""

    def __init__(self, kind: Literal["mean", "max", "first", "last"] = "mean") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """The pooled sequence."""
        if x.ndim != 3:
            raise RuntimeError(f"Pool takes sequences (N, T, C), got {x.ndim} dimensions")
        if self.kind in ("first", "last"):
            return x[:, 0 if self.kind == "first" else -1]
        return x.mean(1) if self.kind == "mean" else x.amax(1)


class Positions(nn.Module):
    """Adds to each step of (N, T, C) a vector of its position, learned or of sines and cosines (Vaswani et al., 2017)."""

    inferred: ClassVar[Mapping[str, int]] = {"length": 1, "features": -1}

    def __init__(self, length: int, features: int, kind: Literal["learned", "sinusoidal"] = "learned") -> None:
        super().__init__()
        if kind == "learned":
            self.weight = nn.Parameter(torchlite.empty(length, features).normal_(std=0.02))
        else:
            self.register_buffer("weight", _waves(length, features), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with the vectors of its positions added."""
        return x + self.weight[: x.shape[1]]


def _waves(length: int, features: int) -> Tensor:
    """sin and cos of t / 10000^(2i/C), alternating."""
    frequencies = torchlite.exp(torchlite.arange(0, features, 2) * (-math.log(10_000) / features))
    angles = torchlite.arange(length)[:, None] * frequencies  # (T, C / 2)
    return torchlite.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :features]


class SelfAttention(nn.Module):
    """Attention of a sequence (N, T, C) to itself, with several heads; ``causal`` hides what comes later."""

    inferred: ClassVar[Mapping[str, int]] = {"embed_dim": -1}

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, causal: bool = False
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"{embed_dim} features can't be divided among {num_heads} heads")
        self.num_heads = num_heads
        self.dropout = dropout
        self.causal = causal
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias)
        self.out = nn.Linear(embed_dim, embed_dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        """The mixed sequence, of the same shape."""
        heads = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (N, T, 3, heads, C / heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind()  # (N, heads, T, C / heads)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


LAYERS: dict[str, type[nn.Module]] = {
    "residual": Residual,
    "branches": Branches,
    **{
        layer.__name__: layer
        for layer in (Add, Concat, GlobalAvgPool2d, Multiply, Permute, Pool, Positions, SelfAttention)
    },
}
"""The layers that configurations name besides the modules of `torchlite.nn`."""
