"""Reading and writing elements by index: ``x[...]``, gather and scatter.

``x[key]`` is a view for integers, slices, None and Ellipsis. Where the key holds index tensors or masks, its basic
part is applied as a view first and the tensors index what that leaves, which is PyTorch's order (NumPy treats integers
beside arrays as arrays).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.dispatch import apply, apply_view
from torchlite.ir import Aval, Op, Sample, register
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.mutation import assign, copy_
from torchlite.ops.views import select_op

_ALL = slice(None)
# A place in `spec` that the next index tensor fills; every other entry is a full slice.
_SLOT, _ALL_NAME = "tensor", "slice"


def _key(spec: tuple[Any, ...], indices: Sequence[Any]) -> tuple[Any, ...]:
    remaining = iter(indices)
    return tuple(next(remaining) if entry == _SLOT else _ALL for entry in spec)


def _infer_index(x: Aval, *indices: Aval, spec: tuple[Any, ...]) -> Aval:
    if any(i.dtype.kind == "b" for i in indices):
        raise RuntimeError("index: the shape of x[mask] depends on the numbers in the mask, which are not known here")
    stand_ins = [np.broadcast_to(np.zeros((), np.int64), i.shape) for i in indices]
    shape = np.broadcast_to(np.empty((), bool), x.shape)[_key(spec, stand_ins)].shape
    return Aval(shape, x.dtype, x.device)


def _index_samples(rng: np.random.Generator) -> Sequence[Sample]:
    return [
        Sample((rng.normal(size=(4, 3)), np.array([0, 2, 2])), {"spec": (_SLOT,)}),
        Sample(
            (rng.normal(size=(4, 3, 2)), np.array([[1], [0]]), np.array([0, 1])),
            {"spec": (_SLOT, _ALL_NAME, _SLOT)},
        ),
    ]


index_op: Op = register(
    Op(
        "index",
        "index",
        run=lambda xp, x, *indices, spec: backends.take(x, _key(spec, indices)),  # noqa: ARG005
        infer=_infer_index,
        vjp=lambda g, _out, _x, *indices, spec: (
            apply(_index_add, (g, *indices), {"spec": spec, "shape": _x.shape}),
            *[None] * len(indices),
        ),
        onnx="GatherND",
        samples=_index_samples,
        doc="The elements of x that integer tensors or a mask choose.",
    )
)


def _run_index_add(xp: Any, values: Any, *indices: Any, spec: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    out = xp.zeros(shape, values.dtype)
    backends.scatter_add(xp, out, _key(spec, indices), values)
    return out


_index_add: Op = register(
    Op(
        "index_add",
        "index",
        run=_run_index_add,
        infer=lambda values, *indices, spec, shape: Aval(shape, values.dtype, values.device),  # noqa: ARG005
        vjp=lambda g, _out, _values, *indices, spec, shape: (  # noqa: ARG005
            apply(index_op, (g, *indices), {"spec": spec}),
            *[None] * len(indices),
        ),
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 3)), np.array([0, 2, 2])), {"spec": (_SLOT,), "shape": (4, 3)}),
        ],
        doc="Zeros of ``shape`` to which values are added where integer tensors point: the adjoint of index.",
    )
)


def _run_index_put(_xp: Any, x: Any, values: Any, *indices: Any, spec: tuple[Any, ...]) -> Any:
    out = x.copy()
    out[_key(spec, indices)] = values
    return out


def sum_at(values: Tensor, dim: int, positions: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Zeros of ``shape`` to which the parts of ``values`` along ``dim`` are added at ``positions``."""
    spec = (_ALL_NAME,) * dim + (_SLOT,)
    return apply(_index_add, (values, positions), {"spec": spec, "shape": shape})


_index_put: Op = register(
    Op(
        "index_put",
        "index",
        run=_run_index_put,
        infer=lambda x, values, *indices, spec: x,  # noqa: ARG005
        vjp=lambda g, _out, _x, _values, *indices, spec: (
            apply(_index_put, (g, g.new_zeros(()), *indices), {"spec": spec}),
            apply(index_op, (g, *indices), {"spec": spec}),
            *[None] * len(indices),
        ),
        samples=lambda rng: [
            Sample((rng.normal(size=(4, 3)), rng.normal(size=(2, 3)), np.array([0, 2])), {"spec": (_SLOT,)}),
        ],
        doc="A copy of x with the elements that integer tensors or a mask choose replaced.",
    )
)


@method("__getitem__")
def getitem(self: Tensor, key: Any) -> Tensor:
    """``self[key]``: a view for integers, slices, None and Ellipsis, a copy where tensors or masks index."""
    shape = self._data.shape
    if type(key) is int and shape and -shape[0] <= key < shape[0]:
        return apply_view(select_op, self, {"index": (key,)})
    basic, spec, indices = _split(self, key if type(key) is tuple else (key,))
    out: Tensor = apply(select_op, (self,), {"index": basic}) if basic else self
    if indices:
        return apply(index_op, (out, *indices), {"spec": spec})
    # x[...] is a new tensor in PyTorch, so that writing to its attributes leaves x alone.
    return out if out is not self else apply(select_op, (self,), {"index": ()})


