"""The text of a program: one C function for each kind of unit, and functions that call them one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torchlite.backends.native.library import GRAIN
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


@dataclass(eq=False)
class Program:
    """The text of a program and what its functions are called with.

    Attributes:
        source: C, without the files of ``backends/native`` that come first.
        headers: those.
        segments: what runs one after the other: the name of a C function, or an operation that runs on the host.
        steps: for each segment the steps in it.
        numbers: the place of each number among those that C knows.
        buffers: the place of each input, constant and result in the table of addresses; the arena is its first entry.
        checks: for what a C function returns, which is not 0 where it ends early, the operation that has failed.
    """

    source: str
    headers: tuple[str, ...]
    segments: list[str | Step]
    steps: list[list[Step]]
    numbers: dict[Value, int]
    buffers: dict[tuple[str, int], int]
    checks: list[Node]


class Writer:
    """Writes the C of units; lowerings are given one.

    Args:
        graph: for the names of values.
        layout: of the program.
        apart: whether each step becomes a segment of its own, so that its time can be taken.
    """

    def __init__(self, graph: Graph, layout: Layout, *, apart: bool = False) -> None:
        self.layout = layout
        self.apart = apart
        self.names = graph.names()
        self.headers: dict[str, None] = dict.fromkeys(HEADERS)
        self.functions: dict[str, str] = {}
        self.loops: dict[str, str] = {}
        self.tables: list[str] = []
        self.segments: list[str | Step] = []
        self.steps: list[list[Step]] = [[]]
        self.statements: list[str] = []
        self.last: list[str] = []
        self.numbers: dict[Value, int] = {}
        self.buffers: dict[tuple[str, int], int] = {}
        self.checks: list[Node] = []
        for v, _ in layout.floats:
            self.numbers[v] = len(self.numbers)

    def program(self) -> Program:
        """The whole."""
        bodies: list[str] = []
        for step in self.layout.steps:
            if step.unit.kind == "host":
                self._end_segment(bodies)
                self.steps[-1].append(step)
                self._add(step)
            else:
                self.step = step
                self.steps[-1].append(step)
                self._write(step)
                if self.apart:
                    self._end_segment(bodies)
        self._end_segment(bodies)
        kernels, loops = (
            [text.replace("NAME", name) for text, name in made.items()] for made in (self.functions, self.loops)
        )
        source = "\n".join([*kernels, _EXACT, *loops, *self.tables, *bodies])
        steps = self.steps[:-1]
        return Program(source, tuple(self.headers), self.segments, steps, self.numbers, self.buffers, self.checks)

    # What lowerings use

    def require(self, *headers: str) -> None:
        """Let files of ``backends/native`` come before the text, in this order."""
        self.headers.update(dict.fromkeys(headers))

    def function(self, text: str, prefix: str) -> str:
        """The name of a C function whose text has NAME in its place; equal texts are written once.

        A product and a sum in it may be rounded once, which loops over elements do not do.
        """
        return self.functions.setdefault(text, f"{prefix}{len(self.functions)}")

    def loop(self, text: str) -> str:
        """The name of a C function whose text has NAME in its place and does what operations on elements do, rounding each."""
        return self.loops.setdefault(text, f"loop{len(self.loops)}")

    def statement(self, text: str) -> None:
        """Do something at this point of the program."""
        self.statements.append(text)

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
            self.statements.append(f"// {targets} = {node.op.name}({given})")

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
            self.statements += self.last
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
            text, unless = arithmetic(node, [self.number(v) for v in node.inputs])
            if unless is not None:
                self.statement(f"if ({unless}) return {self.failing(node)};")
            self.statement(f"{self.number(target)} = {text};")

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
        chunks = [f"{{{g}, {b}}}" for g, made in enumerate(functions) for b in range(0, max(made.tasks, 1), GRAIN)]
        table = f"many{len(self.tables)}"
        self.tables.append(
            f"static const long {table}_n[] = {{{', '.join(str(made.tasks) for made in functions)}}};\n"
            f"static const Chunk {table}_chunks[] = {{{', '.join(chunks)}}};"
        )
        self.statement(f"many({name}, (void *[]){{{addresses}}}, {arrays}, {table}_n, {table}_chunks, {len(chunks)});")

    def _end_segment(self, bodies: list[str]) -> None:
        if not self.statements:
            return
        name = f"segment{len(bodies)}"
        lines = "\n".join(f"    {line}" for line in self.statements)
        bodies.append(
            f"int {name}(char *const *at, double *numbers) {{\n    char *const arena = at[0];\n{lines}\n    return 0;\n}}\n"
        )
        self.statements = []
        self._add(name)

    def _add(self, segment: str | Step) -> None:
        self.segments.append(segment)
        self.steps.append([])
