"""Activation checkpointing: backward computes a segment again and nothing inside it is kept until then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.engine import grad
from torchlite.autograd.function import Function, once_differentiable
from torchlite.autograd.grad_mode import enable_grad, is_grad_enabled
from torchlite.autograd.graph import Leaf, Selected
from torchlite.ops.random import default_generator


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,  # noqa: ARG001 - PyTorch's signature: there is one way here
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, of which only the arguments are kept for backward.

    Memory: of all checkpointed segments, one holds its intermediate results at any time. Time: one more forward.
    Gradients reach the tensor arguments and whatever else the function reads, such as the parameters of a module.
    They can't be differentiated again.

    Args:
        function: gives a tensor or a tuple of tensors; must compute the same when called again.
        args, kwargs: its arguments.
        use_reentrant: accepted for PyTorch's sake.
        preserve_rng_state: draw the same random numbers when computing again.

    >>> import torchlite as torch
    >>> from torchlite.utils.checkpoint import checkpoint
    >>> x = torch.ones(3, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().log(), x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([1., 1., 1.])
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    segment = _Segment(function, args, kwargs, default_generator.state() if preserve_rng_state else None)
    given = [x for x in args if isinstance(x, Tensor)]
    stand_ins, result = segment.run(given)
    read = _leaves_behind(result, exclude=stand_ins)
    if not read and not any(x.requires_grad for x in given):
        return result
    single = isinstance(result, Tensor)
    segment.results = tuple(x.detach() if isinstance(x, Tensor) else x for x in ((result,) if single else result))
    results = _Recomputed.apply(segment, len(given), *given, *read)
    return results[0] if single else results


def checkpoint_sequential(functions: Any, segments: int, input: Any, **kwargs: Any) -> Any:
    """Apply ``functions`` (or the children of a Sequential) in turn, in ``segments`` parts of which all but the last
    are checkpointed.

    Raises:
        ValueError: when there are not between 1 and ``len(functions)`` segments.
    """
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

    first = 0
    for first in range(0, length * (segments - 1), length):
        input = checkpoint(part(first, first + length), input, **kwargs)
    return part(length * (segments - 1), len(steps))(input)


class _Segment:
    """A call that can be made again."""

    def __init__(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], rng: tuple[int, int] | None
    ) -> None:
        self.function = function
        self.args = tuple(None if isinstance(x, Tensor) else x for x in args)
        self.places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        self.kwargs = kwargs
        self.rng = rng
        self.results: tuple[Any, ...] = ()

    def run(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Any]:
        """Call with stand-ins for ``tensors`` that have no history, and give those and the result."""
        stand_ins = [x.detach().requires_grad_(x.requires_grad) for x in tensors]
        args = list(self.args)
        for place, x in zip(self.places, stand_ins, strict=True):
            args[place] = x
        return stand_ins, self.function(*args, **self.kwargs)

    def run_again(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Any]:
        """`run` with the random numbers of the first time."""
        if self.rng is None:
            return self.run(tensors)
        now = default_generator.state()
        default_generator.restore(self.rng)
        try:
            return self.run(tensors)
        finally:
            default_generator.restore(now)


class _Recomputed(Function):
    @staticmethod
    def forward(ctx: Any, segment: _Segment, n: int, *tensors: Tensor) -> tuple[Any, ...]:
        ctx.segment = segment
        ctx.read = tensors[n:]
        ctx.save_for_backward(*tensors[:n])
        ctx.set_materialize_grads(False)
        results, segment.results = segment.results, ()
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        given = ctx.saved_tensors
        with enable_grad():
            stand_ins, result = ctx.segment.run_again(given)
        outs = (result,) if isinstance(result, Tensor) else result
        pairs = [(o, g) for o, g in zip(outs, grads, strict=True) if g is not None and o.requires_grad]
        wanted = [x for x in (*stand_ins, *ctx.read) if x.requires_grad]
        # What the function read from outside may have a graph of its own, which others walk later: it is not freed.
        found = iter(grad([o for o, _ in pairs], wanted, [g for _, g in pairs], retain_graph=True, allow_unused=True))
        return (None, None, *(next(found) if x.requires_grad else None for x in (*stand_ins, *ctx.read)))


def _leaves_behind(result: Any, exclude: Sequence[Tensor]) -> list[Tensor]:
    """The leaves that a result was computed from, without ``exclude``."""
    stack = [x._node for x in ((result,) if isinstance(result, Tensor) else result) if isinstance(x, Tensor)]
    seen = {id(x._node) for x in exclude}
    leaves = []
    while stack:
        node = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if type(node) is Leaf:
            tensor = node.tensor()
            if tensor is not None:
                leaves.append(tensor)
        else:
            stack += [node.parent] if type(node) is Selected else node.edges
    return leaves
