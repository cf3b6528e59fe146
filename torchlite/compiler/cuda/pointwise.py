"""Kernels without reductions: each thread computes some elements, four at a time where they lie side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torchlite.compiler.cuda.arguments import Arguments, row_major
from torchlite.compiler.cuda.layouts import Strides, merged, reading
from torchlite.compiler.cuda.scalars import computed_type, expression, loaded, stored, stored_type
from torchlite.compiler.graph import Node, Value
from torchlite.ir import Shape

THREADS = 256
_MOST_BLOCKS = 2048
_WIDTH = 4

PRELUDE = """\
template <class T> struct alignas(4 * sizeof(T)) Four { T at[4]; };
"""


def pointwise(arguments: Arguments) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The body of the kernel, its grid and its block."""
    region = arguments.region
    reads = [v for v in region.reads if arguments.read_from_memory(v)]
    lengths, steps = merged(region.shape, [*map(arguments.strides, reads), row_major(region)])
    width = _WIDTH if lengths and lengths[-1] % _WIDTH == 0 and all(map(_side_by_side, steps)) else 1
    count = math.prod(lengths)
    index = index_type(count)
    blocks = min(-(-count // (width * THREADS)), _MOST_BLOCKS)
    lines = [
        f"const {index} step = gridDim.x * {THREADS};",
        f"for ({index} i = blockIdx.x * {THREADS} + threadIdx.x; i < {arguments.size(count // width)}; i += step) {{",
        *indented(_elements(arguments, reads, lengths, steps[:-1], width, index)),
        "}",
    ]
    return "\n".join(indented(lines)), (blocks,), (THREADS,)


def _elements(
    arguments: Arguments,
    reads: Sequence[Value],
    lengths: Shape,
    steps: Sequence[Strides],
    width: int,
    index: str,
) -> list[str]:
    """What a thread does for number ``i``: ``width`` elements from there on."""
    lines, inner = [], []
    at = "i" if width == 1 else "at"
    if width > 1:
        lines.append(f"const {index} at = i * {width};")
    if any(map(any, steps)):
        lines += coordinates("i", at, lengths, index, arguments.size)
    for k, (v, s) in enumerate(zip(reads, steps, strict=True)):
        where = place(s, lengths, arguments.size) or "0"
        if width > 1 and s[-1] == 1:
            pointer, kind = arguments.pointer(reading(v).source), stored_type(v)
            lines.append(f"const Four<{kind}> q{k} = *(const Four<{kind}> *)({pointer} + {where});")
            inner.append(f"const {computed_type(v)} x{k} = {loaded(v, f'q{k}.at[j]')};")
        else:
            lines.append(arguments.load(v, f"x{k}", where))
    names = arguments.names | {v: f"x{k}" for k, v in enumerate(reads)}
    inner += computed(arguments.region.nodes, names)
    for v in arguments.results:
        pointer = arguments.pointer(v)
        target = f"r{pointer[1:]}.at[j]" if width > 1 else f"{pointer}[{at}]"
        inner.append(f"{target} = {stored(v, names[v])};")
    if width == 1:
        return lines + inner
    results = [(stored_type(v), arguments.pointer(v)) for v in arguments.results]
    lines += [f"Four<{kind}> r{pointer[1:]};" for kind, pointer in results]
    lines += ["#pragma unroll", f"for (int j = 0; j < {width}; j++) {{", *indented(inner), "}"]
    lines += [f"*(Four<{kind}> *)({pointer} + at) = r{pointer[1:]};" for kind, pointer in results]
    return lines


def _side_by_side(strides: Strides) -> bool:
    """Whether four elements along the last dimension are one, or four that begin at a multiple of four."""
    return strides[-1] == 0 or (strides[-1] == 1 and all(step % _WIDTH == 0 for step in strides[:-1]))


def computed(nodes: Sequence[Node], names: Mapping[Value, str]) -> list[str]:
    """Operations on one element."""
    lines = []
    for node in nodes:
        out = node.outputs[0]
        text = expression(node, [names[v] for v in node.inputs])
        lines.append(f"const {computed_type(out)} {names[out]} = {text};")
    return lines


def coordinates(letter: str, at: str, lengths: Shape, index: str, size: Callable[[int], str]) -> list[str]:
    """Statements for ``letter``0, 1, …: the place along each dimension of element number ``at``.

    Args:
        letter, at: names in the text.
        lengths: of the dimensions.
        index: the type of places.
        size: writes a length.
    """
    lines = []
    for d in reversed(range(len(lengths))):
        inner = math.prod(lengths[d + 1 :])
        text = at if d == len(lengths) - 1 else f"{at} / {size(inner)}"
        lines.append(f"const {index} {letter}{d} = {text if d == 0 else f'{text} % {size(lengths[d])}'};")
    return lines[::-1]


def place(strides: Sequence[int], lengths: Shape, size: Callable[[int], str], letter: str = "i") -> str:
    """Where an element lies, from its coordinates; nothing for the first element of all."""
    terms = []
    for d, step in enumerate(strides):
        if step and lengths[d] > 1:
            terms.append(f"{letter}{d}" if step == 1 else f"{letter}{d} * {size(step)}")
    return " + ".join(terms)


def index_type(count: int) -> str:
    """An integer that numbers that many elements, with room for a step beyond."""
    return "Index" if count < 1 << 31 else "unsigned long long"


def indented(lines: Sequence[str]) -> list[str]:
    """Lines, one level further in."""
    return [line if line.startswith("#") else "    " + line for line in lines]
