"""Kernels that go row by row: layer normalisation, cross-entropy, softmax, and their gradients."""

from __future__ import annotations

import math

from torchlite.backends.native.library import GRAIN
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.kernels import Kernel, of_float32, struct
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.stores import store_of_rows
from torchlite.compiler.program.tile_sums import rows_of_a_sum
from torchlite.compiler.program.writer import Writer

_BEFORE = ("mathematics.h", "vectors.h")


def lowered(node: Node) -> Lowering | None:
    """How an operation becomes C; None for other dtypes than float32, and for softmax along another dimension than the last."""
    if not of_float32(node):
        return None
    if "softmax" in node.op.name and node.params["dim"] != len(node.inputs[0].shape) - 1:
        return None
    return _LOWERINGS[node.op.name]


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)


class _LayerNorm(Kernel):
    headers: tuple[str, ...] = (*_BEFORE, "layer_norm.h")

    def statement(self, node: Node, writer: Writer) -> str:
        x, *scale_shift = node.inputs
        out, mean, scale = node.outputs
        rows = math.prod(mean.shape)
        weight, bias = (*scale_shift, None, None)[:2]
        fields = {"x": x, "weight": weight, "bias": bias, "out": out, "out_mean": mean, "out_scale": scale}
        sizes = {"rows": str(rows), "n": str(math.prod(x.shape) // rows)}
        given = struct(writer, "(LayerNorm)", {**fields, **sizes, "eps": float(node.params["eps"])})
        return f"layer_norm(&{given});"


class _LayerNormGrad(Kernel):
    headers: tuple[str, ...] = _LayerNorm.headers
    summed = -1

    def continues(self, node: Node) -> bool:
        """Where a row is what is normalized."""
        return self._sizes(node)[1] == node.outputs[0].shape[-1]

    def together(self, node: Node) -> int:
        """Rows of a task, or a part of them."""
        return rows_of_a_sum(self._rows_of_a_task(node)) if self.continues(node) else 0

    def scratch(self, node: Node) -> int:
        """Sums of each task, and a few rows."""
        rows, n = self._sizes(node)
        return _parts(rows, self._rows_of_a_task(node)) * 5 * n * 8  # as in layer_norm.h

    def _rows_of_a_task(self, node: Node) -> int:
        rows, n = self._sizes(node)
        return max(_parts(rows, 16), GRAIN // n, 1)  # as in layer_norm.h

    def _sizes(self, node: Node) -> tuple[int, int]:
        rows = math.prod(node.inputs[2].shape)
        return rows, math.prod(node.inputs[1].shape) // rows

    def statement(self, node: Node, writer: Writer) -> str:
        rows, n = self._sizes(node)
        g, x, mean, scale, *weight = node.inputs
        out, d_weight, d_bias = (*node.outputs, None, None)[:3]
        fields = {"g": g, "x": x, "mean": mean, "scale": scale, "weight": weight[0] if weight else None}
        results: dict[str, Value | str | None] = {"d_weight": d_weight, "d_bias": d_bias}
        if any(loop.nodes or loop.reductions for loop in writer.step.unit.loops):
            results["finish"], results["context"], _ = store_of_rows(node, writer, n)
        else:
            results["out"] = out
        sizes = {"scratch": f"(double *)({writer.scratch()})", "rows": str(rows), "n": str(n)}
        return f"layer_norm_grad(&{struct(writer, '(LayerNorm)', {**fields, **results, **sizes})});"


_REDUCTIONS = {"none": "NO_REDUCTION", "sum": "SUM", "mean": "MEAN"}


class _CrossEntropy(Kernel):
    """Targets outside are found by the check that was captured with it, before anything is overwritten."""

    headers: tuple[str, ...] = (*_BEFORE, "vector_mathematics.h", "cross_entropy.h")

    def _fields(self, node: Node) -> dict[str, str]:
        rows, classes = node.inputs[0 if node.op.name == "cross_entropy" else 1].shape
        sizes = {"rows": str(rows), "classes": str(classes), "ignored": f"{node.params['ignore_index']}L"}
        return {**sizes, "reduction": _REDUCTIONS[node.params["reduction"]]}

    def statement(self, node: Node, writer: Writer) -> str:
        names = ("x", "target", "out", "out_lse", "out_count")
        values = dict(zip(names, (*node.inputs, *node.outputs), strict=True))
        return f"cross_entropy(&{struct(writer, '(CrossEntropy)', {**values, **self._fields(node)})});"


class _CrossEntropyGrad(_CrossEntropy):
    def statement(self, node: Node, writer: Writer) -> str:
        names = ("g", "x", "target", "lse", "count", "out")
        values = dict(zip(names, (*node.inputs, *node.outputs), strict=True))
        return f"cross_entropy_grad(&{struct(writer, '(CrossEntropy)', {**values, **self._fields(node)})});"


class _Softmax(Kernel):
    headers: tuple[str, ...] = (*_BEFORE, "rows.h")

    def statement(self, node: Node, writer: Writer) -> str:
        *g, x = node.inputs
        first = f"(void *)({writer.pointer(g[0])})" if g else "NULL"
        n = x.shape[-1]
        given = f"(void *)({writer.pointer(x)}), (void *)({writer.pointer(node.outputs[0])})"
        return f"over_rows({node.op.name}_task, {first}, {given}, {math.prod(x.shape) // n}, {n});"


_LOWERINGS: dict[str, Lowering] = {
    "layer_norm": _LayerNorm(),
    "layer_norm_grad": _LayerNormGrad(),
    "cross_entropy": _CrossEntropy(),
    "cross_entropy_grad": _CrossEntropyGrad(),
    **dict.fromkeys(("softmax", "log_softmax", "softmax_grad", "log_softmax_grad"), _Softmax()),
}
