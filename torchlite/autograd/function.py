"""`Function`: an operation whose forward and backward the user writes."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from torchlite import dtypes
from torchlite._tensor import Tensor, wrap
from torchlite.autograd.engine import SECOND_TIME
from torchlite.autograd.grad_mode import grad_mode, no_grad
from torchlite.autograd.graph import Node, place_of
from torchlite.autograd.saved_tensors import Packed, pack
from torchlite.batching.level import Batched, Unbatchable, innermost, levels, outside_innermost
from torchlite.ops.creation import zeros
from torchlite.ops.mutation import _refuse_leaf, _renew_history


class FunctionCtx:
    """What `Function.forward` hands to `Function.backward`: saved tensors, marks, and any attribute set on it.

    Attributes:
        needs_input_grad: for each argument of forward whether backward must give its gradient.
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._saved: _SavedTensors | None = None
        self._dirty: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Any, ...] = ()
        self._materialize_grads = True
        self._for_forward: tuple[Any, ...] | None = None
        self._forward_mode = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for backward, which finds them in `saved_tensors`.

        Raises:
            TypeError: for anything but tensors and None; set other things as attributes.
        """
        for i, x in enumerate(tensors):
            if x is not None and not isinstance(x, Tensor):
                raise TypeError(
                    f"save_for_backward can only save tensors and None, but argument {i} is of type {type(x).__name__}; "
                    "set other values as attributes of ctx"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for `Function.jvp`, which finds them in `saved_tensors`."""
        self._for_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs forward has written into; each must be returned as well."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which results have no gradient."""
        self._non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros, and not None, for results that nothing differentiable was computed from."""
        self._materialize_grads = bool(value)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept.

        Raises:
            RuntimeError: when backward has freed it, or when one was overwritten since.
        """
        if self._forward_mode and self._for_forward is not None:
            return self._for_forward
        return self._to_save if self._saved is None else self._saved.unpacked()


class Function:
    """An operation defined by a static ``forward`` and a static ``backward``; call it with ``apply``.

    Either ``forward(ctx, *args)``, or ``forward(*args)`` with ``setup_context(ctx, inputs, output)``. Backward gets the
    gradient of each result and returns one for each argument of forward, None where there is none. It is written with
    tensor operations and can be differentiated again.

    >>> import torchlite as torch
    >>> class Cube(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return g * 3 * x**2
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self).__name__} should not be instantiated: its methods are static and it is called with "
            f"{type(self).__name__}.apply(...)"
        )

    @staticmethod
    def forward(*_args: Any, **_kwargs: Any) -> Any:
        """Compute the result: a tensor or a tuple in which the tensors are the results."""
        raise RuntimeError("a torchlite.autograd.Function must define the static method forward")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:  # noqa: ARG004
        """Save what backward needs, where ``forward`` takes no ctx."""
        raise RuntimeError("setup_context is to be overridden; without it forward takes ctx as its first argument")

    @staticmethod
    def backward(_ctx: Any, *_grad_outputs: Any) -> Any:
        """Gradients of the arguments from the gradients of the results."""
        raise RuntimeError(
            "a torchlite.autograd.Function must define the static method backward (or vjp) to be differentiated"
        )

    vjp = backward

    @staticmethod
    def jvp(_ctx: Any, *_grad_inputs: Any) -> Any:
        """Tangents of the results from those of the arguments; where it is not defined, backward is transposed."""
        raise RuntimeError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(_info: Any, _in_dims: Any, *_args: Any) -> Any:
        """``(results, out_dims)`` for arguments whose dimensions ``in_dims`` hold all examples of a `vmap`.

        ``info`` has their number, ``batch_size``, and ``randomness``. Where it is not defined, forward runs on all at
        once or, where a gradient is taken through it from outside, on one example after the other.
        """
        raise RuntimeError("vmap is to be overridden")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run ``forward`` and record the operation where an argument requires a gradient."""
        if levels.stack:
            batched = _batched(cls, args)
            if batched is not NotImplemented:
                return batched
        ctx = FunctionCtx()
        edges = [x._node if isinstance(x, Tensor) else None for x in args]
        ctx.needs_input_grad = tuple(edge is not None for edge in edges)
        recorded = grad_mode.enabled and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
        outs = result if isinstance(result, tuple) else (result,)
        if not isinstance(result, tuple) and not isinstance(result, Tensor):
            if recorded:
                raise TypeError(
                    f"{cls.__name__}.forward: expected to return a Tensor or a tuple of Tensors, got {type(result).__name__}"
                )
            return result
        outs = tuple(_result(out, args, ctx) for out in outs)
        if recorded:
            _record(cls, ctx, edges, args, outs, several=isinstance(result, tuple))
        return outs if isinstance(result, tuple) else outs[0]


class VmapInfo(NamedTuple):
    """What `Function.vmap` is told: how many examples there are, and what random numbers are to be for them."""

    batch_size: int
    randomness: str


