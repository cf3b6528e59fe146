"""Max-pooling and its gradient as C, on arrays whose channels lie side by side."""

from __future__ import annotations

from torchlite.backends.native import pooling_nhwc
from torchlite.backends.native.convolution_nhwc import Kernel
from torchlite.compiler.graph import Node
from torchlite.compiler.program.channels import Continued, OfChannels, sizes
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.stores import store_of_channels
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How ``max_pool`` and ``spread_to_windows`` become C."""
    values = node.outputs[0]
    if any(v.aval is None or v.aval.ndim != 4 for v in (*node.inputs, *node.outputs)):
        return None
    if values.aval is None or values.aval.dtype != "float32" or not pooling_nhwc.handles(node.params["window"]):
        return None
    return _LOWERINGS[node.op.name]


class _MaxPool(OfChannels):
    headers: tuple[str, ...] = pooling_nhwc.HEADERS

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        kernel = pooling_nhwc.max_pool("NAME", sizes(node.inputs[0]), sizes(node.outputs[0]), node.params["window"])
        x, best, places = (writer.pointer(v) for v in (*node.inputs, *node.outputs))
        name = writer.function(kernel.text, "max_pool")
        writer.statement(f"{name}((const float *)({x}), (float *)({best}), (uint8_t *)({places}));")


class _Spread(Continued):
    headers: tuple[str, ...] = pooling_nhwc.HEADERS

    def scratch(self, node: Node) -> int:
        """A row of results for each task."""
        return 4 * self._kernel(node).scratch

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        values, places = (writer.pointer(v) for v in node.inputs)
        name = writer.function(self._kernel(node).text, "spread")
        target, finish, context = store_of_channels(node, writer)
        given = (f"(const float *)({values})", f"(const uint8_t *)({places})", target)
        writer.statement(f"{name}({', '.join(given)}, (float *)({writer.scratch()}), {finish}, {context});")

    def _kernel(self, node: Node) -> Kernel:
        return pooling_nhwc.spread("NAME", sizes(node.inputs[0]), sizes(node.outputs[0]), node.params["window"])


_LOWERINGS: dict[str, Lowering] = {"max_pool": _MaxPool(), "spread_to_windows": _Spread()}
