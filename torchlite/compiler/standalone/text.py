"""The text of a standalone program: what all programs begin with, the program, its weights and its interface."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite.backends.native.library import text
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.inference import PLAIN, captured_inference
from torchlite.compiler.passes import optimized
from torchlite.compiler.program.interface import Interface
from torchlite.compiler.program.layout import Layout, lay_out
from torchlite.compiler.program.memory import ALIGNED
from torchlite.compiler.program.writer import Program, Writer
from torchlite.compiler.standalone.decomposition import has_kernel, with_kernels
from torchlite.ir import REGISTRY

EMBEDDED = 1 << 20
"""Bytes of weights up to which they are part of the text; larger ones are a file that the program loads."""

_TYPES = {"float32": "float", "float64": "double", "int64": "int64_t", "int32": "int32_t", "uint8": "uint8_t", "bool": "uint8_t"}
FLAGS = ("-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd")
"""What the text is best compiled with, beside ``-march=native`` and, for several threads, ``-fopenmp``."""


class WithoutC(Exception):
    """An operation has no C; the message names it and the line that asked for it."""


@dataclass(frozen=True)
class Standalone:
    """A standalone program.

    Attributes:
        name: what its functions begin with.
        source: the C.
        header: its interface.
        weights: the content of the file of weights, where they are not part of the text; None where they are.
        inputs, outputs: shape and dtype of each.
    """

    name: str
    source: str
    header: str
    weights: bytes | None
    inputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]


def standalone(model: Any, args: Sequence[Any], name: str = "model", *, embedded: int = EMBEDDED) -> Standalone:
    """``model(*args)`` as C, for arguments of these shapes.

    Args:
        model: a module in evaluation mode, or a function of tensors.
        args: its arguments; tensors become inputs.
        name: an identifier of C.
        embedded: bytes of weights up to which they are part of the text.

    Raises:
        Uncapturable: where the numbers in tensors decide what is computed.
        WithoutC: for an operation that has no C.
        ValueError: for a name that is none in C.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError(f"{name!r} is no name in C: letters, digits and underscores are")
    captured = captured_inference(model, args, (*PLAIN[1:], optimized, with_kernels, *PLAIN[1:], _dense_results))
    graph = captured.graph
    known = set(graph.values())
    for node in graph.nodes:
        _check(node)
        for v in node.reads():
            if v not in known and v.constant is None and v.node is not None:  # a result that was not written out
                _refuse(v.node)
    arrays = {v: np.empty(v.shape, v.aval.dtype) for v in graph.inputs if v.aval is not None}
    layout = lay_out(graph, Interface(arrays, leaving=len(graph.outputs)))
    program = Writer(graph, layout).program()
    for segment in program.segments:
        if not isinstance(segment, str):
            _refuse(segment.unit.root)
    return _Text(name, graph, layout, program, embedded).whole()


def _dense_results(graph: Graph) -> Graph:
    """Results in the order of their dimensions."""
    nodes, outputs = list(graph.nodes), []
    for v in graph.outputs:
        node = Node(REGISTRY["clone"], (v,), {"order": ()})
        node.outputs = (Value(v.aval, node),)
        nodes.append(node)
        outputs.append(node.outputs[0])
    return Graph(graph.name, graph.inputs, tuple(nodes), tuple(outputs))


def _check(node: Node) -> None:
    if not has_kernel(node):
        _refuse(node)
    for v in (*node.inputs, *node.outputs):
        if v.aval is not None and v.constant is None and v.node is None and str(v.aval.dtype) not in _TYPES:
            raise WithoutC(f"an input is {v.aval.dtype}; {', '.join(_TYPES)} can be")


def _refuse(node: Node | None) -> None:
    assert node is not None
    kinds = ", ".join(f"{v.aval.dtype}{list(v.aval.shape)}" for v in node.inputs if v.aval is not None)
    raise WithoutC(f"{node.op.name} of {kinds}, asked for in {node.line or 'the model'}, has no C here")