def _batched(cls: type[Function], args: tuple[Any, ...]) -> Any:
    """The results for all examples of a `vmap`, NotImplemented where forward may run on them as on one."""
    level = innermost([x._data for x in args if isinstance(x, Tensor)])
    if level is None:
        return NotImplemented
    own = [isinstance(x, Tensor) and type(x._data) is Batched and x._data.level is level for x in args]
    values = [x._data.value if inside else x for x, inside in zip(args, own, strict=True)]
    taken_inside = any(inside and x._node is not None for x, inside in zip(args, own, strict=True))
    if cls.vmap is not Function.vmap and not taken_inside:
        in_dims = tuple(0 if inside and x._data.mapped else None for x, inside in zip(args, own, strict=True))
        with outside_innermost():
            info = VmapInfo(level.examples, "different" if level.different else "same")
            results, out_dims = cls.vmap(info, in_dims, *values)
        dims = (
            out_dims
            if isinstance(out_dims, tuple)
            else (out_dims,) * (len(results) if isinstance(results, tuple) else 1)
        )
        outs = results if isinstance(results, tuple) else (results,)
        found = tuple(
            wrap(Batched(x if dim is None else x.movedim(dim, 0), dim is not None, level))
            if isinstance(x, Tensor)
            else x
            for x, dim in zip(outs, dims, strict=True)
        )
        return found if isinstance(results, tuple) else found[0]
    if grad_mode.enabled and any(isinstance(x, Tensor) and _has_history(x) for x in values):
        raise Unbatchable(f"{cls.__name__}, through which a gradient is taken from outside")
    return NotImplemented


def _has_history(x: Tensor) -> bool:
    """Whether a tensor, or what it stands for outside of a `vmap`, is recorded."""
    return x._node is not None or (type(x._data) is Batched and _has_history(x._data.value))


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a ``backward`` that can't itself be differentiated: doing so is an error and not a wrong number."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        differentiated = grad_mode.enabled
        with no_grad():
            results = backward(ctx, *grads)
        if not differentiated:
            return results
        tied = [x for x in grads if isinstance(x, Tensor) and x.requires_grad]
        if not tied:
            return results
        gradients = results if isinstance(results, tuple) else (results,)
        closed = tuple(_DifferentiatedTwice.apply(g.detach(), *tied) if isinstance(g, Tensor) else g for g in gradients)
        return closed if isinstance(results, tuple) else closed[0]

    return wrapper


def _in(x: Any, tensors: tuple[Any, ...]) -> bool:
    return any(x is other for other in tensors)


def _result(out: Any, args: tuple[Any, ...], ctx: FunctionCtx) -> Any:
    """What stands for ``out`` in the graph: itself, or an alias where it is an input that was only passed on."""
    if not isinstance(out, Tensor) or _in(out, ctx._dirty):
        return out
    if not _in(out, args) and out._node is None and out._base is None:
        return out
    alias: Tensor = wrap(out._data)
    alias._storage = out._storage
    ctx._to_save = tuple(alias if x is out and not _in(out, args) else x for x in ctx._to_save)
    ctx._non_differentiable = tuple(alias if x is out else x for x in ctx._non_differentiable)
    return alias


def _record(
    cls: type[Function], ctx: FunctionCtx, edges: list[Any], args: tuple[Any, ...], outs: Any, *, several: bool
) -> None:
    for x in ctx._dirty:
        if not _in(x, outs):
            raise RuntimeError(f"{cls.__name__}: an input was marked dirty but is not among the results of forward")
        _refuse_leaf(x)
        x._storage.written()
    differentiable = [
        isinstance(out, Tensor) and out._data.dtype.kind not in "biu" and not _in(out, ctx._non_differentiable)
        for out in outs
    ]
    if not any(differentiable):
        return
    node = FunctionNode(cls, ctx, edges, outs, several)
    if node.has_jvp():
        node.argument_avals = _avals(args)
    # The tensors it keeps are taken before the results get their histories: inputs keep the edges they came with.
    ctx._saved = _SavedTensors(node, ctx._to_save, outs)
    ctx._to_save = ()
    for i, out in enumerate(outs):
        if differentiable[i]:
            place = node.place(i)
            if _in(out, ctx._dirty):
                _renew_history(out, wrap(out._data, place))
            else:
                out._node = place
    ctx._dirty = ctx._non_differentiable = ()


