"""Convolution of bfloat16 arrays in two dimensions and its gradients in a program, with sums in float32, rounded once."""

from __future__ import annotations

import numpy as np

from torchlite.backends.native import bfloat16_convolution as native
from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.finishing import CHANNELS_LAST, result
from torchlite.compiler.program.lowering import Lowering, Order, Plain
from torchlite.compiler.program.places import Array
from torchlite.compiler.program.units import Unit
from torchlite.compiler.program.writer import Writer

_WEIGHT: Order = (0, 1, 2, 3)
_KINDS = ("convolution", "convolution_input_grad", "convolution_weight_grad")
_FUNCTIONS = dict(zip(_KINDS, ("bf16_convolution", "bf16_input_grad", "bf16_gradient_of_weight"), strict=True))


def lowered(node: Node) -> Lowering | None:
    """How ``convolution``, ``convolution_input_grad`` and ``convolution_weight_grad`` of bfloat16 become C."""
    avals = [v.aval for v in (*node.inputs, *node.outputs)]
    window = node.params["window"]
    if any(a is None or a.dtype != BFLOAT16 or not a.size for a in avals) or window.ndim != 2:
        return None
    if node.params["groups"] != 1 or max(window.kernel) > native.MOST_TAPS:
        return None
    return _WeightGrad() if node.op.name == "convolution_weight_grad" else _Convolution()


class _Convolution(Plain):
    """A convolution, or the gradient of an input."""

    headers: tuple[str, ...] = ("bfloat16.h", "bfloat16_convolution.h")

    def continues(self, node: Node) -> bool:
        """Unless there are dimensions of length 1, without which what follows would have fewer."""
        return 1 not in _ghost(node.outputs[0]).shape

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides of what windows move over, which is copied anyhow."""
        return [None, _WEIGHT, *([(0,)] if len(node.inputs) > 2 else [])]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """Channels side by side."""
        return [CHANNELS_LAST]

    def scratch(self, node: Node) -> int:
        """Packed weights, and samples with zeros beside them."""
        return _scratch(node, _ghost(node.inputs[0]), _ghost(node.outputs[0]))

    def write(self, unit: Unit, writer: Writer) -> None:
        """Call the kernel."""
        node = unit.root
        assert node is not None
        forward = node.op.name == "convolution"
        target, finish, context = result(unit, writer)
        source, weight, *bias = (writer.pointer(v) for v in node.inputs)
        out = writer.step.places.get(node.outputs[0])
        ghosts = writer.step.places[node.inputs[0]].ghost, _ghost(node.outputs[0]) if out is None else out.ghost
        given = (source, weight, *((bias or ["NULL"]) if forward else []), target, writer.scratch(), finish, context)
        writer.statement(f"{_FUNCTIONS[node.op.name]}({_geometry(node, *ghosts)}, {', '.join(given)});")


class _WeightGrad(_Convolution):
    def continues(self, node: Node) -> bool:  # noqa: ARG002
        """No."""
        return False

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides."""
        return [None, None]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """As weights lie."""
        return [_WEIGHT]

    def scratch(self, node: Node) -> int:
        """Partial sums, and samples with zeros beside them."""
        return _scratch(node, *map(_ghost, node.inputs))

    def write(self, unit: Unit, writer: Writer) -> None:
        """Call the kernel."""
        node = unit.root
        assert node is not None
        ghosts = (writer.step.places[v].ghost for v in node.inputs)
        given = (*map(writer.pointer, (*node.inputs, node.outputs[0])), writer.scratch())
        writer.statement(f"{_FUNCTIONS[node.op.name]}({_geometry(node, *ghosts)}, {', '.join(given)});")


def _numbers(node: Node, first: Array, second: Array) -> Array:
    """The numbers of ``Bf16Geometry``; the gradient of an input is given that of the result first."""
    x, y = (second, first) if node.op.name == "convolution_input_grad" else (first, second)
    return native.geometry(x, y, node.params["window"])


def _geometry(node: Node, first: Array, second: Array) -> str:
    return f"&(const Bf16Geometry){{{', '.join(map(str, _numbers(node, first, second)))}}}"


def _scratch(node: Node, first: Array, second: Array) -> int:
    return int(native.C.scratch(_numbers(node, first, second), _KINDS.index(node.op.name)))


def _ghost(v: Value) -> Array:
    assert v.aval is not None
    return np.empty(v.aval.shape, v.aval.dtype)
