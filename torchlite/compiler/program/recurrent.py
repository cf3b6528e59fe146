"""LSTM and GRU over whole sequences, and their gradients."""

from __future__ import annotations

import math

import numpy as np

from torchlite.backends.native.bfloat16 import BFLOAT16, has_tiles
from torchlite.backends.native.recurrent import GRADIENT_TILES, TILES, C, in_tiles
from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.kernels import Kernel, of_float32, struct
from torchlite.compiler.program.lowering import Lowering
from torchlite.compiler.program.units import flat
from torchlite.compiler.program.writer import Writer


def lowered(node: Node) -> Lowering | None:
    """How an operation becomes C; None for other dtypes than float32, of the LSTM also bfloat16, and for projected states."""
    name = node.op.name
    if name == "lstm_grad_sums":
        return _with_sums(node)
    if name == "lstm_of_rows":
        w_hh = node.inputs[4].shape
        if w_hh[0] != 4 * w_hh[1] or not in_tiles(w_hh):
            return None
        return _LSTM_OF_ROWS if of_float32(node) else _BFLOAT16_LSTM_OF_ROWS if _of_bfloat16(node) else None
    if name == "lstm_grad_inputs":
        w_hh, w_ih = node.inputs[2].shape, node.inputs[-1].shape
        whole = w_hh[0] == 4 * w_hh[1] and w_ih[1] == _whole(w_ih[1])
        return _LSTM_GRAD_INPUTS if of_float32(node) and whole else None
    if name == "lstm_of_inputs":
        return _LSTM_OF_INPUTS if of_float32(node) and node.inputs[5].shape[0] == 4 * node.inputs[5].shape[1] else None
    lstm = _LSTM.get(name)
    if lstm is None:
        return _GRU[name] if of_float32(node) else None
    w_hh = lstm.named(node)["w_hh"].shape
    if (name == "lstm" and len(node.inputs) > 4) or w_hh[0] != 4 * w_hh[1]:
        return None
    if of_float32(node):
        return lstm
    return _LSTM_OF_BFLOAT16[name] if _of_bfloat16(node) and in_tiles(w_hh) else None


def _with_sums(node: Node) -> Lowering | None:
    w_hh = node.inputs[2].shape
    if w_hh[0] != 4 * w_hh[1] or not in_tiles(w_hh) or len(node.outputs) > 3 + _MOST_FACTORS or not has_tiles():
        return None
    if of_float32(node):
        return _SUMS
    return _SUMS_OF_BFLOAT16 if _of_bfloat16(node) and node.inputs[0].shape[0] else None


def _of_bfloat16(node: Node) -> bool:
    of_numbers = [v for v in (*node.inputs, *node.outputs) if v.aval is None or v.aval.dtype != np.int64]
    return all(v.aval is not None and v.aval.dtype == BFLOAT16 for v in of_numbers)


_MOST_FACTORS = 2  # as ``recurrent_sums.h`` has it


def _starts_from_zeros(lstm: Node, h0: object) -> bool:
    """Whether the first of several steps, which all samples have, finds nothing to multiply.

    A weight that is not finite is then not seen there, but at the next step.
    """
    zeros = isinstance(h0, Value) and h0.constant is not None and not h0.constant.any()
    return zeros and lstm.params["batch_sizes"] is None and lstm.outputs[0].shape[0] > 1


