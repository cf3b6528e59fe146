"""Reading and writing elements by index: ``x[...]``, gather and scatter.

``x[key]`` is a view for integers, slices, None and Ellipsis. Where the key holds index tensors or masks, its basic
part is applied as a view first and the tensors index what that leaves, which is PyTorch's order (NumPy treats integers
beside arrays as arrays).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from numbers import Number
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply, apply_view
from torchlite.ir import Aval, Op, Sample, Shape, broadcast_shapes, register
from torchlite.ops.argsort import argsort
from torchlite.ops.construct import converted
from torchlite.ops.mutation import assign, copy_
from torchlite.ops.views import select_op
from torchlite.tracing import active

_ALL = slice(None)
# A place in `spec` that the next index tensor fills; every other entry is a full slice.
_SLOT, _ALL_NAME = "tensor", "slice"


def _key(spec: tuple[Any, ...], indices: Sequence[Any]) -> tuple[Any, ...]:
    remaining = iter(indices)
    return tuple(next(remaining) if entry == _SLOT else _ALL for entry in spec)


def _infer_index(x: Aval, *indices: Aval, spec: tuple[Any, ...]) -> Aval:
    if any(i.dtype.kind == "b" for i in indices):
        raise RuntimeError("index: the shape of x[mask] depends on the numbers in the mask, which are not known here")
    return Aval(_indexed_shape(x.shape, spec, [(i.shape, 1) for i in indices]), x.dtype, x.device)


def _indexed_shape(shape: Shape, spec: tuple[Any, ...], chosen: Sequence[tuple[Shape, int]]) -> Shape:
    """The shape of what index tensors choose, each given by the shape of its positions and how many dimensions it indexes.

    Their dimensions, broadcast to each other, stand where the tensors do, or in front where they stand apart.
    """
    remaining, axis = iter(chosen), 0
    rest: list[int] = []
    places: list[tuple[int, int]] = []
    for i, entry in enumerate(spec):
        if entry == _SLOT:
            places.append((i, len(rest)))
            axis += next(remaining)[1]
        else:
            rest.append(shape[axis])
            axis += 1
    rest += shape[axis:]
    together = all(b[0] == a[0] + 1 for a, b in pairwise(places))
    at = places[0][1] if places and together else 0
    return (*rest[:at], *broadcast_shapes("index", *(positions for positions, _ in chosen)), *rest[at:])


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


@accelerated("embeddings.index_add", least=1 << 12)
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
    return apply(_index_add, (values, positions), {"spec": spec_along(dim), "shape": shape})


def add_at(x: Tensor, spec: tuple[str, ...], indices: Sequence[Tensor], values: Tensor) -> Tensor:
    """``x`` with ``values``, of its dtype, added where the index tensors point, repeatedly where they do so."""
    return x + apply(_index_add, (values, *indices), {"spec": spec, "shape": tuple(x.shape)})


def spec_along(dim: int) -> tuple[str, ...]:
    """The places of one index tensor along ``dim``."""
    return (_ALL_NAME,) * dim + (_SLOT,)


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


_ROWS = {"spec": (_SLOT,)}
_BOUND = (int, type(None))


def _is_plain(key: Any, shape: Shape) -> bool:
    """Whether a key is made of integers within bounds and slices of such, which NumPy reads as PyTorch does."""
    if type(key) is not tuple:
        key = (key,)
    if len(key) > len(shape):
        return False
    for entry, length in zip(key, shape):  # noqa: B905 - in the hot path
        if type(entry) is int:
            if not -length <= entry < length:
                return False
        elif (
            type(entry) is not slice
            or entry.step is not None
            or type(entry.start) not in _BOUND
            or type(entry.stop) not in _BOUND
        ):
            return False
    return True


@method("__getitem__")
def getitem(self: Tensor, key: Any) -> Tensor:
    """``self[key]``: a view for integers, slices, None and Ellipsis, a copy where tensors or masks index."""
    shape = self._data.shape
    if type(key) is int and shape and -shape[0] <= key < shape[0]:
        return apply_view(select_op, self, {"index": (key,)})
    if isinstance(key, Tensor):
        if (
            shape
            and type(key._data) is np.ndarray is type(self._data)
            and key._data.dtype == np.int64
            and key._data.ndim
        ):
            try:
                return apply(index_op, (self, key), _ROWS)
            except IndexError:  # the long way says what does not fit
                pass
    elif _is_plain(key, shape):
        return apply_view(select_op, self, {"index": key if type(key) is tuple else (key,)})
    if active.tracer is not None:
        at = _at_tensor(self, _entries(key))
        if at is not None:
            part: Tensor = apply(index_op, (self[at[0]], at[2]), {"spec": at[1]})
            active.tracer.part(part, self)
            return part
    basic, spec, indices = _split(self, _entries(key), positions=True)
    out: Tensor = apply(select_op, (self,), {"index": basic}) if basic else self
    if indices:
        return apply(index_op, (out, *indices), {"spec": spec})
    # x[...] is a new tensor in PyTorch, so that writing to its attributes leaves x alone.
    return out if out is not self else apply(select_op, (self,), {"index": ()})


@method("__setitem__")
def setitem(self: Tensor, key: Any, value: Any) -> None:
    """``self[key] = value`` (a number or tensor), broadcast; without index tensors also converted to the dtype of ``self``.

    Raises:
        TypeError: for a value that is neither tensor nor number.
        IndexError: for a key that does not fit.
        RuntimeError: for a value that can't be broadcast to the shape of ``self[key]``, or that the dtype can't hold.
    """
    if not isinstance(value, Tensor):
        if not isinstance(value, (int, float, complex, np.integer)):
            raise TypeError(f"can't assign a {type(value).__name__} to a tensor of dtype {self.dtype}")
        value = number_for("__setitem__", self, value)
    if key is False:
        return
    if active.tracer is not None:
        at = _at_tensor(self, _entries(key))
        if at is not None:
            whole = self[at[0]]
            value = _fitting(value.to(self.dtype), _indexed_shape(whole._data.shape, at[1], [((), 1)]))
            assign(whole, apply(_index_put, (whole.clone(), value, at[2]), {"spec": at[1]}), computed=False)
            return
    basic, spec, indices = _split(self, _entries(None if key is True else key))
    region: Tensor = apply(select_op, (self,), {"index": basic})
    value = _without_leading_ones(value, region.ndim)
    if not indices:
        copy_(region, value)
        return
    value = _indexed_value(self, value, indices)
    counted = active.tracer is None or all(i._data.dtype.kind != "b" for i in indices)  # else a replay finds an error
    if value.ndim and not self.is_meta and counted:
        value = _fitting(value, _indexed_shape(region._data.shape, spec, _chosen(indices)))
    if active.tracer is not None or (grad_mode.enabled and (region._node is not None or value._node is not None)):
        assign(region, apply(_index_put, (region.clone(), value, *indices), {"spec": spec}), computed=False)
        return
    if not self.is_meta:
        region._data[_key(spec, [i._data for i in indices])] = backends.to_device(value._data, self.device)
    assign(self, value.detach())


def _chosen(indices: Sequence[Tensor]) -> list[tuple[Shape, int]]:
    """For each index tensor the shape of its positions, and how many dimensions it indexes; masks are counted."""
    return [
        ((int(i._data.sum()),), i.ndim) if i._data.dtype.kind == "b" else (i._data.shape, 1)  # a mask names positions
        for i in indices
    ]


def _fitting(value: Tensor, shape: Shape) -> Tensor:
    """``value`` without dimensions of length 1 in front that ``shape`` does not have, once it can be broadcast to it."""
    value = _without_leading_ones(value, len(shape))
    given = tuple(value._data.shape)
    lead = len(shape) - len(given)
    if lead < 0 or any(n not in (1, shape[lead + d]) for d, n in enumerate(given)):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(given)} cannot be broadcast to indexing result of shape {list(shape)}"
        )
    return value


def _indexed_value(x: Tensor, value: Tensor, indices: Sequence[Tensor]) -> Tensor:
    """``value`` as PyTorch lets it be written through index tensors: of the dtype of ``x``, or one number for a mask."""
    if value.numel() == 1 and len(indices) == 1 and indices[0].dtype is dtypes.bool_:
        return number_for("__setitem__", x, value.reshape(()))
    if value.dtype is not x.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {x.dtype} for the destination and "
            f"{value.dtype} for the source."
        )
    return value


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    extra = value.ndim - ndim
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return value.reshape(value.shape[extra:])
    return value


def _entries(key: Any) -> tuple[Any, ...]:
    """The entries of a key; a short list that holds more than numbers is meant as a tuple, as it was in old NumPy."""
    if isinstance(key, tuple):
        return key
    nested = (Tensor, list, tuple, range, np.ndarray, slice, type(None), type(Ellipsis))
    if type(key) is list and len(key) < 32 and any(isinstance(e, nested) for e in key):
        return tuple(key)
    return (key,)


def _split(
    x: Tensor, key: tuple[Any, ...], *, positions: bool = False
) -> tuple[tuple[Any, ...], tuple[Any, ...], list[Tensor]]:
    """A key as a basic index, and the index tensors with their places in what that leaves.

    With ``positions`` those of the true elements of a mask stand in its place where only they can be captured.
    """
    entries = [_entry(e) for e in key]
    used = sum(_dims_used(e) for e in entries)
    if used > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim}: {used} for shape {list(x.shape)}")
    basic: list[Any] = []
    spec: list[Any] = []
    indices: list[Tensor] = []
    axis = 0
    for e in entries:
        if e is Ellipsis:  # a second one finds no dimensions left, nor does anything behind it
            skipped = [_ALL] * min(x.ndim - used, x.ndim - axis)
            basic += skipped
            spec += [_ALL_NAME] * len(skipped)
            axis += x.ndim - used
            continue
        n = _dims_used(e)
        if axis + n > x.ndim:
            raise IndexError(
                f"Dimension out of range: the index has dimensions behind an ellipsis, got {list(x.shape)}"
            )
        if isinstance(e, Tensor):
            _check_index_tensor(x, e, axis)
            basic += [_ALL] * n
            chosen = _true_positions(e) if positions and active.tracer is not None else None
            spec += [_SLOT] * (1 if chosen is None else n)
            indices += [i.to(x.device) for i in (chosen or [e])]
        elif e is None:
            basic.append(None)
            spec.append(_ALL_NAME)
        elif isinstance(e, slice):
            basic.append(_slice(e))
            spec.append(_ALL_NAME)
        else:
            length = x._data.shape[axis]
            if not -length <= e < length:
                raise IndexError(f"index {e} is out of bounds for dimension {axis} with size {length}")
            basic.append(e)
        axis += n
    if len(indices) > 1 and not any(i.is_meta for i in indices):
        _check_together(indices)
    if all(isinstance(e, slice) and e == _ALL for e in basic):
        basic = []
    return tuple(basic), tuple(spec), indices


def _true_positions(index: Tensor) -> list[Tensor] | None:
    """The positions of the true elements of a mask, by dimension, where a function is traced that can rely on how many there are."""
    if index._data.dtype.kind != "b" or not index.ndim or index.is_meta:
        return None
    count = active.tracer.count_of(index)
    if count is None:
        return None
    flat = argsort(~index.reshape(-1), stable=True)[:count]
    found: list[Tensor] = []
    for length in reversed(index.shape[1:]):
        found.insert(0, flat % length)
        flat = flat // length
    return [flat, *found]


def _at_tensor(x: Tensor, key: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[str, ...], Tensor] | None:
    """A key with one integer that is a tensor, beside integers, slices and None only: the others, and where it is in what they leave."""
    which = [i for i, e in enumerate(key) if isinstance(e, Tensor)]
    if len(which) != 1 or not all(type(e) in (int, slice, type(None), Tensor) for e in key):
        return None
    (i,) = which
    position: Tensor = key[i]
    whole = position.ndim == 0 and position.dtype in (dtypes.int64, dtypes.int32) and not position.is_meta
    if not whole or x.is_meta or sum(e is not None for e in key) > x.ndim:
        return None
    return (*key[:i], _ALL, *key[i + 1 :]), spec_along(sum(type(e) is not int for e in key[:i])), position


def _check_together(indices: Sequence[Tensor]) -> None:
    shapes = [shape for shape, _ in _chosen(indices)]
    try:
        broadcast_shapes("index", *shapes)
    except RuntimeError:
        listed = ", ".join(str(list(shape)) for shape in shapes)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {listed}"
        ) from None


def _slice(e: slice) -> slice:
    start, stop, step = (None if v is None else operator.index(v) for v in (e.start, e.stop, e.step))
    if step is not None and step <= 0:
        raise ValueError(f"step must be greater than zero, got {int(e.step)}; .flip(dim) reverses the order")
    return slice(start, stop, step)


def _entry(e: Any) -> Any:
    if e is None or e is Ellipsis or isinstance(e, slice):
        return e
    if isinstance(e, bool):  # a mask without dimensions: all of it or nothing, in a new dimension
        return wrap(np.asarray(e))
    if isinstance(e, (int, np.integer)):
        return int(e)
    if isinstance(e, Tensor):
        return _index_tensor(e)
    if isinstance(e, (list, tuple, range, np.ndarray)):
        return _index_tensor(wrap(_positions(e)))
    if isinstance(e, (str, bytes)):
        raise TypeError(f"an index can't be of type {type(e).__name__!r}")
    if hasattr(e, "__index__") and not isinstance(e, np.bool_):
        return e.__index__()
    raise IndexError(
        f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {type(e).__name__})"
    )


def _positions(values: Any) -> np.ndarray[Any, Any]:
    """A sequence as positions or, where it holds bools, as a mask; fractions are cut off."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"an index can't hold values of type {array.dtype}")
    return array if array.dtype in (np.bool_, np.uint8) else array.astype(np.int64)


