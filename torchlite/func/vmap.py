"""`vmap`: a function of one example made a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torchlite._tensor import Tensor
from torchlite.func.pytree import leaves, rebuilt, spread
from torchlite.ops.generator import default_generator
from torchlite.ops.joining import stack


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that maps ``func`` over a dimension of its arguments and stacks the results.

    It calls ``func`` once for each example, so it saves writing and not time.

    Args:
        func: of tensors, or tuples, lists and dicts of them, giving the same.
        in_dims: the dimension of the examples for each argument, None for what all examples share; one number for all.
        out_dims: where that dimension goes in the results.
        randomness: what random numbers inside are: an "error", "different" for each example, or the "same".
        chunk_size: accepted for PyTorch's sake: examples are computed one at a time.

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
        values = [*leaves(args), *leaves(kwargs)]
        dims = [*_argument_dims(in_dims, args), *([0] * len(leaves(kwargs)))]
        n = _examples(values, dims)
        results = []
        start = default_generator.state()
        for i in range(n):
            if randomness == "same":
                default_generator.restore(start)
            one = iter([x if dim is None else x.select(dim, i) for x, dim in zip(values, dims, strict=True)])
            results.append(func(*rebuilt(args, one), **rebuilt(kwargs, one)))
            if randomness == "error" and default_generator.state() != start:
                raise RuntimeError(
                    "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                    "'different' randomness flags on vmap or perform the randomness operation out of vmap"
                )
        return _stacked(results, out_dims)

    return mapped


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
    (n,) = lengths
    if n == 0:
        raise ValueError(
            "vmap: the mapped dimension has length 0, so there is no example that would tell the result's shape"
        )
    return int(n)


def _stacked(results: list[Any], out_dims: Any) -> Any:
    first = results[0]
    columns = list(zip(*map(leaves, results), strict=True))
    dims = spread(tuple(out_dims) if isinstance(out_dims, list) else out_dims, first, "vmap: out_dims")
    for x in leaves(first):
        if not isinstance(x, Tensor):
            raise ValueError(f"vmap: the function must return Tensors only, got {type(x).__name__}")
    return rebuilt(
        first, iter([xs[0] if dim is None else stack(xs, dim) for xs, dim in zip(columns, dims, strict=True)])
    )