def _tasks(samples: int) -> int:
    return -(-samples // (16 if samples >= 32 else 8 if samples >= 16 else 4))


def _whole(n: int) -> int:
    return -(-n // 16) * 16  # LANES are at most so many


class _Recurrent(Kernel):
    """An operation whose operands have these names in ``recurrent.h``.

    Args:
        gates: of a unit.
        names, results: of the operands.
        gradient: whether it is one.
    """

    headers: tuple[str, ...] = (
        "mathematics.h", "vectors.h", "strips.h", "vector_mathematics.h", "embeddings.h", "needed.h", "recurrent.h",
    )  # fmt: skip

    def __init__(self, gates: int, names: tuple[str, ...], results: tuple[str, ...], *, gradient: bool) -> None:
        self.gates = gates
        self.names = names
        self.results = results
        self.gradient = gradient

    def named(self, node: Node) -> dict[str, Value]:
        """The operands by their names."""
        names = self.names + ("bias",) * (node.op.name == "gru" and len(node.inputs) == 4)
        if "given" in node.params:
            names += tuple(name for name, there in zip(("g_h", "g_c"), node.params["given"], strict=True) if there)
        inputs, outputs = zip(names, node.inputs, strict=False), zip(self.results, node.outputs, strict=False)
        return {**dict(inputs), **dict(outputs)}

    def sizes(self, node: Node) -> tuple[int, int, int]:
        """Steps, samples and units."""
        named = self.named(node)
        samples, width = named["c0" if "c0" in named else "h0"].shape
        return named["kept" if self.gradient else "out_h"].shape[0], samples, width

    def _weight_bytes(self, node: Node) -> int:
        width = self.sizes(node)[2]
        return 4 * self.gates * width * _whole(width)

    def scratch(self, node: Node) -> int:
        """The packed weight, and in the gradient the cotangents of the states of each task."""
        _, samples, width = self.sizes(node)
        return self._weight_bytes(node) + (4 * _tasks(samples) * 2 * 16 * _whole(width) if self.gradient else 0)

    def task(self, node: Node) -> str:
        """The function in C that computes some samples."""
        return f"{node.op.name}_task"

    def fields(self, node: Node) -> dict[str, Value | str | float | None]:
        """What describes the operation, but for its memory."""
        batch_sizes = node.params["batch_sizes"]
        table = "NULL" if batch_sizes is None else f"(const int64_t[]){{{', '.join(map(str, batch_sizes))}}}"
        sizes = ", ".join(map(str, (*self.sizes(node), int(node.params["reverse"]))))
        return {**self.named(node), "of": f"{{{table}, {sizes}}}"}

    def _weight(self, node: Node, writer: Writer) -> str:
        """Where the weight lies, its sizes, and where it goes."""
        weight, width = writer.pointer(self.named(node)["w_hh"]), self.sizes(node)[2]
        return f"(const float *)({weight}), {self.gates}, {width}, (float *)({writer.scratch()})"

    def packing(self, node: Node, writer: Writer) -> str:
        """The statement that packs the weight for forward."""
        return f"pack_gates({self._weight(node, writer)});"

    def statement(self, node: Node, writer: Writer) -> str:
        """Pack the weight and run the tasks."""
        fields, samples = self.fields(node), self.sizes(node)[1]
        del fields["w_hh"]
        if self.gradient:
            for name in ("d_h0", "d_c0", "d_bias"):  # the first step's product is for d_h0 alone
                if name in fields and fields[name] not in writer.layout.stored:
                    del fields[name]
            before, fields["panels"] = "", f"rows_of_weight({self._weight(node, writer)})"
            fields["scratch"] = f"(float *)({writer.scratch(self._weight_bytes(node))})"
        else:
            if "c0" in fields and _starts_from_zeros(node, fields["h0"]):
                del fields["h0"]
            before, fields["panels"] = f"{self.packing(node, writer)} ", f"(const float *)({writer.scratch()})"
        described = struct(writer, "(Recurrent)", fields)
        return f"{before}parallel({self.task(node)}, &{described}, recurrent_tasks({samples}));"


class _Lstm(_Recurrent):
    """In tiles where the units are many enough and, of float32, the processor has tile registers.

    Args:
        names, results, gradient: as in `_Recurrent`.
        dtype: the name of the numbers' type in C.
        terms: of a number, as in ``recurrent_terms.h``.
    """

    kept_steps = 2  # whose terms are kept

    def __init__(
        self, names: tuple[str, ...], results: tuple[str, ...], *, gradient: bool, dtype: str, terms: int
    ) -> None:
        super().__init__(4, names, results, gradient=gradient)
        self.headers = (*_Recurrent.headers, "bfloat16.h", *(GRADIENT_TILES if gradient else TILES))
        self.dtype = dtype
        self.terms = terms

    def scratch(self, node: Node) -> int:
        """What either way needs."""
        _, samples, width = self.sizes(node)
        tiled = int(C.tiled_scratch(samples, width, self.gradient, self.terms, self.kept_steps))
        return tiled if self.terms == 1 else max(tiled, super().scratch(node))

    def statement(self, node: Node, writer: Writer) -> str:
        """One way, or the choice."""
        described = struct(writer, "(TiledLstm)", {**self.fields(node), "scratch": writer.scratch()})
        tiled = f"tiled_{'lstm_grad' if self.gradient else 'lstm'}_{self.dtype}(&{described});"
        if self.terms == 1:
            return tiled
        plain = super().statement(node, writer)
        if not in_tiles(self.named(node)["w_hh"].shape):
            return plain
        return f"if (bf16_tiles_allowed()) {tiled} else {{ {plain} }}"


class _LstmOfRows(_Lstm):
    """Reads gates where their table lies.

    Args:
        dtype, terms: as in `_Lstm`.
    """

    fails = True

    def __init__(self, dtype: str, terms: int) -> None:
        names = ("gates", "numbers", *_FORWARD[0][1:])
        super().__init__(names, _FORWARD[1], gradient=False, dtype=dtype, terms=terms)

    def condition(self, node: Node) -> object:
        """That all numbers are those of rows."""
        table, numbers = node.inputs[:2]
        return flat(numbers), table.shape[0]

    def task(self, node: Node) -> str:  # noqa: ARG002
        """That of `lstm`."""
        return "lstm_task"

    def fields(self, node: Node) -> dict[str, Value | str | float | None]:
        """Also whose numbers say which rows."""
        fields = super().fields(node)
        del fields["numbers"]
        return {**fields, "taken": "&taken"}

    def statement(self, node: Node, writer: Writer) -> str:
        """That of the LSTM, if the numbers are those of rows."""
        table, numbers = node.inputs[:2]
        sizes = {"count": str(math.prod(numbers.shape)), "rows": str(table.shape[0])}
        taken = struct(writer, "(Embedding)", {"numbers": numbers, **sizes})
        check = f"if (!all_rows_exist(&taken)) return {writer.failing(node)};"
        return f"{{ Embedding taken = {taken}; {check} {super().statement(node, writer)} }}"


class _LstmOfInputs(_Recurrent):
    """Multiplies its inputs by their weight, beside the recurrent product; not in tiles."""

    def __init__(self) -> None:
        super().__init__(4, ("inputs", "w_ih", "gates", *_FORWARD[0][1:]), _FORWARD[1], gradient=False)

    def _weight_bytes(self, node: Node) -> int:
        return super()._weight_bytes(node) // self.sizes(node)[2] * (self.sizes(node)[2] + node.inputs[0].shape[2])

    def fields(self, node: Node) -> dict[str, Value | str | float | None]:
        """Also how many numbers an input has."""
        fields = super().fields(node)
        del fields["w_ih"]
        return {**fields, "columns": str(node.inputs[0].shape[2])}

    def packing(self, node: Node, writer: Writer) -> str:
        """That of both weights."""
        w_hh, w_ih = (f"(const float *)({writer.pointer(self.named(node)[name])})" for name in ("w_hh", "w_ih"))
        columns, width = node.inputs[0].shape[2], self.sizes(node)[2]
        return f"pack_both({w_hh}, {w_ih}, {columns}, {width}, (float *)({writer.scratch()}));"


class _LstmGradInputs(_Recurrent):
    """The gradient that also multiplies by the weight of the inputs, and sums up what it has multiplied; not in tiles."""

    def __init__(self) -> None:
        super().__init__(4, _GRADIENT[0], (*_GRADIENT[1], "d_inputs", "d_bias"), gradient=True)

    def named(self, node: Node) -> dict[str, Value]:
        """Also this weight, which is the last operand."""
        return {**super().named(node), "w_ih": node.inputs[-1]}

    def task(self, node: Node) -> str:  # noqa: ARG002
        """The gradient's."""
        return "lstm_grad_task"

    def scratch(self, node: Node) -> int:
        """Also the sums of each task."""
        _, samples, width = self.sizes(node)
        return super().scratch(node) + 4 * _tasks(samples) * 4 * _whole(width)

    def fields(self, node: Node) -> dict[str, Value | str | float | None]:
        """Also how many numbers an input has."""
        return {**super().fields(node), "columns": str(node.inputs[-1].shape[1])}

    def statement(self, node: Node, writer: Writer) -> str:
        """The sums of all tasks are added up in the end, where somebody wants them."""
        described, d_bias = super().statement(node, writer), self.named(node)["d_bias"]
        if d_bias not in writer.layout.stored:
            return described
        _, samples, width = self.sizes(node)
        sums = f"(float *)({writer.scratch(self._weight_bytes(node))})"
        return f"{described} add_task_sums({sums}, {samples}, {width}, (float *)({writer.pointer(d_bias)}));"


class _LstmGradSums(_Lstm):
    """The gradient with the sums of ``recurrent_sums.h``, only where there are tile registers.

    Args:
        dtype, terms: as in `_Lstm`.
        headers: put before the text, behind those of the LSTM.
        kept_steps: as in `_Lstm`.
        words: of 32 packed columns.
    """

    def __init__(self, *, dtype: str, terms: int, headers: tuple[str, ...], kept_steps: int, words: int) -> None:
        super().__init__(*_GRADIENT, gradient=True, dtype=dtype, terms=terms)
        self.headers += headers
        self.kept_steps = kept_steps
        self.words = words

    def task(self, node: Node) -> str:  # noqa: ARG002
        """The gradient's."""
        return "lstm_grad_task"

    def _factors(self, node: Node) -> tuple[Value, ...]:
        return node.inputs[4 + sum(node.params["given"]) :]

    def _before_sums(self, node: Node) -> int:
        return -(-super().scratch(node) // 64) * 64

    def scratch(self, node: Node) -> int:
        """Also blocks of sums, and packed columns, of each task."""
        _, samples, width = self.sizes(node)
        blocks = sum(-(-x.shape[2] // 32) for x in self._factors(node))
        return self._before_sums(node) + _tasks(samples) * 4 * blocks * (width // 8 * 1024 + self.words)

    def statement(self, node: Node, writer: Writer) -> str:
        """One way, or the choice."""
        room = writer.scratch(self._before_sums(node))
        fields = self.fields(node)
        described = struct(writer, "(TiledLstm)", {**fields, "scratch": writer.scratch()})
        factors = ", ".join(
            f"{{(void *)({writer.pointer(x)}), (void *)({writer.pointer(out)}), {x.shape[2]}}}"
            for x, out in zip(self._factors(node), node.outputs[3:], strict=True)
        )
        sums = struct(writer, "(GateSums)", {"of": fields["of"], "factors": f"{{{factors}}}", "scratch": room})
        tiled = f"tiled_lstm_grad_and_sums_{self.dtype}({described}, {sums});"
        if self.terms == 1:
            return tiled
        stored = f"(const float *)({writer.pointer(node.outputs[0])})"
        plain = f"{_Recurrent.statement(self, node, writer)} plain_gate_sums({stored}, &{sums});"
        return f"if (bf16_tiles_allowed()) {tiled} else {{ {plain} }}"


_FORWARD = ("gates", "h0", "c0", "w_hh"), ("out_h", "out_c", "out_kept")
_GRADIENT = ("kept", "c0", "w_hh", "cs"), ("d_gates", "d_h0", "d_c0")


def _lstm(dtype: str, terms: int) -> dict[str, _Lstm]:
    return {
        "lstm": _Lstm(*_FORWARD, gradient=False, dtype=dtype, terms=terms),
        "lstm_grad": _Lstm(*_GRADIENT, gradient=True, dtype=dtype, terms=terms),
    }


_SUMS = _LstmGradSums(
    dtype="float32", terms=3, kept_steps=5, words=3072,
    headers=("gemm.h", "split_float32.h", "gemm_tiles.h", "recurrent_sums.h", "recurrent_sums_float32.h"),
)  # fmt: skip
_SUMS_OF_BFLOAT16 = _LstmGradSums(dtype="bfloat16", terms=1, kept_steps=2, words=4096, headers=("recurrent_sums.h",))
_LSTM_OF_ROWS, _BFLOAT16_LSTM_OF_ROWS = _LstmOfRows("float32", 3), _LstmOfRows("bfloat16", 1)
_LSTM_OF_INPUTS, _LSTM_GRAD_INPUTS = _LstmOfInputs(), _LstmGradInputs()
_LSTM, _LSTM_OF_BFLOAT16 = _lstm("float32", 3), _lstm("bfloat16", 1)
_GRU: dict[str, Lowering] = {
    "gru": _Recurrent(3, ("gates", "h0", "w_hh"), ("out_h", "out_kept"), gradient=False),
    "gru_grad": _Recurrent(3, ("g_h", "kept", "h0", "w_hh", "hs"), ("d_gates", "d_own", "d_h0"), gradient=True),
}
