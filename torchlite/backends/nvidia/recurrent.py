"""Recurrent layers over whole sequences by kernels of our own (``recurrent.cu``), in one launch each."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchlite.backends import array_module, cupy, gpu
from torchlite.backends.nvidia import halves
from torchlite.backends.nvidia.compilation import or_array_operations

_GATES = {"TANH": 1, "RELU": 1, "GRU": 3, "LSTM": 4}
_CONSTANTS = """\
typedef {type} T;
typedef {real} real;
__device__ inline T narrowed(real x) {{ return as_{dtype}(x); }}
#define KIND {kind}
constexpr int H = {units}, GATES = {gates}, S = {samples}, THREADS = {threads}, HELD = {held}, ROWS = {rows};
constexpr bool BIAS = {bias}, GIVEN_H = {given_h}, GIVEN_C = {given_c};
"""
_MOST_THREADS = 1024
_REGISTERS, _MOST_REGISTERS = 1 << 16, 255  # of a block's threads, and of one
_OTHER_REGISTERS = 56  # of a thread, beside what it keeps of the weight
_AT_ONCE = 128  # blocks that a GPU runs beside each other
_LARGEST_WEIGHT = 1 << 20  # bytes that each block may read again at each step


class _Kernel(NamedTuple):
    """What a text is written for.

    Attributes:
        kind: TANH, RELU, GRU or LSTM.
        dtype: of all arrays, by name.
        units: of a state.
        samples: of a block.
        bias: whether the state has one.
        given: which cotangents the gradient has.
        gradient: which of the two kernels.
    """

    kind: str
    dtype: str
    units: int
    samples: int
    bias: bool
    given: tuple[bool, bool]
    gradient: bool

    @property
    def itemsize(self) -> int:
        """Of the arrays' numbers."""
        return 2 if self.dtype in halves.TYPES else np.dtype(self.dtype).itemsize

    @property
    def threads(self) -> int:
        """Of a block, whole warps."""
        return -(-_GATES[self.kind] * self.units // 32) * 32

    def placed(self, shared: int) -> tuple[int, int, int, int]:
        """Registers of a thread, numbers of the weight that it keeps there, numbers that lie in shared memory, and the latter's bytes.

        Args:
            shared: the bytes of it that a block can have.
        """
        size = self.itemsize
        words = 2 if size == 8 else 1
        registers = min(_REGISTERS // self.threads // 8 * 8, _MOST_REGISTERS)
        most = -(-self.units // 4) * 4
        held = max(4, min(most, (registers - _OTHER_REGISTERS * words) // words // 4 * 4))
        gates = _GATES[self.kind]
        vectors = (gates if self.gradient else 1) * most + (gates + 1) * self.units
        others = self.samples * vectors * 4 * words
        rows = max(0, min(most - held, (shared - others) // (self.threads * size) // 4 * 4))
        return registers, held, rows, rows * self.threads * size + others

    def source(self, shared: int) -> str:
        """The text of the kernels."""
        _, held, rows, _ = self.placed(shared)
        constants = _CONSTANTS.format(
            type=halves.FLOATS[self.dtype], real="double" if self.itemsize == 8 else "float", dtype=self.dtype,
            kind=self.kind, units=self.units,
            gates=_GATES[self.kind], samples=self.samples, threads=self.threads, held=held, rows=rows,
            bias=str(self.bias).lower(), given_h=str(self.given[0]).lower(), given_c=str(self.given[1]).lower(),
        )  # fmt: skip
        return halves.prelude(self.dtype) + constants + Path(__file__).with_name("recurrent.cu").read_text()


def _shared_memory(device: int) -> int:
    """The bytes of it that a block can have."""
    return int(cupy().cuda.Device(device).attributes["MaxSharedMemoryPerBlockOptin"])


@functools.lru_cache(256)
def _bound(device: int, kernel: _Kernel) -> tuple[Any, int] | None:
    """The compiled kernel and the shared memory that it needs; None, after a warning, where it can't be compiled."""

    def compiled() -> tuple[Any, int] | None:
        shared = _shared_memory(device)
        registers, _, _, needed = kernel.placed(shared)
        if needed > shared:
            return None
        options = ("--std=c++17", f"--maxrregcount={registers}")
        module = cupy().RawModule(code=kernel.source(shared), options=options)
        function = module.get_function("recurrent_grad" if kernel.gradient else "recurrent")
        function.max_dynamic_shared_size_bytes = needed
        return function, needed

    return or_array_operations("recurrent layers", compiled)


@functools.lru_cache(64)
def _lengths(_device: int, steps: int, samples: int, batch_sizes: tuple[int, ...] | None) -> Any:
    """How many steps each sequence has."""
    if batch_sizes is None:
        return cupy().full(samples, steps, np.int32)
    return cupy().asarray((np.arange(samples)[:, None] < np.asarray(batch_sizes)).sum(1).astype(np.int32))


def _launched(
    kind: str,
    steps: tuple[int, int],
    units: int,
    inputs: tuple[Any, ...],
    results: tuple[Any, ...],
    batch_sizes: tuple[int, ...] | None,
    *,
    reverse: bool,
    bias: bool = False,
    given: tuple[bool, bool] = (False, False),
    gradient: bool = False,
) -> bool:
    """Run a kernel on the current GPU; False where there is none for these sizes."""
    count, samples = steps
    dtype, device = inputs[0].dtype, inputs[0].device.id
    each = max(1, min(-(-samples // _AT_ONCE), _GATES[kind]))
    kernel = _Kernel(kind, halves.name(dtype), units, each, bias, given, gradient)
    bound = _bound(device, kernel)
    if bound is None:
        return False
    function, shared = bound
    # What a CUDA graph reads must stay as long as the graph: what is made while one is recorded belongs to it.
    lengths_of = _lengths.__wrapped__ if cupy().cuda.get_current_stream().is_capturing() else _lengths
    lengths = lengths_of(device, count, samples, batch_sizes)
    numbers = (np.int32(count), np.int32(samples), np.int32(reverse))
    function((-(-samples // each),), (kernel.threads,), (*inputs, lengths, *results, *numbers), shared_mem=shared)
    return True


def _handled(kind: str, units: int, arrays: tuple[Any, ...]) -> bool:
    """Whether there are kernels for arrays of this dtype, and so many units."""
    dtype, gates = arrays[0].dtype, _GATES[kind]
    return (
        halves.name(dtype) in halves.FLOATS
        and all(x.dtype == dtype and x.size for x in arrays)
        and gates * units <= _MOST_THREADS
        and gates * units * units * dtype.itemsize <= _LARGEST_WEIGHT
    )


def _forward(
    kind: str, gates: Any, states: tuple[Any, ...], w_hh: Any, bias: tuple[Any, ...], kept: bool, **order: Any
) -> tuple[Any, ...] | None:
    """The states after each step, and where wanted what the gates were."""
    count, samples, _ = gates.shape
    units = states[0].shape[1]
    if w_hh.shape[1] != units or not _handled(kind, units, (gates, *states, w_hh, *bias)):
        return None
    xp = array_module(gates)
    with gpu(gates.device.id):
        dense = xp.ascontiguousarray
        results = [xp.empty((count, *state.shape), gates.dtype) for state in states]
        if kept:
            results.append(xp.empty((count, samples, 4 * units), gates.dtype))
        h0, *c0 = map(dense, states)
        (*several,) = map(dense, bias)
        inputs = (dense(gates), h0, *(c0 or [h0]), dense(w_hh.T), *(several or [h0]))
        places = (results[0], results[len(states) - 1], results[-1])  # an array that is not written stands for any
        if not _launched(
            kind,
            (count, samples),
            units,
            inputs,
            places,
            order["batch_sizes"],
            reverse=order["reverse"],
            bias=bool(bias),
        ):
            return None
        return tuple(results)


def rnn(gates: Any, h0: Any, w_hh: Any, *, nonlinearity: str, batch_sizes: Any, reverse: bool) -> Any:
    """The states of a plain recurrent layer."""
    found = _forward(nonlinearity.upper(), gates, (h0,), w_hh, (), False, batch_sizes=batch_sizes, reverse=reverse)
    return None if found is None else found[0]


def lstm(gates: Any, h0: Any, c0: Any, w_hh: Any, *w_hr: Any, batch_sizes: Any, reverse: bool) -> Any:
    """Hidden states, cells and gates; not of projected states."""
    if w_hr:
        return None
    return _forward("LSTM", gates, (h0, c0), w_hh, (), True, batch_sizes=batch_sizes, reverse=reverse)


def gru(gates: Any, h0: Any, w_hh: Any, *b_hh: Any, batch_sizes: Any, reverse: bool) -> Any:
    """States, and gates with the state's share of the last."""
    return _forward("GRU", gates, (h0,), w_hh, b_hh, True, batch_sizes=batch_sizes, reverse=reverse)


def lstm_grad(
    kept: Any, c0: Any, w_hh: Any, cs: Any, *cotangents: Any, given: tuple[bool, bool], batch_sizes: Any, reverse: bool
) -> Any:
    """The cotangents of the gates and of both first states."""
    count, samples, units = cs.shape
    if w_hh.shape[1] != units or not _handled("LSTM", units, (kept, c0, w_hh, cs, *cotangents)):
        return None
    xp = array_module(kept)
    with gpu(kept.device.id):
        kept, c0, w_hh, cs, *cotangents = map(xp.ascontiguousarray, (kept, c0, w_hh, cs, *cotangents))  # type: ignore[assignment]
        rest = iter(cotangents)
        g_h, g_c = (next(rest) if there else cs for there in given)
        d_gates, d_h0, d_c0 = xp.empty_like(kept), xp.empty_like(c0), xp.empty_like(c0)
        inputs, results = (kept, c0, w_hh, cs, g_h, g_c), (d_gates, d_gates, d_h0, d_c0)
        sizes = ("LSTM", (count, samples), units)
        done = _launched(*sizes, inputs, results, batch_sizes, reverse=reverse, given=given, gradient=True)
        return (d_gates, d_h0, d_c0) if done else None


def gru_grad(g: Any, kept: Any, h0: Any, w_hh: Any, hs: Any, *, batch_sizes: Any, reverse: bool) -> Any:
    """The cotangents of the gates, of what the state adds to them and of the first state."""
    count, samples, units = hs.shape
    if not _handled("GRU", units, (g, kept, h0, w_hh, hs)):
        return None
    xp = array_module(kept)
    with gpu(kept.device.id):
        g, kept, h0, w_hh, hs = map(xp.ascontiguousarray, (g, kept, h0, w_hh, hs))
        d_gates, d_own = (xp.empty((count, samples, 3 * units), g.dtype) for _ in range(2))
        d_h0 = xp.empty_like(h0)
        inputs, results = (kept, h0, w_hh, hs, g, g), (d_gates, d_own, d_h0, d_h0)
        sizes = ("GRU", (count, samples), units)
        done = _launched(*sizes, inputs, results, batch_sizes, reverse=reverse, given=(True, False), gradient=True)
        return (d_gates, d_own, d_h0) if done else None