def _index_tensor(e: Tensor) -> Any:
    """A tensor in a key: a number where it is one, a mask where it is of uint8, PyTorch's bool of old.

    Raises:
        IndexError: for a tensor that is no int64, int32, bool or uint8.
    """
    kind = e._data.dtype.kind
    if e.ndim == 0 and kind in "iu" and e.dtype is not dtypes.uint8 and not e.is_meta:
        return int(e)
    if e.dtype not in (dtypes.int64, dtypes.int32, dtypes.bool_, dtypes.uint8):
        raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors, got {e.dtype}")
    return e.to(dtypes.bool_) if e.dtype is dtypes.uint8 else e


def _dims_used(e: Any) -> int:
    if e is None or e is Ellipsis:
        return 0
    return e.ndim if isinstance(e, Tensor) and e._data.dtype.kind == "b" else 1


def _check_index_tensor(x: Tensor, index: Tensor, axis: int) -> None:
    if index._data.dtype.kind == "b":
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


@method()
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``input`` with ``value`` (a number or 0-d tensor) where ``mask`` holds.

    Raises:
        RuntimeError: for a mask that is not bool, and a value that the dtype can't hold.
    """
    from torchlite.ops.arithmetic import where

    return where(*_filling("masked_fill", input, mask, value), input)


@method()
def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """In-place `masked_fill`."""
    mask, value = _filling("masked_fill_", self, mask, value)
    if broadcast_shapes("masked_fill_", self.shape, mask.shape) != self.shape:
        raise RuntimeError(
            f"masked_fill_: output with shape {list(self.shape)} doesn't match the broadcast shape of mask {list(mask.shape)}"
        )
    self[mask.expand(self.shape)] = value
    return self


def _filling(name: str, x: Tensor, mask: Tensor, value: Any) -> tuple[Tensor, Tensor]:
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"{name} only supports boolean masks, but got mask with dtype {mask.dtype}")
    return mask, number_for(name, x, value)


def number_for(name: str, x: Tensor, value: Any) -> Tensor:
    """A number or 0-d tensor as one of the dtype of ``x``.

    Raises:
        TypeError: for anything else.
        RuntimeError: for a number that the dtype has no place for, and a tensor with dimensions.
    """
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"{name} only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
            )
        if value.is_complex() and not x.is_complex():
            raise RuntimeError(
                f"{name}: value of dtype {value.dtype} cannot be converted to {x.dtype} without overflow"
            )
        return value.to(x.dtype)
    if not isinstance(value, (Number, np.bool_)):
        raise TypeError(f"{name}(): expected a number or a tensor, got {type(value).__name__}")
    if not _holds(x.dtype, value):
        raise RuntimeError(f"{name}: value {value} cannot be converted to type {x.dtype.name} without overflow")
    return converted(value, x.dtype, x.device)


def _holds(dtype: dtypes.dtype, value: Any) -> bool:
    """Whether PyTorch lets a number be stored in ``dtype``: fractions may be cut off, negative ones wrap around."""
    if isinstance(value, complex):
        return dtype.is_complex or value.imag == 0
    if dtype.numpy.kind not in "iu":
        return True
    limits = np.iinfo(dtype.numpy)
    return bool(min(limits.min, -limits.max) <= value <= limits.max)