@method("__setitem__")
def setitem(self: Tensor, key: Any, value: Any) -> None:
    """``self[key] = value``, broadcast and converted to the dtype of ``self``."""
    basic, spec, indices = _split(self, key if type(key) is tuple else (key,))
    region: Tensor = apply(select_op, (self,), {"index": basic})
    if not isinstance(value, Tensor):
        value = self.new_tensor(value)
    if not indices:
        copy_(region, _without_leading_ones(value, region.ndim))
        return
    if grad_mode.enabled and (region._node is not None or value._node is not None):
        value = value.to(self.dtype)
        assign(region, apply(_index_put, (region.clone(), value, *indices), {"spec": spec}), computed=False)
        return
    region._data[_key(spec, [i._data for i in indices])] = backends.to_device(value._data, self.device)
    assign(self, value.detach())


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    extra = value.ndim - ndim
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return value.reshape(value.shape[extra:])
    return value


def _split(x: Tensor, key: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...], list[Tensor]]:
    """A key as a basic index, and the index tensors with their places in what that leaves."""
    entries = [_entry(e) for e in key]
    used = sum(_dims_used(e) for e in entries)
    if used > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}: {used} for shape {list(x.shape)}")
    if any(e is Ellipsis for e in entries):
        place = next(i for i, e in enumerate(entries) if e is Ellipsis)
        if any(e is Ellipsis for e in entries[place + 1 :]):
            raise IndexError("an index can only have a single ellipsis ('...')")
        entries[place : place + 1] = [_ALL] * (x.ndim - used)
    basic: list[Any] = []
    spec: list[Any] = []
    indices: list[Tensor] = []
    axis = 0
    for e in entries:
        if isinstance(e, Tensor):
            n = _dims_used(e)
            _check_index_tensor(x, e, axis)
            basic += [_ALL] * n
            spec.append(_SLOT)
            indices.append(e.to(x.device))
            axis += n
        elif e is None:
            basic.append(None)
            spec.append(_ALL_NAME)
        elif isinstance(e, slice):
            if e.step is not None and int(e.step) <= 0:
                raise ValueError("step must be greater than zero")
            basic.append(slice(*(None if v is None else int(v) for v in (e.start, e.stop, e.step))))
            spec.append(_ALL_NAME)
            axis += 1
        else:
            n = x._data.shape[axis]
            if not -n <= e < n:
                raise IndexError(f"index {e} is out of bounds for dimension {axis} with size {n}")
            basic.append(e)
            axis += 1
    if all(isinstance(e, slice) and e == _ALL for e in basic):
        basic = []
    return tuple(basic), tuple(spec), indices


def _entry(e: Any) -> Any:
    if e is None or e is Ellipsis or isinstance(e, slice):
        return e
    if isinstance(e, (bool, np.bool_)):  # a mask without dimensions: all of it or nothing, in a new dimension
        return wrap(np.asarray(e))
    if isinstance(e, (int, np.integer)):
        return int(e)
    if isinstance(e, Tensor):
        if e.ndim == 0 and e._data.dtype.kind in "iu" and not e.is_meta:
            return int(e)
        return e.to(dtypes.bool_) if e.dtype is dtypes.uint8 else e  # PyTorch's masks were uint8 once
    if isinstance(e, (list, tuple, range, np.ndarray)):
        array = np.asarray(e)
        return wrap(array.astype(np.int64) if array.size == 0 else array)
    if hasattr(e, "__index__"):
        return e.__index__()
    raise IndexError(
        f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {type(e).__name__})"
    )


def _dims_used(e: Any) -> int:
    if e is None or e is Ellipsis:
        return 0
    return e.ndim if isinstance(e, Tensor) and e._data.dtype.kind == "b" else 1


def _check_index_tensor(x: Tensor, index: Tensor, axis: int) -> None:
    kind = index._data.dtype.kind
    if kind not in "biu":
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {index.dtype}")
    if kind == "b":
        covered = x._data.shape[axis : axis + index.ndim]
        if covered != index._data.shape:
            raise IndexError(
                f"The shape of the mask {list(index.shape)} at index {axis} does not match the shape of the indexed "
                f"tensor {list(x.shape)} at index {axis}"
            )
    elif isinstance(index._data, np.ndarray) and index._data.size:
        n = x._data.shape[axis]
        low, high = int(index._data.min()), int(index._data.max())
        if low < -n or high >= n:
            bad = low if low < -n else high
            raise IndexError(f"index {bad} is out of bounds for dimension {axis} with size {n}")


def _along(xp: Any, index: Any, dim: int) -> tuple[Any, ...]:
    """The key that reads or writes position ``index`` along ``dim`` and the same position in all others."""
    grids = [xp.arange(n).reshape([-1 if i == d else 1 for i in range(index.ndim)]) for d, n in enumerate(index.shape)]
    grids[dim] = index
    return tuple(grids)


