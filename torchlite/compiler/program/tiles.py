"""What follows a product, done to each tile of it while that lies in the first-level cache."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence

from torchlite.compiler.graph import Value
from torchlite.compiler.program.expressions import C_TYPES, c_type, read, written
from torchlite.compiler.program.loops import Dimensions, Function, Nest, Stream, _indented, _whole, body
from torchlite.compiler.program.places import Place
from torchlite.compiler.program.units import Loop


def continuation(
    loop: Loop, places: Mapping[Value, Place], stored: Container[Value], bias: Place | None = None
) -> Function:
    """A loop that continues a product as a function of the type Finish, whose context is the table of its arrays.

    Args:
        loop: follows the product.
        places: of all arrays that are read or written.
        stored: the values that are needed elsewhere.
        bias: of as many numbers as a row has, which is added to each before anything else.
    """
    assert loop.follows is not None and loop.follows.aval is not None
    shape = loop.follows.aval.shape
    dimensions = Dimensions(loop, None)
    made = body(loop, dimensions, places, stored)
    if bias is not None:
        made.reads.append((Stream(bias, dimensions.strides(bias.ghost, shape), C_TYPES[bias.ghost.dtype]), "bias"))
    acc = "tile[i]" if bias is None else "tile[i] + bias"
    if c_type(loop.follows) == "bfloat16":
        acc = f"bf16_rounded({acc})"
    return _Tile(dimensions.lengths, _last(dimensions.lengths, shape[-1]), made).function(acc)


def _last(lengths: Sequence[int], columns: int) -> list[bool]:
    """Which of the dimensions a product's columns have become."""
    return [math.prod(lengths[d:]) <= columns and lengths[d] > 1 for d in range(len(lengths))]


class _Tile(Nest):
    """The loops over a tile: its rows are those of all dimensions but the last of the product, whose flags are not set."""

    def function(self, acc: str) -> Function:
        across = self.flags.index(True) if True in self.flags else len(self.flags)
        columns = self.lengths[across:]
        lines = ["void *const *at = context;", *self._pointers()]
        lines.append("for (long r = row; r < row + rows; r++, tile += tile_step) {")
        inner = self._coordinates("r", self.lengths[:across], 0)
        inner += self._ahead(across)
        inner += self._along_row(columns, across, acc)
        text = _whole(_HEAD, [*lines, *_indented(inner), "}"])
        return Function(text, self._places(), 0, flat=False)

    def _ahead(self, across: int) -> list[str]:
        """Fetch what the tile below needs, while that is computed: rows of tiles are too short for the processor to guess."""
        if across != 1 or len(self.lengths) != 2:
            return []
        far = [
            f"__builtin_prefetch(s{k} + rows * {self.strides[k][0]} + column + i, {int(k >= len(self.body.reads))});"
            for k in range(len(self.body.streams()))
            if self.strides[k][0] and self.strides[k][1] == 1
        ]
        return ["for (long i = 0; i < columns; i += LANES) {", *_indented(far), "}"] if far else []

    def _along_row(self, columns: list[int], across: int, acc: str) -> list[str]:
        """The loop over the columns, which streams may see as several dimensions."""
        inside = []
        if len(columns) > 1:
            inside += self._coordinates("(column + i)", columns, across, prefix="q")

        def element(k: int) -> str:
            if len(columns) > 1:
                return f"*q{k}"
            step = self.strides[k][across] if columns else 0
            return f"s{k}[{'column + i' if step == 1 else f'(column + i) * {step}'}]" if step else f"*s{k}"

        reads = len(self.body.reads)
        inside += [f"const {read(s.kind, name, element(k))}" for k, (s, name) in enumerate(self.body.reads)]
        inside.append(f"const float acc = {acc};")
        inside += self.body.lines
        inside += [f"{element(k)} = {written(s.kind, name)};" for k, (s, name) in enumerate(self.body.stores, reads)]
        return ['_Pragma("omp simd") for (long i = 0; i < columns; i++) {', *_indented(inside), "}"]


_HEAD = "NAME(void *context, float *tile, long tile_step, long row, long column, long rows, long columns)"
