"""`vmap`: a function of one example made a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from torchlite._tensor import Tensor, wrap
from torchlite.batching import rules
from torchlite.batching.level import Batched, Level, Unbatchable, levels
from torchlite.batching.pytree import leaves, rebuilt, spread
from torchlite.ops.generator import default_generator
from torchlite.ops.joining import cat, stack


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that maps ``func`` over a dimension of its arguments and stacks the results.

    ``func`` is called once, with tensors that stand for one example and compute with all of them. Where that can't be,
    because it reads numbers, writes in place or draws random numbers for each example, it is called for one after the
    other.

    Args:
        func: of tensors, or tuples, lists and dicts of them, giving the same.
        in_dims: the dimension of the examples for each argument, None for what all examples share; one number for all.
            Keyword arguments are shared.
        out_dims: where that dimension goes in the results.
        randomness: what random numbers inside are: an "error", "different" for each example, or the "same".
        chunk_size: how many examples to compute at a time, for less memory.

    Raises:
        ValueError: when ``in_dims`` does not fit the arguments, all of it is None, or lengths differ.

    >>> import torchlite as torch
    >>> torch.vmap(torch.dot)(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 1.0], [2.0, 0.0]]))
    tensor([3., 6.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"vmap: randomness must be 'error', 'different' or 'same', got {randomness!r}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0, got {chunk_size}")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, args, kwargs, in_dims, out_dims, randomness)
        if chunk_size is None or chunk_size >= call.examples:
            return call.result(call.values)
        parts = [call.result(call.narrowed(i, chunk_size)) for i in range(0, call.examples, chunk_size)]
        dims = _result_dims(out_dims, parts[0])
        columns = zip(*map(leaves, parts), strict=True)
        joined = [xs[0] if dim is None else cat(xs, dim) for xs, dim in zip(columns, dims, strict=True)]
        return rebuilt(parts[0], iter(joined))

    return mapped


class _Call:
    """One call of a mapped function."""

    def __init__(
        self, func: Callable[..., Any], args: Any, kwargs: Any, in_dims: Any, out_dims: Any, randomness: str
    ) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.out_dims, self.randomness = out_dims, randomness
        self.values = leaves(args)
        self.dims = _argument_dims(in_dims, args)
        self.examples = _examples(self.values, self.dims)

    def narrowed(self, start: int, length: int) -> list[Any]:
        """The arguments' leaves, of some of the examples."""
        return [
            x if dim is None else x.narrow(dim, start, min(length, x.shape[dim] - start))
            for x, dim in zip(self.values, self.dims, strict=True)
        ]

    def result(self, values: list[Any]) -> Any:
        """What the function gives for all examples in ``values``."""
        start = default_generator.state()
        try:
            result = self._at_once(values)
        except Exception:  # what is wrong with one example is found below, and said of one example
            if _examples(values, self.dims) == 0:
                raise
            default_generator.restore(start)
            result = self._one_by_one(values)
        return result

    def _at_once(self, values: list[Any]) -> Any:
        depth, different = len(levels.stack), self.randomness == "different"
        examples = _examples(values, self.dims)
        start = default_generator.state()

        def run(op: Any, given: Any, mapped: Any, params: Any) -> Any:
            return rules.run(op, given, mapped, params, examples)

        with Level(depth, examples, different, run) as level:
            one = iter(
                [
                    x if dim is None else wrap(Batched(x.movedim(dim, 0) if dim else x, True, level))
                    for x, dim in zip(values, self.dims, strict=True)
                ]
            )
            result = self._called(one)
        if self.randomness == "error" and default_generator.state() != start:
            raise Unbatchable("random numbers")
        dims = _result_dims(self.out_dims, result)
        found = [_of_all(x, dim, level) for x, dim in zip(leaves(result), dims, strict=True)]
        return rebuilt(result, iter(found))

    def _one_by_one(self, values: list[Any]) -> Any:
        results = []
        start = default_generator.state()
        for i in range(_examples(values, self.dims)):
            if self.randomness == "same":
                default_generator.restore(start)
            one = iter([x if dim is None else x.select(dim, i) for x, dim in zip(values, self.dims, strict=True)])
            results.append(self._called(one))
            if self.randomness == "error" and default_generator.state() != start:
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
                )
        first = results[0]
        dims = _result_dims(self.out_dims, first)
        columns = zip(*map(leaves, results), strict=True)
        found = [xs[0] if dim is None else stack(xs, dim) for xs, dim in zip(columns, dims, strict=True)]
        return rebuilt(first, iter(found))

    def _called(self, one: Iterator[Any]) -> Any:
        return self.func(*rebuilt(self.args, one), **self.kwargs)


def _of_all(x: Tensor, dim: int | None, level: Level) -> Tensor:
    """One example's result as that of all examples, which stand along dimension ``dim``."""
    own = x._data if isinstance(x._data, Batched) and x._data.level is level else None
    value: Tensor = x if own is None else own.value
    if own is None or not own.mapped:
        return value if dim is None else value.unsqueeze(dim).repeat_interleave(level.examples, dim)
    if dim is None:
        raise Unbatchable("a result of its own for each example")
    return value.movedim(0, dim) if dim else value


def _argument_dims(in_dims: Any, args: tuple[Any, ...]) -> list[int | None]:
    if isinstance(in_dims, (tuple, list)) and len(in_dims) != len(args):
        raise ValueError(
            f"vmap: in_dims={in_dims!r} has {len(in_dims)} entries, but the function got {len(args)} inputs"
        )
    prefix = tuple(in_dims) if isinstance(in_dims, list) else in_dims
    dims = spread(prefix, args, "vmap: in_dims")
    checked: list[int | None] = []
    for dim, x in zip(dims, leaves(args), strict=True):
        if dim is not None:
            if not isinstance(x, Tensor):
                raise ValueError(
                    f"vmap: got in_dim={dim} for an input of type {type(x).__name__}; in_dims must be None there"
                )
            if not isinstance(dim, int) or not -x.ndim <= dim < x.ndim:
                raise ValueError(f"vmap: got in_dim={dim!r} for an input of shape {list(x.shape)}")
        checked.append(dim)
    return checked


def _examples(values: list[Any], dims: list[int | None]) -> int:
    lengths = {x.shape[dim] for x, dim in zip(values, dims, strict=True) if dim is not None}
    if not lengths:
        raise ValueError("vmap: at least one input must be mapped over, but in_dims is None for all of them")
    if len(lengths) > 1:
        raise ValueError(
            f"vmap: expected all tensors to have the same size in the mapped dimension, got {sorted(lengths)}"
        )
    return int(lengths.pop())


def _result_dims(out_dims: Any, result: Any) -> list[int | None]:
    """Where the examples go in each tensor of a result."""
    for x in leaves(result):
        if not isinstance(x, Tensor):
            raise ValueError(f"vmap: the function must return Tensors only, got {type(x).__name__}")
    return spread(tuple(out_dims) if isinstance(out_dims, list) else out_dims, result, "vmap: out_dims")
