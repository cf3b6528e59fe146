"""The text of a program: one C function for each kind of unit, and functions that call them one after the other.

A long program is several texts, each with the functions that its steps call, which are compiled at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torchlite.backends.native.library import GRAIN, text
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.program.layout import Layout, Step
from torchlite.compiler.program.loops import Function
from torchlite.compiler.program.numbers import arithmetic
from torchlite.compiler.program.places import Buffer, Place
from torchlite.compiler.program.units import Unit

# Loops over elements round each operation as eager execution does: no product and sum become one rounding.
_EXACT = """
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif
"""
HEADERS = ("parallel.h", "vectors.h", "mathematics.h", "program.h")


# What is compiled, in characters of plain loops, which take some 15 µs each:
_LONG = 90_000  # above which a program is two texts
_OF_MACRO = 5_000  # a function that a macro of a header writes
_OF_HEADER = 3  # each character of a header of kernels


class Text(NamedTuple):
    """C that is compiled in one go.

    Attributes:
        headers: files of ``backends/native`` that come first.
        source: what follows.
    """

    headers: tuple[str, ...]
    source: str


class Segment(NamedTuple):
    """A C function without arguments but for the tables, and in which text it stands."""

    text: int
    name: str


@dataclass(eq=False)
class Program:
    """The text of a program and what its functions are called with.

    Attributes:
        texts: all of it.
        segments: what runs one after the other: a C function, or an operation that runs on the host.
        steps: for each segment the steps in it.
        numbers: the place of each number among those that C knows.
        buffers: the place of each input, constant and result in the table of addresses; the arena is its first entry.
        checks: for what a C function returns, which is not 0 where it ends early, the operation that has failed.
    """

    texts: list[Text]
    segments: list[Segment | Step]
    steps: list[list[Step]]
    numbers: dict[Value, int]
    buffers: dict[tuple[str, int], int]
    checks: list[Node]

    @property
    def source(self) -> str:
        """The C, without the files that come first."""
        return "\n".join(text.source for text in self.texts)


@dataclass(eq=False)
class _Written:
    """The C of one step: statements, tables that they read, the functions that they call, and files of ``backends/native``."""

    step: Step
    statements: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    called: dict[str, None] = field(default_factory=dict)
    headers: dict[str, None] = field(default_factory=dict)


class Writer:
    """Writes the C of units; lowerings are given one.

    Args:
        graph: for the names of values.
        layout: of the program.
        apart: whether each step becomes a segment of its own, so that its time can be taken.
        whole: whether everything stands in one text, however long.
    """

    def __init__(self, graph: Graph, layout: Layout, *, apart: bool = False, whole: bool = False) -> None:
        self.layout = layout
        self.apart = apart
        self.whole = whole or apart
        self.names = graph.names()
        self.functions: dict[str, str] = {}
        self.loops: dict[str, str] = {}
        self.count_of_tables = 0
        self.last: list[str] = []
        self.numbers: dict[Value, int] = {}
        self.buffers: dict[tuple[str, int], int] = {}
        self.checks: list[Node] = []
        for v, _ in layout.floats:
            self.numbers[v] = len(self.numbers)

    def program(self) -> Program:
        """The whole."""
        written = [self._written(step) for step in self.layout.steps]
        texts: list[Text] = []
        segments: list[Segment | Step] = []
        steps: list[list[Step]] = []
        for part in self._divided(written):
            bodies: list[str] = []
            for together in self._segments(part):
                steps.append([piece.step for piece in together])
                if together[0].step.unit.kind == "host":
                    segments.append(together[0].step)
                else:
                    name = f"segment{len(segments)}"
                    segments.append(Segment(len(texts), name))
                    bodies.append(_segment(name, together))
            texts.append(self._text(part, bodies))
        return Program(texts, segments, steps, self.numbers, self.buffers, self.checks)

    def _written(self, step: Step) -> _Written:
        """The C of a step, which for one on the host is empty."""
        self.step, self.piece = step, _Written(step)
        if step.unit.kind != "host":
            self._write(step)
        return self.piece

    def _segments(self, pieces: Iterable[_Written]) -> Iterator[list[_Written]]:
        """What runs in one go: all between two steps on the host that has statements."""
        together: list[_Written] = []
        for piece in pieces:
            host = piece.step.unit.kind == "host"
            if together and (host or self.apart):
                yield together
                together = []
            if host:
                yield [piece]
            elif piece.statements:
                together.append(piece)
        if together:
            yield together

    def _divided(self, pieces: Sequence[_Written]) -> list[Sequence[_Written]]:
        """The steps of each text: neighbours, whose functions take about as long to be compiled."""
        costs = {name: len(loop) for loop, name in self.loops.items()}
        costs |= {name: max(len(function), _OF_MACRO) for function, name in self.functions.items()}
        macros = set(self.functions.values())
        of = [[*piece.called, *(piece.headers if macros.isdisjoint(piece.called) else ())] for piece in pieces]
        costs |= {
            name: _OF_HEADER * len(text(name)) for name in {name for names in of for name in names} - costs.keys()
        }
        costs |= dict.fromkeys(HEADERS, 0)
        firsts, lasts = _sums(of, costs), _sums(reversed(of), costs)
        if self.whole or len(pieces) == 1 or firsts[-1] < _LONG:
            return [pieces]
        middle = min(range(1, len(pieces)), key=lambda k: max(firsts[k], lasts[-1 - k]))
        return [pieces[:middle], pieces[middle:]]

    def _text(self, pieces: Sequence[_Written], bodies: Sequence[str]) -> Text:
        called = {name for piece in pieces for name in piece.called}
        kernels, loops = (
            [text.replace("NAME", name) for text, name in made.items() if name in called]
            for made in (self.functions, self.loops)
        )
        tables = [table for piece in pieces for table in piece.tables]
        headers = dict.fromkeys(HEADERS)
        for piece in pieces:
            headers |= piece.headers
        return Text(tuple(headers), "\n".join([*kernels, _EXACT, *loops, *tables, *bodies]))

    # What lowerings use

    def require(self, *headers: str) -> None:
        """Let files of ``backends/native`` come before the text, in this order."""
        self.piece.headers.update(dict.fromkeys(headers))

    def function(self, text: str, prefix: str) -> str:
        """The name of a C function whose text has NAME in its place; equal texts are written once.

        A product and a sum in it may be rounded once, which loops over elements do not do.
        """
        return self._called(self.functions.setdefault(text, f"{prefix}{len(self.functions)}"))

    def loop(self, text: str) -> str:
        """The name of a C function whose text has NAME in its place and does what operations on elements do, rounding each."""
        return self._called(self.loops.setdefault(text, f"loop{len(self.loops)}"))

    def _called(self, name: str) -> str:
        self.piece.called[name] = None
        return name

    def statement(self, text: str) -> None:
        """Do something at this point of the program."""
        self.piece.statements.append(text)

    def afterwards(self, text: str) -> None:
        """Do something behind the unit that is being written."""
        self.last.append(text)

    def pointer(self, v: Value) -> str:
        """The address of a value's first element, of type ``char *``."""
        return self.address(self.step.places[v])

    def address(self, place: Place) -> str:
        """The address of a place, of type ``char *``."""
        return self._buffer(place.buffer, place.offset)

    def scratch(self, used: int = 0) -> str:
        """The address of the unit's scratch memory, behind ``used`` bytes of it."""
        assert self.step.scratch is not None
        return self._buffer(self.step.scratch, used)

    def number(self, v: Value) -> str:
        """A Python number."""
        if v.constant is not None:
            return repr(float(v.constant)) if type(v.constant) is float else f"{v.constant}.0"
        return f"numbers[{self.numbers.setdefault(v, len(self.numbers))}]"

    def comment(self, nodes: Sequence[Node]) -> None:
        """Say which operations come next."""
        for node in nodes:
            targets = ", ".join(self.names.get(v, "copy") for v in node.outputs)
            given = ", ".join(self.names.get(v, "…") for v in node.inputs)
            self.statement(f"// {targets} = {node.op.name}({given})")

    def _buffer(self, buffer: Buffer, offset: int) -> str:
        if buffer.kind == "arena":
            return f"arena + {buffer.offset + offset}"
        number = self.buffers.setdefault((buffer.kind, buffer.number), len(self.buffers) + 1)
        return f"at[{number}] + {offset}" if offset else f"at[{number}]"

    # Units

    def _write(self, step: Step) -> None:
        unit = step.unit
        self.comment(unit.nodes())
        if unit.kind == "kernel":
            assert unit.root is not None and unit.how is not None
            self.require(*unit.how.headers)
            unit.how.write(unit.root, self)
            self.piece.statements += self.last
            self.last.clear()
        elif unit.kind == "number":
            self._write_number(unit)
        elif unit.kind == "check":
            self._write_check(unit)
        else:
            self._write_loops(step)

    def _write_number(self, unit: Unit) -> None:
        node = unit.root
        assert node is not None
        target = node.outputs[0]
        if node.op.name == "item":
            kind = "float" if node.inputs[0].aval is not None and node.inputs[0].aval.dtype.itemsize == 4 else "double"
            self.statement(f"{self.number(target)} = *({kind} *)({self.pointer(node.inputs[0])});")
        elif node.op.name == "number_as_array":
            kind = "float" if target.aval is not None and target.aval.dtype.itemsize == 4 else "double"
            self.statement(f"*({kind} *)({self.pointer(target)}) = ({kind}){self.number(node.inputs[0])};")
        else:
            text, unless = arithmetic(node, [self.number(v) for v in (*node.inputs, target)])
            self.statement(f"{self.number(target)} = {text};")
            if unless is not None:
                self.statement(f"if ({unless}) return {self.failing(node)};")

    def _write_check(self, unit: Unit) -> None:
        node = unit.root
        assert node is not None
        v = node.inputs[0]
        if v.constant is not None and bool(v.constant):
            return
        self.statement(f"if (!*(unsigned char *)({self.pointer(v)})) return {self.failing(node)};")

    def failing(self, node: Node) -> int:
        """What the program returns where this operation ends it."""
        self.checks.append(node)
        return len(self.checks)

    def _write_loops(self, step: Step) -> None:
        groups: dict[str, list[Function]] = {}
        for made in step.functions:
            groups.setdefault(made.text if made.flat and not made.finishes else str(len(groups)), []).append(made)
        used = 0
        for together in groups.values():
            if len(together) == 1:
                self.call(together[0], used)
                used += together[0].scratch
            else:
                self._call_together(together)

    def call(self, made: Function, used: int = 0) -> None:
        """Call a loop.

        Args:
            made: the loop.
            used: bytes of the unit's scratch memory that others use.
        """
        name = self.loop(made.text)
        addresses = [self.address(place) for place in made.at] + ([self.scratch(used)] if made.scratch else [])
        at = f"(void *[]){{{', '.join(addresses)}}}"
        if made.flat and made.tasks <= GRAIN:
            self.statement(f"{name}({at}, 0, {made.tasks});")
        elif made.flat:
            self.statement(f"flat({name}, {at}, {made.tasks});")
        else:
            self.statement(f"parallel({name}, {at}, {made.tasks});")
        if made.finishes:
            self.statement(f"{name}_finish({at});")

    def _call_together(self, functions: Sequence[Function]) -> None:
        name = self.loop(functions[0].text)
        arrays = len(functions[0].at)
        addresses = ", ".join(self.address(place) for made in functions for place in made.at)
        lengths = ", ".join(str(made.tasks) for made in functions)
        if sum(made.tasks for made in functions) <= GRAIN:
            table = f"(const long[]){{{lengths}}}"
            self.statement(f"few({name}, (void *[]){{{addresses}}}, {arrays}, {table}, {len(functions)});")
            return
        chunks = [f"{{{g}, {b}}}" for g, made in enumerate(functions) for b in range(0, max(made.tasks, 1), GRAIN)]
        table = f"many{self.count_of_tables}"
        self.count_of_tables += 1
        self.piece.tables.append(
            f"static const long {table}_n[] = {{{lengths}}};\n"
            f"static const Chunk {table}_chunks[] = {{{', '.join(chunks)}}};"
        )
        self.statement(f"many({name}, (void *[]){{{addresses}}}, {arrays}, {table}_n, {table}_chunks, {len(chunks)});")


def _sums(of: Iterable[Iterable[str]], costs: Mapping[str, int]) -> list[int]:
    """What the first steps cost, for each number of them; what several need costs once."""
    known: set[str] = set()
    sums = [0]
    for names in of:
        new = {*names} - known
        known |= new
        sums.append(sums[-1] + sum(costs[name] for name in new))
    return sums


def _segment(name: str, pieces: Iterable[_Written]) -> str:
    lines = "\n".join(f"    {line}" for piece in pieces for line in piece.statements)
    head = f"UNOPTIMIZED int {name}(char *const *at, double *numbers) {{"
    return f"{head}\n    char *const arena = at[0];\n{lines}\n    return 0;\n}}\n"