class FunctionNode(Node):
    """The node of one call of a `Function`."""

    __slots__ = ("argument_avals", "avals", "ctx", "function")

    def __init__(self, function: type[Function], ctx: FunctionCtx, edges: list[Any], outs: Any, several: bool) -> None:
        avals = _avals(outs)
        shapes, kinds = [None if a is None else a[0] for a in avals], [None if a is None else a[1] for a in avals]
        super().__init__(None, {}, edges, (), shapes if several else shapes[0], kinds if several else kinds[0])
        self.function = function
        self.ctx = ctx
        self.avals = avals
        self.argument_avals: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        """What forward has put on ``ctx``, which in PyTorch is this node."""
        return getattr(object.__getattribute__(self, "ctx"), name)

    def name(self) -> str:
        """The class's name and ``Backward``, as PyTorch has it."""
        return f"{self.function.__name__}Backward"

    def place(self, i: int) -> Any:
        """Where the gradient of result ``i`` arrives."""
        return place_of(self, i, self.shape[i], self.dtype[i]) if isinstance(self.shape, list) else self

    def pull(self, g: Any) -> list[Any]:
        """What the user's backward gives for each argument of forward."""
        grads = list(g) if isinstance(g, tuple) else [g]
        if self.ctx._materialize_grads:
            grads = _materialized(grads, self.avals)
        function = self.function
        backward = function.vjp if function.backward is Function.backward else function.backward
        results = backward(self.ctx, *grads)
        return self._checked(results if isinstance(results, (tuple, list)) else (results,))

    def has_jvp(self) -> bool:
        """Whether the user wrote the rule of forward mode."""
        return self.function.jvp is not Function.jvp

    def push(self, tangents: list[Any]) -> Any:
        """What the user's jvp gives: a tangent for each result."""
        if self.ctx._materialize_grads:
            tangents = _materialized(tangents, self.argument_avals)
        self.ctx._forward_mode = True
        try:
            return self.function.jvp(self.ctx, *tangents)
        finally:
            self.ctx._forward_mode = False

    def free(self) -> None:
        """Let go of what was saved for backward."""
        if self.ctx._saved is not None:
            self.ctx._saved.free()

    def _checked(self, gradients: Any) -> list[Any]:
        gradients = list(gradients)
        n = len(self.edges)
        while len(gradients) > n and gradients[-1] is None:
            gradients.pop()
        if len(gradients) != n:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {n}, got {len(gradients)}): "
                "backward returns one for each argument of forward, None where there is none"
            )
        for i, (edge, g) in enumerate(zip(self.edges, gradients, strict=True)):
            if g is None:
                continue
            if not isinstance(g, Tensor):
                raise TypeError(
                    f"function {self.name()}: expected a Tensor or None at index {i}, got {type(g).__name__}"
                )
            if edge is not None and not _broadcasts_from(edge.shape, g._data.shape):
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {i} - got {list(g.shape)} but "
                    f"expected shape compatible with {list(edge.shape)}"
                )
        return gradients


def _avals(values: Any) -> list[Any]:
    """Shape, dtype and device of what is a tensor, None for the others."""
    return [(x._data.shape, x._data.dtype, x.device) if isinstance(x, Tensor) else None for x in values]


def _materialized(values: list[Any], avals: list[Any]) -> list[Any]:
    """``values`` with zeros in the place of None, wherever a tensor is meant."""
    return [
        zeros(aval[0], dtype=dtypes.of(aval[1]), device=aval[2]) if x is None and aval is not None else x
        for x, aval in zip(values, avals, strict=True)
    ]


def _broadcasts_from(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    """Whether a tensor of ``shape`` can be broadcast to ``larger``."""
    if len(shape) > len(larger):
        return False
    return all(n in (1, m) for n, m in zip(reversed(shape), reversed(larger), strict=False))


class _SavedTensors:
    """Saved inputs with the edges they had, and saved results as arrays: the node must not hold its own results."""

    def __init__(self, node: FunctionNode, tensors: tuple[Any, ...], outs: tuple[Any, ...]) -> None:
        self.owner = node.function.__name__
        self.seq = node.seq
        self.entries: list[Any] | None = []
        for x in tensors:
            i = next((i for i, out in enumerate(outs) if out is x), None) if x is not None else None
            if i is None:
                self.entries.append(None if x is None else (pack(x), x._node))
            else:
                self.entries.append((pack(x.detach()), i))
        self.node = weakref.ref(node)  # weak: the node holds this

    def free(self) -> None:
        """Let go of the tensors."""
        self.entries = None

    def unpacked(self) -> tuple[Any, ...]:
        """The tensors, with their histories."""
        if self.entries is None:
            raise RuntimeError(SECOND_TIME.format(self.owner))
        return tuple(None if entry is None else self._unpack(i, *entry) for i, entry in enumerate(self.entries))

    def _unpack(self, i: int, x: Tensor | Packed, edge: Any) -> Tensor:
        if isinstance(x, Packed):
            return wrap(x.unpacked(), self._place(edge, x) if isinstance(edge, int) else edge)
        if x._storage.stamp > self.seq:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"saved tensor {i} of {self.owner}, of shape {list(x.shape)} and dtype {x.dtype}, was overwritten after "
                "it was saved for backward. Use the out-of-place operator, or .clone() before the write."
            )
        if isinstance(edge, int):
            restored: Tensor = wrap(x._data, self._place(edge, x._data))
            restored._storage = x._storage
            return restored
        return x if x._node is edge else wrap(x._data, edge)

    def _place(self, i: int, array: Any) -> Any:
        """Where in the graph result ``i`` is."""
        node = self.node()
        return None if node is None or array.dtype.kind in "biu" else node.place(i)


class _DifferentiatedTwice(Function):
    """Passes a gradient on, and refuses to be differentiated."""

    @staticmethod
    def forward(_ctx: Any, g: Tensor, *_tied: Tensor) -> Tensor:
        return g

    @staticmethod
    def backward(_ctx: Any, *_grad_outputs: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
