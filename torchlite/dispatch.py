"""The one choke point: every primitive operator runs through `apply`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite import autocasting, backends
from torchlite._tensor import Tensor, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.autograd.graph import Node, Storage, place_of
from torchlite.batching.level import Batched, Level, innermost
from torchlite.devices import Device
from torchlite.ir import Aval, Op
from torchlite.tracing import active

_ndarray = np.ndarray
_new = object.__new__
NO_PARAMS: dict[str, Any] = {}
_NOTHING: list[Tensor | None] = []

whole: Callable[[Op, Sequence[Any], dict[str, Any], Device], Any] | None = None
"""Computes an operator of several steps on arrays of a GPU by kernels for the whole of it, or gives None. The compiler, which can
write such kernels, puts it here."""

# NumPy's warnings about infinities and NaN, for arithmetic of this package only: `np.errstate` around every operator
# would cost more than many of them.
warnings.filterwarnings(
    "ignore", "(invalid value|divide by zero|overflow|underflow) encountered", RuntimeWarning, r"torchlite\."
)


def apply(op: Op, inputs: Sequence[Tensor], params: dict[str, Any] = NO_PARAMS) -> Any:
    """Run ``op`` and, where a gradient is wanted, put a node on the tape.

    Hot: about 1.5 µs a call. No hooks, no copies and no type checks belong here.
    """
    if op.kind == "view":
        return apply_view(op, inputs[0], params)
    if op.autocast is not None and autocasting.threads:
        inputs = autocasting.inputs_of(op.name, op.autocast, inputs)
    arrays = []
    edges = []
    on_numpy, recorded = True, False
    for x in inputs:
        array = x._data
        arrays.append(array)
        if type(array) is not _ndarray:
            on_numpy = False
        edge = x._node
        edges.append(edge)
        if edge is not None:
            recorded = True
    try:
        if on_numpy:
            if op.ufunc is None or arrays[0].itemsize == 2:  # half types have no loops worth calling
                result = op.run(np, *arrays, **params)
            else:
                result = op.ufunc(*arrays)
        else:
            level = innermost(arrays)
            if level is not None:
                return _apply_batched(level, op, inputs, params)
            result = run_elsewhere(op, arrays, params)
    except RuntimeWarning:  # where warnings are errors: infinities and NaN are results here, as in PyTorch
        with np.errstate(all="ignore"):
            result = op.run(np, *arrays, **params)
    except Exception as error:
        raise _explained(error, op, arrays, params) from None

    if type(result) is not _ndarray:
        if type(result) is tuple:
            return _several(op, inputs, params, result)
        if isinstance(result, np.generic):  # NumPy turns 0-d results into scalars
            result = np.asarray(result)
    # `wrap`, spelled out: a call here costs a tenth of the whole
    out = _new(Tensor)
    out._data = result

    if recorded and op.vjp is not None and grad_mode.enabled:
        saved = [x if keep else None for x, keep in zip(inputs, op.keeps)] if op.keeps else _NOTHING  # noqa: B905
        if op.keeps_out:
            out._storage = storage = Storage()
            out._node = Node(op, params, edges, saved, result.shape, result.dtype, (result, storage))
            return out
        out._node = Node(op, params, edges, saved, result.shape, result.dtype)
    out._storage = Storage()
    return out


def apply_view(op: Op, x: Tensor, params: dict[str, Any]) -> Tensor:
    """`apply` for the operators of kind ``view``, which have one input: the result shares the memory and the storage of ``x``."""
    array = x._data
    if type(array) is Batched:
        batched: Tensor = _apply_batched(array.level, op, [x], params)
        return batched
    try:
        result = op.run(np, array, **params) if type(array) is _ndarray else run_elsewhere(op, [array], params)
    except Exception as error:
        raise _explained(error, op, [array], params) from None
    if isinstance(result, np.generic):
        result = np.asarray(result)
    out = _new(Tensor)
    out._data = result
    if x._node is not None and grad_mode.enabled:
        out._node = Node(op, params, [x._node], _NOTHING, result.shape, result.dtype)
    out._storage = storage = x._storage
    out._base = x if x._base is None else x._base
    # The way from the base by which a write into it renews the history of its views.
    out._recipe = (*x._recipe, (op, params)) if x._recipe else ((op, params),)
    storage.add_view(out)
    return out


def draw(op: Op, params: dict[str, Any]) -> Tensor:
    """`apply` for an operator that has no inputs."""
    if active.tracer is not None:
        traced: Tensor = wrap(active.tracer.record(op, [], params))
        return traced
    drawn: Tensor = apply(op, (), params)
    return drawn


def _several(op: Op, inputs: Sequence[Tensor], params: dict[str, Any], results: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """The results of an operator that has more than one."""
    outs: tuple[Tensor, ...] = tuple(wrap(np.asarray(r) if isinstance(r, np.generic) else r) for r in results)
    _record(op, inputs, params, [x._node for x in inputs], outs)
    return outs


def _record(op: Op, inputs: Sequence[Tensor], params: Any, edges: list[Any], outs: tuple[Tensor, ...]) -> None:
    """Put one node on the tape for several results, where a gradient is wanted."""
    if op.vjp is None or not grad_mode.enabled or all(edge is None for edge in edges):
        return
    saved = [x if keep else None for x, keep in zip(inputs, op.keeps)]  # noqa: B905 - keeps may be shorter
    kept = _kept_results(op, outs) if op.keeps_out else None
    arrays = [out._data for out in outs]
    node = Node(op, params, edges, saved, [a.shape for a in arrays], [a.dtype for a in arrays], kept)
    for i, out in enumerate(outs):
        if out._data.dtype.kind not in "biu":
            out._node = place_of(node, i, out._data.shape, out._data.dtype)


def _kept_results(op: Op, outs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """What backward reads of several results, None where it reads no numbers."""
    read = op.results_read
    return tuple((out._data, out._storage) if read is None or i in read else None for i, out in enumerate(outs))


def _apply_batched(level: Level, op: Op, inputs: Sequence[Tensor], params: dict[str, Any]) -> Any:
    """`apply` on all examples of a `vmap`.

    What is computed is recorded twice: outside of the level, on the values, where those have a history there; and as
    one example's operation, for gradients that are taken inside of the function that is mapped.
    """
    own = [x._data if type(x._data) is Batched and x._data.level is level else None for x in inputs]
    values = [x if data is None else data.value for x, data in zip(inputs, own, strict=True)]
    mapped = [data is not None and data.mapped for data in own]
    results, with_examples = level.run(op, values, mapped, params)
    if isinstance(results, tuple):
        outs: tuple[Tensor, ...] = tuple(wrap(Batched(r, with_examples, level)) for r in results)
    else:
        outs = (wrap(Batched(results, with_examples, level)),)
    edges = [x._node if data is not None else None for x, data in zip(inputs, own, strict=True)]
    # The history of what is not of this level lies outside: inside it is a constant, which keeps that history.
    inputs = [x if data is not None else wrap(Batched(x, False, level)) for x, data in zip(inputs, own, strict=True)]
    if isinstance(results, tuple):
        _record(op, inputs, params, edges, outs)
        return outs
    (out,) = outs
    if op.vjp is not None and grad_mode.enabled and any(edge is not None for edge in edges):
        saved = [x if keep else None for x, keep in zip(inputs, op.keeps)] if op.keeps else _NOTHING  # noqa: B905
        kept = (out._data, out._storage) if op.keeps_out else None
        out._node = Node(op, params, edges, saved, out._data.shape, out._data.dtype, kept)
    return out


def run_elsewhere(op: Op, arrays: list[Any], params: dict[str, Any]) -> Any:
    """Run where not every array is NumPy's: on a GPU, on shapes and dtypes alone, or into the graph of a tracer."""
    if active.tracer is not None:
        return active.tracer.record(op, arrays, params)
    device = common_device(op, arrays)
    if isinstance(arrays[0], Aval):
        return on_device(op.infer(*arrays, **params), device)
    xp = backends.cupy()
    with backends.gpu(device.index):
        if whole is not None and op.kind != "view":
            result = whole(op, arrays, params, device)
            if result is not None:
                return result
        if op.kind == "elementwise" and op.name != "triangle":  # which asks where an element is
            return backends.in_memory_order(functools.partial(op.run, xp, **params), arrays)
        return op.run(xp, *arrays, **params)


