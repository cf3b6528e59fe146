"""The text of a standalone program: what all programs begin with, the program, its weights and its interface."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

import numpy as np

from torchlite.backends.native.library import text
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.inference import ONE_EACH, captured_inference
from torchlite.compiler.passes import optimized, scale_weights
from torchlite.compiler.program.interface import Interface
from torchlite.compiler.program.layout import Layout, lay_out
from torchlite.compiler.program.memory import ALIGNED
from torchlite.compiler.program.writer import Program, Segment, Writer
from torchlite.compiler.standalone.decomposition import has_kernel, with_kernels
from torchlite.ir import REGISTRY

EMBEDDED = 1 << 20
"""Bytes of weights up to which they are part of the text; larger ones are a file that the program loads."""

_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "int64_t",
    "int32": "int32_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
}
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
    captured = captured_inference(
        model, args, (*ONE_EACH[1:], scale_weights, optimized, with_kernels, *ONE_EACH[1:], _dense_results)
    )
    graph = captured.graph
    known = set(graph.values())
    for v in (*graph.inputs, *graph.outputs):
        if v.aval is not None and str(v.aval.dtype) not in _TYPES:
            raise WithoutC(f"an input or a result is {v.aval.dtype}; {', '.join(_TYPES)} can be")
    for node in graph.nodes:
        if not has_kernel(node):
            _refuse(node)
        for v in node.reads():
            if v not in known and v.constant is None and v.node is not None:  # a result that was not written out
                _refuse(v.node)
    arrays = {v: np.empty(v.shape, v.aval.dtype) for v in graph.inputs if v.aval is not None}
    layout = lay_out(graph, Interface(arrays, leaving=len(graph.outputs)))
    program = Writer(graph, layout, whole=True).program()
    for segment in program.segments:
        if not isinstance(segment, Segment):
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


def _refuse(node: Node | None) -> None:
    assert node is not None
    kinds = ", ".join(f"{v.aval.dtype}{list(v.aval.shape)}" for v in node.inputs if v.aval is not None)
    raise WithoutC(f"{node.op.name} of {kinds}, asked for in {node.line or 'the model'}, has no C here")


@dataclass(frozen=True)
class _Argument:
    """An array that the functions take."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def described(self) -> str:
        """As in ``in: float[1][64]``."""
        return f"//   {self.name}: {self.kind}{''.join(f'[{n}]' for n in self.shape)}"


class _Text:
    """Puts the text together."""

    def __init__(self, name: str, graph: Graph, layout: Layout, program: Program, embedded: int) -> None:
        self.name, self.graph, self.layout, self.program = name, graph, layout, program
        self.ins, self.outs = _arguments("in", graph.inputs), _arguments("out", graph.outputs)
        self.memory = max(layout.arena, ALIGNED)
        self.places: list[int] = []
        self.weights = b""
        for array in layout.constants:
            self.weights += b"\0" * (-len(self.weights) % ALIGNED)
            self.places.append(len(self.weights))
            self.weights += np.ascontiguousarray(array).tobytes()
        self.loads = len(self.weights) > embedded

    def whole(self) -> Standalone:
        """All of it."""
        (text,) = self.program.texts
        body = re.sub(r"^UNOPTIMIZED int segment", "static int segment", text.source, flags=re.MULTILINE)
        weights = self._loading() if self.loads else self._embedded()
        parts = [self._introduction(), _beginning(text.headers), body, weights, self._predict(), self._main()]
        return Standalone(
            self.name,
            "\n".join(parts),
            self._header(),
            self.weights if self.loads else None,
            tuple(_described(v) for v in self.graph.inputs),
            tuple(_described(v) for v in self.graph.outputs),
        )

    def _filled(self, template: str, **more: str) -> str:
        """A template with $NAME, $name, $memory and others in it replaced."""
        known = {"NAME": self.name.upper(), "name": self.name, "memory": str(self.memory), "aligned": str(ALIGNED)}
        return Template(template).substitute(known | more)

    def _introduction(self) -> str:
        return self._filled(_INTRODUCTION, flags=" ".join(FLAGS))

    def _signature(self, function: str, first: str = "") -> str:
        given = [f"const {one.kind} *{one.name}" for one in self.ins] + [f"{one.kind} *{one.name}" for one in self.outs]
        return f"int {self.name}_{function}({', '.join([first] * bool(first) + given)})"

    def _header(self) -> str:
        refused = "".join(f"\n//   {i}: {node.op.name} of {node.line}" for i, node in enumerate(self.program.checks, 1))
        return self._filled(
            _HEADER,
            load=self._filled(_LOAD_DECLARED) if self.loads else "",
            arrays="\n".join(one.described for one in (*self.ins, *self.outs)),
            returned="0, or says which check of the inputs has failed:" + refused if refused else "0.",
            predict=self._signature("predict"),
            predict_in=self._signature("predict_in", "void *memory"),
        )

    def _loading(self) -> str:
        return self._filled(_LOAD, bytes=str(len(self.weights)))

    def _embedded(self) -> str:
        padded = self.weights + b"\0" * (-len(self.weights) % 8)
        words = [f"0x{word:x}" for word in np.frombuffer(padded, np.dtype("<u8")).tolist()] or ["0"]
        lines = ",\n    ".join(", ".join(words[i : i + 6]) for i in range(0, len(words), 6))
        return self._filled(_WEIGHTS, words=lines)

    def _predict(self) -> str:
        table = ["memory"] + ["NULL"] * len(self.program.buffers)
        for (kind, number), entry in self.program.buffers.items():
            table[entry] = self._address(kind, number)
        names = [segment.name for segment in self.program.segments if isinstance(segment, Segment)]
        return self._filled(
            _PREDICT,
            predict=self._signature("predict"),
            predict_in=self._signature("predict_in", "void *memory"),
            table=", ".join(table),
            numbers=str(max(len(self.program.numbers), 1)),
            calls="\n".join(f"    code = code ? code : {name}(at, numbers);" for name in names),
            given=", ".join(one.name for one in (*self.ins, *self.outs)),
        )

    def _address(self, kind: str, number: int) -> str:
        if kind == "input":
            return f"(char *){self.ins[number].name}"
        if kind == "constant":
            return f"weights + {self.places[number]}"
        return f"(char *){self.outs[self._output_of(number)].name}"

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
        arguments = (*self.ins, *self.outs)
        return self._filled(
            _MAIN,
            load=self._filled(_MAIN_LOAD) if self.loads else "",
            arrays="\n".join(f"    static {one.kind} {one.name}[{max(math.prod(one.shape), 1)}];" for one in arguments),
            read=" && ".join(f"fread({one.name}, sizeof {one.name}, 1, stdin) == 1" for one in self.ins) or "0",
            given=", ".join(one.name for one in arguments),
            write="\n".join(f"        fwrite({one.name}, sizeof {one.name}, 1, stdout);" for one in self.outs),
        )


