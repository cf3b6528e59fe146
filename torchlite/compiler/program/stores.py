"""What follows a kernel elementwise, done to each tile of its first result while that lies in the first-level cache.

A kernel hands finished tiles to a function in C: some rows and columns of its result, seen as a matrix. The rows of a product
are those of all its matrices. Of an array (N, C, H, W) whose channels lie side by side positions are rows and channels columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from torchlite.compiler.graph import Node, Value
from torchlite.compiler.program.bodies import Body, Dimensions, Stream, body
from torchlite.compiler.program.expressions import C_TYPES, c_type, read, written
from torchlite.compiler.program.gelu_parts import HEADER as GELU
from torchlite.compiler.program.gelu_parts import PART, gelu_alone, gelu_by_parts
from torchlite.compiler.program.layout import Unplaceable
from torchlite.compiler.program.loops import Nest, indented, whole
from torchlite.compiler.program.places import CHANNELS_LAST
from torchlite.compiler.program.tile_sums import HEADER, TileSums, TileSumsOfElements, partial_start
from torchlite.compiler.program.units import Loop
from torchlite.compiler.program.writer import Writer


class Store(NamedTuple):
    """How a kernel hands over its first result, as arguments in C.

    Attributes:
        target: the address where it leaves that itself, or NULL where it need not.
        finish: the function that it calls with each tile, or NULL.
        context: what that is given.
    """

    target: str
    finish: str
    context: str


class StoreOfTiles(NamedTuple):
    """How a product, or another matrix, is handed over, as arguments in C.

    Attributes:
        finish: the function that it calls with each tile.
        context: what that is given.
        streams: arrays that this reads or writes along with the result, with the steps between their rows.
    """

    finish: str
    context: str
    streams: str


def store_of_rows(
    node: Node, writer: Writer, width: int, bias: Value | None = None, *, fetches: str = "1", most: int | None = None
) -> StoreOfTiles:
    """The store of a product, or of other rows, where all that is needed of them is left to the function.

    Args:
        node: the product.
        writer: of the program.
        width: how many columns a tile has, at most.
        bias: of as many numbers as a row has, which is added to each before anything else.
        fetches: when the function itself asks for what the rows below need, as a condition in C.
        most: how many columns most tiles of a wide result have, for which the loop is compiled once more.
    """
    out = node.outputs[0]
    assert out.aval is not None
    (loop,) = writer.step.unit.loops
    dimensions = Dimensions(loop, None)
    made = body(loop, dimensions, writer.step.places, writer.layout.stored)
    if bias is not None:
        place = writer.step.places[bias]
        strides = dimensions.strides(place.ghost, out.aval.shape)
        made.reads.append((Stream(place, strides, C_TYPES[place.ghost.dtype]), "bias"))
    columns = out.aval.shape[-1]
    lengths = dimensions.lengths
    across = [math.prod(lengths[d:]) <= columns and lengths[d] > 1 for d in range(len(lengths))]
    number = _number(out, "tile[i] + bias" if bias else "tile[i]")
    sums = (
        TileSums(writer.step.unit, made, min(columns, width), "columns", plain=number == "tile[i]")
        if loop.reductions
        else None
    )
    tile = _Tile(lengths, across, made, sums, most=most if sums is None and most and columns >= most else None)
    called = tile.called(number, writer, tile.ahead(fetches))
    return StoreOfTiles(*called, tile.streams(writer))


def store_of_channels(node: Node, writer: Writer) -> Store:
    """The store of an array (N, C, H, W), which of float32 the kernel leaves in memory itself, where it is needed.

    Raises:
        Unplaceable: where what follows sees the result under another shape.
    """
    out = node.outputs[0]
    assert out.aval is not None
    place = writer.step.places.get(out)
    target = "NULL" if place is None else f"(float *)({writer.address(place)})"
    loop = next(iter(writer.step.unit.loops), None)
    if loop is None or not (loop.nodes or loop.reductions):
        return Store(target, "NULL", "NULL")
    dimensions = Dimensions(loop, CHANNELS_LAST)
    if dimensions.shape != out.aval.shape:
        raise Unplaceable("what follows a kernel sees its result under another shape")
    made = body(loop, dimensions, writer.step.places, writer.layout.stored)
    if c_type(out) != "bfloat16":
        made.stores = [(stream, name) for stream, name in made.stores if stream.place is not place]
    width = _width(node)
    columns = "columns" if out.shape[1] % width else str(width)
    number = _number(out, "tile[i]")
    plain = number == "tile[i]"
    summed = TileSums if plain else TileSumsOfElements
    sums = summed(writer.step.unit, made, width, columns, plain=plain) if loop.reductions else None
    tile = _Tile(dimensions.lengths, [False, False, False, True], made, sums, columns)
    return Store(target, *tile.called(number, writer, []))


def fill_of_channels(v: Value, writer: Writer) -> tuple[str, str]:
    """A function that makes the elements of an input (N, C, H, W) of a kernel in its tiles, which are of its type, and what it is given."""
    loop = writer.step.unit.before[v]
    dimensions = Dimensions(loop, CHANNELS_LAST, v.shape)  # also where there is one sample
    made = body(loop, dimensions, writer.step.places, writer.layout.stored)
    result = _Made(f"v{[node.outputs[0] for node in loop.nodes].index(v)}", c_type(v) or "")
    tile = _Tile(dimensions.lengths, [False, False, False, True], made, columns=str(v.shape[1]), made=result)
    return tile.called(None, writer, [])


def beside(v: Value, loop: Loop | None, writer: Writer, kind: str = "float") -> str:
    """A table in C of the arrays of one type that lie as ``v``, which a loop on its elements goes through, or which it is itself."""
    places, stored = writer.step.places, writer.layout.stored
    values = [v]
    if loop is not None:
        values += [*loop.reads, *(w for node in loop.nodes for w in node.outputs if w in stored)]
    addresses = [
        f"(const {kind} *)({writer.address(places[w])})"
        for w in dict.fromkeys(values)
        if w in places and c_type(w) == kind and w.shape == v.shape and places[w].order == CHANNELS_LAST
    ]
    return f"(const {kind} *const[]){{{', '.join([*addresses, 'NULL'])}}}" if addresses else "NULL"


_SHORT = 16  # columns of a row that `widen_row` of ``program.h`` takes
_BLOCK = 32  # columns that kernels of bfloat16 hand over, at most


def _width(node: Node) -> int:
    """How many columns a tile has, at most."""
    out = node.outputs[0]
    return min(out.shape[1], _BLOCK) if c_type(out) == "bfloat16" else out.shape[1]


def _number(out: Value, sum_: str) -> str:
    """What follows a sum in float32 reads, which is the result's type."""
    return f"bf16_rounded({sum_})" if c_type(out) == "bfloat16" else sum_


