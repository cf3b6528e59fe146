"""Kernels with reductions: a group of threads for each kept place goes through what is reduced, once for each step.

The numbers of a group are added up in an order that sizes alone decide, without atomics: equal runs give equal numbers.
Where there are few places and much to reduce, several groups share it, and a second kernel adds up what they have found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torchlite.compiler.cuda.arguments import Arguments, needed, row_major
from torchlite.compiler.cuda.layouts import Strides, merged
from torchlite.compiler.cuda.pointwise import computed, coordinates, indented, index_type, place
from torchlite.compiler.cuda.regions import REDUCTIONS
from torchlite.compiler.cuda.scalars import computed_type, stored
from torchlite.compiler.graph import Node, Value
from torchlite.ir import Shape

PRELUDE = """\
template <class T> struct Limits;
template <> struct Limits<signed char> { enum : signed char { lowest = -128, highest = 127 }; };
template <> struct Limits<unsigned char> { enum : unsigned char { lowest = 0, highest = 255 }; };
template <> struct Limits<short> { enum : short { lowest = -32768, highest = 32767 }; };
template <> struct Limits<int> { enum : int { lowest = -2147483647 - 1, highest = 2147483647 }; };
template <> struct Limits<long long> {
    enum : long long { lowest = -9223372036854775807LL - 1, highest = 9223372036854775807LL };
};
struct Sum { template <class T> __device__ T operator()(T a, T b) const { return a + b; } };
struct Largest { template <class T> __device__ T operator()(T a, T b) const { return a > b || a != a ? a : b; } };
struct Smallest { template <class T> __device__ T operator()(T a, T b) const { return a < b || a != a ? a : b; } };
struct All { __device__ int operator()(int a, int b) const { return a && b; } };
struct Any { __device__ int operator()(int a, int b) const { return a || b; } };

// What T threads of a row have, combined: neighbours first, then warps in their order.
template <int T, class V, class F> __device__ V across(V v, F f) {
    for (int step = 1; step < 32; step *= 2) v = f(v, __shfl_xor_sync(0xffffffffu, v, step));
    if (T > 32) {
        __shared__ V part[32];
        __syncthreads();
        if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
        __syncthreads();
        v = part[0];
        for (int i = 1; i < T / 32; i++) v = f(v, part[i]);
    }
    return v;
}

