"""LSTM and GRU over whole sequences, and their gradients."""

from __future__ import annotations

import abc

from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.backends.native.recurrent import IN_BFLOAT16
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.kernels import Kernel, of_float32, struct
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How an operation becomes C; None for other dtypes than float32, of the LSTM also bfloat16, and for projected states."""
    projected = node.op.name == "lstm" and len(node.inputs) > 4
    square = node.op.name != "lstm_grad" or node.inputs[1].shape[1] == node.inputs[2].shape[1]
    if projected or not square:
        return None
    if of_float32(node):
        return _LOWERINGS[node.op.name]
    half = all(v.aval is not None and v.aval.dtype == BFLOAT16 for v in (*node.inputs, *node.outputs))
    return _OF_BFLOAT16.get(node.op.name) if half else None


def _whole(n: int) -> int:
    return -(-n // 16) * 16  # LANES are at most so many


class _Recurrent(Kernel):
    """An operation whose operands have these names in a struct of ``backends/native``.

    Args:
        gates: of a unit.
        names, results: of the operands.
        gradient: whether it is one.
    """

    def __init__(self, gates: int, names: tuple[str, ...], results: tuple[str, ...], *, gradient: bool) -> None:
        self.gates = gates
        self.names = names
        self.results = results
        self.gradient = gradient

    def _named(self, node: Node) -> dict[str, Value]:
        names = self.names + ("bias",) * (node.op.name == "gru" and len(node.inputs) == 4)
        if "given" in node.params:
            names += tuple(name for name, there in zip(("g_h", "g_c"), node.params["given"], strict=True) if there)
        return dict(zip((*names, *self.results), (*node.inputs, *node.outputs), strict=False))

    def _sizes(self, node: Node) -> tuple[int, int, int]:
        named = self._named(node)
        samples, width = named["c0" if "c0" in named else "h0"].shape
        return named["kept" if self.gradient else "gates"].shape[0], samples, width

    def _tasks(self, node: Node) -> int:
        samples = self._sizes(node)[1]
        return -(-samples // (16 if samples >= 32 else 8 if samples >= 16 else 4))

    @abc.abstractmethod
    def _weight_bytes(self, node: Node) -> int:
        """Bytes of the packed weight."""

    @abc.abstractmethod
    def _task_bytes(self, node: Node) -> int:
        """Bytes of scratch memory of a task."""

    def scratch(self, node: Node) -> int:
        """The packed weight, and what each task needs."""
        return self._weight_bytes(node) + self._tasks(node) * self._task_bytes(node)

    def _fields(self, node: Node) -> dict[str, Value | str | float | None]:
        """All but the weight and scratch memory."""
        named: dict[str, Value | str | float | None] = {**self._named(node)}
        del named["w_hh"]
        batch_sizes = node.params["batch_sizes"]
        table = "NULL" if batch_sizes is None else f"(const int64_t[]){{{', '.join(map(str, batch_sizes))}}}"
        sizes = ", ".join(map(str, (*self._sizes(node), int(node.params["reverse"]))))
        return {**named, "of": f"{{{table}, {sizes}}}"}

    def _call(self, node: Node, task: str, described: str) -> str:
        return f"parallel({task}, &{described}, recurrent_tasks({self._sizes(node)[1]}));"


class _Float32(_Recurrent):
    """As ``recurrent.h`` does it."""

    headers: tuple[str, ...] = ("mathematics.h", "vectors.h", "strips.h", "vector_mathematics.h", "recurrent.h")

    def _weight_bytes(self, node: Node) -> int:
        width = self._sizes(node)[2]
        return 4 * self.gates * width * _whole(width)

    def _task_bytes(self, node: Node) -> int:
        return 4 * 2 * 16 * _whole(self._sizes(node)[2]) if self.gradient else 0

    def statement(self, node: Node, writer: Writer) -> str:
        """Pack the weight and run the tasks."""
        weight, width = writer.pointer(self._named(node)["w_hh"]), self._sizes(node)[2]
        at = f"(const float *)({weight}), {self.gates}, {width}, (float *)({writer.scratch()})"
        fields = self._fields(node)
        if self.gradient:
            before, fields["panels"] = "", f"rows_of_weight({at})"
            fields["scratch"] = f"(float *)({writer.scratch(self._weight_bytes(node))})"
        else:
            before, fields["panels"] = f"pack_gates({at}); ", f"(const float *)({writer.scratch()})"
        return before + self._call(node, f"{node.op.name}_task", struct(writer, "(Recurrent)", fields))


class _BFloat16(_Recurrent):
    """As ``bfloat16_recurrent.h`` does it."""

    headers: tuple[str, ...] = ("strips.h", "vector_mathematics.h", "recurrent.h", "bfloat16.h", "bfloat16_recurrent.h")

    def _weight_bytes(self, node: Node) -> int:
        return int(IN_BFLOAT16.weight_bytes(self._sizes(node)[2], self.gradient))

    def _task_bytes(self, node: Node) -> int:
        return int(IN_BFLOAT16.task_bytes(self._sizes(node)[2], self.gradient))

    def statement(self, node: Node, writer: Writer) -> str:
        """Pack the weight and run the tasks."""
        weight, width = writer.pointer(self._named(node)["w_hh"]), self._sizes(node)[2]
        pack = "bf16_pack_units" if self.gradient else "bf16_pack_gates"
        fields = self._fields(node)
        fields["weight"] = f"(const void *)({writer.scratch()})"
        fields["scratch"] = writer.scratch(self._weight_bytes(node))
        described = struct(writer, "(Bf16Lstm)", fields)
        before = f"{pack}((const void *)({weight}), {width}, (void *)({writer.scratch()})); "
        return before + self._call(node, f"bf16_{node.op.name}_task", described)


_LSTM = (4, ("gates", "h0", "c0", "w_hh"), ("out_h", "out_c", "out_kept"))
_LSTM_GRAD = (4, ("kept", "c0", "w_hh", "cs"), ("d_gates", "d_h0", "d_c0"))
_LOWERINGS: dict[str, Lowering] = {
    "lstm": _Float32(*_LSTM, gradient=False),
    "lstm_grad": _Float32(*_LSTM_GRAD, gradient=True),
    "gru": _Float32(3, ("gates", "h0", "w_hh"), ("out_h", "out_kept"), gradient=False),
    "gru_grad": _Float32(3, ("g_h", "kept", "h0", "w_hh", "hs"), ("d_gates", "d_own", "d_h0"), gradient=True),
}
_OF_BFLOAT16: dict[str, Lowering] = {
    "lstm": _BFloat16(*_LSTM, gradient=False),
    "lstm_grad": _BFloat16(*_LSTM_GRAD, gradient=True),
}
