"""Fused elementwise operations as C.

Only operations that C rounds as NumPy does are fused (arithmetic, roots, comparisons, selection, conversion), and the
compiler may not contract a product and a sum into one rounding: each result is NumPy's to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite.backends.native import toolchain
from torchlite.backends.native.library import load, text
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.fusion import Cluster, fuse
from torchlite.devices import CPU
from torchlite.ir import Op

_C_TYPES = {"float32": "float", "float64": "double", "bool": "unsigned char"}
_EXACT = {
    "add", "sub", "mul", "div", "neg", "square", "sqrt", "reciprocal", "abs", "maximum", "minimum", "relu",
    "ge", "gt", "le", "lt", "eq", "ne", "where", "cast",
}  # fmt: skip

_BEGIN = """
#include <tgmath.h>
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

enum { GRAIN = 1 << 14, MOST = 64 };  // numbers that a task takes; arrays of a kernel

typedef struct { void *at[MOST]; long n; } Call;

// The memory of an array of NumPy, which is the first thing after the head of the object.
#define DATA(object) (((void **)(object))[2])

void *data_of(void *object) { return DATA(object); }
"""


def fused(graph: Graph) -> tuple[Graph, str]:
    """The graph with fused operations and their C text; as it is, and no text, where C can't be compiled."""
    if not toolchain.enabled():
        return graph, ""
    writer = _Writer()
    result = fuse(graph, _fusable, writer.operator)
    if not writer.kernels:
        return graph, ""
    source = _BEGIN + "\n" + "\n".join(writer.kernels.values())
    try:
        library = load(text("parallel.h") + source)
    except toolchain.Unavailable:
        return graph, ""
    if not _finds_memory(library):
        return graph, ""
    for kernel in writer.made:
        kernel.bind(library)
    return result, source


def _finds_memory(library: Any) -> bool:
    """Whether arrays lie in this Python as the text expects."""
    import ctypes

    probe = np.zeros(3)
    library.data_of.argtypes, library.data_of.restype = [ctypes.c_void_p], ctypes.c_void_p
    return bool(library.data_of(id(probe)) == probe.ctypes.data)


def _fusable(node: Node) -> bool:
    op = node.op
    if op.name not in _EXACT or node.several or node.lifted or node.device != CPU:
        return False
    out = node.outputs[0].aval
    if out is None or not out.shape or not out.size or str(out.dtype) not in _C_TYPES:
        return False
    for v in node.inputs:
        if v.aval is None or str(v.aval.dtype) not in _C_TYPES or v.aval.shape not in ((), out.shape):
            return False
        if v.constant is not None and v.aval.shape:
            return False
    floats = [v.aval.dtype for v in node.inputs if v.aval is not None and v.aval.dtype.kind == "f"]
    if op.name == "cast":
        return str(out.dtype) in _C_TYPES
    return bool(floats) and len(set(floats)) == 1 and (op.name == "where" or len(floats) == len(node.inputs))


class Kernel:
    """A fused operation on arrays.

    Args:
        name: of its function in C.
        cluster: the operations.
        inputs: of the values, those that are arrays.
        results: the values that it gives.
    """

    def __init__(self, name: str, cluster: Cluster, inputs: Sequence[Value], results: Sequence[Value]) -> None:
        self.name = name
        self.results = [(v.aval.shape, v.aval.dtype) for v in results if v.aval is not None]
        self.large = [i for i, v in enumerate(inputs) if v.aval is not None and v.aval.shape]
        self.small = len(self.large) < len(inputs)
        self.size = results[0].aval.size if results[0].aval is not None else 0
        self.count = len(inputs) + len(results)
        self.apart = Graph(name, tuple(inputs), tuple(cluster.nodes), tuple(results))
        self.function: Any = None
        self.one_by_one: Callable[..., Any] | None = None

    def bind(self, library: Any) -> None:
        """Take the function from the compiled library."""
        import ctypes

        self.function = getattr(library, self.name)
        self.function.argtypes = [*[ctypes.c_void_p] * self.count, ctypes.c_long]
        self.function.restype = None

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """The results; where an array has gaps, by NumPy, one operation after the other."""
        for i in self.large:
            if not arrays[i].flags.c_contiguous:
                if self.one_by_one is None:
                    self.one_by_one = self.apart.function()
                return self.one_by_one(*arrays)
        if self.small:  # an operator with several results may have given a scalar of NumPy, whose memory lies elsewhere
            arrays = tuple(np.asarray(a) for a in arrays)
        outs = [np.empty(shape, dtype) for shape, dtype in self.results]
        self.function(*map(id, arrays), *map(id, outs), self.size)
        return tuple(outs)