// What T threads of a column have, which stand above each other in a block of 32 columns.
template <int T, class V, class F> __device__ V down(V v, F f) {
    __shared__ V part[T][32];
    __syncthreads();
    part[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    v = part[0][threadIdx.x];
    for (int i = 1; i < T; i++) v = f(v, part[i][threadIdx.x]);
    return v;
}
"""
_COMBINED = {"sum": "Sum", "amax": "Largest", "amin": "Smallest", "all": "All", "any": "Any"}
WARP, _BLOCK = 32, 256
_SHORT, _LONG = 1 << 10, 1 << 13
_EACH = 16  # numbers that a thread should at least have before several groups share the work
_ENOUGH_BLOCKS = 512
_Read = tuple[Value | None, bool]


@dataclass(frozen=True)
class Division:
    """How the work is divided.

    Attributes:
        kept, reduced: how many places there are, and how many numbers are reduced for each.
        down: whether threads of a group stand above each other, so that neighbours read neighbouring columns.
        threads: of a group.
        rows: groups in a block, where they don't stand above each other.
        shares: groups that share what is reduced.
    """

    kept: int
    reduced: int
    down: bool
    threads: int
    rows: int
    shares: int

    @property
    def length(self) -> int:
        """How many numbers one group reduces."""
        return -(-self.reduced // self.shares)

    @property
    def grid(self) -> tuple[int, ...]:
        """Blocks; the second direction is that of shares."""
        return (-(-self.kept // (WARP if self.down else self.rows)), self.shares)

    @property
    def block(self) -> tuple[int, ...]:
        """Threads of a block."""
        return (WARP, self.threads) if self.down else (self.threads, self.rows)


def division(shape: Shape, dims: tuple[int, ...], shared: bool) -> Division:
    """How to divide a reduction over ``dims``; ``shared``: whether several groups may share one."""
    reduced = math.prod(shape[d] for d in dims)
    kept = math.prod(shape) // reduced
    last = max(d for d, n in enumerate(shape) if n > 1)
    down = last not in dims
    if down:
        threads, rows = 8 if reduced <= _SHORT else 32, 1
    else:
        threads = WARP if reduced <= _SHORT else _BLOCK if reduced <= _LONG or shared else 1024
        rows = _BLOCK // threads or 1
    blocks = -(-kept // (WARP if down else rows))
    shares = min(reduced // (threads * _EACH), _ENOUGH_BLOCKS // blocks) if shared else 1
    return Division(kept, reduced, down, threads, rows, max(shares, 1))


class Reduction:
    """The text of a region with reductions."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments = arguments
        self.region = region = arguments.region
        self.levels = _levels(arguments)
        self.reductions = [node for node in region.nodes if node.op.name in REDUCTIONS]
        self.whole = [n for n in region.nodes if n.outputs[0] in region.whole]
        self.kept = [n for n in region.nodes if n.outputs[0] in region.kept and n.op.name not in REDUCTIONS]
        self.division = division(region.shape, region.dims, shared=not region.late)
        self.index = index_type(math.prod(region.shape))
        lengths = [(d, n) for d, n in enumerate(region.shape) if n > 1]
        self.kept_dims = [d for d, _ in lengths if d not in region.dims]
        self.reduced_dims = [d for d, _ in lengths if d in region.dims]
        reads = [v for v in region.reads if arguments.read_from_memory(v)]
        self.loop_reads = [v for v in reads if any(v in n.inputs for n in (*self.whole, *self.reductions))]
        self.kept_reads = [v for v in reads if any(v in n.inputs for n in self.kept)]
        self.kept_lengths, self.kept_steps = self._merged(self.kept_dims)
        self.reduced_lengths, self.reduced_steps = self._merged(self.reduced_dims)

    @property
    def shared(self) -> bool:
        """Whether several groups share a reduction."""
        return self.division.shares > 1

    @property
    def _across(self) -> str:
        """The function that puts together what the threads of a group have found."""
        return f"{'down' if self.division.down else 'across'}<{self.division.threads}>"

    def body(self) -> str:
        """The kernel; where several groups share a reduction, it ends with what each has found."""
        d = self.division
        lines: list[str] = []
        at = f"blockIdx.x * {WARP} + threadIdx.x" if d.down else f"blockIdx.x * {d.rows} + threadIdx.y"
        lines.append(f"const {self.index} at = {at};")
        size = self.arguments.size
        lines.append(
            f"const {self.index} k = at < {size(d.kept)} ? at : {size(d.kept - 1)}, lane = threadIdx.{'y' if d.down else 'x'};"
        )
        lines += coordinates("k", "k", self.kept_lengths, self.index, size)
        names = dict(self.arguments.names)
        lines += self._kept_loads(names)
        for level in range(max(self.levels.values()) + 1):
            lines += self._pass(level, names)
            if self.shared:
                lines += self.parts(f"k * {size(d.shares)} + blockIdx.y", self._across)
                break
            lines += self._combined(level, names)
        if not self.shared:
            lines += self._kept_stores(names)
        return "\n".join(indented(lines))

    def second(self) -> str:
        """The kernel that adds up what the groups of a place have found."""
        lines = ["const Index k = blockIdx.x;", *coordinates("k", "k", self.kept_lengths, "Index", self.arguments.size)]
        shares = self.arguments.size(self.division.shares)
        return "\n".join(indented([*lines, *self.put_together(f"k * {shares}", shares, "k")]))

    def put_together(self, first: str, count: str, k: str) -> list[str]:
        """A warp puts together what ``count`` groups have found from number ``first`` on, and stores what follows at ``k``."""
        names = dict(self.arguments.names)
        lines = ["const Index lane = threadIdx.x;", *self._kept_loads(names), *self.begun(self.reductions)]
        steps = [f"a{i} = {_COMBINED[n.op.name]}()(a{i}, q{i}[{first} + r]);" for i, n in enumerate(self.reductions)]
        lines += [f"for (Index r = lane; r < {count}; r += {WARP}) {{", *indented(steps), "}"]
        lines += self._found(self.reductions, names, f"across<{WARP}>")
        return [*lines, *computed(self.kept, names), *self._kept_stores(names, k)]

    def begun(self, reductions: Sequence[Node]) -> list[str]:
        """What each thread begins with."""
        return [f"{self.partial_type(n)} a{self.reductions.index(n)} = {_start(n)};" for n in reductions]

    def accumulated(self, reductions: Sequence[Node], names: Mapping[Value, str]) -> list[str]:
        """One element more."""
        found = [(self.reductions.index(n), n) for n in reductions]
        return [f"a{i} = {_COMBINED[n.op.name]}()(a{i}, {names[n.inputs[0]]});" for i, n in found]

    def parts(self, place: str, across: str) -> list[str]:
        """What the threads of a group have found, for the second kernel."""
        return [f"q{i}[{place}] = {across}(a{i}, {_COMBINED[n.op.name]}());" for i, n in enumerate(self.reductions)]

    def _found(self, reductions: Sequence[Node], names: Mapping[Value, str], across: str) -> list[str]:
        """What the threads of a group have found."""
        lines = []
        for node in reductions:
            out, i = node.outputs[0], self.reductions.index(node)
            value = f"{across}(a{i}, {_COMBINED[node.op.name]}())"
            lines.append(f"const {computed_type(out)} {names[out]} = {value};")
        return lines

    def _merged(self, dims: Sequence[int]) -> tuple[Shape, dict[_Read, Strides]]:
        """The lengths of a loop over ``dims``, and the strides of what is read, by loops or for kept places, and of results."""
        operands: dict[_Read, Strides] = {(v, False): self.arguments.strides(v) for v in self.loop_reads}
        operands |= {(v, True): self.arguments.kept_strides(v) for v in self.kept_reads}
        operands[None, False] = row_major(self.region)
        lengths, steps = merged(
            tuple(self.region.shape[d] for d in dims), [tuple(s[d] for d in dims) for s in operands.values()]
        )
        return lengths, dict(zip(operands, steps, strict=True))

    def _place(self, v: Value | None, kept: bool = False) -> str:
        """Where an element of an operand (None: of a result) lies."""
        base = place(self.kept_steps[v, kept], self.kept_lengths, self.arguments.size, "k")
        along = "" if kept else place(self.reduced_steps[v, kept], self.reduced_lengths, self.arguments.size, "r")
        return " + ".join(part for part in (base, along) if part) or "0"

    def _kept_loads(self, names: dict[Value, str]) -> list[str]:
        """What kept operations read from outside."""
        lines: list[str] = []
        for v in self.kept_reads:
            names[v] = f"y{len(lines)}"
            lines.append(self.arguments.load(v, names[v], self._place(v, kept=True)))
        return lines

    def _pass(self, level: int, names: dict[Value, str]) -> list[str]:
        """One loop over what is reduced: what the reductions of this level need, and results that can be computed now."""
        reductions = [n for n in self.reductions if self.levels[n.inputs[0]] == level]
        results = [v for v in self.arguments.results if v in self.region.whole and self.levels[v] == level]
        lines = self.begun(reductions)
        wanted = [*(n.inputs[0] for n in reductions), *results]
        if not wanted:
            return lines
        d = self.division
        nodes = needed(self.whole, wanted, self.region.views)
        size = self.arguments.size
        inner = coordinates("r", "r", self.reduced_lengths, self.index, size) if self._strided() else []
        inside = names.copy()
        for i, v in enumerate(self.loop_reads):
            if any(v in n.inputs for n in (*nodes, *reductions)):
                inside[v] = f"x{i}"
                inner.append(self.arguments.load(v, inside[v], self._place(v)))
        inner += computed(nodes, inside)
        inner += self.accumulated(reductions, inside)
        where = self._place(None)
        inner += [f"{self.arguments.pointer(v)}[{where}] = {stored(v, inside[v])};" for v in results]
        first, end = "lane", size(d.reduced)
        if d.shares > 1:
            length = size(d.length)
            lines.append(f"const {self.index} begin = blockIdx.y * {length};")
            lines.append(f"const {self.index} end = begin + {length} < {end} ? begin + {length} : {end};")
            first, end = "begin + lane", "end"
        loop = f"for ({self.index} r = {first}; r < {end}; r += {d.threads}) {{"
        return [*lines, loop, *indented(inner), "}"]

    def _strided(self) -> bool:
        return any(any(s) for s in self.reduced_steps.values())

    def _combined(self, level: int, names: dict[Value, str]) -> list[str]:
        """What the reductions of this level give, and the kept operations that follow from it."""
        found = self._found([n for n in self.reductions if self.levels[n.inputs[0]] == level], names, self._across)
        return found + computed([n for n in self.kept if self.levels[n.outputs[0]] == level + 1], names)

    def _kept_stores(self, names: Mapping[Value, str], k: str = "k") -> list[str]:
        results = [v for v in self.arguments.results if v in self.region.kept]
        lines = [f"{self.arguments.pointer(v)}[{k}] = {stored(v, names[v])};" for v in results]
        return ["if (lane == 0) {", *indented(lines), "}"] if lines else []

    def partial_types(self) -> list[str]:
        """The types of what groups leave to the second kernel."""
        return [self.partial_type(node) for node in self.reductions] if self.shared else []

    def partial_type(self, node: Node) -> str:
        """The type in which a reduction is formed."""
        return "int" if node.op.name in ("all", "any") else computed_type(node.inputs[0])


def _start(node: Node) -> str:
    """What a thread begins with: what changes nothing."""
    if node.op.name in ("sum", "any"):
        return "0"
    if node.op.name == "all":
        return "1"
    kind, largest = computed_type(node.inputs[0]), node.op.name == "amax"
    if kind in ("float", "double"):
        return "-INFINITY" if largest else "INFINITY"
    return f"Limits<{kind}>::{'lowest' if largest else 'highest'}"


def _levels(arguments: Arguments) -> dict[Value, int]:
    """After how many reductions each value is known."""
    region = arguments.region
    levels: dict[Value, int] = dict.fromkeys(region.reads, 0)
    seen_through = {view.outputs[0]: view.inputs[0] for view in region.views}

    def level(v: Value) -> int:
        while v in seen_through:
            v = seen_through[v]
        return levels[v]

    for node in region.nodes:
        found = max(map(level, node.inputs), default=0)
        levels[node.outputs[0]] = found + (node.op.name in REDUCTIONS)
    levels.update((view, level(view)) for view in seen_through)
    return levels
