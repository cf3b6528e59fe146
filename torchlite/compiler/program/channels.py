"""What kernels of arrays (N, C, H, W) whose channels lie side by side have in common."""

from __future__ import annotations

from torchlite.backends.native.convolution_nhwc import Sizes
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.lowering import Plain
from torchlite.compiler.program.places import CHANNELS_LAST, Order


class OfChannels(Plain):
    """A lowering all of whose arrays lie so."""

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST for _ in node.inputs]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST for _ in node.outputs]


class Continued(OfChannels):
    """One that hands over its first result in tiles."""

    def continues(self, node: Node) -> bool:
        """Unless there are dimensions of length 1, without which what follows would have fewer."""
        return 1 not in node.outputs[0].shape


def sizes(v: Value) -> Sizes:
    """Samples, height, width and channels of an array (N, C, H, W)."""
    return distances(v.shape)


def distances(strides: tuple[int, ...]) -> Sizes:
    """The strides (or lengths) of an array (N, C, H, W) in the order (N, H, W, C)."""
    n, c, h, w = strides
    return n, h, w, c
