"""Convolution in two dimensions and its gradients as C, on arrays whose channels lie side by side."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from torchlite.backends.matmul_precision import splits_float32
from torchlite.backends.native import bfloat16_convolution as of_bfloat16
from torchlite.backends.native import convolution_nhwc as of_float32
from torchlite.backends.native import convolution_tiles as in_tiles
from torchlite.backends.native import convolution_winograd as by_winograd
from torchlite.backends.native import weight_grad_winograd
from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.backends.native.convolution_nhwc import Kernel, Sizes, Sum
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.channels import Continued, distances, sizes
from torchlite.compiler.program.lowering import Lowering, Plain
from torchlite.compiler.program.places import CHANNELS_LAST, Array, Order, fresh
from torchlite.compiler.program.stores import Store, beside, fill_of_channels, store_of_channels
from torchlite.compiler.program.writer import Writer

_WEIGHT: Order = (0, 1, 2, 3)
_ANYHOW: Sizes = (0, 0, 0, 0)  # steps between numbers that have to be copied


def lowered(node: Node) -> Lowering | None:
    """How ``convolution``, ``convolution_input_grad`` and ``convolution_weight_grad`` become C."""
    arrays = [v.aval for v in (*node.inputs, *node.outputs) if v.aval is not None]
    (dtype, *others) = {np.dtype(a.dtype) for a in arrays}
    window, groups = node.params["window"], node.params["groups"]
    if others or dtype not in _LOWERINGS or window.ndim != 2:
        return None
    if dtype == np.float32 and not of_float32.handles(window, groups):
        return None
    if dtype == BFLOAT16 and not (of_bfloat16.handles(window, groups) and all(a.size for a in arrays)):
        return None
    of_positions, of_weight = _LOWERINGS[dtype]
    splits = dtype == np.float32 and splits_float32("conv")
    if node.op.name == "convolution_weight_grad":
        return _WEIGHT_GRAD_TRANSFORMED if splits else of_weight
    if not splits:
        return of_positions
    tiles, winograd = (kernels.pays(_sum(node)) for kernels in (in_tiles, by_winograd))
    if tiles:
        return _BY_WINOGRAD_OR_IN_TILES if winograd else _IN_TILES
    return _BY_WINOGRAD if winograd else of_positions


def _sum(node: Node) -> Sum:
    """What a convolution or the gradient of its input computes."""
    of = of_float32.convolution if node.op.name == "convolution" else of_float32.input_grad
    return of(sizes(node.inputs[0]), sizes(node.outputs[0]), node.params["window"])


def _fill(v: Value, writer: Writer, struct: str = "OnRows", kind: str = "float") -> str:
    """What makes the rows of an input, as such a struct in C."""
    if v not in writer.step.unit.before:
        return f"({struct}){{0}}"
    name, context = fill_of_channels(v, writer)
    return f"({struct}){{{name}, {context}, {beside(v, writer.step.unit.before[v], writer, kind)}}}"


def _finish(out: Value, store: Store, writer: Writer, struct: str = "OnRows", kind: str = "float") -> str:
    """What takes the rows of a result, as such a struct in C."""
    loop = next(iter(writer.step.unit.loops), None)
    return f"({struct}){{{store.finish}, {store.context}, {beside(out, loop, writer, kind)}}}"


def _address(v: Value, writer: Writer) -> tuple[str, Sizes]:
    """Where an array lies; of an input that is computed, where the first array lies that is read for it."""
    places, unit = writer.step.places, writer.step.unit
    for read in unit.before[v].reads if v in unit.before else (v,):
        if v not in unit.before or (read.shape == v.shape and places[read].order == CHANNELS_LAST):
            return f"(const float *)({writer.pointer(read)})", distances(places[read].strides)
    return "NULL", _ANYHOW


class _OfPositions(Continued):
    """A convolution, or the gradient of an input, which is one in its way."""

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides of what windows move over, which is copied where it needs zeros beside it."""
        return [None, _WEIGHT, *([(0,)] if len(node.inputs) > 2 else [])]


