"""Convolution in two dimensions and its gradients as C, on arrays whose channels lie side by side."""

from __future__ import annotations

from torchlite.backends.native import convolution_nhwc
from torchlite.backends.native.convolution_nhwc import Kernel, Sizes
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.finishing import CHANNELS_LAST, result
from torchlite.compiler.program.lowering import Lowering, Order, Plain
from torchlite.compiler.program.units import Unit
from torchlite.compiler.program.writer import Writer

_WEIGHT: Order = (0, 1, 2, 3)
_ANYHOW: Sizes = (0, 0, 0, 0)  # steps between numbers that have to be copied


def lowered(node: Node) -> Lowering | None:
    """How ``convolution``, ``convolution_input_grad`` and ``convolution_weight_grad`` become C."""
    if any(v.aval is None or v.aval.dtype != "float32" for v in (*node.inputs, *node.outputs)):
        return None
    if not convolution_nhwc.handles(node.params["window"], node.params["groups"]):
        return None
    return _WeightGrad() if node.op.name == "convolution_weight_grad" else _Convolution()


class _Convolution(Plain):
    """A convolution, or the gradient of an input, which is one in its way."""

    headers: tuple[str, ...] = (convolution_nhwc.HEADER,)

    def continues(self, node: Node) -> bool:
        """Unless there are dimensions of length 1, without which what follows would have fewer."""
        return 1 not in _shape(node.outputs[0])

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides of what windows move over, which is copied where it needs zeros beside it."""
        return [None, _WEIGHT, *([(0,)] if len(node.inputs) > 2 else [])]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST]

    def scratch(self, node: Node) -> int:
        """Packed weights, and rows with zeros beside them."""
        return 4 * self._kernel(node, _ANYHOW).scratch

    def write(self, unit: Unit, writer: Writer) -> None:
        """Call the kernel."""
        node = unit.root
        assert node is not None
        source, weight, *bias = (f"(const float *)({writer.pointer(v)})" for v in node.inputs)
        kernel = self._kernel(node, steps(writer.step.places[node.inputs[0]].strides))
        name = writer.function(kernel.text, "convolution")
        target, finish, context = result(unit, writer)
        given = (source, weight, *(bias or ["NULL"]), target, f"(float *)({writer.scratch()})", finish, context)
        writer.statement(f"{name}({', '.join(given)});")

    def _kernel(self, node: Node, distances: Sizes) -> Kernel:
        source, out = sizes(node.inputs[0]), sizes(node.outputs[0])
        make = convolution_nhwc.convolution if node.op.name == "convolution" else convolution_nhwc.input_grad
        return make("NAME", source, out, node.params["window"], distances)


class _WeightGrad(Plain):
    headers: tuple[str, ...] = (convolution_nhwc.HEADER,)

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides of the input; channels of the gradient side by side."""
        return [None, CHANNELS_LAST]

    def scratch(self, node: Node) -> int:
        """Partial sums, and rows with zeros beside them."""
        return 4 * self._kernel(node, _ANYHOW).scratch

    def write(self, unit: Unit, writer: Writer) -> None:
        """Call the kernel."""
        node = unit.root
        assert node is not None
        x, g = (f"(const float *)({writer.pointer(v)})" for v in node.inputs)
        name = writer.function(self._kernel(node, steps(writer.step.places[node.inputs[0]].strides)).text, "weights")
        target = writer.pointer(node.outputs[0])
        writer.statement(f"{name}({x}, {g}, (float *)({target}), (float *)({writer.scratch()}));")

    def _kernel(self, node: Node, distances: Sizes) -> Kernel:
        x, g = map(sizes, node.inputs)
        return convolution_nhwc.weight_grad("NAME", x, g, node.params["window"], distances)


def sizes(v: Value) -> Sizes:
    """Samples, height, width and channels of an array (N, C, H, W)."""
    n, c, h, w = _shape(v)
    return n, h, w, c


def steps(strides: tuple[int, ...]) -> Sizes:
    """The strides of an array (N, C, H, W) in the order (N, H, W, C)."""
    n, c, h, w = strides
    return n, h, w, c


def _shape(v: Value) -> tuple[int, ...]:
    assert v.aval is not None
    return v.aval.shape
