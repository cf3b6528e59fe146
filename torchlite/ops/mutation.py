"""Writing into tensors: every in-place change goes through `assign`.

A write into a tensor that has, or is given, a history is the functional operator `view_scatter` on the base of the
tensor: the base takes the node of that operator, and the history of every live view is renewed from the base.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.grad_mode import grad_mode
from torchlite.autograd.graph import Leaf, Node
from torchlite.backends.memory import laid_out, span
from torchlite.dispatch import NO_PARAMS, apply
from torchlite.ir import REGISTRY, Aval, Op, Sample, register
from torchlite.ops.half_precision import HALVES
from torchlite.tracing import active

Recipe = tuple[tuple[Op, dict[str, Any]], ...]


def replay(x: Tensor, recipe: Recipe) -> Tensor:
    """The view of ``x`` that ``recipe`` leads to."""
    for op, params in recipe:
        x = apply(op, (x,), params)
    return x


def _run_replay(xp: Any, array: Any, recipe: Recipe) -> Any:
    for op, params in recipe:
        array = op.run(xp, array, **params)
    return array


def _infer_replay(aval: Aval, recipe: Recipe) -> Aval:
    for op, params in recipe:
        aval = op.infer(aval, **params)
    return aval


def _scatter_run(xp: Any, base: Any, value: Any, *, recipe: Recipe) -> Any:
    out = _copy_for(base, recipe)
    _run_replay(xp, out, recipe)[...] = value
    return out


def _copy_for(base: Any, recipe: Recipe) -> Any:
    """A copy of ``base`` of which ``recipe`` gives views; one by strides needs it to lie in memory as the base did."""
    if not _by_strides(recipe):
        return base.copy()
    first = recipe[0][1]
    strides, offset = first["seen"]
    return laid_out(base, first["own"], offset + span(first["shape"], strides))


def _by_strides(recipe: Recipe) -> bool:
    """Whether a view looks at the memory of its base, and not at its elements: the operator ``as_strided``."""
    return bool(recipe) and "own" in recipe[0][1]


def _scatter_infer(base: Aval, value: Aval, *, recipe: Recipe) -> Aval:
    region = _infer_replay(base, recipe).shape
    if region != value.shape:
        raise RuntimeError(f"view_scatter: the view has shape {list(region)} and the value {list(value.shape)}")
    return base


def _scatter_samples(rng: Any) -> Sequence[Sample]:
    recipe = ((REGISTRY["select"], {"index": (slice(1, 3), 0)}),)
    return [Sample((rng.normal(size=(4, 3)), rng.normal(size=2)), {"recipe": recipe})]


view_scatter: Op = register(
    Op(
        "view_scatter",
        "index",
        run=_scatter_run,
        infer=_scatter_infer,
        vjp=(
            lambda g, _out, _base, _value, recipe: apply(
                view_scatter, (g, replay(g, recipe).new_zeros(region_shape(g, recipe))), {"recipe": recipe}
            ),
            lambda g, _out, _base, _value, recipe: replay(g, recipe),
        ),
        samples=_scatter_samples,
        doc="A copy of ``base`` in which the region that the views ``recipe`` look at is ``value``.",
    )
)


def region_shape(base: Tensor, recipe: Recipe) -> tuple[int, ...]:
    """The shape of the view of ``base`` that ``recipe`` leads to."""
    return _infer_replay(Aval(base._data.shape, base._data.dtype), recipe).shape


def _embed_run(xp: Any, value: Any, *, recipe: Recipe, shape: tuple[int, ...]) -> Any:
    out = xp.zeros(shape, value.dtype)
    _run_replay(xp, out, recipe)[...] = value
    return out


embed_view = register(
    Op(
        "embed_view",
        "index",
        run=_embed_run,
        infer=lambda value, *, recipe, shape: Aval(shape, value.dtype, value.device),  # noqa: ARG005
        vjp=(lambda g, _out, _value, recipe, shape: replay(g, recipe),),  # noqa: ARG005
        samples=lambda rng: [
            Sample((s.arrays[1],), {**s.params, "shape": s.arrays[0].shape}) for s in _scatter_samples(rng)
        ],
        doc="Zeros of ``shape`` with ``value`` where the views ``recipe`` look: the adjoint of taking that view.",
    )
)


def assign(target: Tensor, value: Tensor, *, computed: bool = True) -> Tensor:
    """``target[...] = value``, in memory and in history; the one place where tensors change.

    Args:
        target: the tensor to write into.
        value: what to write; broadcast and converted to the target's dtype.
        computed: whether ``value`` already stands in the target's memory.

    Raises:
        RuntimeError: for a leaf that requires a gradient outside `no_grad`, and for a value that does not fit.
    """
    data = target._data
    recording = grad_mode.enabled and (target._node is not None or value._node is not None)
    if recording:
        _refuse_leaf(target)
    if not isinstance(data, Aval):
        source = value._data
        if not computed:
            xp = backends.array_module(data)
            try:
                xp.copyto(data, backends.to_device(source, target.device), casting="unsafe")
            except ValueError:
                refuse_internal_overlap("copy_", target)
                raise
    elif active.tracer is not None:
        active.tracer.write(data, value._data)
    target._storage.written()
    if recording:
        _renew_history(target, value)
    return target


def refuse_internal_overlap(name: str, target: Tensor) -> None:
    """Raise the error for writing where several elements of ``target`` are one number in memory."""
    data = target._data
    if isinstance(data, Aval) or data.flags.c_contiguous:
        return
    if any(stride == 0 and length > 1 for stride, length in zip(data.strides, data.shape, strict=True)):
        raise RuntimeError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )


def _refuse_leaf(target: Tensor) -> None:
    base = target if target._base is None else target._base
    if type(base._node) is Leaf:
        what = "a leaf Variable" if target is base else "a view of a leaf Variable"
        raise RuntimeError(
            f"{what} that requires grad is being used in an in-place operation; write inside torchlite.no_grad()"
        )


def _renew_history(target: Tensor, value: Tensor) -> None:
    value = value.to(target.dtype).expand(target._data.shape)
    base = target._base
    if base is None and value._node is not None:
        base, node = target, value._node
    else:  # a part of the base changes, or a value without a history: what was there gets a gradient of 0
        base = target if base is None else base
        shape, dtype = base._data.shape, base._data.dtype
        node = Node(view_scatter, {"recipe": target._recipe}, [base._node, value._node], [None, None], shape, dtype)
    base._node = node
    for ref in base._storage.views or ():
        view = ref()
        if view is not None and view._base is base:
            view._node = _recorded(node, base._data, view._recipe)


def _recorded(node: Any, array: Any, recipe: Recipe) -> Any:
    aval = Aval(tuple(array.shape), array.dtype)
    for op, params in recipe:
        aval = op.infer(aval, **params)
        node = Node(op, params, [node], [None], aval.shape, aval.dtype)
    return node


def before_write(x: Tensor, *, copy: bool) -> Tensor:
    """The tensor as it is now: a later in-place write gives ``x`` a new history but leaves this one's.

    Args:
        x: what will be written into.
        copy: whether the numbers are needed after the write, in backward.
    """
    node = x._node
    if node is not None and x._base is not None and _by_strides(x._recipe):
        node = _recorded(x._base._node, x._base._data, x._recipe)  # also what lies beside the tensor it was taken from
    result: Tensor = wrap(x._data.copy() if copy else x._data, node)
    if not copy:
        result._storage = x._storage
    return result


def apply_inplace(op: Op, target: Tensor, others: tuple[Tensor, ...], params: dict[str, Any] = NO_PARAMS) -> Tensor:
    """``target`` becomes ``op(target, *others)``, without a temporary where no history is wanted."""
    data = target._data
    recording = False
    if grad_mode.enabled:
        for x in (target, *others):
            if x._node is not None:
                recording = True
    if op.inplace is not None and not recording and not isinstance(data, Aval):
        arrays = []
        for x in others:
            array = x._data
            if type(array) is not type(data) or (array.dtype != data.dtype and not _is_wide_number(array, data)):
                break
            if array.shape != data.shape and array.shape != ():
                _check_fits(
                    op.name, target, op.infer(Aval(data.shape, data.dtype), *(x._data for x in others), **params)
                )
            arrays.append(array)
        else:
            try:
                op.inplace(backends.array_module(data), data, data, *arrays, **params)
            except (
                RuntimeWarning
            ):  # where warnings are errors: the numbers have been written, and infinities are numbers
                pass
            except ValueError:
                refuse_internal_overlap(f"{op.name}_", target)
                raise
            target._storage.written()
            return target
    if recording:
        _refuse_leaf(target)
    result = apply(op, (before_write(target, copy=recording and True in op.keeps[:1]), *others), params)
    return write_result(op.name, target, result)


def _is_wide_number(array: Any, beside: Any) -> bool:
    """Whether it is a number in float32, in which NumPy computes ``beside``, of a half type."""
    return array.ndim == 0 and array.dtype == np.float32 and beside.dtype in HALVES and isinstance(beside, np.ndarray)


def write_result(name: str, target: Tensor, result: Tensor) -> Tensor:
    """Store what an operator computed from ``target`` into it; the shape must stay and the category not fall."""
    _check_fits(name, target, Aval(result._data.shape, result._data.dtype))
    return assign(target, result, computed=False)


def _check_fits(name: str, target: Tensor, result: Aval) -> None:
    if result.shape != target._data.shape:
        raise RuntimeError(
            f"{name}_: output with shape {list(target.shape)} doesn't match the broadcast shape {list(result.shape)}"
        )
    computed = dtypes.of(result.dtype)
    if not dtypes.can_cast(computed, target.dtype):
        raise RuntimeError(
            f"{name}_: result type {computed.name} can't be cast to the desired output type {target.dtype.name}"
        )


def inplace(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place form of an operator: ``x.f_(...)`` stores ``f(x, ...)`` into ``x``."""

    @functools.wraps(function)
    def write(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        recording = grad_mode.enabled and self._node is not None
        if recording:
            _refuse_leaf(self)
        return write_result(function.__name__, self, function(before_write(self, copy=recording), *args, **kwargs))

    write.__name__ = f"{function.__name__}_"
    write.__doc__ = f"In-place form of ``{function.__name__}``."
    return write


@method("copy_")
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:  # noqa: ARG001 - PyTorch's signature
    """Write ``src`` (broadcast, converted, from any device) into this tensor."""
    source = src if isinstance(src, Tensor) else self.new_tensor(src)
    if source._node is not None and grad_mode.enabled:
        source = with_own_node(source)
    if not isinstance(self._data, Aval) and source._data is not self._data:
        try:
            return assign(self, source, computed=False)
        except ValueError:
            raise RuntimeError(
                f"copy_: shape {list(source.shape)} can't be broadcast to shape {list(self.shape)}"
            ) from None
    return assign(self, source)


def with_own_node(x: Tensor) -> Tensor:
    """``x`` one step on in the graph: what takes over its numbers is neither the same leaf nor heard by its hooks."""
    result = before_write(x, copy=False)
    result._node = Node(view_scatter, {"recipe": ()}, [None, x._node], [None, None], x._data.shape, x._data.dtype)
    return result


_fill = register(
    Op(
        "fill",
        "elementwise",
        run=lambda xp, x, value: xp.full_like(x, value),
        infer=lambda x, value: x,  # noqa: ARG005
        vjp=(lambda g, _out, _x, _value: g.new_zeros(g.shape), lambda g, _out, _x, _value: g.sum()),
        samples=lambda rng: [Sample((rng.normal(size=(3, 4)), rng.normal(size=())), {})],
        doc="x with every element replaced by the one element of ``value``.",
    )
)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like ``input`` with every element ``value``, a number or a 0-d tensor.

    Raises:
        RuntimeError: for a ``value`` of more dimensions.
    """
    return apply(_fill, (input, _filling(input, value)))


def _filling(x: Tensor, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        return x.new_full((), value)
    if value.ndim:
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions.")
    return value.to(x.device, x.dtype)


@method("fill_")
def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to ``value``, a number or a 0-d tensor."""
    value = _filling(self, value)
    if grad_mode.enabled and self._node is not None:  # it still depends on what it was, if only with a slope of 0
        _refuse_leaf(self)
        value = fill(before_write(self, copy=False), value)
    return copy_(self, value)


@method("zero_")
def zero_(self: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)
