"""Whole networks by name, for ``model: {type: resnet18, ...}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.train.layers import Pool, Positions, SelfAttention


class BasicBlock(nn.Module):
    """Two convolutions of 3x3 beside a shortcut (He et al., 2015)."""

    expansion: ClassVar[int] = 1

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels, width, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) → (N, width, H / stride, W / stride)."""
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1 beside a shortcut; the one in the middle has the stride."""

    expansion: ClassVar[int] = 4

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(channels, 4 * width, stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) → (N, 4 · width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


def _shortcut(channels: int, wanted: int, stride: int) -> nn.Module | None:
    if stride == 1 and channels == wanted:
        return None
    return nn.Sequential(nn.Conv2d(channels, wanted, 1, stride, bias=False), nn.BatchNorm2d(wanted))


class ResNet(nn.Module):
    """A residual network (He et al., 2015), its parameters named as those of torchvision's.

    ``stem: small`` begins with one convolution of 3x3 in place of one of 7x7 and a pooling, for images below 100 pixels.
    """

    inferred: ClassVar[Mapping[str, int]] = {"in_channels": 1}
    block: ClassVar[type[BasicBlock] | type[Bottleneck]] = BasicBlock
    depths: ClassVar[tuple[int, ...]] = ()

    def __init__(self, in_channels: int, num_classes: int, stem: Literal["large", "small"] = "large") -> None:
        super().__init__()
        small = stem == "small"
        self.conv1 = nn.Conv2d(in_channels, 64, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        for number, depth in enumerate(self.depths):
            width = 64 * 2**number
            blocks = []
            for place in range(depth):
                blocks.append(self.block(channels, width, 2 if number and not place else 1))
                channels = width * self.block.expansion
            self.add_module(f"layer{number + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → (N, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(len(self.depths)):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return self.fc(self.avgpool(x).flatten(1))


class ResNet18(ResNet):
    """The residual network of 18 layers (He et al., 2015); ``stem: small`` for images below 100 pixels."""

    depths = (2, 2, 2, 2)


class ResNet34(ResNet):
    """The residual network of 34 layers (He et al., 2015); ``stem: small`` for images below 100 pixels."""

    depths = (3, 4, 6, 3)


class ResNet50(ResNet):
    """The residual network of 50 layers (He et al., 2015); ``stem: small`` for images below 100 pixels."""

    block = Bottleneck
    depths = (3, 4, 6, 3)


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each on a normalized copy of what it is added to."""

    def __init__(self, d_model: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, heads, dropout, causal=causal)
        self.norm2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, d_model) → (N, T, d_model)."""
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class _Encoder(nn.Module):
    """Tokens with their positions through blocks of a Transformer: (N, T) → (N, T, d_model)."""

    def __init__(
        self, vocab_size: int, context: int, layers: int, heads: int, d_model: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions = Positions(context, d_model)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(TransformerBlock(d_model, heads, dropout, causal) for _ in range(layers)))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.blocks(self.dropout(self.positions(self.embedding(x)))))


class GPT(nn.Module):
    """A Transformer that tells the token after every place of a sequence (Radford et al., 2019).

    ``tie_weights`` uses the embedding of the tokens for the output, too. `vocab_size` and `context` follow from the data.
    """

    inferred: ClassVar[Mapping[str, int]] = {"context": 1}

    def __init__(
        self,
        vocab_size: int,
        context: int,
        layers: int = 6,
        heads: int = 6,
        d_model: int = 384,
        dropout: float = 0.0,
        tie_weights: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = _Encoder(vocab_size, context, layers, heads, d_model, dropout, causal=True)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        if tie_weights:
            self.head.weight = self.encoder.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, T) → logits (N, T, vocab_size)."""
        return self.head(self.encoder(x))


class TextTransformer(nn.Module):
    """A Transformer that tells a class of a text from the mean over its places. `vocab_size` and `context` follow from the data."""

    inferred: ClassVar[Mapping[str, int]] = {"context": 1}

    def __init__(
        self,
        vocab_size: int,
        context: int,
        num_classes: int,
        layers: int = 2,
        heads: int = 4,
        d_model: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = _Encoder(vocab_size, context, layers, heads, d_model, dropout, causal=False)
        self.pool = Pool("mean")
        self.head = nn.Linear(d_model, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, T) → logits (N, num_classes)."""
        return self.head(self.pool(self.encoder(x)))


class TabularMLP(nn.Module):
    """A perceptron for the rows of a table; each hidden layer is normalized, cut at zero and thinned by dropout."""

    inferred: ClassVar[Mapping[str, int]] = {"in_features": -1}

    def __init__(self, in_features: int, out_features: int, hidden: list[int], dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(in_features, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
            in_features = width
        self.layers = nn.Sequential(*layers, nn.Linear(in_features, out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_features) → (N, out_features)."""
        return self.layers(x)


ARCHITECTURES: dict[str, type[nn.Module]] = {
    "gpt": GPT,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "tabular_mlp": TabularMLP,
    "text_transformer": TextTransformer,
}
"""The networks by the names that configurations use."""
