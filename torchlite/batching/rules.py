"""How operators run on all examples of a `vmap` at once.

A rule gets the operator, the values of its inputs, which of them have a first dimension of examples, the parameters and
the number of examples; its result has that dimension. It runs the same operator with a dimension more wherever it can.
An operator without a rule runs on one example after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.dispatch import apply
from torchlite.ir import Op
from torchlite.ops.contraction import matmul
from torchlite.ops.creation import arange
from torchlite.ops.indexing import _ALL_NAME as ALL
from torchlite.ops.indexing import _SLOT as SLOT
from torchlite.ops.joining import stack

Params = dict[str, Any]
Rule = Callable[[Op, Sequence[Tensor], Sequence[bool], Params, int], Any]


def run(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> tuple[Any, bool]:
    """The result of an operator, or a tuple, and whether it has a dimension of examples."""
    if not any(mapped):
        return apply(op, values, params), False
    rule = RULES.get(op.name) or RULES_BY_KIND.get(op.kind, by_slices)
    return rule(op, values, mapped, params, examples), True


def by_slices(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    """One example after the other."""
    results = [
        apply(op, [v.select(0, i) if m else v for v, m in zip(values, mapped, strict=True)], params)
        for i in range(examples)
    ]
    return tuple(map(stack, zip(*results, strict=True))) if isinstance(results[0], tuple) else stack(results)


def aligned(values: Sequence[Tensor], mapped: Sequence[bool], ndim: int | None = None) -> list[Tensor]:
    """The values so that examples broadcast against examples, and dimensions of one example against each other."""
    ranks = [v.ndim - m for v, m in zip(values, mapped, strict=True)]
    most = max(ranks) if ndim is None else ndim
    return [
        v.reshape((v.shape[0], *(1,) * (most - rank), *v.shape[1:])) if m and rank < most else v
        for v, m, rank in zip(values, mapped, ranks, strict=True)
    ]


def full(values: Sequence[Tensor], mapped: Sequence[bool], examples: int) -> list[Tensor]:
    """The values, all with a dimension of examples."""
    return [v if m else v.expand((examples, *v.shape)) for v, m in zip(values, mapped, strict=True)]


def elementwise(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, _examples: int) -> Any:
    """Dimensions broadcast from the last one on, so the examples only have to stand far enough in front."""
    return apply(op, aligned(values, mapped), params)


def like_the_first(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    """Elementwise with a result of the first input's shape, which must so have the examples."""
    first = full(values[:1], mapped[:1], examples)
    return elementwise(op, [*first, *values[1:]], [True, *mapped[1:]], params, examples)


def _cloned(op: Op, values: Sequence[Tensor], _mapped: Sequence[bool], params: Params, _examples: int) -> Any:
    order = params["order"]
    return apply(op, values, {"order": None if order is None else (0, *(d + 1 for d in order))})


