"""Activation checkpointing: what backward needs of a segment is computed again when it is needed, and not kept.

There are PyTorch's two ways. Without re-entering, the segment's graph is recorded as always, but a place is kept for
each tensor that it would save; the first that backward asks for runs the segment again and fills all places. So
everything works on it that works on a graph, gradients of gradients too. The re-entrant way records the segment as one
operation, whose backward runs it again and calls backward on that.
"""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autocasting import Remembered
from torchlite.autograd.engine import Walk, backward, walks
from torchlite.autograd.function import Function
from torchlite.autograd.grad_mode import enable_grad, is_grad_enabled
from torchlite.autograd.graph import Node, observe, unobserve
from torchlite.autograd.saved_tensors import Packed, pack, saved_tensors_hooks
from torchlite.ops.generator import default_generator

Contexts = tuple[contextlib.AbstractContextManager[Any], contextlib.AbstractContextManager[Any]]


class CheckpointError(RuntimeError):
    """A segment that did not do the second time what it did the first time."""


def noop_context_fn() -> Contexts:
    """Contexts that do nothing, for the first run of a segment and for the others."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, of which only the arguments are kept for backward.

    Memory: of all checkpointed segments, one holds its intermediate results at any time. Time: one more forward.

    Args:
        function: must compute the same when called again.
        args, kwargs: its arguments; no ``kwargs`` with ``use_reentrant=True``.
        use_reentrant: False is recommended. True, PyTorch's first way and its default, works with ``backward()`` to all
            leaves only, and only where a tensor among ``args`` requires a gradient.
        context_fn: gives two contexts, in which the segment runs for the first time and again.
        determinism_check: "default" compares shapes, dtypes and devices of the two runs, "none" nothing.
        debug: name the operations of both runs in the error about a difference.
        early_stop: end the second run at the last tensor that is needed of it.
        preserve_rng_state: draw the same random numbers when computing again.

    Raises:
        CheckpointError: in backward, when the second run saves other tensors than the first.

    >>> import torchlite as torch
    >>> from torchlite.utils.checkpoint import checkpoint
    >>> x = torch.ones(3, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().log(), x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([1., 1., 1.])
    """
    if use_reentrant is None:
        warnings.warn(_EXPLICIT.format("checkpoint"), stacklevel=2)
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        if not any(isinstance(x, Tensor) and x.requires_grad for x in args):
            warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
        return _Reentrant.apply(function, preserve_rng_state, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'] but got {determinism_check}")
    first, again = context_fn()
    if not is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    segment = _Segment(function, args, kwargs, preserve_rng_state, again, determinism_check == "default", debug)
    segment.stop_early = early_stop
    with saved_tensors_hooks(segment.place, segment.fetch), first, segment.logged(0):
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True
) -> Any:
    """Apply ``functions`` (or the children of a Sequential) in turn, in ``segments`` parts of which all but the last
    are checkpointed.

    Raises:
        ValueError: when there are not between 1 and ``len(functions)`` segments.
    """
    if use_reentrant is None:
        warnings.warn(_EXPLICIT.format("checkpoint_sequential"), stacklevel=2)
        use_reentrant = True
    steps: Sequence[Callable[..., Any]] = (
        list(functions.children()) if hasattr(functions, "children") else list(functions)
    )
    if not 1 <= segments <= len(steps):
        raise ValueError(f"checkpoint_sequential: segments must be between 1 and {len(steps)}, got {segments}")
    length = len(steps) // segments

    def part(first: int, last: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in steps[first:last]:
                x = step(x)
            return x

        return run

    for first in range(0, length * (segments - 1), length):
        input = checkpoint(
            part(first, first + length), input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state
        )
    return part(length * (segments - 1), len(steps))(input)


_EXPLICIT = (
    "torchlite.utils.checkpoint.{}: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
    "recommended; use_reentrant=True is what is meant without it."
)


class _Place:
    """Kept in the graph for a tensor that is computed again when it is needed."""

    __slots__ = ("__weakref__", "index")

    def __init__(self, index: int) -> None:
        self.index = index


class _Stop(BaseException):
    """Ends the second run: all that is needed has been computed."""


class _Segment:
    """One checkpointed call without re-entering: how to make it again, and the places of what it saves."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        preserve_rng_state: bool,
        context: contextlib.AbstractContextManager[Any],
        compared: bool,
        debug: bool,
    ) -> None:
        self.function = function
        self.args = [_Argument(x) for x in args]
        self.kwargs = {name: _Argument(x) for name, x in kwargs.items()}
        self.rng = default_generator.state() if preserve_rng_state else None
        self.autocast = Remembered()
        self.context = context
        self.compared = compared
        self.stop_early = True
        self.places: list[weakref.ref[_Place]] = []
        self.described: list[tuple[Any, ...]] = []
        self.logs: tuple[list[str], list[str]] | None = ([], []) if debug else None
        # What was computed again, by backward pass; the passes of one graph each compute it again.
        self.found: weakref.WeakKeyDictionary[Walk, dict[int, Tensor]] = weakref.WeakKeyDictionary()

    def place(self, x: Tensor) -> _Place:
        """The pack hook of the first run."""
        place = _Place(len(self.places))
        self.places.append(weakref.ref(place))
        self.described.append(_description(x))
        return place

    def fetch(self, place: _Place) -> Tensor:
        """The unpack hook: the tensor of a place, after the segment has run again where need be."""
        walk = walks.stack[-1] if walks.stack else None
        found = self.found.get(walk) if walk is not None else None
        if found is None or place.index not in found:
            found = self.run_again()
            if walk is not None:
                self.found[walk] = found
        return found.pop(place.index)

    def run_again(self) -> dict[int, Tensor]:
        """The tensors of all places that are still needed."""
        seen: list[Tensor | None] = []

        def keep(x: Tensor) -> Tensor:
            alone = x.detach()
            needed = len(seen) < len(self.places) and self.places[len(seen)]() is not None
            if len(seen) < len(self.places):
                self._compare(len(seen), alone)
            seen.append(alone if needed else None)
            if self.stop_early and len(seen) == len(self.places):
                raise _Stop
            return alone

        args = [x.get() for x in self.args]
        kwargs = {name: x.get() for name, x in self.kwargs.items()}
        with (
            _random_numbers(self.rng),
            self.logged(1),
            saved_tensors_hooks(keep, lambda x: x),
            enable_grad(),
            self.autocast,
            self.context,
            contextlib.suppress(_Stop),
        ):
            self.function(*args, **kwargs)
        if len(seen) != len(self.places):
            raise CheckpointError(
                "torchlite.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.places)}\nNumber of tensors saved "
                f"during recomputation: {len(seen)}.{self._traces()}"
            )
        return {i: x for i, x in enumerate(seen) if x is not None}

    def _compare(self, i: int, x: Tensor) -> None:
        if self.compared and _description(x) != self.described[i]:
            raise CheckpointError(
                "torchlite.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                f"during the forward pass.\ntensor at position {i}:\nsaved metadata: {_metadata(self.described[i])}\n"
                f"recomputed metadata: {_metadata(_description(x))}{self._traces()}"
            )

    @contextlib.contextmanager
    def logged(self, run: int) -> Iterator[None]:
        """Note the operations of a run, where its differences are to be explained."""
        if self.logs is None:
            yield
            return
        log = self.logs[run]
        log.clear()

        def note(node: Node) -> None:
            log.append(node.name())

        observe(note)
        try:
            yield
        finally:
            unobserve(note)

    def _traces(self) -> str:
        if self.logs is None:
            return "\nPass debug=True to checkpoint to see the operations of both runs."
        first, again = (", ".join(log) for log in self.logs)
        return f"\nOperations of the original forward: {first}\nOperations of the recomputation: {again}"


class _Argument:
    """An argument of a segment: a tensor may be in the keeping of an outer segment, and must not be overwritten."""

    def __init__(self, value: Any) -> None:
        self.value = value
        if isinstance(value, Tensor):
            self.requires_grad = value.requires_grad
            self.writes = value._storage.writes
            self.value = pack(value)

    def get(self) -> Any:
        """The argument for another run, without the history that it had."""
        if isinstance(self.value, Packed):
            return self.value.tensor().requires_grad_(self.requires_grad)
        if not isinstance(self.value, Tensor):
            return self.value
        if self.value._storage.writes != self.writes:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: an "
                f"argument of a checkpointed function, of shape {list(self.value.shape)}, was overwritten after the call"
            )
        return self.value.detach().requires_grad_(self.requires_grad)


def _description(x: Tensor) -> tuple[Any, ...]:
    return x.shape, x.dtype, x.device


def _metadata(description: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(("shape", "dtype", "device"), description, strict=True))


@contextlib.contextmanager
def _random_numbers(state: tuple[int, int] | None) -> Iterator[None]:
    """Draw from ``state`` on inside the block, and go on afterwards where it was left."""
    if state is None:
        yield
        return
    now = default_generator.state()
    default_generator.restore(state)
    try:
        yield
    finally:
        default_generator.restore(now)


class _Reentrant(Function):
    """A segment as one operation."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        ctx.function = function
        ctx.rng = default_generator.state() if preserve_rng_state else None
        ctx.autocast = Remembered()
        ctx.others = [None if isinstance(x, Tensor) else x for x in args]
        ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in args))
        return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        if walks.stack[-1].wanted is not None:
            raise RuntimeError(
                "When use_reentrant=True, torchlite.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        args = [
            other if x is None else x.detach().requires_grad_(x.requires_grad)
            for x, other in zip(ctx.saved_tensors, ctx.others, strict=True)
        ]
        with _random_numbers(ctx.rng), enable_grad(), ctx.autocast:
            result = ctx.function(*args)
        outs = (result,) if isinstance(result, Tensor) else result
        pairs = [(o, g) for o, g in zip(outs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *(x.grad if isinstance(x, Tensor) else None for x in args))