class _Text:
    """Puts the text together."""

    def __init__(self, name: str, graph: Graph, layout: Layout, program: Program, embedded: int) -> None:
        self.name, self.graph, self.layout, self.program = name, graph, layout, program
        self.places: list[int] = []
        self.weights = b""
        for array in layout.constants:
            self.weights += b"\0" * (-len(self.weights) % ALIGNED)
            self.places.append(len(self.weights))
            self.weights += np.ascontiguousarray(array).tobytes()
        self.loads = len(self.weights) > embedded

    def whole(self) -> Standalone:
        """All of it."""
        inputs = tuple(_described(v) for v in self.graph.inputs)
        outputs = tuple(_described(v) for v in self.graph.outputs)
        body = re.sub(r"^int segment", "static int segment", self.program.source, flags=re.MULTILINE)
        parts = [self._introduction(), _beginning(self.program.headers), body, self._weights(), self._predict(), self._main()]
        weights = self.weights if self.loads else None
        return Standalone(self.name, "\n".join(parts), self._header(), weights, inputs, outputs)

    def _introduction(self) -> str:
        flags = " ".join(FLAGS)
        return (
            f"// {self.name}: a model as one file of C, written by torchlite.\n"
            f"//\n"
            f"//   cc {flags} -march=native -c {self.name}.c          to link, with -lm\n"
            f"//   cc {flags} -march=native -D{self._macro('MAIN')} {self.name}.c -lm   a program that maps inputs on its\n"
            f"//   standard input to results on its standard output, as the numbers lie in memory\n"
            f"//\n"
            f"// With -fopenmp it uses several threads; results are the same with any number of them.\n"
        )

    def _macro(self, what: str) -> str:
        return f"{self.name}_{what}".upper()

    def _signature(self, function: str, first: str = "") -> str:
        arguments = [first] if first else []
        arguments += [f"const {_c(v)} *{one}" for v, one in zip(self.graph.inputs, _numbered("in", self.graph.inputs), strict=True)]
        arguments += [f"{_c(v)} *{one}" for v, one in zip(self.graph.outputs, _numbered("out", self.graph.outputs), strict=True)]
        return f"int {self.name}_{function}({', '.join(arguments)})"

    def _header(self) -> str:
        guard = self._macro("H")
        listed = zip((*self.graph.inputs, *self.graph.outputs), (*_numbered("in", self.graph.inputs), *_numbered("out", self.graph.outputs)), strict=True)
        arrays = "\n".join(f"//   {one}: {_c(v)}[{']['.join(map(str, v.shape))}]" if v.shape else f"//   {one}: {_c(v)}" for v, one in listed)
        checks = "\n".join(f"//   {i}: {node.op.name} of {node.line}" for i, node in enumerate(self.program.checks, 1))
        refusals = f"// What is returned is 0, or says what is wrong with the inputs:\n{checks}\n" if checks else "// What is returned is 0.\n"
        load = (
            f"// Reads the weights, once and before anything else; 0 where that went well.\n"
            f"int {self.name}_load(const char *path);\n\n"
            if self.loads
            else ""
        )
        return (
            f"#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n\n"
            f"#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n{load}"
            f"// Arrays are dense, in the order of their dimensions:\n{arrays}\n{refusals}"
            f"// One call at a time; for several at once give each memory of its own.\n"
            f"{self._signature('predict')};\n\n"
            f"enum {{ {self._macro('MEMORY')} = {max(self.layout.arena, ALIGNED)} }};  // bytes, at an address that {ALIGNED} divides\n"
            f"{self._signature('predict_in', 'void *memory')};\n\n"
            f"#ifdef __cplusplus\n}}\n#endif\n\n#endif\n"
        )

    def _weights(self) -> str:
        if self.loads:
            return (
                f"#include <stdio.h>\n\nenum {{ WEIGHTS = {len(self.weights)} }};\nstatic char *weights;\n\n"
                f"int {self.name}_load(const char *path) {{\n"
                f"    FILE *file = fopen(path, \"rb\");\n    if (file == NULL) return 1;\n"
                f"    char *memory = aligned_alloc({ALIGNED}, (WEIGHTS + {ALIGNED - 1}) / {ALIGNED} * {ALIGNED});\n"
                f"    size_t read = memory == NULL ? 0 : fread(memory, 1, WEIGHTS, file);\n    fclose(file);\n"
                f"    if (read != WEIGHTS) {{\n        free(memory);\n        return 1;\n    }}\n"
                f"    weights = memory;\n    return 0;\n}}\n"
            )
        padded = self.weights + b"\0" * (-len(self.weights) % 8)
        words = [f"0x{word:x}" for word in np.frombuffer(padded, np.dtype("<u8")).tolist()] or ["0"]
        lines = ",\n    ".join(", ".join(words[i : i + 12]) for i in range(0, len(words), 12))
        return (
            f"static const _Alignas({ALIGNED}) uint64_t weight_words[] = {{\n    {lines},\n}};\n"
            f"static char *const weights = (char *)weight_words;\n"
        )

    def _predict(self) -> str:
        ins, outs = _numbered("in", self.graph.inputs), _numbered("out", self.graph.outputs)
        table = ["memory"] + ["NULL"] * len(self.program.buffers)
        for (kind, number), entry in self.program.buffers.items():
            table[entry] = {
                "input": lambda i: f"(char *){ins[i]}",
                "result": lambda i: f"(char *){outs[self._output_of(i)]}",
                "constant": lambda i: f"weights + {self.places[i]}",
            }[kind](number)  # fmt: skip
        calls = "\n".join(f"    code = code ? code : {name}(at, numbers);" for name in self.program.segments)
        given = ", ".join((*ins, *outs))
        return (
            f"{self._signature('predict_in', 'void *memory')} {{\n"
            f"    char *const at[] = {{{', '.join(table)}}};\n"
            f"    double numbers[{max(len(self.program.numbers), 1)}] = {{0}};\n    int code = 0;\n"
            f"    (void)at, (void)numbers;\n{calls}\n    return code;\n}}\n\n"
            f"{self._signature('predict')} {{\n"
            f"    static _Alignas({ALIGNED}) char memory[{max(self.layout.arena, ALIGNED)}];\n"
            f"    return {self.name}_predict_in(memory, {given});\n}}\n"
        )

    def _output_of(self, number: int) -> int:
        """Which output a result of the layout is."""
        for i, v in enumerate(self.layout.outputs):
            assert v is not None
            place = self.layout.places[v]
            if place.buffer.kind == "result" and place.buffer.number == number:
                assert place.offset == 0 and place.ghost.flags.c_contiguous
                return i
        raise AssertionError("a result that is no output")

    def _main(self) -> str:
        ins, outs = _numbered("in", self.graph.inputs), _numbered("out", self.graph.outputs)
        arrays = [
            f"    static {_c(v)} {one}[{max(math.prod(v.shape), 1)}];"
            for v, one in zip((*self.graph.inputs, *self.graph.outputs), (*ins, *outs), strict=True)
        ]
        first = [f"fread({one}, sizeof {one}, 1, stdin) == 1" for one in ins]
        last = [f"        fwrite({one}, sizeof {one}, 1, stdout);" for one in outs]
        load = f"    if (count < 2 || {self.name}_load(arguments[1])) return fprintf(stderr, \"expected the file of weights\\n\"), 2;\n" if self.loads else ""
        return (
            f"#ifdef {self._macro('MAIN')}\n#include <stdio.h>\n\nint main(int count, char **arguments) {{\n"
            f"    (void)count, (void)arguments;\n{load}" + "\n".join(arrays) + f"\n    while ({' && '.join(first) or '0'}) {{\n"
            f"        int code = {self.name}_predict({', '.join((*ins, *outs))});\n"
            f"        if (code) return fprintf(stderr, \"the inputs are refused: %d\\n\", code), 1;\n" + "\n".join(last) + "\n    }\n    return 0;\n}\n#endif\n"
        )


def _described(v: Value) -> tuple[tuple[int, ...], np.dtype[Any]]:
    assert v.aval is not None
    return tuple(v.shape), np.dtype(v.aval.dtype)


def _c(v: Value) -> str:
    assert v.aval is not None
    return _TYPES[str(v.aval.dtype)]


def _numbered(word: str, values: Sequence[Value]) -> list[str]:
    return [word] if len(values) == 1 else [f"{word}{i}" for i in range(len(values))]


_POOL = "static void (*parallel)(Task task, void *argument, long count);"
_BIND = "void bind(void (*run)(Task, void *, long)) { parallel = run; }"
_LOOP = """static void parallel(Task task, void *argument, long count) {
#ifdef _OPENMP
    #pragma omp parallel for schedule(dynamic) if (count > 1)
#endif
    for (long i = 0; i < count; i++) task(argument, i);
}"""


def _beginning(headers: Sequence[str]) -> str:
    """What programs begin with, without the pool of threads that they are given elsewhere."""
    whole = text(*headers)
    assert whole.count(_POOL) == whole.count(_BIND) == 1
    return whole.replace(_POOL, _LOOP).replace(_BIND, "")
