"""Sums over the positions of an array (N, C, H, W), or the rows of a product, that a kernel forms while it hands over its tiles.

Positions that one thread does in their order have partial sums of their own, which are added up at the end, so the numbers do
not depend on threads. Moments are formed around a number of each tile, and merged as `moments.h` says, so that little cancels.
"""

from __future__ import annotations

import math

import numpy as np

from torchlite.compiler.program.bodies import Body
from torchlite.compiler.program.expressions import literal
from torchlite.compiler.program.loops import indented, whole
from torchlite.compiler.program.memory import ALIGNED
from torchlite.compiler.program.units import Unit

HEADER = "moments.h"
_MOST_ROWS = 512
_OF_MOMENTS = 3  # accumulators: the mean, the squares around it, and how many numbers there were


def rows_of_a_sum(*rows: int) -> int:
    """How many rows are added up in float32, one after the other, so that tasks of any of these numbers of rows have whole sums."""
    common = math.gcd(*rows)
    return next(common // i for i in range(1, common + 1) if common % i == 0 and common // i <= _MOST_ROWS)


def partial_start(unit: Unit) -> int:
    """Where in the scratch memory of a kernel the partial sums lie: behind what that needs itself."""
    assert unit.root is not None and unit.how is not None
    return -(-unit.how.scratch(unit.root) // ALIGNED) * ALIGNED


def scratch_of(unit: Unit) -> int:
    """The scratch memory of a kernel with its partial sums."""
    assert unit.root is not None and unit.how is not None
    reductions = [node for loop in unit.loops for node in loop.reductions]
    if not reductions:
        return unit.how.scratch(unit.root)
    parts, channels = _parts(unit)
    each = sum(_OF_MOMENTS if node.op.name == "moments" else 1 for node in reductions)
    return partial_start(unit) + 4 * parts * channels * each


def _parts(unit: Unit) -> tuple[int, int]:
    """How many partial sums there are of each channel, and how many channels."""
    assert unit.root is not None and unit.how is not None
    shape = unit.root.outputs[0].shape
    channels = shape[unit.how.summed]
    return -(-math.prod(shape) // channels // unit.how.together(unit.root)), channels


class TileSums:
    """The C of the sums of a body.

    Args:
        unit: of the kernel.
        body: of one element of what it hands over.
        width: how many columns a tile has, at most.
        columns: how many it has, as C.
        plain: whether the body sees the numbers of the tile as they are.
    """

    def __init__(self, unit: Unit, body: Body, width: int, columns: str, *, plain: bool) -> None:
        assert unit.root is not None and unit.how is not None
        self.parts, self.channels = _parts(unit)
        self.together = unit.how.together(unit.root)
        self.sums, self.moments = body.reductions, body.moments
        self.width, self.columns = width, columns
        self.elements = [*(r.element for r in self.sums), *(m.element for m in self.moments)]
        self.loaded = [plain and element == "acc" for element in self.elements]
        self.count = len(self.sums) + _OF_MOMENTS * len(self.moments)
        self.bytes = 4 * self.parts * self.channels * self.count

    def before(self, place: int) -> list[str]:
        """Declarations in front of the loop over the rows of a tile; ``place`` is that of the partial sums in its table."""
        lines = [f"float *part = (float *)at[{place}] + row / {self.together} * {self.count * self.channels} + column;"]
        lines.append(f"enum {{ ACROSS = ({self.width} + LANES - 1) / LANES }};")
        lines += [f"float x{i}_[ACROSS * LANES] = {{0}};" for i, loaded in enumerate(self.loaded) if not loaded]
        lines += [f"Vector {', '.join(f'{name}[ACROSS]' for name in self._vectors())};"]
        starts = [f"a{i}[v] = {self._some('load', f'part + {i * self.channels}')};" for i, _ in enumerate(self.sums)]
        starts += [f"k{i}[v] = t{i}[v] = q{i}[v] = (Vector){{0}};" for i, _ in enumerate(self.moments)]
        return [*lines, *_across(starts)]

    def inside(self) -> list[str]:
        """What is done with each element."""
        pairs = enumerate(zip(self.elements, self.loaded, strict=True))
        return [f"x{i}_[i] = {element};" for i, (element, loaded) in pairs if not loaded]

    def along(self) -> list[str]:
        """What is done with a row of elements: the sums stay in registers, which those of single elements would not."""
        lines = [f"a{i}[v] += {self._element(i)};" for i, _ in enumerate(self.sums)]
        for i, _ in enumerate(self.moments):
            lines += [
                f"const Vector m{i} = {self._element(len(self.sums) + i)};",
                f"if (r == row) k{i}[v] = m{i};",
                f"const Vector d{i} = m{i} - k{i}[v];",
                f"t{i}[v] += d{i};",
                f"q{i}[v] += d{i} * d{i};",
            ]
        return _across(lines)

    def after(self) -> list[str]:
        """What is done behind that loop."""
        lines = [f"{self._some('store', f'part + {i * self.channels}', f'a{i}[v]')};" for i, _ in enumerate(self.sums)]
        for i, _ in enumerate(self.moments):
            own = ", ".join(f"part + {at * self.channels}" for at in self._places(i))
            lines.append(f"add_moments({own}, v * LANES, {self.columns}, k{i}[v], t{i}[v], q{i}[v], (float)rows);")
        return _across(lines)

    def finish(self, place: int, first: int, strides: list[int]) -> str:
        """The function that adds up the partial sums.

        Args:
            place: that of the partial sums in the table.
            first: that of the first result; those of moments come last.
            strides: of the results, in the same order.
        """
        step = self.count * self.channels
        lines = [f"float *part = (float *)at[{place}];"]
        targets = iter(zip(range(first, first + len(strides)), strides, strict=True))
        for i, r in enumerate(self.sums):
            k, stride = next(targets)
            own = f"part + {i * self.channels}"
            lines.append(f"add_parts({own}, {self.parts}, {step}, {self.channels});")
            value = r.how.finish.replace("a", f"({own})[i]", 1)
            lines.append(f"for (long i = 0; i < {self.channels}; i++) ((float *)at[{k}])[i * {stride}] = {value};")
        for i, m in enumerate(self.moments):
            (mean, mean_step), (scale, scale_step) = next(targets), next(targets)
            own = ", ".join(f"part + {at * self.channels}" for at in self._places(i))
            lines.append(
                f"merge_moments({own}, {self.parts}, {step}, {self.channels}, {literal(m.eps, np.dtype(np.float32))}, "
                f"at[{mean}], {mean_step}, at[{scale}], {scale_step});"
            )
        return whole("NAME_finish(void *const *at)", lines)

    def _places(self, i: int) -> range:
        start = len(self.sums) + _OF_MOMENTS * i
        return range(start, start + _OF_MOMENTS)

    def _vectors(self) -> list[str]:
        """Sums, and of moments a number, the sum of the distances from it and that of their squares."""
        of_moments = [f"{name}{i}" for i, _ in enumerate(self.moments) for name in "ktq"]
        return [*(f"a{i}" for i, _ in enumerate(self.sums)), *of_moments]

    def _element(self, i: int) -> str:
        """A vector of a row's elements."""
        return self._some("load", "tile") if self.loaded[i] else f"load(x{i}_ + v * LANES)"

    def _some(self, what: str, start: str, *given: str) -> str:
        """To load or to store the columns of a vector."""
        return f"{what}_some({', '.join([f'{start} + v * LANES', *given, f'{self.columns} - v * LANES'])})"


class TileSumsOfElements(TileSums):
    """The same with sums that are arrays: beside bfloat16 numbers vectors are half as long, and whole ones would wait for them."""

    def before(self, place: int) -> list[str]:
        """Declarations in front of the loop over the rows of a tile."""
        lines = [f"float *part = (float *)at[{place}] + row / {self.together} * {self.count * self.channels} + column;"]
        lines += [f"float {name}[{self.width}];" for name in self._vectors()]
        starts = [f"a{i}[i] = part[{i * self.channels} + i];" for i, _ in enumerate(self.sums)]
        starts += [f"k{i}[i] = t{i}[i] = q{i}[i] = 0;" for i, _ in enumerate(self.moments)]
        return [*lines, *self._of_columns(starts)]

    def inside(self) -> list[str]:
        """What is done with each element."""
        lines = [f"a{i}[i] += {r.element};" for i, r in enumerate(self.sums)]
        for i, m in enumerate(self.moments):
            lines += [
                f"k{i}[i] = r == row ? {m.element} : k{i}[i];",
                f"const float d{i} = {m.element} - k{i}[i];",
                f"t{i}[i] += d{i};",
                f"q{i}[i] += d{i} * d{i};",
            ]
        return lines

    def along(self) -> list[str]:
        """Nothing."""
        return []

    def after(self) -> list[str]:
        """What is done behind that loop."""
        lines = [f"part[{i * self.channels} + i] = a{i}[i];" for i, _ in enumerate(self.sums)]
        for i, _ in enumerate(self.moments):
            own = ", ".join(f"part + {at * self.channels} + i" for at in self._places(i))
            lines.append(f"add_moments_of_one({own}, k{i}[i], t{i}[i], q{i}[i], (float)rows);")
        return self._of_columns(lines)

    def _of_columns(self, lines: list[str]) -> list[str]:
        return [f'_Pragma("omp simd") for (long i = 0; i < {self.columns}; i++) {{', *indented(lines), "}"]


def _across(lines: list[str]) -> list[str]:
    return ["UNROLLED for (long v = 0; v < ACROSS; v++) {", *indented(lines), "}"]