def common_device(op: Op, arrays: Sequence[Any]) -> Device:
    """The device that all arrays are on.

    Raises:
        RuntimeError: where they are on several.
    """
    device, *others = map(backends.device_of, arrays)
    if any(other is not device and other != device for other in others):
        devices = {device, *others}
        listed = " and ".join(sorted(map(str, devices)))
        raise RuntimeError(
            f"{op.name}: expected all tensors to be on the same device, but found {listed}; move them with .to(device)"
        )
    return device


def on_device(result: Any, device: Any) -> Any:
    """What `infer` gives, on ``device``."""
    if isinstance(result, Aval):
        return result._replace(device=device)
    return tuple(r._replace(device=device) for r in result)


def _explained(error: Exception, op: Op, arrays: list[Any], params: dict[str, Any]) -> Exception:
    """The error of the operator's own shape inference where it has one: it names what does not fit."""
    avals = [Aval(tuple(a.shape), a.dtype, backends.device_of(a)) for a in arrays]
    if not isinstance(error, MemoryError):
        try:
            op.infer(*avals, **params)
        except Exception as clearer:
            return clearer
    if isinstance(error, TypeError):  # NumPy has no loop for these dtypes
        error = RuntimeError(f"{op.name} is not implemented for {' and '.join(str(a.dtype) for a in avals)}: {error}")
    inputs = ", ".join(f"{list(a.shape)} {a.dtype}" for a in avals)
    error.add_note(f"in operator {op.name}({inputs}" + "".join(f", {k}={v!r}" for k, v in params.items()) + ")")
    return error
