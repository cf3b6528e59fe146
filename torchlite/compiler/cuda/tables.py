"""Kernels over a table: each row has the length and the addresses of one region; a block takes a chunk of one row."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchlite.backends import cupy, gpu
from torchlite.backends.memory import dense_strides
from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.deferred import defers, placed
from torchlite.compiler.cuda.launch import PARTIAL_TYPES, Named, dense, row_by_row, shape_and_dtype
from torchlite.compiler.cuda.layouts import reading
from torchlite.compiler.cuda.pointwise import THREADS, computed, indented
from torchlite.compiler.cuda.reductions import WARP, Reduction
from torchlite.compiler.cuda.scalars import stored, stored_type
from torchlite.compiler.cuda.slots import sent
from torchlite.compiler.graph import Node, Value
from torchlite.devices import Device

CHUNK = 1 << 14  # elements of a row that one block takes
MOST_TABLES = 64  # of rows of the same lengths that are kept: a pool tends to give the memory of the steps before
# Columns: how many elements, the number of the first chunk, and addresses from there.
_LENGTH, _FIRST, POINTERS = 0, 1, 2


def linear(arguments: Arguments) -> bool:
    """Whether everything is read and written in the order of memory or is one number for all elements, or all is reduced."""
    region = arguments.region
    if math.prod(region.shape) >= 1 << 31 or (region.dims and not _reduces_all(arguments)):
        return False
    along = dense_strides(region.shape)
    return all(
        not any(arguments.strides(v)) or _alike(region.shape, arguments.strides(v), along)
        for v in region.reads
        if arguments.read_from_memory(v)
    )


def _reduces_all(arguments: Arguments) -> bool:
    """Whether numbers of all elements are all that is computed."""
    region = arguments.region
    kept = all(n == 1 or d in region.dims for d, n in enumerate(region.shape))
    reads = any(arguments.read_from_memory(v) for v in Reduction(arguments).kept_reads)
    return kept and not reads and not region.late and all(v in region.kept for v in arguments.results)


def _alike(shape: Sequence[int], left: Sequence[int], right: Sequence[int]) -> bool:
    return all(n == 1 or a == b for n, a, b in zip(shape, left, right, strict=True))


class Text:
    """The kernels of a region for rows of any length: one, or two where it reduces."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.reduction = Reduction(arguments) if arguments.region.dims else None
        self.width = POINTERS + len(arguments.arrays) + len(arguments.results)
        self.partials = (
            [] if self.reduction is None else [self.reduction.partial_type(n) for n in self.reduction.reductions]
        )

    @property
    def declared(self) -> list[str]:
        """The parameters in C++."""
        given = ["const unsigned long long *chunks", "const unsigned long long *rows"]
        given += [f"{kind} *__restrict__ q{i}" for i, kind in enumerate(self.partials)]
        return given + self.arguments.declared_numbers()

    def bodies(self) -> list[str]:
        """The kernels; what the first finds in each chunk the second puts together."""
        arguments, reduction = self.arguments, self.reduction
        names = arguments.names | {v: f"x{i}" for i, v in enumerate(self._reads())}
        inner = [arguments.load(v, names[v], "i" if _whole(arguments, v) else "0") for v in self._reads()]
        if reduction is None:
            inner += computed(arguments.region.nodes, names)
            inner += [f"{arguments.pointer(v)}[i] = {stored(v, names[v])};" for v in arguments.results]
            return ["\n".join(indented([*self._row("chunks[blockIdx.x] >> 32"), *_loop(inner)]))]
        inner += computed(reduction.whole, names)
        inner += reduction.accumulated(reduction.reductions, names)
        first = [
            *self._row("chunks[blockIdx.x] >> 32"), *reduction.begun(reduction.reductions), *_loop(inner),
            *reduction.parts("blockIdx.x", f"across<{THREADS}>"),
        ]  # fmt: skip
        second = [
            *self._row("blockIdx.x"),
            *reduction.put_together(f"row[{_FIRST}]", f"(n + {CHUNK - 1}) / {CHUNK}", "0"),
        ]
        return ["\n".join(indented(first)), "\n".join(indented(second))]

    def _reads(self) -> list[Value]:
        return [v for v in self.arguments.region.reads if self.arguments.read_from_memory(v)]

    def _row(self, place: str) -> list[str]:
        """What is in the row that is at ``place``."""
        arguments = self.arguments
        pointers = [(f"const {stored_type(v)}", arguments.pointer(v)) for v in arguments.arrays]
        pointers += [(stored_type(v), arguments.pointer(v)) for v in arguments.results]
        lines = [
            f"const unsigned long long *row = rows + ({place}) * {self.width};",
            f"const Index n = (Index)row[{_LENGTH}];",
        ]
        lines += [f"{kind} *{name} = ({kind} *)row[{i}];" for i, (kind, name) in enumerate(pointers, POINTERS)]
        return lines


def _loop(inner: Sequence[str]) -> list[str]:
    """Each element of the block's chunk."""
    return [
        f"const Index start = (Index)chunks[blockIdx.x] * {CHUNK};",
        f"const Index end = n - start < {CHUNK} ? n : start + {CHUNK};",
        f"for (Index i = start + threadIdx.x; i < end; i += {THREADS}) {{",
        *indented(inner),
        "}",
    ]