_INTRODUCTION = """\
// $name: a model as one file of C, written by torchlite.
//
//   cc $flags -march=native -c $name.c
//       to be linked with -lm; its interface is $name.h
//   cc $flags -march=native -D${NAME}_MAIN -o $name $name.c -lm
//       a program that maps inputs on its standard input to results on its standard output, as numbers lie in memory
//
// With -fopenmp it uses several threads; results are the same with any number of them.
"""

_HEADER = """\
#ifndef ${NAME}_H
#define ${NAME}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

$load// Arrays are dense, in the order of their dimensions:
$arrays
// What is returned is $returned
// One call at a time; for several at once give each memory of its own, by the second function.
$predict;

enum { ${NAME}_MEMORY = $memory };  // bytes, at an address that $aligned divides
$predict_in;

#ifdef __cplusplus
}
#endif

#endif
"""

_LOAD_DECLARED = """\
// Reads the file of weights, once and before anything else; 0 where that went well.
int ${name}_load(const char *path);

"""

_LOAD = """\
#include <stdio.h>

enum { WEIGHTS = $bytes };
static char *weights;

int ${name}_load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return 1;
    char *memory = aligned_alloc($aligned, (WEIGHTS + $aligned - 1) / $aligned * $aligned);
    size_t read = memory == NULL ? 0 : fread(memory, 1, WEIGHTS, file);
    fclose(file);
    if (read != WEIGHTS) {
        free(memory);
        return 1;
    }
    weights = memory;
    return 0;
}
"""

_WEIGHTS = """\
static const _Alignas($aligned) uint64_t weight_words[] = {
    $words,
};
static char *const weights = (char *)weight_words;
"""

_PREDICT = """\
$predict_in {
    char *const at[] = {$table};
    double numbers[$numbers] = {0};
    int code = 0;
    (void)weights, (void)at, (void)numbers;
$calls
    return code;
}

$predict {
    static _Alignas($aligned) char memory[$memory];
    return ${name}_predict_in(memory, $given);
}
"""

_MAIN = """\
#ifdef ${NAME}_MAIN
#include <stdio.h>

int main(int count, char **arguments) {
    (void)count, (void)arguments;
$load$arrays
    while ($read) {
        int code = ${name}_predict($given);
        if (code) return fprintf(stderr, "the inputs are refused: %d\\n", code), 1;
$write
    }
    return 0;
}
#endif
"""

_MAIN_LOAD = """\
    if (count < 2 || ${name}_load(arguments[1])) return fprintf(stderr, "expected the file of weights\\n"), 2;
"""


def _arguments(word: str, values: Sequence[Value]) -> list[_Argument]:
    names = [word] if len(values) == 1 else [f"{word}{i}" for i in range(len(values))]
    described = (_described(v) for v in values)
    return [_Argument(name, _TYPES[str(dtype)], shape) for name, (shape, dtype) in zip(names, described, strict=True)]


def _described(v: Value) -> tuple[tuple[int, ...], np.dtype[Any]]:
    assert v.aval is not None
    return tuple(v.shape), np.dtype(v.aval.dtype)


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