class _Writer:
    """Writes kernels; clusters of the same operations share one, whatever their shapes."""

    def __init__(self) -> None:
        self.kernels: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.made: list[Kernel] = []

    def operator(self, cluster: Cluster, results: Sequence[Value]) -> Op:
        """The operator of a cluster."""
        inputs = [v for v in cluster.reads if v.constant is None]
        body = _body(cluster, inputs, results)
        name = self.names.setdefault(body, f"fused{len(self.names)}")
        if name not in self.kernels:
            self.kernels[name] = _kernel(name, body, len(inputs) + len(results))
        kernel = Kernel(name, cluster, inputs, results)
        self.made.append(kernel)
        return Op(f"{name}_{len(self.made)}", "elementwise", run=kernel, infer=lambda *_: None)


def _kernel(name: str, body: str, count: int) -> str:
    arguments = ", ".join(f"void *a{i}" for i in range(count))
    memory = ", ".join(f"DATA(a{i})" for i in range(count))
    return (
        f"static void {name}_task(void *argument, long index) {{\n"
        "    const Call *call = argument;\n"
        f"{body}"
        "}\n"
        f"void {name}({arguments}, long n) {{\n"
        f"    Call call = {{{{{memory}}}, n}};\n"
        f"    parallel({name}_task, &call, parts(n, GRAIN));\n"
        "}\n"
    )


def _body(cluster: Cluster, inputs: Sequence[Value], results: Sequence[Value]) -> str:
    names: dict[Value, str] = {}
    before, loop, after = [], [], []
    for i, v in enumerate(inputs):
        assert v.aval is not None
        kind = _C_TYPES[str(v.aval.dtype)]
        names[v] = f"x{i}"
        if v.aval.shape:
            before.append(f"const {kind} *restrict p{i} = call->at[{i}];")
            loop.append(f"const {kind} x{i} = p{i}[i];")
        else:
            before.append(f"const {kind} x{i} = *(const {kind} *)call->at[{i}];")
    for i, node in enumerate(cluster.nodes):
        out = node.outputs[0]
        assert out.aval is not None
        kind = _C_TYPES[str(out.aval.dtype)]
        loop.append(f"const {kind} v{i} = {_expression(node, [_name(v, names) for v in node.inputs])};")
        names[out] = f"v{i}"
    for i, v in enumerate(results, len(inputs)):
        assert v.aval is not None
        kind = _C_TYPES[str(v.aval.dtype)]
        before.append(f"{kind} *restrict p{i} = call->at[{i}];")
        after.append(f"p{i}[i] = {names[v]};")
    lines = ["    " + line for line in before]
    lines.append("    const long end = at_most((index + 1) * GRAIN, call->n);")
    lines.append('    _Pragma("omp simd") for (long i = index * GRAIN; i < end; i++) {')
    lines += ["        " + line for line in (*loop, *after)]
    return "\n".join([*lines, "    }\n"])


def _name(v: Value, names: dict[Value, str]) -> str:
    if v.constant is None:
        return names[v]
    number = v.constant.item()
    if v.constant.dtype.kind == "b":
        return str(int(number))
    if not np.isfinite(number):
        return "NAN" if number != number else "INFINITY" if number > 0 else "(-INFINITY)"
    written = float(number).hex() + ("f" if v.constant.dtype.itemsize == 4 else "")
    return f"({written})"


def _expression(node: Node, names: Sequence[str]) -> str:
    out = node.outputs[0].aval
    assert out is not None
    if node.op.name == "cast":
        return f"{names[0]} != 0" if out.dtype.kind == "b" else f"({_C_TYPES[str(out.dtype)]}){names[0]}"
    letters = ("c", "x", "y") if node.op.name == "where" else ("x", "y")
    given = dict(zip(letters, names, strict=False))
    return re.sub(r"\b[cxy]\b", lambda found: given[found[0]], node.op.scalar or "")