def _whole(arguments: Arguments, v: Value) -> bool:
    """Whether there is an element for each of the loop, and not one for all."""
    source = reading(v).source
    assert source.aval is not None
    return any(arguments.strides(v)) or source.aval.shape == arguments.region.shape


class Chunks:
    """How rows of these lengths are divided, and the launches of a text for them.

    Attributes:
        table: what is known of each row before its addresses are.
        functions: the kernels of the text, once they are compiled.
    """

    def __init__(self, text: Text, lengths: Sequence[int]) -> None:
        self.text = text
        counts = [-(-n // CHUNK) for n in lengths]
        first_chunks = np.cumsum([0, *counts[:-1]])
        chunks = [row << 32 | chunk for row, count in enumerate(counts) for chunk in range(count)]
        self.chunks = np.array(chunks, np.uint64)
        self.grids = [(len(chunks), THREADS), (len(lengths), WARP)]
        self.table = np.zeros((len(lengths), text.width), np.uint64)
        self.table[:, _LENGTH], self.table[:, _FIRST] = lengths, first_chunks
        self.functions: list[Any] = []
        self._chunks: Any = None
        self._tables: dict[tuple[int, Hashable], Any] = {}

    def launch(self, table: Any, numbers: Sequence[Any] = ()) -> None:
        """Compute, on CuPy's current GPU; results are written where the ``table`` there says."""
        xp = cupy()
        if self._chunks is None:
            self._chunks = xp.asarray(self.chunks)
        partials = [xp.empty(len(self.chunks), PARTIAL_TYPES[kind]) for kind in self.text.partials]
        arguments = (self._chunks, table, *partials, *numbers)
        for function, (blocks, threads) in zip(self.functions, self.grids, strict=False):
            function((blocks,), (threads,), arguments)

    def placed(self, addresses: Hashable, filled: Callable[[], np.ndarray[Any, Any]]) -> Any:
        """The table on the GPU, ``filled`` with addresses; one that is there already is not sent again."""
        if defers():
            return placed(filled())
        key = (cupy().cuda.get_current_stream().ptr, addresses)  # another stream might read it before it is there
        found = self._tables.get(key)
        if found is None:
            table = filled()
            if len(self._tables) >= MOST_TABLES:
                self._tables.clear()
            found = self._tables[key] = sent(table)
        return found


@dataclass(eq=False)
class Row:
    """The arrays of one region.

    Attributes:
        arguments: of it.
        node: the operation.
        written: for results that overwrite an input the position of that input.
    """

    arguments: Arguments
    node: Node
    written: dict[int, int] = field(default_factory=dict)


class TableKernel:
    """Several regions with the same text, as one operation: their inputs and results one after the other."""

    def __init__(self, rows: Sequence[Row], device: Device) -> None:
        self.rows = rows
        self.device = device
        first = rows[0].arguments
        self.chunks = Chunks(Text(first), [math.prod(row.arguments.region.shape) for row in rows])
        self.arrays = len(first.arrays)
        self.results = [[shape_and_dtype(v) for v in row.arguments.results] for row in rows]
        self.names: list[str] = []
        self.strides = [row_by_row(v) for row in rows for v in row.arguments.arrays]
        self.doubtful: Sequence[int] = range(len(self.strides))  # the inputs that might have gaps
        self._lay_out()

    def _lay_out(self) -> None:
        """Find where in the table which address goes."""
        table, found = self.chunks.table, len(self.rows[0].arguments.results)
        places = np.arange(table.size).reshape(table.shape)
        self.of_inputs = places[:, POINTERS : POINTERS + self.arrays].reshape(-1)
        of_results = places[:, POINTERS + self.arrays :]
        written = [(k, i, j) for k, row in enumerate(self.rows) for i, j in row.written.items()]
        self.of_written = np.array([of_results[k, i] for k, i, _ in written], np.intp)
        self.overwritten = np.array([k * self.arrays + j for k, _, j in written], np.intp)
        self.made = [
            None if i in row.written else self.results[k][i] for k, row in enumerate(self.rows) for i in range(found)
        ]
        self.of_made = of_results.reshape(-1)[[made is not None for made in self.made]]

    def write(self, named: Named) -> None:
        """Write the kernels; ``named`` gives the name of the function with these parameters and this body."""
        text = self.chunks.text
        self.names = [named(text.declared, body) for body in text.bodies()]

    def bind(self, module: Any) -> None:
        """Take the functions from the compiled module."""
        self.chunks.functions = [module.get_function(name) for name in self.names]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The results; None for those that have been written into an input."""
        xp, arrays = cupy(), list(inputs)
        with gpu(self.device.index):
            for i in self.doubtful:
                arrays[i] = dense(arrays[i], self.strides[i])
            found = [None if made is None else xp.empty(*made) for made in self.made]
            table, addresses = self.chunks.table.copy(), np.array([x.data.ptr for x in arrays], np.uint64)
            places = table.reshape(-1)
            places[self.of_inputs] = addresses
            places[self.of_written] = addresses[self.overwritten]
            places[self.of_made] = [x.data.ptr for x in found if x is not None]
            self.chunks.launch(self.chunks.placed(table.tobytes(), lambda: table))
            for i in self.overwritten.tolist():
                if arrays[i] is not inputs[i]:
                    inputs[i][...] = arrays[i]
        return tuple(found)
