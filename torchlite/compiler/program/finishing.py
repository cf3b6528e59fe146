"""Elementwise operations on the result of a kernel, done on tiles of it that are still in the cache.

The kernel's first result is an array (N, C, H, W) whose channels lie side by side; a tile is some positions of it with all
their channels, and a function in C that the kernel is given continues with it.
"""

from __future__ import annotations

from typing import NamedTuple

from torchlite.compiler.program.expressions import c_type, read, written
from torchlite.compiler.program.layout import Unplaceable
from torchlite.compiler.program.loops import Body, Dimensions, Stream, body
from torchlite.compiler.program.lowering import Order
from torchlite.compiler.program.units import Unit
from torchlite.compiler.program.writer import Writer

CHANNELS_LAST: Order = (0, 2, 3, 1)
"""The order of arrays (N, C, H, W) in which channels lie side by side."""


class Result(NamedTuple):
    """How a kernel hands over its first result, as arguments in C.

    Attributes:
        target: the address where it leaves that, or NULL where nobody else reads it.
        finish: the function that it calls with each tile, or NULL.
        context: what that is given.
    """

    target: str
    finish: str
    context: str


def result(unit: Unit, writer: Writer) -> Result:
    """How a kernel hands over its first result; of bfloat16 it is left to what follows, where anything does.

    Raises:
        Unplaceable: where what follows sees the result under another shape.
    """
    assert unit.root is not None
    out = unit.root.outputs[0]
    assert out.aval is not None
    place = writer.step.places.get(out)
    target = "NULL" if place is None else f"(float *)({writer.address(place)})"
    loop = unit.loops[0] if unit.loops else None
    if loop is None or not loop.nodes:
        return Result(target, "NULL", "NULL")
    dimensions = Dimensions(loop, CHANNELS_LAST)
    if dimensions.shape != out.aval.shape:
        raise Unplaceable("what follows a kernel sees its result under another shape")
    made = body(loop, dimensions, writer.step.places, writer.layout.stored)
    half = c_type(out) == "bfloat16"
    if not half:
        made.stores = [
            (stream, name) for stream, name in made.stores if stream.place is not place
        ]  # it lies there already
    name = writer.loop(_function(made, dimensions.lengths, "bf16_rounded(tile[i])" if half else "tile[i]"))
    at = ", ".join(writer.address(stream.place) for stream in made.streams())
    return Result(target, name, f"(void *[]){{{at}}}")


def _function(made: Body, lengths: tuple[int, ...], acc: str) -> str:
    _, height, width, _ = lengths
    streams = [(stream, name, True) for stream, name in made.reads] + [(s, name, False) for s, name in made.stores]
    lines = [
        f"{'const ' if reads else ''}{stream.kind} *p{k} = at[{k}];" for k, (stream, _, reads) in enumerate(streams)
    ]
    lines.append("for (long position = row; position < row + rows; position++, tile += step) {")
    for k, (stream, _, reads) in enumerate(streams):
        lines.append(f"    {'const ' if reads else ''}{stream.kind} *s{k} = p{k}{_start(stream, height, width)};")
    lines.append('    _Pragma("omp simd") for (long i = 0; i < columns; i++) {')
    lines.append(f"        const float acc = {acc};")
    for k, (stream, name, reads) in enumerate(streams):
        if reads:
            lines.append(f"        const {read(stream.kind, name, f's{k}[(column + i) * {stream.strides[3]}]')}")
    lines += [f"        {line}" for line in made.lines]
    for k, (stream, name, reads) in enumerate(streams):
        if not reads:
            lines.append(f"        s{k}[(column + i) * {stream.strides[3]}] = {written(stream.kind, name)};")
    lines += ["    }", "}"]
    head = "static void NAME(void *context, float *tile, long step, long row, long column, long rows, long columns)"
    return "\n".join(
        [
            f"{head} {{",
            *(f"    {line}" for line in ["void *const *at = context;", *lines]),
            "}",
            "",
        ]
    )


def _start(stream: Stream, height: int, width: int) -> str:
    """What to add to a stream's pointer at a position."""
    sample, down, across, _ = stream.strides
    if not (sample or down or across):
        return ""
    if down == width * across and sample == height * down:
        return f" + position * {across}"
    terms = (
        (f"position / {height * width}", sample),
        (f"position / {width} % {height}", down),
        (f"position % {width}", across),
    )
    return "".join(f" + {coordinate} * {step}" for coordinate, step in terms if step)