class _Float32(_OfPositions):
    """As ``convolution_nhwc.h`` does it, with all sizes as constants."""

    headers: tuple[str, ...] = (of_float32.HEADER,)
    kernels: ModuleType = of_float32

    def computes(self, node: Node, number: int) -> bool:  # noqa: ARG002
        """What windows move over."""
        return number == 0

    def covers(self, node: Node, number: int) -> bool:
        """Where all rows of a sample are done at once."""
        x, out = node.inputs[0], node.outputs[0]
        _, last = _sum(node).axes[0].reads(out.shape[2])
        return number == 0 and last >= x.shape[2] - 1 and self._kernel(node, _ANYHOW).band == out.shape[2]

    def together(self, node: Node) -> int:
        """A band of rows, or one row."""
        rows, columns = node.outputs[0].shape[2:]
        band = self._kernel(node, _ANYHOW).band
        return columns * (band if rows % band == 0 else 1)

    def scratch(self, node: Node) -> int:
        """Packed weights, and rows with zeros beside them."""
        return 4 * self._kernel(node, _ANYHOW).scratch

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        weight, *bias = (f"(const float *)({writer.pointer(v)})" for v in node.inputs[1:])
        x, out = node.inputs[0], node.outputs[0]
        source, steps = ("NULL", _ANYHOW) if x in writer.step.unit.before else _address(x, writer)
        name = writer.function(self._kernel(node, steps).text, "convolution")
        store = store_of_channels(node, writer)
        scratch = f"(float *)({writer.scratch()})"
        given = (
            source,
            weight,
            *(bias or ["NULL"]),
            store.target,
            scratch,
            _finish(out, store, writer),
            _fill(x, writer),
        )
        writer.statement(f"{name}({', '.join(given)});")

    def _kernel(self, node: Node, steps: Sizes) -> Kernel:
        kernel: Kernel = self.kernels.kernel("NAME", _sum(node), steps)
        return kernel


class _InTiles(_Float32):
    """As ``convolution_tiles.h`` does it."""

    headers: tuple[str, ...] = in_tiles.HEADERS
    kernels: ModuleType = in_tiles


class _ByWinograd(_Float32):
    """As ``convolution_winograd.h`` does it, where the processor has no tile registers."""

    kernels: ModuleType = by_winograd

    def __init__(self, beside: _Float32) -> None:
        self.beside = beside
        self.headers = tuple(dict.fromkeys((*beside.headers, *by_winograd.HEADERS)))

    def _kernel(self, node: Node, steps: Sizes) -> Kernel:
        made, other = super()._kernel(node, steps), self.beside._kernel(node, steps)
        text = f"#ifdef __AMX_BF16__\n{other.text}#else\n{made.text}#endif\n"
        return Kernel(text, max(made.scratch, other.scratch), math.gcd(made.band, other.band))