class _Made(NamedTuple):
    """What the numbers of a tile become, and their type in C."""

    name: str
    kind: str

    @property
    def tile(self) -> str:
        """The tile as an array of that type."""
        return "tile" if self.kind == "float" else "made"


class _Tile(Nest):
    """The loops over a tile.

    Args:
        lengths: of the dimensions, in the order of memory.
        across: which of them, at the end, are columns.
        body: of one element.
        sums: of the columns.
        columns: how many a tile has, as C.
        most: how many most tiles have, where that is worth a loop of its own; with no sums.
        made: what the tile's numbers become; None where they stay.
    """

    def __init__(
        self,
        lengths: tuple[int, ...],
        across: list[bool],
        body: Body,
        sums: TileSums | None = None,
        columns: str = "columns",
        most: int | None = None,
        made: _Made | None = None,
    ) -> None:
        super().__init__(lengths, across, body)
        self.across = self.flags.index(True) if True in self.flags else len(self.flags)
        self.sums = sums
        self.columns = columns
        self.most = most
        self.made = made

    def called(self, number: str | None, writer: Writer, ahead: list[str]) -> tuple[str, str]:
        """The function and its context, the table of its arrays.

        Args:
            number: of the tile, that the body sees; None where it sees none.
            writer: of the program.
            ahead: what is done to each row before.
        """
        sums, place = self.sums, len(self.all)
        lines = ["void *const *at = context;", *self._pointers(), *(sums.before(place) if sums else ())]
        if self.made and self.made.kind != "float":
            lines.append(f"{self.made.kind} *{self.made.tile} = ({self.made.kind} *)tile;")
        more = sums.inside() if sums else []
        along = sums.along() if sums else ()
        before = [*self._coordinates("r", self.lengths[: self.across], 0), *ahead]
        if self.most:
            rows = self._rows([*before, *self._along_row(number, more, str(self.most))])
            lines += [f"if ({self.columns} == {self.most}) {{", *indented([*rows, "return;"]), "}"]
        lines += self._rows([*before, *self._along_row(number, more, self.columns), *along])
        text = whole(_HEAD, [*lines, *(sums.after() if sums else ())])
        if gelu_by_parts(self.body.lines):
            writer.require(GELU)
        addresses = [writer.address(stream.place) for stream in self.all]
        if sums is None:
            return writer.loop(text), _table(addresses)
        writer.require(HEADER)
        first = len(self.body.streams())
        text += sums.finish(place, first, [own[-1] for own in self.strides[first:]])
        name, partial = writer.loop(text), writer.scratch(partial_start(writer.step.unit))
        context = _table([*addresses, partial])
        writer.statement(f"memset({partial}, 0, {sums.bytes});")
        writer.afterwards(f"{name}_finish({context});")
        return name, context

    def streams(self, writer: Writer) -> str:
        """Arrays of float32 whose rows a product fetches while it computes a tile."""
        if self.across != 1 or len(self.lengths) != 2:
            return "{0}"
        found = {
            writer.address(stream.place): self.strides[k][0]
            for k, stream in enumerate(self.body.streams())
            if stream.kind == "float" and self.strides[k][0] and self.strides[k][1] == 1
        }
        streams = [f"{{(const float *)({address}), {step}}}" for address, step in found.items()]
        return f"{{{', '.join(streams[:_MOST_STREAMS]) or '0'}}}"

    def ahead(self, fetches: str) -> list[str]:
        """Fetch what the tile below needs, while that is computed: rows of tiles are too short for the processor to guess."""
        if self.across != 1 or len(self.lengths) != 2:
            return []
        far = [
            f"__builtin_prefetch(s{k} + rows * {self.strides[k][0]} + column + i, {int(k >= len(self.body.reads))});"
            for k in range(len(self.body.streams()))
            if self.strides[k][0] and self.strides[k][1] == 1
        ]
        loop = [f"for (long i = 0; {fetches} && i < {self.columns}; i += LANES) {{", *indented(far), "}"]
        return loop if far and fetches != "0" else []

    def _rows(self, inside: list[str]) -> list[str]:
        tile = self.made.tile if self.made else "tile"
        return [f"for (long r = row; r < row + rows; r++, {tile} += tile_step) {{", *indented(inside), "}"]

    def _along_row(self, number: str | None, more: list[str], width: str) -> list[str]:
        """The loop over so many columns, which streams may see as several dimensions."""
        alone = None if more or self.made else self._gelu_of_row(number, width)
        if alone is not None:
            return [alone]
        fixed: list[str] = []  # what all columns see is read once, which a compiler that fears the stores does not
        inside: list[str] = []
        for k, (stream, name) in enumerate(self.body.reads):
            element = self._element(k)
            if self._is_short(stream.kind, element, width):
                fixed += [f"float row{k}[{_SHORT}];", f"widen_row(s{k} + column, row{k});"]
                inside.append(f"const float {name} = row{k}[i];")
            else:
                (fixed if element == f"*s{k}" else inside).append(f"const {read(stream.kind, name, element)}")
        stored, narrowed, first = [], [], len(self.body.reads)
        stores = [
            (k, s.kind, self._element(k), f"s{k} + column", name) for k, (s, name) in enumerate(self.body.stores, first)
        ]
        if self.made:
            kind, tile = self.made.kind, self.made.tile
            stores.append((first + len(stores), kind, f"{tile}[i]", tile, self.made.name))
        stores.sort(key=lambda store: store[-1] == "acc")  # last, or gcc reads the tile again for what else is stored
        for k, kind, element, start, name in stores:
            if self._is_short(kind, element, width):
                fixed.append(f"float row{k}[{_SHORT}];")
                stored.append(f"row{k}[i] = {name};")
                narrowed.append(f"narrow_row(row{k}, {start});")
            else:
                stored.append(f"{element} = {written(kind, name)};")
        columns = self.lengths[self.across :]
        if len(columns) > 1:
            inside = [*self._coordinates("(column + i)", columns, self.across, prefix="q"), *inside]
        if number is not None:
            inside.append(f"const float acc = {number};")
        parted = gelu_by_parts(self.body.lines)
        if parted is None:
            return [*fixed, *_loop("0", width, [*inside, *self.body.lines, *stored, *more]), *narrowed]
        return [
            *fixed,
            f"for (long first = 0; first < {width}; first += {PART}) {{",
            f"    const long end = at_most(first + {PART}, {width});",
            f"    float values[{PART}], slopes[{PART}];",
            *indented(_loop("first", "end", [*inside, *parted.before])),
            f"    {parted.call}",
            *indented(_loop("first", "end", [*inside, *parted.after, *stored, *more])),
            "}",
            *narrowed,
        ]

    @staticmethod
    def _is_short(kind: str, element: str, width: str) -> bool:
        """Whether these are bfloat16 numbers side by side that fill one vector when they are widened, but half of one as they lie,
        for which compilers would halve all of the loop's vectors."""
        return kind == "bfloat16" and width == str(_SHORT) and element.endswith(("[column + i]", "[i]"))

    def _gelu_of_row(self, number: str | None, width: str) -> str | None:
        """The call that does all for a row whose sums, with a bias, only become GELU and its slope; None for any other."""
        found, streams = gelu_alone(self.body.lines, "acc"), enumerate(self.body.streams())
        dense = all(s.kind == "float" and self._element(k) == f"s{k}[column + i]" for k, s in streams)
        if found is None or not dense or number not in ("tile[i]", "tile[i] + bias"):
            return None
        stored = {name: f"s{k} + column" for k, (_, name) in enumerate(self.body.stores, len(self.body.reads))}
        others = [name for _, name in self.body.reads if name != "bias"] + [
            name for name in stored if name not in found
        ]
        if others or len(stored) < len(self.body.stores):
            return None
        bias = "s0 + column" if self.body.reads else "NULL"
        value, slope = (stored.get(name or "", "NULL") for name in found)
        return f"gelu_with_slopes(tile, {bias}, {value}, {slope}, {width});"

    def _element(self, k: int) -> str:
        if len(self.lengths) - self.across > 1:
            return f"*q{k}"
        step = self.strides[k][self.across] if self.across < len(self.lengths) else 0
        return f"s{k}[{'column + i' if step == 1 else f'(column + i) * {step}'}]" if step else f"*s{k}"


def _loop(begin: str, end: str, inside: list[str]) -> list[str]:
    return [f'_Pragma("omp simd") for (long i = {begin}; i < {end}; i++) {{', *indented(inside), "}"]


def _table(addresses: Iterable[str]) -> str:
    return f"(void *[]){{{', '.join(addresses)}}}"


_MOST_STREAMS = 8  # as in ``gemm.h``
_HEAD = "NAME(void *context, float *tile, long tile_step, long row, long column, long rows, long columns)"
