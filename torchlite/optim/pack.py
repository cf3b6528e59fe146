"""Parameters that are updated together, and the memory in which a rule passes over them.

A rule makes up to a dozen passes over its numbers. Large parameters are taken in blocks that stay in the processor's
cache meanwhile; small ones, which would cost more in calls than in arithmetic, are gathered into one block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.backends import is_array
from torchlite.backends.memory import extent, share_memory
from torchlite.backends.native import LARGE, kernel
from torchlite.compiler.rows import Row, stands_for_all, together
from torchlite.devices import CPU
from torchlite.ops.complex import view_as_real
from torchlite.ops.construct import constant
from torchlite.ops.creation import full
from torchlite.optim.options import Options
from torchlite.tracing import active

State = dict[str, Any]

_BLOCK = 1 << 16
_SMALL = 1 << 13


class Pack:
    """Parameters of one dtype and device whose counters (the number of steps, say) stand alike.

    ``pack["step"]`` reads a counter and ``pack["step"] = t`` writes it for all of them. It is a Python number, or a
    tensor where a captured or differentiated step must see it change.
    """

    def __init__(self, params: Sequence[Tensor], states: Sequence[State], *, symbolic: bool) -> None:
        self.params = params
        self.states = states
        self.symbolic = symbolic

    def __contains__(self, name: str) -> bool:
        return self.states[0].get(name) is not None

    def __getitem__(self, name: str) -> Any:
        value: Tensor = self.states[0][name]
        if not (self.symbolic or value.requires_grad):
            return value.item()
        return value.clone() if grad_mode.enabled else value  # backward reads it after it has been written again

    def __setitem__(self, name: str, value: Any) -> None:
        counters: list[Tensor] = [state[name] for state in self.states]
        if isinstance(value, Tensor):
            for counter in counters:
                counter.copy_(value)
        elif active.tracer is not None:
            for counter in counters:
                counter.copy_(constant(value, counter._data.dtype))
        else:
            for counter in counters:
                counter._data[...] = value
                counter._storage.written()

    def advance(self) -> Any:
        """Count one step more, and how many that makes."""
        if self.symbolic:
            for state in self.states:
                state["step"].add_(1)
        else:
            self["step"] = self["step"] + 1
        return self["step"]

    def whole(self, *names: str) -> Iterator[Row]:
        """Each parameter with its gradient and the tensors of its state called ``names``, None for missing ones."""
        for param, state in zip(self.params, self.states, strict=True):
            yield [param, param.grad, *[state.get(name) for name in names]]  # type: ignore[list-item]

    def in_one_pass(self, name: str, *names: str, **numbers: Any) -> bool:
        """Whether the compiled kernel ``name`` has updated all parameters and the tensors of their state called ``names``.

        It may decline, and there may be none; small packs are not worth compiling one.
        """
        if self.symbolic or grad_mode.enabled or active.tracer is not None:
            return False
        if sum(p._data.size for p in self.params) < LARGE:
            return False
        tensors = [x for row in self.whole(*names) for x in row]
        arrays = [x._data for x in tensors]
        fast = kernel(name) if set(map(type, arrays)) == {np.ndarray} else None
        width = 2 + len(names)
        if fast is None or not fast(arrays, width, **numbers):
            return False
        for i, x in enumerate(tensors):
            if i % width != 1:  # all but the gradients
                x._storage.written()
        return True

    def blocks(self, *names: str) -> Iterator[Row]:
        """As `whole`, for rules that treat each number by itself: in parts of a convenient size, complex as pairs.

        What the rule writes into a part has arrived in the tensors themselves when the next one is asked for. On a GPU one
        row without numbers stands for all parameters.
        """
        rows: Sequence[Row] = list(self.whole(*names))
        if grad_mode.enabled:
            for row in rows:
                yield from _differentiable(row)
            return
        if stands_for_all(rows[0]):
            rows = yield from together(rows)
        small = []
        for row in rows:
            if len(rows) > 1 and row[0].numel() <= _SMALL and not self.symbolic and not row[0].is_meta:
                small.append(row)
            elif not self.symbolic and all(type(x._data) is np.ndarray and x.is_contiguous() for x in row):
                yield from _sliced(row)
            else:
                yield [_real(x.detach()) for x in row]
        for batch in _batches(small):
            yield from _gathered(batch)


def packs(params: Sequence[Tensor], states: Sequence[State], counters: Sequence[str], options: Options) -> list[Pack]:
    """The parameters of a group that have a gradient, in packs.

    Raises:
        RuntimeError: for parameters that a ``fused`` update can't take, as in PyTorch.
    """
    symbolic = bool(options.get("capturable"))
    apart = symbolic or grad_mode.enabled or active.tracer is not None
    together: dict[Any, tuple[list[Tensor], list[State]]] = {}
    turns = range(len(params)) if apart else _turns([p._data for p in params])
    for param, state, turn in zip(params, states, turns, strict=True):
        if options.get("fused") and not param.is_floating_point():
            raise RuntimeError(
                "`fused=True` requires all the params to be floating point Tensors of supported devices: "
                f"['cpu', 'cuda'] but {param.dtype} and {param.device.type}"
            )
        if apart:
            key: Any = (turn,)
        else:
            data = param._data
            present = [name for name, value in state.items() if value is not None]
            standing = [float(state[name]._data) for name in counters if name in state]
            key = (turn, data.dtype, type(data) is np.ndarray or param.device, *present, *standing)
        of_params, of_states = together.setdefault(key, ([], []))
        of_params.append(param)
        of_states.append(state)
    in_turn = sorted(together.items(), key=lambda item: item[0][0])
    return [Pack(*group, symbolic=symbolic) for _, group in in_turn]


def _turns(arrays: Sequence[Any]) -> Sequence[int]:
    """The turn of each parameter: after all before it that have numbers in common with it, itself among them."""
    if all(getattr(x, "base", None) is None for x in arrays) and len({*map(id, arrays)}) == len(arrays):
        return [1] * len(arrays)  # nearly always: each owns its memory
    extents = [extent(x) if is_array(x) else (id(x), id(x)) for x in arrays]
    beside: list[list[tuple[Any, int]]] = [[] for _ in arrays]
    last: list[tuple[Any, int]] = []
    reached = -1
    for i in sorted(range(len(arrays)), key=lambda i: extents[i]):
        start, end = extents[i]
        if start >= reached:  # only what lies between the same two gaps can have anything in common
            last = []
        beside[i] = last
        reached = max(reached, end, start + 1)
    turns: list[int] = []
    for x, earlier in zip(arrays, beside, strict=True):
        turn = 1 + max((t for other, t in earlier if other is x or share_memory(other, x)), default=0)
        earlier.append((x, turn))
        turns.append(turn)
    return turns


def deciding(value: Any) -> Any:
    """A number on which it depends what a rule does: while a step is captured a tensor, which every repetition looks at."""
    if active.tracer is None or isinstance(value, Tensor):
        return value
    return constant(value, dtypes.float64.numpy)


def at_least(value: Any, least: float) -> Any:
    """The larger of two, of which the first may be a tensor."""
    return value.clamp(min=deciding(least)) if isinstance(value, Tensor) else max(least, value)


def counter(param: Tensor, group: Options, value: Any = 0.0) -> Tensor:
    """A number that the state of ``param`` keeps, as a 0-d tensor: on the CPU unless a captured step reads it there."""
    on_device = group.get("capturable") or group.get("fused")
    wide = dtypes.get_default_dtype() is dtypes.float64 and not group.get("fused")
    dtype = dtypes.float64 if wide else dtypes.float32
    device = param.device if on_device else CPU
    if isinstance(value, Tensor):
        return value.reshape(()).to(device=device, dtype=dtype, copy=True)
    return full((), value, dtype=dtype, device=device)


def _differentiable(row: Row) -> Iterator[Row]:
    """Copies, written back at the end: what backward has saved of them is never overwritten."""
    copies = [x if i == 1 else x.clone() for i, x in enumerate(row)]
    yield [_real(x) for x in copies]
    for x, copy in zip(_written(row), _written(copies), strict=True):
        x.copy_(copy)


def _sliced(row: Row) -> Iterator[Row]:
    """Contiguous tensors, block by block."""
    flat = [_flat(x._data) for x in row]
    for start in range(0, flat[0].size, _BLOCK):
        yield [wrap(array[start : start + _BLOCK]) for array in flat]
    for x in _written(row):
        x._storage.written()


def _gathered(rows: Sequence[Row]) -> Iterator[Row]:
    """Several small parameters as one block."""
    xp = backends.array_module(rows[0][0]._data)
    columns = list(zip(*rows, strict=True))
    blocks = [xp.concatenate([x._data.ravel() for x in column]) for column in columns]
    yield [wrap(_flat(block)) for block in blocks]
    for column, block in zip(_written(columns), _written(blocks), strict=True):
        start = 0
        for x in column:
            stop = start + x._data.size
            x._data[...] = block[start:stop].reshape(x._data.shape)
            x._storage.written()
            start = stop


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and size + row[0].numel() > _BLOCK:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row[0].numel()
    if batch:
        yield batch


def _written(row: Sequence[Any]) -> list[Any]:
    """All but the gradient."""
    return [row[0], *row[2:]]


def _flat(array: Any) -> Any:
    flat = array.reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _real(x: Tensor) -> Tensor:
    return view_as_real(x) if x.is_complex() else x
