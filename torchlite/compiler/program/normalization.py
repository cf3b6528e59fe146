"""Batch normalisation and its gradient as C, on arrays whose channels lie side by side."""

from __future__ import annotations

import math

from torchlite.backends.native import normalization_nhwc
from torchlite.backends.native.convolution_nhwc import Kernel
from torchlite.compiler.graph import Node
from torchlite.compiler.program.channels import OfChannels, sizes
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.places import CHANNELS_LAST, Order
from torchlite.compiler.program.writer import Writer

_NUMBERS: Order = (0, 1, 2, 3)  # of arrays (1, C, 1, 1)


def lowered(node: Node) -> Lowering | None:
    """How ``moments`` and ``standardize_grad`` become C: over all dimensions of (N, C, H, W) but that of channels."""
    if node.params["dims"] != (0, 2, 3):
        return None
    if any(v.aval is None or v.aval.ndim != 4 or v.aval.dtype != "float32" for v in (*node.inputs, *node.outputs)):
        return None
    return _LOWERINGS[node.op.name]


class _Moments(OfChannels):
    headers: tuple[str, ...] = normalization_nhwc.HEADERS

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """The numbers of channels are dense."""
        return [_NUMBERS, _NUMBERS]

    def scratch(self, node: Node) -> int:
        """Moments of parts."""
        return 4 * self._kernel(node).scratch

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        name = writer.function(self._kernel(node).text, "moments")
        x, mean, scale = (f"(float *)({writer.pointer(v)})" for v in (*node.inputs, *node.outputs))
        writer.statement(f"{name}({x}, {mean}, {scale}, (float *)({writer.scratch()}));")

    def _kernel(self, node: Node) -> Kernel:
        *positions, channels = sizes(node.inputs[0])
        return normalization_nhwc.moments("NAME", math.prod(positions), channels, node.params["eps"])


class _StandardizeGrad(OfChannels):
    headers: tuple[str, ...] = normalization_nhwc.HEADERS

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side; the numbers of channels are dense."""
        return [CHANNELS_LAST, CHANNELS_LAST, _NUMBERS]

    def scratch(self, node: Node) -> int:
        """Sums of parts."""
        return 4 * self._kernel(node).scratch

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        name = writer.function(self._kernel(node).text, "standardize_grad")
        g, y, scale, out = (f"(float *)({writer.pointer(v)})" for v in (*node.inputs, *node.outputs))
        writer.statement(f"{name}({g}, {y}, {scale}, {out}, (float *)({writer.scratch()}));")

    def _kernel(self, node: Node) -> Kernel:
        *positions, channels = sizes(node.inputs[0])
        return normalization_nhwc.standardize_grad("NAME", math.prod(positions), channels)


_LOWERINGS: dict[str, Lowering] = {"moments": _Moments(), "standardize_grad": _StandardizeGrad()}
