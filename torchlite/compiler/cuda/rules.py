"""What an uncompiled rule does to rows of arrays, a parameter with its gradient and its state say, in one launch for all.

The rule runs on one row of tensors without numbers each time, which shows what it does: numbers of the host may have changed,
and what depends on them. The kernel of what it does is compiled once, for rows of any number and length.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor, wrap
from torchlite.compiler.cuda.arguments import Arguments
from torchlite.compiler.cuda.decomposition import decomposed
from torchlite.compiler.cuda.parts import root
from torchlite.compiler.cuda.regions import Region, fusable, is_view
from torchlite.compiler.cuda.scalars import HALVES, number, passed
from torchlite.compiler.cuda.tables import CHUNK, POINTERS, Chunks, Text, linear
from torchlite.compiler.cuda.texts import Texts, kept_module
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.numbers import as_array
from torchlite.compiler.passes import without_dead_code
from torchlite.compiler.symbols import Memory, Symbol
from torchlite.compiler.tracer import Tracer
from torchlite.devices import Device
from torchlite.dispatch import run_elsewhere
from torchlite.ir import REGISTRY, Aval, Op
from torchlite.tracing import active

_LENGTH = CHUNK  # of the row that a rule is shown; the kernel knows it from its table
_MOST = 1 << 10  # rules that are kept
_MOST_LENGTHS = 64  # for which one rule keeps how its rows are divided


class RowRecording:
    """A rule on rows of tensors of a GPU, which may write into them.

    Within it as a context ``row`` stands for each of the ``rows``; `launch` then does to all of them what has been done to it.

    Args:
        rows: tensors, as many in each; there is no history.
    """

    def __init__(self, rows: Sequence[Sequence[Tensor]]) -> None:
        arrays = [[_real(x._data) for x in row] for row in rows]
        self.dtypes = [x.dtype for x in arrays[0]]
        self.device = rows[0][0].device
        self.rows: list[Sequence[Tensor]] = []
        self.arrays: list[list[Any]] = []
        self.left: list[Sequence[Tensor]] = []
        for row, of_row in zip(rows, arrays, strict=True):
            if _alike(of_row, self.dtypes) and (backends.has_one_gpu() or all(x.device == self.device for x in row)):
                self.rows.append(row)
                self.arrays.append(of_row)
            else:
                self.left.append(row)
        self._recorder = _Recorder(self.dtypes, self.device)
        self.row = [wrap(symbol) for symbol in self._recorder.symbols]

    def __enter__(self) -> Sequence[Tensor]:
        active.tracer = self._recorder
        return self.row

    def __exit__(self, *_: object) -> None:
        active.tracer = None

    def launch(self, *results: Tensor) -> list[Any]:
        """Compute.

        Args:
            results: tensors with one element for each row.

        Returns:
            those elements, an array of all rows for each result. Rows to which it can't be done in this way are in `left`.
        """
        xp, recorder = backends.cupy(), self._recorder
        written = recorder.written
        rule = _rule(recorder, written, [x._data for x in results]) if self.rows else None
        if rule is None or (recorder.converts and any(row[0].ndim == 0 for row in self.rows)):
            return self._decline()
        with backends.gpu(self.device.index):
            found = [xp.empty(len(self.rows), x._data.dtype) for x in results]
            places = [x.data.ptr for row in self.arrays for x in row]
            beside = [x.data.ptr for x in (*recorder.shared, *found)]
            lengths = tuple([row[0].size for row in self.arrays])
            try:
                rule.launch(lengths, places, beside, [x.itemsize for x in found], recorder.given)
            except Overlapping:
                return self._decline()
        for row in self.rows:
            for i in written:
                row[i]._storage.written()
        return found

    def _decline(self) -> list[Any]:
        self.left, self.rows = [*self.left, *self.rows], []
        return []


class Overlapping(Exception):
    """One array that is written has memory in common with another."""


class _Recorder(Tracer):
    """Records what is done to one row.

    Attributes:
        symbols: what stands for the arrays of the row.
        given: the numbers of the host that it met, in their order.
        shared: arrays of the GPU that it met.
        converts: whether one of them had another dtype, in which a parameter without dimensions would be computed, too.
    """

    def __init__(self, columns: Sequence[np.dtype[Any]], device: Device) -> None:
        super().__init__(set())
        self.device = device
        self.columns = [Value(Aval((_LENGTH,), dtype, device)) for dtype in columns]
        self.symbols = [self._symbol(v) for v in self.columns]
        self.numbers: list[Value] = []
        self.given: list[Any] = []
        self.shared: list[Any] = []
        self.beside: list[Value] = []
        self.converts = False

    @property
    def written(self) -> list[int]:
        """Which arrays of the row are."""
        found = zip(self.symbols, self.columns, strict=True)
        return [i for i, (symbol, v) in enumerate(found) if symbol.memory.value is not v]

    def record(self, op: Op, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
        """As `Tracer`; what has nothing to do with the row is computed."""
        if not any(isinstance(x, Symbol) for x in arrays):
            return self._computed(op, arrays, params)
        if op.kind == "view":
            return super().record(op, arrays, params)
        inferred = op.infer(*arrays, **params)
        symbols = [x if isinstance(x, Symbol) else self._from_outside(x) for x in arrays]
        several = type(inferred) is tuple
        avals = [Aval(x.shape, x.dtype, self.device) for x in (inferred if several else (inferred,))]
        values = self.emit(op, [self.read(x) for x in symbols], params, avals, several=several)
        results = [self._symbol(v) for v in values]
        return tuple(results) if several else results[0]

    def _computed(self, op: Op, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
        self.converts |= op.name == "cast"
        active.tracer = None
        try:
            return run_elsewhere(op, list(arrays), params)
        finally:
            active.tracer = self

    def _symbol(self, value: Value) -> Symbol:
        """All of an array of which it does not matter how it lies."""
        assert value.aval is not None
        return Symbol.of(Memory(value, known=False), value.aval.shape, value.aval.dtype)

    def _from_outside(self, array: Any) -> Symbol:
        value = Value(Aval(array.shape, array.dtype, self.device))
        self.beside.append(value)
        self.shared.append(array)
        return self._symbol(value)

    def tensor_of(self, number: Any, dtype: Any) -> Tensor:
        """A number as a tensor without dimensions, on the GPU at once."""
        made = as_array.run(number, dtype=dtype)
        value = Value(Aval((), made.dtype, self.device))
        self.numbers.append(value)
        self.given.append(made.astype(np.float32)[()] if str(made.dtype) in HALVES else made[()])
        tensor: Tensor = wrap(self._symbol(value))
        return tensor

    def symbol(self, tensor: Tensor) -> Any:
        """Tensors from outside are what they are, also while another thread traces."""
        return tensor.__dict__["_data"]

    def constant(self, array: Any) -> Any:
        """Likewise."""
        return array

    def user_line(self) -> str:
        """Nobody asks."""
        return ""

    def graph(self, written: Sequence[int], results: Sequence[Symbol]) -> Graph:
        """What becomes of the arrays that are written, and then the results, each with an operation of its own."""
        inputs = (*self.columns, *self.beside, *self.numbers)
        outputs: list[Value] = []
        for symbol in (*(self.symbols[i] for i in written), *results):
            v = self.read(symbol)
            if v in outputs or v.node is None:
                (v,) = self.emit(REGISTRY["cast"], (v,), {"dtype": symbol.dtype}, [v.aval])
            outputs.append(v)
        return Graph("rule", inputs, tuple(self.nodes), tuple(outputs))


class Rule:
    """A compiled rule.

    Args:
        text: of its kernels.
        order: for each address in a row of the table, which of those that `launch` is given it is.
        numbers: those that it reads: which of the host's, or a constant.
        functions: the kernels, compiled.
        written: which arrays of a row it writes.
        sizes: those of an element of each array of a row.
    """

    def __init__(
        self,
        text: Text,
        order: Sequence[int],
        numbers: Sequence[int | np.generic],
        functions: Sequence[Any],
        written: Sequence[int],
        sizes: Sequence[int],
    ) -> None:
        self.text = text
        self.functions = [*functions]
        self.written, self.sizes = written, sizes
        self.order = list(order)
        self.numbers = numbers
        self._chunks: dict[tuple[int, ...], Chunks] = {}

    def launch(
        self,
        lengths: tuple[int, ...],
        places: Sequence[int],
        beside: Sequence[int],
        steps: Sequence[int],
        given: Sequence[Any],
    ) -> None:
        """Run on CuPy's current GPU.

        Args:
            lengths: of the rows.
            places: the addresses of all arrays, row by row.
            beside: those of arrays that all rows have in common, and of results that each has an element of.
            steps: the sizes of these elements.
            given: numbers of the host.

        Raises:
            Overlapping: before anything is written.
        """
        chunks = self._divided(lengths)

        def filled() -> Any:
            addresses = np.array(places, np.uint64).reshape(len(lengths), -1)
            self._refuse_overlap(addresses, np.array(lengths, np.uint64))
            widths = np.array([0] * (len(beside) - len(steps)) + [*steps], np.uint64)
            others = np.array(beside, np.uint64) + np.arange(len(lengths), dtype=np.uint64)[:, None] * widths
            table = chunks.table.copy()
            table[:, POINTERS:] = np.concatenate([addresses, others], 1)[:, self.order]
            return table

        table = chunks.placed((*places, *beside), filled)
        chunks.launch(table, [given[i] if isinstance(i, int) else i for i in self.numbers])

    def _refuse_overlap(self, addresses: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]) -> None:
        if not self.written:
            return
        ends = addresses + lengths[:, None] * np.array(self.sizes, np.uint64)
        spans = np.stack([addresses, ends], -1)
        read = [i for i in range(len(self.sizes)) if i not in self.written]
        apart = np.unique(spans[:, read].reshape(-1, 2), axis=0)  # what is read may be one array for several rows
        spans = np.concatenate([spans[:, self.written].reshape(-1, 2), apart])
        spans = spans[np.argsort(spans[:, 0], kind="stable")]
        if (spans[1:, 0] < spans[:-1, 1]).any():
            raise Overlapping

    def _divided(self, lengths: tuple[int, ...]) -> Chunks:
        found = self._chunks.get(lengths)
        if found is None:
            if len(self._chunks) >= _MOST_LENGTHS:
                self._chunks.clear()
            found = self._chunks[lengths] = Chunks(self.text, lengths)
            found.functions = self.functions
        return found


_rules: dict[Hashable, Rule | None] = {}


def _rule(recorder: _Recorder, written: list[int], results: Sequence[Any]) -> Rule | None:
    """The kernel of what has been recorded; None where it is not one kernel."""
    graph = recorder.graph(written, results)
    key = (recorder.device, tuple(written), *_written_out(graph))
    try:
        return _rules[key]
    except KeyError:
        if len(_rules) >= _MOST:
            _rules.clear()
        rule = _rules[key] = _compiled(recorder, written, graph)
        return rule


def _written_out(graph: Graph) -> tuple[Hashable, ...]:
    """What a graph is: equal graphs compute the same."""
    place = {v: i for i, v in enumerate(graph.inputs)}
    lines = []
    for node in graph.nodes:
        lines.append((node.op.name, tuple([place[v] for v in node.inputs]), tuple(node.params.items())))
        for v in node.outputs:
            place[v] = len(place)
    avals = tuple([v.aval for v in graph.inputs])
    return avals, tuple(lines), tuple([place[v] for v in graph.outputs])


def _compiled(recorder: _Recorder, written: list[int], graph: Graph) -> Rule | None:
    graph = without_dead_code(decomposed(graph, lambda _: True))
    region = Region((_LENGTH,), apart=True)
    if not all((is_view(node) or fusable(node)) and region.takes(node) for node in graph.nodes):
        return None
    outputs = [root(v) for v in graph.outputs]
    read = [v for v in region.reads if v in recorder.numbers or number(v) is not None]
    arguments = Arguments(region, [*dict.fromkeys(outputs)], read)
    if not linear(arguments):
        return None
    given = [*recorder.columns, *recorder.beside]
    targets = [*written, *range(len(given), len(given) + len(graph.outputs) - len(written))]
    order = [*map(given.index, arguments.arrays), *(targets[outputs.index(v)] for v in arguments.results)]
    text, texts = Text(arguments), Texts()
    names = [texts.named(text.declared, body) for body in text.bodies()]
    with backends.gpu(recorder.device.index):
        module = kept_module(texts, recorder.device)
    if module is None:
        return None
    functions = [module.get_function(name) for name in names]
    numbers = [passed(v) if v.constant is not None else recorder.numbers.index(v) for v in arguments.numbers]
    sizes = [v.aval.dtype.itemsize for v in recorder.columns if v.aval is not None]
    return Rule(text, order, numbers, functions, written, sizes)


def _real(array: Any) -> Any:
    """Complex numbers as pairs."""
    if array.dtype.kind == "c" and array.flags.c_contiguous:
        return array.reshape(-1).view(array.real.dtype)
    return array


def _alike(row: Sequence[Any], dtypes: Sequence[Any]) -> bool:
    """Whether the arrays of a row have these dtypes, and lie without gaps and alike."""
    first = row[0]
    shape, strides, itemsize = first.shape, first.strides, first.itemsize
    for x, dtype in zip(row, dtypes, strict=True):
        if x.dtype != dtype or x.shape != shape or x.dtype.itemsize != itemsize or x.strides != strides:
            return False
    return _without_gaps(shape, strides, itemsize) and 0 < first.size < 1 << 31


@functools.lru_cache(1 << 10)
def _without_gaps(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    expected = itemsize
    for step, n in sorted((step, n) for step, n in zip(strides, shape, strict=True) if n != 1):
        if step != expected:
            return False
        expected *= n
    return True