class _Float32WeightGrad(Plain):
    headers: tuple[str, ...] = _Float32.headers
    make = staticmethod(of_float32.weight_grad)

    def computes(self, node: Node, number: int) -> bool:  # noqa: ARG002
        """What windows move over."""
        return number == 0

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides of the input; channels of the gradient side by side."""
        return [None, CHANNELS_LAST]

    def scratch(self, node: Node) -> int:
        """Partial sums, and rows with zeros beside them."""
        return 4 * self._kernel(node, _ANYHOW).scratch

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        x, steps = _address(node.inputs[0], writer)
        filled = node.inputs[0] in writer.step.unit.before
        g, target = (f"(float *)({writer.pointer(v)})" for v in (node.inputs[1], node.outputs[0]))
        name = writer.function(self._kernel(node, steps, filled=filled).text, "weights")
        given = (x, g, target, f"(float *)({writer.scratch()})", _fill(node.inputs[0], writer))
        writer.statement(f"{name}({', '.join(given)});")

    def _kernel(self, node: Node, steps: Sizes, *, filled: bool = False) -> Kernel:
        x, g = map(sizes, node.inputs)
        return self.make("NAME", x, g, node.params["window"], steps, filled=filled)


class _Float32WeightGradTransformed(_Float32WeightGrad):
    """As ``weight_grad_tiles.h`` does it where the processor has tile registers, and else ``weight_grad_winograd.h``, where they do."""

    headers: tuple[str, ...] = weight_grad_winograd.HEADERS
    make = staticmethod(weight_grad_winograd.weight_grad)


_FEW = 4  # channels, as in `bfloat16_convolution.h`
_ON_ROWS = ("Bf16OnRows", "bfloat16")
_KINDS = ("convolution", "convolution_input_grad", "convolution_weight_grad")
_FUNCTIONS = dict(zip(_KINDS, ("bf16_convolution", "bf16_input_grad", "bf16_gradient_of_weight"), strict=True))


class _BFloat16(_OfPositions):
    """As ``bfloat16_geometry.h`` says it, with sums in float32 that are rounded once."""

    headers: tuple[str, ...] = of_bfloat16.HEADERS

    def computes(self, node: Node, number: int) -> bool:
        """What windows move over, unless they do so in tile registers."""
        return number == 0 and _fills(node)

    def covers(self, node: Node, number: int) -> bool:
        """Unless each residue by the stride is a sum of its own."""
        return self.computes(node, number) and (node.op.name == "convolution" or max(node.params["window"].stride) == 1)

    def together(self, node: Node) -> int:
        """A sample."""
        return math.prod(node.outputs[0].shape[2:])

    def scratch(self, node: Node) -> int:
        """Packed weights, and samples with zeros beside them."""
        return _scratch(node, _dense(node.inputs[0]), _dense(node.outputs[0]))

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        store = store_of_channels(node, writer)
        x = node.inputs[0]
        source, lying = _source(x, writer)
        weight, *bias = (writer.pointer(v) for v in node.inputs[1:])
        if node.op.name == "convolution" and not bias:
            bias = ["NULL"]
        out = writer.step.places.get(node.outputs[0])
        geometry = _geometry(node, lying, _dense(node.outputs[0]) if out is None else out.ghost)
        given = (
            geometry,
            source,
            weight,
            *bias,
            store.target,
            writer.scratch(),
            _finish(node.outputs[0], store, writer, *_ON_ROWS),
            _fill(x, writer, *_ON_ROWS),
        )
        writer.statement(f"{_FUNCTIONS[node.op.name]}({', '.join(given)});")


class _BFloat16WeightGrad(Plain):
    headers: tuple[str, ...] = _BFloat16.headers

    def computes(self, node: Node, number: int) -> bool:
        """What windows move over, unless sums are taken in tile registers."""
        return number == 0 and _fills(node)

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:  # noqa: ARG002
        """Any strides."""
        return [None, None]

    def scratch(self, node: Node) -> int:
        """Partial sums, and samples with zeros beside them."""
        return _scratch(node, *map(_dense, node.inputs))

    def write(self, node: Node, writer: Writer) -> None:
        """Call the kernel."""
        x, g = node.inputs
        source, lying = _source(x, writer)
        geometry = _geometry(node, lying, writer.step.places[g].ghost)
        arrays = (source, writer.pointer(g), writer.pointer(node.outputs[0]))
        given = (geometry, *arrays, writer.scratch(), _fill(x, writer, *_ON_ROWS))
        writer.statement(f"{_FUNCTIONS[node.op.name]}({', '.join(given)});")


def _fills(node: Node) -> bool:
    """Whether a kernel computes what windows move over: not of few channels, of which a row would be short loops."""
    return of_bfloat16.fills() and node.inputs[0].shape[1] > _FEW


def _source(x: Value, writer: Writer) -> tuple[str, Array]:
    """What windows move over, and how it lies; where it is computed it lies nowhere."""
    if x in writer.step.unit.before:
        return "NULL", _dense(x)
    return writer.pointer(x), writer.step.places[x].ghost


def _numbers(node: Node, first: Array, second: Array) -> Array:
    """The numbers of ``Bf16Geometry``; the gradient of an input is given that of the result first."""
    x, y = (second, first) if node.op.name == "convolution_input_grad" else (first, second)
    return of_bfloat16.geometry(x, y, node.params["window"])


def _geometry(node: Node, first: Array, second: Array) -> str:
    return f"&(const Bf16Geometry){{{', '.join(map(str, _numbers(node, first, second)))}}}"


def _scratch(node: Node, first: Array, second: Array) -> int:
    return int(of_bfloat16.C.scratch(_numbers(node, first, second), _KINDS.index(node.op.name)))


def _dense(v: Value) -> Array:
    """A ghost of a value whose dimensions lie in their order."""
    return fresh(v.shape, BFLOAT16, None)


_WEIGHT_GRAD_TRANSFORMED = _Float32WeightGradTransformed()
_LOWERINGS: dict[object, tuple[Lowering, Lowering]] = {
    np.dtype(np.float32): (_Float32(), _Float32WeightGrad()),
    BFLOAT16: (_BFloat16(), _BFloat16WeightGrad()),
}
_IN_TILES = _InTiles()
_BY_WINOGRAD, _BY_WINOGRAD_OR_IN_TILES = _ByWinograd(_Float32()), _ByWinograd(_IN_TILES)
