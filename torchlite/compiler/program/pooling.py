"""Max-pooling and its gradient as C, on arrays whose channels lie side by side."""

from __future__ import annotations

from torchlite.backends.native import pooling_nhwc
from torchlite.compiler.graph import Node
from torchlite.compiler.program.convolutions import sizes
from torchlite.compiler.program.finishing import CHANNELS_LAST, result
from torchlite.compiler.program.lowering import Lowering, Order, Plain
from torchlite.compiler.program.units import Unit
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How ``max_pool`` and ``spread_to_windows`` become C."""
    values = node.outputs[0]
    if any(v.aval is None or v.aval.ndim != 4 for v in (*node.inputs, *node.outputs)):
        return None
    if values.aval is None or values.aval.dtype != "float32" or not pooling_nhwc.handles(node.params["window"]):
        return None
    return _MaxPool() if node.op.name == "max_pool" else _Spread()


class _MaxPool(Plain):
    headers: tuple[str, ...] = pooling_nhwc.HEADERS

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST, CHANNELS_LAST]

    def write(self, unit: Unit, writer: Writer) -> None:
        """Call the kernel."""
        node = unit.root
        assert node is not None
        kernel = pooling_nhwc.max_pool("NAME", sizes(node.inputs[0]), sizes(node.outputs[0]), node.params["window"])
        x, best, places = (writer.pointer(v) for v in (*node.inputs, *node.outputs))
        name = writer.function(kernel.text, "max_pool")
        writer.statement(f"{name}((const float *)({x}), (float *)({best}), (uint8_t *)({places}));")


class _Spread(Plain):
    headers: tuple[str, ...] = pooling_nhwc.HEADERS

    def continues(self, node: Node) -> bool:
        """Unless there are dimensions of length 1, without which what follows would have fewer."""
        return 1 not in sizes(node.outputs[0])

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST, CHANNELS_LAST]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST]

    def scratch(self, node: Node) -> int:
        """A row of results for each task."""
        return (
            4
            * pooling_nhwc.spread("NAME", sizes(node.inputs[0]), sizes(node.outputs[0]), node.params["window"]).scratch
        )

    def write(self, unit: Unit, writer: Writer) -> None:
        """Call the kernel."""
        node = unit.root
        assert node is not None
        kernel = pooling_nhwc.spread("NAME", sizes(node.inputs[0]), sizes(node.outputs[0]), node.params["window"])
        values, places = (writer.pointer(v) for v in node.inputs)
        name = writer.function(kernel.text, "spread")
        target, finish, context = result(unit, writer)
        given = (f"(const float *)({values})", f"(const uint8_t *)({places})", target)
        writer.statement(f"{name}({', '.join(given)}, (float *)({writer.scratch()}), {finish}, {context});")