def _solved(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    ranks = {v.ndim - m for v, m in zip(values, mapped, strict=True)}
    return (by_slices if len(ranks) > 1 else with_leading)(op, values, mapped, params, examples)


def with_leading(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    """For operators of one matrix or of a batch of them: the examples are one more dimension of batches."""
    return apply(op, aligned(full(values, mapped, examples), [True] * len(values)), params)


def shifted(name: str) -> Rule:
    """For operators that name dimensions in the parameter ``name``, counted from the first."""

    def rule(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
        given = params[name]
        if given is None:
            return by_slices(op, values, mapped, params, examples)
        xs = full(values, mapped, examples)
        if xs[0].ndim == 1:  # of single elements, whose dimension 0 does not exist
            return by_slices(op, values, mapped, params, examples)
        moved = tuple(_after(d) for d in given) if isinstance(given, tuple) else _after(given)
        return apply(op, xs, {**params, name: moved})

    return rule


def _after(dim: int) -> int:
    return dim + 1 if dim >= 0 else dim


def _reduced(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    dims = tuple(d + 1 for d in params["dims"])
    if not dims:  # for which reductions would take all
        return by_slices(op, values, mapped, params, examples)
    return apply(op, values, {**params, "dims": dims})


def _view(op: Op, values: Sequence[Tensor], _mapped: Sequence[bool], params: Params, examples: int) -> Any:
    if op.name == "view":  # which one example's memory may allow and all examples' not
        return values[0].reshape((examples, *params["shape"]))
    return apply(op, values, view_params(op, values[0].ndim - 1, params, examples))


def view_params(op: Op, ndim: int, params: Params, examples: int) -> Params:
    """The parameters of a view of all examples, from those of one example with ``ndim`` dimensions."""
    if op.name in ("view", "expand"):
        return {"shape": (examples, *params["shape"])}
    if op.name == "permute":
        return {"dims": (0, *(d + 1 for d in params["dims"]))}
    if op.name == "select":
        return {"index": (slice(None), *params["index"])}
    if op.name == "diagonal":
        return {**params, "dim1": params["dim1"] + 1, "dim2": params["dim2"] + 1}
    return {**params, "dim": params["dim"] % ndim + 1} if op.name == "unfold" else params


def _expanded(op: Op, values: Sequence[Tensor], _mapped: Sequence[bool], params: Params, examples: int) -> Any:
    (x,) = aligned(values, [True], len(params["shape"]))
    return apply(op, (x,), view_params(op, x.ndim - 1, params, examples))


def _embedded(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    if any(view.name not in _EXACT_VIEWS for view, _ in params["recipe"]):
        return by_slices(op, values, mapped, params, examples)
    recipe = tuple((view, view_params(view, 0, given, examples)) for view, given in params["recipe"])
    given = {**params, "recipe": recipe}
    if "shape" in params:
        given["shape"] = (examples, *params["shape"])
    return apply(op, full(values, mapped, examples), given)


# Views whose parameters for all examples do not depend on the shape they are taken from.
_EXACT_VIEWS = ("select", "permute", "diagonal")


def _joined(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    return apply(op, full(values, mapped, examples), {**params, "dim": params["dim"] + 1})


def _padded(op: Op, values: Sequence[Tensor], _mapped: Sequence[bool], params: Params, _examples: int) -> Any:
    return apply(op, values, {**params, "widths": ((0, 0), *params["widths"])})


def _product(_op: Op, values: Sequence[Tensor], mapped: Sequence[bool], _params: Params, _examples: int) -> Any:
    return matmul(*aligned(values, mapped))


def _linear(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], _params: Params, examples: int) -> Any:
    x, weight, *bias = values
    if mapped[0] and not any(mapped[1:]):
        rows = apply(op, (x.reshape((-1, x.shape[-1])), weight, *bias))
        return rows.reshape((examples, -1, weight.shape[0]))
    out = matmul(*aligned((x, weight.mT), mapped[:2]))
    for b, m in zip(bias, mapped[2:], strict=True):
        out = out + (b.unsqueeze(1) if m else b)
    return out


def _merged(positions: tuple[int, ...]) -> Rule:
    """For operators of batches (N, …): the examples become part of the batch; only inputs at ``positions`` may have them."""

    def rule(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
        if any(m and i not in positions for i, m in enumerate(mapped)):
            return by_slices(op, values, mapped, params, examples)
        xs = list(values)
        for i in positions:
            (x,) = full([values[i]], [mapped[i]], examples)
            xs[i] = x.reshape((-1, *x.shape[2:]))
        results = apply(op, xs, params)
        parts = results if isinstance(results, tuple) else (results,)
        split = tuple(r.reshape((examples, -1, *r.shape[1:])) for r in parts)
        return split if isinstance(results, tuple) else split[0]

    return rule


def _correlated(_op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    x, y = full(values, mapped, examples)
    shape = params["shape"]
    lead = x.ndim - 1 - len(shape)
    dims = [d + 1 for d in range(x.ndim - 1) if d < lead or shape[d - lead] == 1]
    product = x * y
    return (product.sum(dims) if dims else product).reshape((examples, *shape))


def _along(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    """gather, scatter and their kin: the other dimensions go along, and so do the examples."""
    given = {**params, "dim": params["dim"] + 1}
    if "shape" in params:
        given["shape"] = (examples, *params["shape"])
    index = values[-1].ndim - mapped[-1]
    return apply(op, aligned(full(values, mapped, examples), [True] * len(values), index), given)


def _indexed(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    x, *indices = values
    if any(i.dtype.numpy.kind == "b" for i in indices):  # which choose different numbers of elements
        return by_slices(op, values, mapped, params, examples)
    (x,) = full([x], mapped[:1], examples)
    chosen, ndim = _all_indices(indices, mapped[1:], examples, x)
    found: Tensor = apply(op, (x, *chosen), {"spec": (SLOT, *params["spec"])})
    start = _start(params["spec"])
    return found.movedim(tuple(range(1, 1 + ndim)), tuple(range(1 + start, 1 + start + ndim))) if start else found


def _index_added(op: Op, values: Sequence[Tensor], mapped: Sequence[bool], params: Params, examples: int) -> Any:
    added, *indices = values
    if any(i.dtype.numpy.kind == "b" for i in indices):
        return by_slices(op, values, mapped, params, examples)
    (added,) = full([added], mapped[:1], examples)
    chosen, ndim = _all_indices(indices, mapped[1:], examples, added)
    start = _start(params["spec"])
    if start:
        added = added.movedim(tuple(range(1 + start, 1 + start + ndim)), tuple(range(1, 1 + ndim)))
    return apply(op, (added, *chosen), {"spec": (SLOT, *params["spec"]), "shape": (examples, *params["shape"])})


def _all_indices(
    indices: Sequence[Tensor], mapped: Sequence[bool], examples: int, like: Tensor
) -> tuple[list[Tensor], int]:
    """Index tensors of all examples, led by that of the example, and how many dimensions they have for one."""
    ndim = max(i.ndim - m for i, m in zip(indices, mapped, strict=True))
    example = arange(examples, device=like.device).reshape((examples, *(1,) * ndim))
    return [example, *aligned(indices, mapped, ndim)], ndim


def _start(spec: tuple[str, ...]) -> int:
    """Where the chosen positions stand in one example's result: with index tensors apart, in front."""
    places = [i for i, entry in enumerate(spec) if entry == SLOT]
    together = places == list(range(places[0], places[0] + len(places)))
    return places[0] if together and all(entry == ALL for entry in spec[: places[0]]) else 0


_MATRICES = (
    "inverse", "solve_triangle", "determinant", "log_determinant", "cholesky_factor", "lu_factor", "qr", "svd", "svdvals",
    "matrix_exp", "eig", "eigvals", "eigh", "eigvalsh", "householder_factor", "triangle",
)  # fmt: skip

RULES_BY_KIND: dict[str, Rule] = {"elementwise": elementwise, "view": _view}
RULES: dict[str, Rule] = {
    "affine": like_the_first,
    "fill": like_the_first,
    "clone": _cloned,
    "expand": _expanded,
    "as_strided": by_slices,
    "matmul": _product,
    "solve_matrix": _solved,
    "linear": _linear,
    "convolution": _merged((0,)),
    "convolution_input_grad": _merged((0,)),
    "max_pool": _merged((0,)),
    "sum_windows": _merged((0,)),
    "share_among_windows": _merged((0,)),
    "pick_from_windows": _merged((0, 1)),
    "spread_to_windows": _merged((0, 1)),
    "im2col": _merged((0,)),
    "col2im": _merged((0,)),
    "cat": _joined,
    "constant_pad": _padded,
    "view_scatter": _embedded,
    "embed_view": _embedded,
    "index": _indexed,
    "index_add": _index_added,
    "gather": _along,
    "scatter_add": _along,
    "scatter": _along,
    "scatter_reduce": _along,
    "sum_of_products": _correlated,
    **dict.fromkeys(("sum", "mean", "amax", "amin", "any", "all", "vector_norm"), _reduced),
    **dict.fromkeys(("standardize", "standardize_grad", "flip"), shifted("dims")),
    **dict.fromkeys(
        (
            "argmax", "argmin", "cumsum", "prod", "cumprod", "logcumsumexp", "softmax", "log_softmax",
            "softmax_grad", "log_softmax_grad", "argsort",
            "running_place", "fft_complex", "fft_real_to_half", "fft_half_to_real", "resample",
        ),
        shifted("dim"),
    ),
    **dict.fromkeys(_MATRICES, with_leading),
}  # fmt: skip
