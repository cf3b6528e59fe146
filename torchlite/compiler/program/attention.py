"""Attention and its gradient, which read heads and write them where they lie."""

from __future__ import annotations

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.kernels import Kernel, of_float32, struct
from torchlite.compiler.program.layout import Unplaceable
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.places import Array, Order, fresh
from torchlite.compiler.program.writer import Writer

_LANES, _TASKS, _STACK = 16, 32, 192 * 1024  # at most (see ``vectors.h``), and as in ``attention.h``


def lowered(node: Node) -> Lowering | None:
    """How an operation becomes C; None unless there are batches and heads, and for a mask of bfloat16."""
    if len(node.inputs[0].shape) != 4:
        return None
    if of_float32(node):
        return _LOWERINGS[node.op.name]
    half = all(v.aval is not None and v.aval.dtype == BFLOAT16 for v in (*node.inputs, *node.outputs))
    how = _LOWERINGS_OF_BFLOAT16[node.op.name]
    return how if half and len(node.inputs) == len(how.names) else None


class _Attention(Kernel):
    """An operation whose operands have these names in ``attention.h``."""

    described, prefix = "Attention", ""
    headers: tuple[str, ...] = ("mathematics.h", "vectors.h", "strips.h", "vector_mathematics.h", "attention.h")

    anywhere = True

    def __init__(self, names: tuple[str, ...], results: tuple[str, ...]) -> None:
        self.names = names
        self.results = results

    def wanted(self, node: Node, orders: list[Order | None]) -> list[Order | None]:
        """Any strides, as long as rows are dense."""
        lying = zip(node.inputs, orders, strict=True)
        return [None if _rows_are_dense(v) and (o is None or o[-1] == 3) else (0, 1, 2, 3) for v, o in lying]

    def orders(self, node: Node, orders: list[Order]) -> list[Order | None]:  # noqa: ARG002
        """Heads side by side, as projections want them."""
        return [(0, 2, 1, 3) for _ in node.outputs]

    def _named(self, node: Node) -> dict[str, Value]:
        masked = ("mask",) if len(node.inputs) > len(self.names) else ()
        return dict(zip((*self.names, *masked, *self.results), (*node.inputs, *node.outputs), strict=True))

    def _sizes(self, node: Node) -> dict[str, int]:
        named = self._named(node)
        batches, heads, queries, width = named["q"].shape
        sizes = {"batches": batches, "heads": heads, "queries": queries}
        return {**sizes, "keys": named["k"].shape[2], "width": width, "values": named["v"].shape[3]}

    def _count(self, sizes: dict[str, int]) -> int:
        """How many heads, or blocks of queries of heads, there may be."""
        heads = sizes["batches"] * sizes["heads"]
        return heads * -(-sizes["queries"] // _LANES) if "out" in self.results else heads

    def scratch(self, node: Node) -> int:
        """For each task, as in ``attention.h``, unless that is little."""
        sizes = self._sizes(node)
        each = 4 * self._floats(*(sizes[name] for name in ("queries", "keys", "width", "values")))
        return each * min(self._count(sizes), _TASKS) if each > _STACK else 0

    def _floats(self, queries: int, keys: int, width: int, values: int) -> int:
        whole_width, whole_values = (-(-n // _LANES) * _LANES for n in (width, values))
        block = 4 * _LANES
        if "out" in self.results:
            return block * (width + keys + whole_values) + keys * whole_values
        return block * (width + values + 2 * keys) + 2 * (queries + keys) * (whole_width + whole_values)

    def statement(self, node: Node, writer: Writer) -> str:
        """The sizes as a constant, and the call."""
        named, sizes = self._named(node), self._sizes(node)
        places = {name: writer.step.places[v] for name, v in named.items()}
        if any(place.strides[-1] != 1 for place in places.values()):
            raise Unplaceable  # an input with gaps in its rows
        steps = {name: f"{{{', '.join(map(str, place.strides[:3]))}}}" for name, place in places.items()}
        if "g" in steps:
            steps["out"] = steps.pop("g")
        numbers = {name: str(n) for name, n in sizes.items()}
        geometry = struct(writer, "", {**numbers, "causal": str(int(node.params["causal"])), **steps})
        scale = float(node.params["scale"])
        scratch = f"(float *)({writer.scratch()})" if writer.step.scratch else None
        given = struct(
            writer, f"({self.described})", {**named, "geometry": "&geometry", "scale": scale, "scratch": scratch}
        )
        count = "attention_blocks(&geometry)" if "out" in self.results else "geometry.batches * geometry.heads"
        call = f"parallel({self.prefix}{node.op.name}_task, &{given}, attention_tasks({count}));"
        return f"{{ static const Geometry geometry = {geometry}; {call} }}"


class _AttentionOfBFloat16(_Attention):
    """As ``attention_bfloat16.h`` does it."""

    described, prefix = "HalfAttention", "half_"
    headers = (*_Attention.headers, "attention_bfloat16.h")

    def _floats(self, queries: int, keys: int, width: int, values: int) -> int:
        widened = (queries + keys) * width + keys * values
        results = queries * values if "out" in self.results else (queries + keys) * (width + values)
        return super()._floats(queries, keys, width, values) + widened + results


def _rows_are_dense(v: Value) -> bool:
    """Whether the views that a value consists of leave its last dimension dense, if their base is."""
    return _ghost(v).strides[-1] == 4


def _ghost(v: Value) -> Array:
    if v.node is None or v.node.op.kind != "view":
        return fresh(v.shape, np.float32, None)
    return np.asarray(v.node.op.run(np, _ghost(v.node.inputs[0]), **v.node.params))


_OPERANDS = {
    "attention": (("q", "k", "v"), ("out",)),
    "attention_grad": (("g", "q", "k", "v"), ("dq", "dk", "dv")),
}
_LOWERINGS = {name: _Attention(*operands) for name, operands in _OPERANDS.items()}
_LOWERINGS_OF_BFLOAT16 = {name: _AttentionOfBFloat16(*operands) for name, operands in _OPERANDS.items()}
