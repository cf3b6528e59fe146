"""LSTM and GRU over whole sequences, and their gradients."""

from __future__ import annotations

from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.kernels import Kernel, of_float32, struct
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How an operation becomes C; None for other dtypes than float32 and for projected states."""
    projected = node.op.name == "lstm" and len(node.inputs) > 4
    square = node.op.name != "lstm_grad" or node.inputs[1].shape[1] == node.inputs[2].shape[1]
    return _LOWERINGS[node.op.name] if of_float32(node) and not projected and square else None


def _whole(n: int) -> int:
    return -(-n // 16) * 16  # LANES are at most so many


class _Recurrent(Kernel):
    """An operation whose operands have these names in ``recurrent.h``."""

    headers: tuple[str, ...] = ("mathematics.h", "vectors.h", "strips.h", "recurrent.h")

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

    def _tasks(self, samples: int) -> int:
        return -(-samples // (16 if samples >= 32 else 8 if samples >= 16 else 4))

    def _weight_bytes(self, node: Node) -> int:
        _, _, width = self._sizes(node)
        return 4 * self.gates * width * _whole(width)

    def scratch(self, node: Node) -> int:
        """The packed weight, and in the gradient the cotangents of the states of each task."""
        _, samples, width = self._sizes(node)
        states = 4 * self._tasks(samples) * 2 * 16 * _whole(width) if self.gradient else 0
        return self._weight_bytes(node) + states

    def statement(self, node: Node, writer: Writer) -> str:
        """Pack the weight and run the tasks."""
        named = self._named(node)
        weight = named.pop("w_hh")
        steps, samples, width = self._sizes(node)
        batch_sizes = node.params["batch_sizes"]
        table = None if batch_sizes is None else f"(const int64_t[]){{{', '.join(map(str, batch_sizes))}}}"
        at = f"(const float *)({writer.pointer(weight)}), {self.gates}, {width}, (float *)({writer.scratch()})"
        if self.gradient:
            before, panels = "", f"rows_of_weight({at})"
            more = {"scratch": f"(float *)({writer.scratch(self._weight_bytes(node))})"}
        else:
            before, panels, more = f"pack_gates({at}); ", f"(const float *)({writer.scratch()})", {}
        sizes = {"steps": str(steps), "samples": str(samples), "width": str(width)}
        fields = {**named, "panels": panels, **more, "batch_sizes": table, **sizes}
        given = struct(writer, "(Recurrent)", {**fields, "reverse": str(int(node.params["reverse"]))})
        return f"{before}parallel({node.op.name}_task, &{given}, recurrent_tasks({samples}));"


_LOWERINGS: dict[str, Lowering] = {
    "lstm": _Recurrent(4, ("gates", "h0", "c0", "w_hh"), ("out_h", "out_c", "out_kept"), gradient=False),
    "lstm_grad": _Recurrent(4, ("kept", "c0", "w_hh", "cs"), ("d_gates", "d_h0", "d_c0"), gradient=True),
    "gru": _Recurrent(3, ("gates", "h0", "w_hh"), ("out_h", "out_kept"), gradient=False),
    "gru_grad": _Recurrent(3, ("g_h", "kept", "h0", "w_hh", "hs"), ("d_gates", "d_own", "d_h0"), gradient=True),
}