def _infer_gather(x: Aval, index: Aval, *, dim: int) -> Aval:
    if len(index.shape) != len(x.shape):
        raise RuntimeError(
            f"gather: index must have the same number of dimensions as input, got {list(index.shape)} for {list(x.shape)}"
        )
    for d, n in enumerate(index.shape):
        if d != dim and n > x.shape[d]:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(index.shape)} to be no larger than self "
                f"{list(x.shape)} apart from dimension {dim}"
            )
    return Aval(index.shape, x.dtype, x.device)


gather_op: Op = register(
    Op(
        "gather",
        "index",
        run=lambda xp, x, index, *, dim: x[_along(xp, index, dim)],
        infer=_infer_gather,
        vjp=(
            lambda g, _out, _x, index, dim: apply(_scatter_add, (g, index), {"dim": dim, "shape": _x.shape}),
            None,
        ),
        onnx="GatherElements",
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.integers(0, 4, (3, 2))), {"dim": 1}),
            Sample((rng.normal(size=(3, 4)), rng.integers(0, 3, (5, 4))), {"dim": 0}),
        ],
        doc="out[i][j] = x[index[i][j]][j] for dim 0, and so on.",
    )
)


def _run_scatter_add(xp: Any, values: Any, index: Any, *, dim: int, shape: tuple[int, ...]) -> Any:
    out = xp.zeros(shape, values.dtype)
    if index.size and index.shape[dim] == 1:  # no element is named twice: a plain write will do, ten times faster
        out[_along(xp, index, dim)] = values
    else:
        backends.scatter_add(xp, out, _along(xp, index, dim), values)
    return out


_scatter_add: Op = register(
    Op(
        "scatter_add",
        "index",
        run=_run_scatter_add,
        infer=lambda values, index, *, dim, shape: Aval(shape, values.dtype, values.device),  # noqa: ARG005
        vjp=(lambda g, _out, _values, index, dim, shape: apply(gather_op, (g, index), {"dim": dim}), None),  # noqa: ARG005
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 2)), rng.integers(0, 4, (3, 2))), {"dim": 1, "shape": (3, 4)}),
            Sample((rng.normal(size=(3, 1)), rng.integers(0, 4, (3, 1))), {"dim": 1, "shape": (3, 4)}),
        ],
        doc="Zeros of ``shape`` to which values are added at ``index`` along ``dim``: the adjoint of gather.",
    )
)


@takes_out_as(OutDtype.SAME)
@method()
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The elements of ``input`` at positions ``index`` along ``dim``; the result has the shape of ``index``."""
    if index.numel() == 0:  # then PyTorch lets any number of dimensions pass
        return input.reshape(-1)[:0].reshape(index.shape)
    if input.ndim == 0:
        return gather(input.reshape(1), dim, index.reshape(1)).reshape(index.shape)
    position = input._checked_dim(dim)
    _check_bounds("gather", index, position, input._data.shape[position])
    return apply(gather_op, (input, index), {"dim": position})


@takes_out_as(OutDtype.SAME)
@method()
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``input`` with the elements of ``src`` added at positions ``index`` along ``dim``."""
    if input.ndim == 0:
        return scatter_add(input.reshape(1), dim, index.reshape(-1), src.reshape(-1)).reshape(())
    position = input._checked_dim(dim)
    _check_bounds("scatter_add", index, position, input._data.shape[position])
    region = src[tuple(slice(n) for n in index.shape)]
    return input + apply(_scatter_add, (region, index), {"dim": position, "shape": tuple(input.shape)})


@takes_out_as(OutDtype.SAME)
@method()
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The parts of ``input`` at the positions ``index`` along ``dim``."""
    if input.ndim == 0:
        return index_select(input.reshape(1), dim, index).reshape(())
    position = input._checked_dim(dim)
    if isinstance(index._data, np.ndarray) and index._data.size and index._data.min() < 0:
        raise IndexError(f"index_select: index {index._data.min()} is out of range; positions count from 0")
    return input[(_ALL,) * position + (index.reshape(-1),)]


@method()
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``input`` with ``value`` where ``mask`` holds."""
    from torchlite.ops.arithmetic import where

    return where(mask, input.new_full((), value) if not isinstance(value, Tensor) else value.to(input.dtype), input)


@method()
def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place `masked_fill`."""
    self[mask.expand(self.shape)] = value
    return self


def _check_bounds(name: str, index: Tensor, dim: int, n: int) -> None:
    if index._data.dtype.kind not in "iu":
        raise RuntimeError(f"{name}(): Expected dtype int64 for index, got {index.dtype}")
    data = index._data
    if isinstance(data, np.ndarray) and data.size:
        low, high = data.min(), data.max()
        if low < 0 or high >= n:
            raise RuntimeError(f"index {low if low < 0 else high} is out of bounds for dimension {dim} with size {n}")
