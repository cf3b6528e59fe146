"""Primitives without a public name of their own against their counterparts in PyTorch; public ones are in op_db."""

from typing import Any

import numpy as np
import pytest
from oracle import assert_same, tensors, torch

import torchlite
import torchlite.ops
from torchlite import ir
from torchlite.dispatch import apply

F = torch.nn.functional


def region(x: Any, recipe: Any) -> Any:
    """What the views of ``recipe`` look at, in a torch tensor."""
    for op, params in recipe:
        assert op.name == "select"
        x = x[params["index"]]
    return x


def scattered(base: Any, value: Any, recipe: Any) -> Any:
    out = base.clone()
    region(out, recipe)[...] = value
    return out


def as_strided(x: Any, shape: Any, seen: Any, own: Any) -> Any:
    numel = 1 + max(offset + sum((n - 1) * s for n, s in zip(size, strides, strict=True))
                    for size, (strides, offset) in ((x.shape, own), (shape, seen)))  # fmt: skip
    memory = torch.zeros(numel, dtype=x.dtype)
    laid_out = memory.as_strided(x.shape, *own)
    laid_out += x
    return memory.as_strided(shape, *seen)


def embedded(value: Any, recipe: Any, shape: Any) -> Any:
    return scattered(torch.zeros(shape, dtype=value.dtype), value, recipe)


def key(spec: Any, indices: Any) -> Any:
    remaining = iter(indices)
    return tuple(next(remaining) if entry == "tensor" else slice(None) for entry in spec)


def index_put(x: Any, values: Any, *indices: Any, spec: Any) -> Any:
    out = x.clone()
    out[key(spec, indices)] = values
    return out


def index_add(values: Any, *indices: Any, spec: Any, shape: Any) -> Any:
    places = torch.arange(int(np.prod(shape))).reshape(shape)[key(spec, indices)]
    flat = torch.zeros(int(np.prod(shape)), dtype=values.dtype)
    return flat.index_add(0, places.reshape(-1), values.reshape(-1)).reshape(shape)


def convolution(x: Any, weight: Any, *bias: Any, window: Any, groups: Any) -> Any:
    return torch.convolution(
        x, weight, *(bias or (None,)), window.stride, window.padding, window.dilation, False, (0,) * window.ndim, groups
    )


def convolution_input_grad(g: Any, weight: Any, window: Any, groups: Any, size: Any) -> Any:
    x = torch.zeros((g.shape[0], weight.shape[1] * groups, *size), dtype=g.dtype)
    return convolution_backward(g, x, weight, window, groups, 0)


