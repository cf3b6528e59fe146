"""Loops over elements as C: elementwise operations with broadcasting, in any strides, and reductions of their results."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from torchlite.backends.native.library import GRAIN
from torchlite.compiler.graph import Value
from torchlite.compiler.program.bodies import Body, Dimensions, Reduced, body
from torchlite.compiler.program.expressions import read, rounded, written
from torchlite.compiler.program.memory import ALIGNED
from torchlite.compiler.program.places import Order, Place
from torchlite.compiler.program.reductions import reduction
from torchlite.compiler.program.units import Loop, refinement

_MOST_PARTS = 512
_NEAR = 128  # sums side by side that registers can hold
_SEVERAL = 2  # arrays that an update overwrites, from which on it asks for what comes
_BLOCK = 64  # of their elements
_AHEAD = 4096  # bytes
_TURNED = 8  # rows and columns from which on a copy goes by squares


@dataclass(eq=False)
class Function:
    """A loop as C.

    Attributes:
        text: of its functions, with NAME in place of the name.
        at: the arrays that they are given, in order.
        tasks: how many tasks there are; for a loop over flat arrays, how many elements.
        flat: whether it does a range of elements of flat arrays.
        finishes: whether a function NAME_finish adds up what the tasks have left in the scratch memory.
        scratch: bytes of that; its address comes after the arrays.
    """

    text: str
    at: list[Place]
    tasks: int
    flat: bool
    finishes: bool = False
    scratch: int = 0


def order_of_loop(loop: Loop, places: Mapping[Value, Place]) -> Order | None:
    """The order of memory in which a loop goes through its elements: that of its largest dense array."""
    shape = refinement(*loop.shapes)
    if any(s != shape for s in loop.shapes):
        return None
    inputs = dict.fromkeys(loop.reads)
    for v in (*inputs, *(v for node in loop.nodes for v in node.outputs)):
        place = places.get(v)
        order = None if place is None or place.ghost.shape != shape else place.order
        if order is not None and (v in inputs or order != tuple(range(len(order)))):
            return order
    return None


def function(loop: Loop, order: Order | None, places: Mapping[Value, Place], stored: Container[Value]) -> Function:
    """A loop as a function in C."""
    if any(0 in shape for shape in loop.shapes):
        return Function(whole(_RANGE, ["(void)at, (void)begin, (void)end;"]), [], 0, flat=True)
    dimensions = Dimensions(loop, order)
    made = body(loop, dimensions, places, stored)
    flags = [False] * len(dimensions.lengths)
    for node in loop.reductions:
        rule = reduction(node)
        assert rule is not None and node.inputs[0].aval is not None
        flags = list(dimensions.reduced(rule.dims, node.inputs[0].aval.shape))
    nest = Nest(dimensions.lengths, flags, made)
    if nest.is_flat():
        return nest.flat()
    if nest.is_turned() and [node.op.name for node in loop.nodes] == ["clone"]:
        return nest.turned()
    return nest.reducing() if made.reductions else nest.rows()


class Nest:
    """The loops around a body, over as few dimensions as possible.

    Args:
        lengths: of the dimensions, in the order of memory.
        flags: which of them are reduced.
        body: of one element.
    """

    def __init__(self, lengths: Sequence[int], flags: Sequence[bool], body: Body) -> None:
        self.body = body
        self.all = [*body.streams(), *body.results()]
        keep = [d for d, n in enumerate(lengths) if n > 1]
        self._join(keep, lengths, flags)
        if _tangled(self.flags):  # what stays comes first, then what is reduced
            self._join([d for d in keep if not flags[d]] + [d for d in keep if flags[d]], lengths, flags)

    def _join(self, keep: Sequence[int], lengths: Sequence[int], flags: Sequence[bool]) -> None:
        """Take these dimensions, neighbours as one where all strides allow it."""
        self.lengths: list[int] = []
        self.flags: list[bool] = []
        self.strides: list[list[int]] = [[] for _ in self.all]
        for d in reversed(keep):
            steps = [s.strides[d] for s in self.all]
            joined = self.lengths and flags[d] == self.flags[0]
            if joined and all(step == own[0] * self.lengths[0] for step, own in zip(steps, self.strides, strict=True)):
                self.lengths[0] *= lengths[d]
                continue
            self.lengths.insert(0, lengths[d])
            self.flags.insert(0, flags[d])
            for step, own in zip(steps, self.strides, strict=True):
                own.insert(0, step)

    def is_flat(self) -> bool:
        """Whether it is one loop over arrays without gaps, or over nothing but numbers."""
        if len(self.lengths) > 1:
            return False
        if self.body.reductions and self.flags != [True]:
            return not self.lengths
        count = len(self.body.streams())
        return all(own in ([], [1], [0]) for own in self.strides[:count]) and all(
            own != [0] for own in self.strides[len(self.body.reads) : count]
        )

    def flat(self) -> Function:
        """One loop, divided into ranges."""
        n = self.lengths[0] if self.lengths else 1
        lines = [*self._pointers(), *self._numbers("p"), *self._accumulators()]
        if not self.body.reductions:
            return Function(whole(_RANGE, [*lines, *self._in_blocks()]), self._places(), n, flat=True)
        lines += self._inner("begin", "end", pointer="p")
        lines += [f"partial{i}[begin / GRAIN] = a{i};" for i, _ in enumerate(self.body.reductions)]
        chunks = -(-n // GRAIN)
        before, scratch = self._partials(chunks)
        text = whole(_RANGE, [*before, *lines])
        finish = [*before]
        for i, r in enumerate(self.body.reductions):
            finish.append(f"{r.how.kind} a{i} = {r.how.start};")
            finish.append(f"for (long c = 0; c < {chunks}; c++) a{i} = a{i} {r.how.operator} partial{i}[c];")
            finish.append(f"*({r.target.kind} *)at[{len(self.body.streams()) + i}] = {_finished(r, f'a{i}')};")
        text += whole("NAME_finish(void *const *at)", finish)
        return Function(text, self._places(), n, flat=True, finishes=True, scratch=scratch)

    def _in_blocks(self) -> list[str]:
        """The loop over a range; of an update of several arrays in blocks, each after asking for what comes a page later.

        A processor guesses what comes next within a page, so that every page would begin with a pause.
        """
        reads = [k for k in range(len(self.body.reads)) if self.strides[k] == [1]]
        stored = [(s.place.buffer, s.place.offset) for s, _ in self.body.stores]
        updated = [k for k in reads if (self.all[k].place.buffer, self.all[k].place.offset) in stored]
        if len(updated) < _SEVERAL:
            return self._inner("begin", "end", pointer="p")
        sizes = {k: self.all[k].place.ghost.itemsize for k in reads}
        ahead = [
            f"for (long i = block; i < block + {_BLOCK}; i += {ALIGNED // size})"
            f" __builtin_prefetch(p{k} + i + {_AHEAD // size}, 1);"
            for k, size in sizes.items()
        ]
        inner = [f"const long stop = at_most(block + {_BLOCK}, end);", *self._inner("block", "stop", pointer="p")]
        return [f"for (long block = begin; block < end; block += {_BLOCK}) {{", *indented([*ahead, *inner]), "}"]

    def rows(self) -> Function:
        """Rows along the last dimension, some of them a task."""
        inner = self.lengths[-1]
        outer = math.prod(self.lengths[:-1])
        share = max(1, GRAIN // inner)
        lines = [
            *self._pointers(),
            f"for (long row = index * {share}; row < at_most((index + 1) * {share}, {outer}); row++) {{",
        ]
        lines += indented(
            [*self._coordinates("row", self.lengths[:-1], 0), *self._numbers(), *self._inner("0", str(inner))]
        )
        lines.append("}")
        return Function(whole(_TASK, [_GIVEN, *lines]), self._places(), -(-outer // share), flat=False)

    def is_turned(self) -> bool:
        """Whether the last two dimensions of one array of float32 lie in another the other way round, and are long."""
        if (
            len(self.lengths) < 2
            or min(self.lengths[-2:]) < _TURNED
            or [s.kind for s in self.all] != ["float", "float"]
        ):
            return False
        read, written = self.strides
        return read[-2] == 1 and written[-1] == 1

    def turned(self) -> Function:
        """A copy by squares, some rows of which are a task."""
        *outer, rows, columns = self.lengths
        shares = -(-rows // _NEAR)
        lines = [
            *self._pointers(),
            f"const long row = index / {shares}, first = index % {shares} * {_NEAR};",
            *self._coordinates("row", outer, 0),
            f"transpose_rows(s0 + first, {self.strides[0][-1]}, {columns}, at_most({_NEAR}, {rows} - first), 1.0f,"
            f" s1 + first * {self.strides[1][-2]}, {self.strides[1][-2]});",
        ]
        return Function(whole(_TASK, [_GIVEN, *lines]), self._places(), math.prod(outer) * shares, flat=False)

    def reducing(self) -> Function:
        """With reductions: along rows where the last dimension is reduced, otherwise from row to row."""
        if True not in self.flags:  # only dimensions of length 1 are reduced
            self.lengths.append(1)
            self.flags.append(True)
            for own in self.strides:
                own.append(0)
        return self._along() if self.flags[-1] else self._down()

    def _along(self) -> Function:
        first = self.flags.index(True)
        count = math.prod(self.lengths[:first])
        share = max(1, GRAIN // math.prod(self.lengths[first:]))
        lines = [
            *self._pointers(),
            f"for (long row = index * {share}; row < at_most((index + 1) * {share}, {count}); row++) {{",
        ]
        inner = [*self._coordinates("row", self.lengths[:first], 0), *self._accumulators()]
        middle = self.lengths[first:-1]
        if middle:
            inner.append(f"for (long part = 0; part < {math.prod(middle)}; part++) {{")
            steps = [
                *self._coordinates("part", middle, first, prefix="q"),
                *self._numbers("q"),
                *self._accumulators("b"),
            ]
            steps += self._inner("0", str(self.lengths[-1]), "b", "q")
            steps += [f"a{i} = a{i} {r.how.operator} b{i};" for i, r in enumerate(self.body.reductions)]
            inner += [*indented(steps), "}"]
        else:
            inner += [*self._numbers(), *self._inner("0", str(self.lengths[-1]))]
        for i, r in enumerate(self.body.reductions):
            inner.append(f"*s{len(self.body.streams()) + i} = {_finished(r, f'a{i}')};")
        lines += [*indented(inner), "}"]
        return Function(whole(_TASK, [_GIVEN, *lines]), self._places(), -(-count // share), flat=False)

    def _down(self) -> Function:
        """[reduced …, kept] or [kept, reduced …, kept]: sums of a part of the rows lie in the scratch memory."""
        kept = self.lengths[-1]
        first = self.flags.index(True)
        rows = math.prod(self.lengths[first:-1])
        outer = self.lengths[0] if first else 1
        share = max(1, GRAIN // kept, -(-rows * outer // _MOST_PARTS))
        chunks = -(-rows // share)
        before, scratch = self._partials(outer * chunks * kept)
        near = kept <= _NEAR  # sums lie in registers
        lines = [*before, *self._pointers()]
        for i, r in enumerate(self.body.reductions):
            lines.append(
                f"{r.how.kind} a{i}[{kept}];" if near else f"{r.how.kind} *a{i} = partial{i} + index * {kept};"
            )
            lines.append(f"for (long i = 0; i < {kept}; i++) a{i}[i] = {r.how.start};")
        lines.append(f"const long group = index / {chunks}, chunk = index % {chunks};")
        lines.append(f"for (long r = chunk * {share}; r < at_most((chunk + 1) * {share}, {rows}); r++) {{")
        names = [*["group"][:first], *_coordinates("r", self.lengths[first:-1])]
        steps = [self._at(k, names, 0) for k in range(len(self.body.streams()))]
        lines += indented([*steps, *self._numbers(), *self._inner("0", str(kept), down=True)])
        lines.append("}")
        if near:
            lines += [
                f"memcpy(partial{i} + index * {kept}, a{i}, sizeof a{i});" for i, _ in enumerate(self.body.reductions)
            ]
        text = whole(_TASK, [_GIVEN, *lines])
        text += self._downward_sums(before, outer, chunks, kept)
        return Function(text, self._places(), outer * chunks, flat=False, finishes=True, scratch=scratch)

    def _downward_sums(self, before: list[str], outer: int, chunks: int, kept: int) -> str:
        lines = [*before]
        for i, r in enumerate(self.body.reductions):
            k = len(self.body.streams()) + i
            step = self.strides[k][-1]
            group = self.strides[k][0] if outer > 1 else 0
            lines.append(f"for (long g = 0; g < {outer}; g++) {{")
            lines += indented([
                f"{r.how.kind} *first = partial{i} + g * {chunks * kept};",
                f"for (long c = 1; c < {chunks}; c++)",
                f"    for (long i = 0; i < {kept}; i++) first[i] = first[i] {r.how.operator} first[c * {kept} + i];",
                f"for (long i = 0; i < {kept}; i++) (({r.target.kind} *)at[{k}])[g * {group} + i * {step}] = "
                f"{_finished(r, 'first[i]')};",
            ])  # fmt: skip
            lines.append("}")
        return whole("NAME_finish(void *const *at)", lines)

    def _places(self) -> list[Place]:
        return [s.place for s in self.all]

    def _pointers(self) -> list[str]:
        reads = len(self.body.reads)
        return [
            f"{'const ' if k < reads else ''}{s.kind} *p{k} = at[{k}];" for k, s in enumerate(self.all)
        ]  # fmt: skip

    def _at(self, k: int, coordinates: Sequence[str], first: int, prefix: str = "s", of: str = "p") -> str:
        steps = self.strides[k][first : first + len(coordinates)]
        terms = [c if step == 1 else f"{c} * {step}" for c, step in zip(coordinates, steps, strict=True) if step]
        const = "const " if k < len(self.body.reads) else ""
        return f"{const}{self.all[k].kind} *{prefix}{k} = {' + '.join([f'{of}{k}', *terms])};"

    def _coordinates(self, index: str, lengths: Sequence[int], first: int, prefix: str = "s") -> list[str]:
        """Pointers to where a row begins whose number among rows of these dimensions is ``index``."""
        names = _coordinates(index, lengths)
        of = "p" if prefix == "s" else "s"
        inner = len(self.body.streams()) if prefix == "q" else len(self.all)
        return [self._at(k, names, first, prefix, of) for k in range(inner)]

    def _numbers(self, prefix: str = "s") -> list[str]:
        """What is the same for all elements of a row."""
        return [
            f"const {read(s.kind, name, f'*{prefix}{k}')}"
            for k, (s, name) in enumerate(self.body.reads)
            if not (self.strides[k] and self.strides[k][-1])
        ]

    def _accumulators(self, prefix: str = "a") -> list[str]:
        return [f"{r.how.kind} {prefix}{i} = {r.how.start};" for i, r in enumerate(self.body.reductions)]

    def _inner(self, begin: str, end: str, prefix: str = "a", pointer: str = "s", *, down: bool = False) -> list[str]:
        """The innermost loop."""

        def element(k: int) -> str:
            step = self.strides[k][-1] if self.strides[k] else 1
            return f"{pointer}{k}[{'i' if step == 1 else f'i * {step}'}]"

        inside = [
            f"const {read(s.kind, name, element(k))}"
            for k, (s, name) in enumerate(self.body.reads)
            if self.strides[k] and self.strides[k][-1]
        ]
        inside += self.body.lines
        stores = enumerate(self.body.stores, len(self.body.reads))
        inside += [f"{element(k)} = {written(s.kind, name)};" for k, (s, name) in stores]
        sums: dict[str, list[str]] = {}
        for i, r in enumerate(self.body.reductions):
            target = f"a{i}[i]" if down else f"{prefix}{i}"
            inside.append(f"{target} = {target} {r.how.operator} {r.element};")
            sums.setdefault(r.how.operator, []).append(target)
        clauses = "" if down else "".join(f" reduction({op}:{','.join(names)})" for op, names in sums.items())
        return [
            f'_Pragma("omp simd{clauses}") for (long i = {begin}; i < {end}; i++) {{',
            *indented(inside),
            "}",
        ]

    def _partials(self, count: int) -> tuple[list[str], int]:
        """Pointers to the scratch memory, which holds ``count`` accumulators of each reduction, and its size."""
        lines, offset = [], 0
        for i, r in enumerate(self.body.reductions):
            skipped = f" + {offset}" if offset else ""
            lines.append(f"{r.how.kind} *partial{i} = (void *)((char *)at[{len(self.all)}]{skipped});")
            offset += -(-count * 8 // 64) * 64
        return lines, offset


_RANGE = "NAME(void *const *at, long begin, long end)"
_TASK = "NAME(void *argument, long index)"
_GIVEN = "void *const *at = argument;"


def _finished(r: Reduced, accumulator: str) -> str:
    return rounded(r.target.kind, r.how.finish if accumulator == "a" else _replaced(r.how.finish, accumulator))


def _replaced(text: str, accumulator: str) -> str:
    return text.replace("sqrt(a)", f"sqrt({accumulator})") if "(" in text else accumulator + text[1:]


def _coordinates(index: str, lengths: Sequence[int]) -> list[str]:
    """The place along each dimension of what has the number ``index`` among all."""
    names: list[str] = []
    left = math.prod(lengths)
    for n in lengths:
        left //= n
        text = f"{index} / {left}" if left > 1 else index
        names.append(f"({text} % {n})" if names and left * n < math.prod(lengths) else f"({text})")
    return names


def _tangled(flags: Sequence[bool]) -> bool:
    """Whether joined dimensions are neither kept … reduced … nor (kept) reduced … kept, those that are kept one each."""
    kept_first = [*flags] == sorted(flags)
    middle = flags[int(not flags[0]) : -1] if flags else []
    return not kept_first and not (all(middle) and not flags[-1])


def indented(lines: Sequence[str]) -> list[str]:
    """Lines of a block in C."""
    return ["    " + line for line in lines]


def whole(head: str, lines: Sequence[str]) -> str:
    """A function in C."""
    return "\n".join([f"static void {head} {{", *indented(lines), "}", ""])