def convolution_weight_grad(x: Any, g: Any, window: Any, groups: Any) -> Any:
    weight = torch.zeros((g.shape[1], x.shape[1] // groups, *window.kernel), dtype=g.dtype)
    return convolution_backward(g, x, weight, window, groups, 1)


def convolution_backward(g: Any, x: Any, weight: Any, window: Any, groups: Any, which: int) -> Any:
    return torch.ops.aten.convolution_backward(
        g, x, weight, None, window.stride, window.padding, window.dilation, False, (0,) * window.ndim, groups,
        [i == which for i in range(3)],
    )[which]  # fmt: skip


def max_pool(x: Any, window: Any) -> Any:
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[window.ndim - 1]
    return function(x, window.kernel, window.stride, window.padding, window.dilation, window.ceil)


def flat_indices(places: Any, window: Any, size: Any) -> Any:
    """Places in windows as indices into the flattened array, and 1 where they lie inside of it."""
    lead, n = places.ndim - window.ndim, window.ndim
    within = torch.unravel_index(places.long(), window.kernel)
    flat = torch.zeros(places.shape, dtype=torch.int64)
    for axis in range(n):
        starts = torch.arange(places.shape[lead + axis]).reshape([-1 if d == axis else 1 for d in range(n)])
        flat = flat * size[axis] + (
            starts * window.stride[axis] - window.padding[axis] + within[axis] * window.dilation[axis]
        )
    return flat.flatten(lead)


def pick_from_windows(x: Any, places: Any, window: Any) -> Any:
    lead = x.ndim - window.ndim
    where = flat_indices(places, window, x.shape[lead:])
    return x.flatten(lead).gather(-1, where).reshape(places.shape)


def spread_to_windows(g: Any, places: Any, window: Any, size: Any) -> Any:
    lead = g.ndim - window.ndim
    flat = torch.zeros((*g.shape[:lead], int(np.prod(size))), dtype=g.dtype)
    flat = flat.scatter_add(-1, flat_indices(places, window, size), g.flatten(lead))
    return flat.reshape(*g.shape[:lead], *size)


def all_ones(window: Any, like: Any) -> Any:
    return torch.ones((1, 1, *window.kernel), dtype=like.dtype)


def sum_windows(x: Any, window: Any) -> Any:
    size = x.shape[-window.ndim :]
    reach = [(m - 1) * s + (k - 1) * d + 1 for m, k, s, d in zip(
        window.out_size("sum", size), window.kernel, window.stride, window.dilation, strict=True)]  # fmt: skip
    ends = [max(r - n - p, 0) for r, n, p in zip(reach, size, window.padding, strict=True)]
    widened = F.pad(x, padding(list(zip(window.padding, ends, strict=True))))
    flat = widened.reshape(-1, 1, *widened.shape[-window.ndim :])
    out = convolution(flat, all_ones(window, x), window=window._replace(padding=(0,) * window.ndim), groups=1)
    return out.reshape(*x.shape[: -window.ndim], *out.shape[2:])[
        (..., *(slice(m) for m in window.out_size("sum", size)))
    ]


def share_among_windows(g: Any, window: Any, size: Any) -> Any:
    x = torch.zeros((*g.shape[: -window.ndim], *size), dtype=torch.float64, requires_grad=True)
    (shared,) = torch.autograd.grad(sum_windows(x, window), x, g.double(), create_graph=g.requires_grad)
    return shared.to(g.dtype)


def resample(x: Any, dim: int, taps: Any) -> Any:
    """By the whole matrix of weights."""
    matrix = np.zeros((taps.length, taps.places.shape[1]))
    weights = np.ones(taps.places.shape) if taps.weights is None else taps.weights
    np.add.at(matrix, (taps.places, np.arange(matrix.shape[1])[None]), weights)
    return (x.movedim(dim, -1) @ torch.tensor(matrix, dtype=x.dtype)).movedim(-1, dim)


def col2im(g: Any, window: Any, size: Any) -> Any:
    return F.fold(g, size, window.kernel, window.dilation, window.padding, window.stride)


def standardize(x: Any, dims: Any, eps: Any) -> Any:
    variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    return (x - mean) * scale, mean, scale


def moments(x: Any, dims: Any, eps: Any) -> Any:
    return standardize(x, dims, eps)[1:]


def standardize_grad(g: Any, standard: Any, scale: Any, dims: Any) -> Any:
    along = (g * standard).mean(dims, keepdim=True)
    return (g - g.mean(dims, keepdim=True) - standard * along) * scale


def padding(widths: Any) -> list[int]:
    return [n for pair in reversed(widths) for n in pair]


# Operators whose name or parameters are not those of torch.NAME.
COUNTERPARTS: dict[str, Any] = {
    "view_scatter": scattered,
    "embed_view": embedded,
    "linear": F.linear,
    "cast": lambda x, dtype: x.to(getattr(torch, dtype.name)),
    "view": lambda x, shape: x.view(shape),
    "expand": lambda x, shape: x.expand(shape),
    "select": lambda x, index: x[index],
    "index": lambda x, *indices, spec: x[key(spec, indices)],
    "index_add": index_add,
    "index_put": index_put,
    "gather": lambda x, index, dim: x.gather(dim, index),
    "scatter_add": lambda v, index, dim, shape: torch.zeros(shape, dtype=v.dtype).scatter_add(dim, index, v),
    "as_strided": as_strided,
    "scatter": lambda x, values, index, dim: x.scatter(dim, index, values.expand(index.shape)),
    "scatter_reduce": lambda x, values, index, dim, reduce: x.scatter_reduce(dim, index, values, reduce),
    "clone": lambda x, order: x.clone(),
    "cat": lambda *xs, dim, lengths: torch.cat(xs, dim),
    "constant_pad": lambda x, widths, value: F.pad(x, padding(widths), value=value),
    "argsort": lambda x, dim, descending: torch.argsort(x, dim=dim, descending=descending, stable=True),
    "standardize": standardize,
    "moments": moments,
    "standardize_grad": standardize_grad,
    "affine": lambda x, weight, bias: x * weight + bias,
    "sum_of_products": lambda x, y, shape: (x * y).sum_to_size(shape),
    "convolution": convolution,
    "convolution_input_grad": convolution_input_grad,
    "convolution_weight_grad": convolution_weight_grad,
    "im2col": lambda x, window: F.unfold(x, window.kernel, window.dilation, window.padding, window.stride),
    "col2im": col2im,
    "resample": resample,
    "max_pool": max_pool,
    "sum_windows": sum_windows,
    "share_among_windows": share_among_windows,
    "pick_from_windows": pick_from_windows,
    "spread_to_windows": spread_to_windows,
    "permute": lambda x, dims: x.permute(dims),
    "flip": lambda x, dims: x.flip(dims),
    "unfold": lambda x, dim, size, step: x.unfold(dim, size, step),
}


def reduction(name: str) -> Any:
    return lambda x, dims, keepdim: getattr(torch, name)(x, dims, keepdim=keepdim)


COUNTERPARTS |= {name: reduction(name) for name in ("sum", "mean", "amax", "amin", "any", "all")}

OPS = sorted(COUNTERPARTS)
FLOAT_ONLY = {
    "standardize", "moments", "standardize_grad", "affine", "sum_of_products", "mean",
    "convolution", "convolution_input_grad", "convolution_weight_grad", "im2col", "col2im", "sum_windows",
    "share_among_windows", "max_pool", "resample",
}  # fmt: skip
DIFFERENTIABLE = [name for name in OPS if ir.REGISTRY[name].vjp is not None]
# Bool goes only through what PyTorch defines for it.
NO_BOOL = {"linear", "pick_from_windows", "spread_to_windows"}


def cases(name: str, dtype: str) -> Any:
    """The operator's samples with their float64 arrays in ``dtype``."""
    for sample in ir.REGISTRY[name].samples(np.random.default_rng(3)):
        arrays = []
        for array in map(np.asarray, sample.arrays):
            if array.dtype == np.float64:
                if np.issubdtype(dtype, np.integer):
                    # No zeros, so that integers can be divided, and no negative powers.
                    array = np.abs(np.rint(array * 3)) + 1
                elif dtype == "bool":
                    array = array > 0
                array = array.astype(dtype)
            arrays.append(array)
        yield arrays, sample.params


def values(name: str, result: Any) -> Any:
    """The results to compare: PyTorch's max pooling does not say the place in the window."""
    return result[0] if name == "max_pool" else result


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_forward(name: str, dtype: str) -> None:
    integral = dtype in ("int64", "bool")
    if (integral and name in FLOAT_ONLY) or (dtype == "bool" and name in NO_BOOL):
        pytest.skip(f"{name} is not defined for {dtype}")
    for arrays, params in cases(name, dtype):
        pairs = [tensors(a) for a in arrays]
        ours = apply(ir.REGISTRY[name], [a for a, _ in pairs], params)
        theirs = COUNTERPARTS[name](*(b for _, b in pairs), **params)
        assert_same(values(name, ours), theirs, what=f"{name} {params}")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name: str) -> None:
    op, rng, compared = ir.REGISTRY[name], np.random.default_rng(4), 0
    for arrays, params in cases(name, "float64"):
        rules = op.vjp if isinstance(op.vjp, tuple) else (op.vjp,) * len(arrays)
        wanted = [a.dtype == np.float64 and i < len(rules) and rules[i] is not None for i, a in enumerate(arrays)]
        pairs = [tensors(a, requires_grad=w) for a, w in zip(arrays, wanted, strict=True)]
        ours = values(name, apply(op, [a for a, _ in pairs], params))
        theirs = COUNTERPARTS[name](*(b for _, b in pairs), **params)
        ours, theirs = ((r,) if not isinstance(r, tuple) else r for r in (ours, theirs))
        roots = [(a, b) for a, b in zip(ours, theirs, strict=True) if b.requires_grad]
        if not roots:
            continue
        cotangents = [tensors(rng.normal(size=tuple(b.shape))) for _, b in roots]
        torchlite.autograd.backward([a for a, _ in roots], [g for g, _ in cotangents])
        torch.autograd.backward([b for _, b in roots], [g for _, g in cotangents])
        for a, b in pairs:
            if b.grad is not None:
                assert_same(a.grad, b.grad, what=f"gradient of {name} {params}")
                compared += 1
    assert compared
