"""Products of tensors beyond `matmul`: Einstein's summation, contractions by dimension, scaled and added products."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.integers import takes_integers
from torchlite.ir import LOWER, Autocast
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import common_dtype, converted, dims_of, plain
from torchlite.ops.contraction import batches, dot, matmul, matmul_added, matrices, matrix_and_vector, outer
from torchlite.ops.destination import OutDtype, takes_out, takes_out_as
from torchlite.ops.half_precision import HALVES, rounded_once
from torchlite.ops.joining import cat
from torchlite.ops.mutation import inplace

Labels = list[Hashable]


@autocasts(Autocast(cuda="lower"))
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products by Einstein's notation: ``einsum("bij,bjk->bik", x, y)``.

    Letters name dimensions; those missing from the result are summed over, repeated ones within an operand take its
    diagonal, ``...`` stands for dimensions that broadcast. Without ``->`` the letters that occur once form the result
    in alphabetical order. The operands may also come with lists of integers: ``einsum(x, [0, 1], y, [1, 2], [0, 2])``.
    Three and more operands are contracted in pairs, in the cheapest order that `numpy.einsum_path` finds.

    Raises:
        RuntimeError: when the equation does not fit the operands, naming both.
    """
    if isinstance(equation, Tensor):
        return _einsum_of_lists((equation, *operands))
    tensors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [_labels(term) for term in left.split(",")]
    return _contract(equation, terms, _labels(right) if arrow else None, tensors)


def _einsum_of_lists(arguments: tuple[Any, ...]) -> Tensor:
    tensors = [a for a in arguments[0::2] if isinstance(a, Tensor)]
    terms = [["..." if i is Ellipsis else i for i in a] for a in arguments[1::2]]
    result = ["..." if i is Ellipsis else i for i in arguments[-1]] if len(arguments) % 2 else None
    return _contract(str(terms), terms[: len(tensors)], result, tensors)


def _labels(term: str) -> Labels:
    letters = term.replace("...", ".")
    for letter in letters:
        if not (letter.isalpha() or letter == "."):
            raise RuntimeError(f"einsum(): invalid subscript given: {letter!r}, subscripts must be in [a-zA-Z]")
    return ["..." if letter == "." else letter for letter in letters]


def _contract(equation: str, terms: list[Labels], result: Labels | None, tensors: list[Tensor]) -> Tensor:
    if len(terms) != len(tensors):
        raise RuntimeError(
            f"einsum(): the equation {equation!r} has {len(terms)} operands, but {len(tensors)} were given"
        )
    terms = [_without_ellipsis(equation, term, x) for term, x in zip(terms, tensors, strict=True)]
    spread = sorted({label for term in terms for label in term if isinstance(label, tuple)})
    if result is None:
        letters: Labels = [label for term in terms for label in term if not isinstance(label, tuple)]
        once = sorted((label for label in letters if letters.count(label) == 1), key=str)
        result = [*spread, *once]
    else:
        result = [label for entry in result for label in (spread if entry == "..." else [entry])]
    known = {label for term in terms for label in term}
    for label in result:
        if label not in known or result.count(label) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {label} of {equation!r} must appear in an operand, and once in the output"
            )
    lengths: dict[Hashable, int] = {}
    for term, x in zip(terms, tensors, strict=True):
        for label, n in zip(term, x.shape, strict=True):
            if n != 1 and lengths.setdefault(label, n) != n:
                shapes = " and ".join(str(list(t.shape)) for t in tensors)
                raise RuntimeError(
                    f"einsum(): subscript {label} of {equation!r} has length {lengths[label]} and {n} in operands of shape {shapes}"
                )
    pending = [_diagonal(x, term) for x, term in zip(tensors, terms, strict=True)]
    for positions in _path(pending, result):
        chosen = [pending.pop(i) for i in sorted(positions, reverse=True)][::-1]
        needed = {label for _, labels in pending for label in labels} | set(result)
        pending.append(functools.reduce(lambda a, b: _pair(a[0], a[1], b[0], b[1], needed), chosen))
    if len(pending) > 1:
        raise AssertionError("the path of einsum left operands over")
    x, labels = _summed(*pending[0], set(result))
    return x.permute([labels.index(label) for label in result]) if result else x


def _without_ellipsis(equation: str, term: Labels, x: Tensor) -> Labels:
    """Labels of every dimension: those behind ``...`` are (position from the right,) of the broadcast shape."""
    hidden = x.ndim - len(term) + 1 if "..." in term else 0
    if hidden < 0 or ("..." not in term and len(term) != x.ndim):
        raise RuntimeError(
            f"einsum(): the number of subscripts in {equation!r} ({len(term)}) does not match the {x.ndim} dimensions of an "
            f"operand of shape {list(x.shape)}"
        )
    return [
        label for entry in term for label in ([(i - hidden,) for i in range(hidden)] if entry == "..." else [entry])
    ]


def _diagonal(x: Tensor, labels: Labels) -> tuple[Tensor, Labels]:
    """``x`` with one dimension for each label: a repeated one takes the elements whose positions agree."""
    for label in [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
        places = [i for i, other in enumerate(labels) if other == label]
        n = x.shape[places[0]]
        rest = [i for i in range(x.ndim) if i not in places]
        from torchlite.ops.creation import arange

        along = arange(n, device=x.device)
        x = x.permute([*places, *rest])[(along,) * len(places)]
        labels = [label, *(labels[i] for i in rest)]
    return x, labels


def _path(operands: list[tuple[Tensor, Labels]], result: Labels) -> Sequence[Sequence[int]]:
    if len(operands) < 3:
        return [tuple(range(len(operands)))]
    numbers: dict[Hashable, int] = {}
    arguments: list[Any] = []
    for x, labels in operands:
        shadow = np.broadcast_to(np.empty((), bool), tuple(x.shape))
        arguments += [shadow, [numbers.setdefault(label, len(numbers)) for label in labels]]
    path, _ = np.einsum_path(*arguments, [numbers[label] for label in result], optimize="greedy")
    return path[1:]


def _summed(x: Tensor, labels: Labels, needed: set[Hashable]) -> tuple[Tensor, Labels]:
    dims = [i for i, label in enumerate(labels) if label not in needed]
    return (x.sum(dims), [label for label in labels if label in needed]) if dims else (x, labels)


def _pair(x: Tensor, xs: Labels, y: Tensor, ys: Labels, needed: set[Hashable]) -> tuple[Tensor, Labels]:
    """The product of two operands, summed over what nothing else needs, as one batched matrix product."""
    x, xs = _without_ones(x, xs, y, ys)
    y, ys = _without_ones(y, ys, x, xs)
    x, xs = _summed(x, xs, needed | set(ys))
    y, ys = _summed(y, ys, needed | set(xs))
    shared = [label for label in xs if label in ys]
    batch = [label for label in shared if label in needed]
    inner = [label for label in shared if label not in needed]
    rows = [label for label in xs if label not in shared]
    columns = [label for label in ys if label not in shared]
    labels = [*batch, *rows, *columns]
    x = x.permute([xs.index(label) for label in (*batch, *rows, *inner)])
    y = y.permute([ys.index(label) for label in (*batch, *inner, *columns)])
    b, r, k = len(batch), len(rows), len(inner)
    shape = (*x.shape[: b + r], *y.shape[b + k :])
    if not inner:
        return x.reshape((*x.shape, *(1,) * len(columns))) * y.reshape((*y.shape[:b], *(1,) * r, *y.shape[b:])), labels
    depth = _size(x.shape[b + r :])
    left = x.reshape((*x.shape[:b], _size(x.shape[b : b + r]), depth))  # (*batch, rows, inner)
    right = y.reshape((*y.shape[:b], depth, _size(y.shape[b + k :])))  # (*batch, inner, columns)
    return matmul(left, right).reshape(shape), labels


def _without_ones(x: Tensor, xs: Labels, y: Tensor, ys: Labels) -> tuple[Tensor, Labels]:
    """``x`` without the dimensions of length 1 that broadcast along ``y``."""
    ones = [i for i, label in enumerate(xs) if x.shape[i] == 1 and label in ys and y.shape[ys.index(label)] != 1]
    kept = [i for i in range(len(xs)) if i not in ones]
    return (x.reshape([x.shape[i] for i in kept]), [xs[i] for i in kept]) if ones else (x, xs)


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


@takes_out_as(OutDtype.SAME)
@autocasts(Autocast(cuda="widest"))
@takes_integers
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Σ of products over ``dims``: the last and first so many, or the positions listed for ``a`` and for ``b``.

    Raises:
        RuntimeError: when the lengths to be contracted differ.
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, (int, np.integer)):
        if dims < 0 or dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims >= 0 and at most {min(a.ndim, b.ndim)}, but got dims={dims}")
        dims = (list(range(a.ndim - dims, a.ndim)), list(range(dims)))
    first, second = (
        list(dims_of("tensordot", ds, x.ndim) if ds != [] and ds != () else ())
        for x, ds in zip((a, b), dims, strict=True)
    )
    if len(first) != len(second):
        raise RuntimeError(f"tensordot: both dimension lists should have same length, got {first} and {second}")
    # As PyTorch does, a contracted dimension of length 1 takes the sum over the other tensor's.
    for here, there in zip(first, second, strict=True):
        if a.shape[here] == 1 != b.shape[there]:
            b = b.sum(there, True)
        elif b.shape[there] == 1 != a.shape[here]:
            a = a.sum(here, True)
    if [a.shape[d] for d in first] != [b.shape[d] for d in second]:
        raise RuntimeError(
            f"tensordot: contracted dimensions need to match, but dims {first} of shape {list(a.shape)} and {second} of "
            f"{list(b.shape)} differ"
        )
    rows = [d for d in range(a.ndim) if d not in first]
    columns = [d for d in range(b.ndim) if d not in second]
    depth = _size([a.shape[d] for d in first])
    left = a.permute([*rows, *first]).reshape((_size([a.shape[d] for d in rows]), depth))
    right = b.permute([*second, *columns]).reshape((depth, _size([b.shape[d] for d in columns])))
    alone = left.shape[0] == right.shape[1] == 1  # PyTorch's tensordot is `dot` then, which autocasting shows
    product = dot(left.reshape(-1), right.reshape(-1)) if alone else matmul(left, right)
    return product.reshape((*(a.shape[d] for d in rows), *(b.shape[d] for d in columns)))


def _scaled_sum(name: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """β · input + α · product; with β = 0 nothing of the input counts, NaN included. Integers cut β and α to integers."""
    if input.dtype is not product.dtype:
        raise RuntimeError(
            f"{name}: expected input and factors of one dtype, but got {input.dtype} and {product.dtype}"
        )
    if input._data.dtype.kind in "iu":
        beta, alpha = int(beta), int(alpha)
    elif input._data.dtype.kind == "b":
        return (input & bool(beta)) | (product & bool(alpha))
    return _sum_of_scaled(input, product, beta, alpha)


def _plus_product(name: str, input: Tensor, x: Tensor, y: Tensor, beta: float, alpha: float) -> Tensor:
    """`_scaled_sum` of the product of matrices, which half types on a CPU do not round before."""
    if x._data.dtype in HALVES and x.dtype is y.dtype is input.dtype and not x.is_cuda:
        result: Tensor = apply(matmul_added, (x, y, input), {"beta": plain(beta), "alpha": plain(alpha)})
        return result
    return _scaled_sum(name, input, matmul(x, y), beta, alpha)


@rounded_once
def _sum_of_scaled(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    scaled: Tensor = product if alpha == 1 else product * alpha
    added = input.expand(scaled.shape)
    if beta == 0:
        # A recorded input stays in the history: its gradient is 0.
        return scaled if input._node is None else scaled + where(scaled.new_ones((), dtype=dtypes.bool_), 0, added)
    return (added if beta == 1 else added * beta) + scaled


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(LOWER)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β · input + α · (mat1 @ mat2)."""
    return _plus_product("addmm", input, *matrices("addmm", mat1, mat2), beta, alpha)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(LOWER)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β · input + α · (batch1 @ batch2) of batches of matrices."""
    return _plus_product("baddbmm", input, *batches("baddbmm", batch1, batch2), beta, alpha)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(LOWER)
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β · input + α · Σ of the products of a batch."""
    x, y = batches("addbmm", batch1, batch2)
    if x._data.dtype in HALVES:  # all products at once, of which none is rounded
        return _plus_product("addbmm", input, x.movedim(0, 1).flatten(1), y.flatten(0, 1), beta, alpha)
    return _scaled_sum("addbmm", input, matmul(x, y).sum(0), beta, alpha)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(Autocast("as given", "lower"))
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β · input + α · (mat @ vec)."""
    x, y = matrix_and_vector("addmv", mat, vec)
    if x._data.dtype in HALVES:
        column = input.expand(x.shape[:1]).unsqueeze(1)
        return _plus_product("addmv", column, x, y.unsqueeze(1), beta, alpha).squeeze(1)
    return _scaled_sum("addmv", input, matmul(x, y), beta, alpha)


@takes_out
@method()
@autocasts(Autocast(cuda="lower"))
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """β · input + α · vec1 vec2ᵀ."""
    if input._data.dtype.kind in "biu" and (isinstance(beta, float) or isinstance(alpha, float)):
        raise RuntimeError(f"addr: beta and alpha must be integers for integral tensors, got {beta} and {alpha}")
    dtype = common_dtype((input, vec1, vec2))
    if dtype.numpy in HALVES:  # PyTorch rounds the two numbers, and after each step
        vec1 = vec1 if alpha == 1 else vec1 * converted(alpha, dtype, vec1.device)
        input = input if beta in (0, 1) else input * converted(beta, dtype, input.device)
        beta, alpha = 0 if beta == 0 else 1, 1
        # A matrix product of one column and one row, whose gradients are sums in float32.
        column, row = vec1.to(dtype).unsqueeze(1), vec2.to(dtype).unsqueeze(0)
        return _scaled_sum("addr", input.to(dtype), matmul(column, row), beta, alpha)
    return _scaled_sum("addr", input.to(dtype), outer(vec1, vec2).to(dtype), beta, alpha)


for _name, _function in (
    ("addmm_", addmm),
    ("baddbmm_", baddbmm),
    ("addbmm_", addbmm),
    ("addmv_", addmv),
    ("addr_", addr),
):
    method(_name)(inplace(_function))


@takes_out
@method()
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Σ over the last dimensions of both; the product where one has none."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    return tensordot(input, other, ([-1], [-1]))


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(Autocast("as given", "widest"))
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Σ conj(xᵢ) yᵢ of two vectors."""
    return dot(input.conj(), other)


@takes_out
@method()
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: every element of ``input`` times all of ``other``."""
    ndim = max(input.ndim, other.ndim)
    xs = (1,) * (ndim - input.ndim) + tuple(input.shape)
    ys = (1,) * (ndim - other.ndim) + tuple(other.shape)
    left = input.reshape([length for n in xs for length in (n, 1)])
    right = other.reshape([length for n in ys for length in (1, n)])
    return (left * right).reshape([m * n for m, n in zip(xs, ys, strict=True)])


@takes_out_as(OutDtype.SAME)
@autocasts(Autocast(cuda="lower"))
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of matrices in the order that costs least."""
    return multi_dot(matrices)


@takes_out
@autocasts(Autocast(cuda="lower"))
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices in the order that costs least; the first and last may be vectors.

    Raises:
        RuntimeError: for fewer than two tensors.
    """
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    first, *_, last = tensors
    terms = [[i, i + 1] for i in range(len(tensors))]
    result: list[int] = [0, len(tensors)]
    if last.ndim == 1:
        terms[-1] = [len(tensors) - 1]
        result = result[:-1]
    if first.ndim == 1:
        terms[0] = [1]
        result = result[1:]
    arguments = [entry for pair in zip(tensors, terms, strict=True) for entry in pair]
    return einsum(*arguments, result)


ger = method("ger")(outer)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of the elements of a vector, one row each: xᴺ⁻¹ … x, 1, or the other way round where ``increasing``.

    Raises:
        RuntimeError: for anything but a vector, and for a negative ``N`` (by default the vector's length).
    """
    if x.ndim != 1:
        raise RuntimeError(f"vander: x must be a one-dimensional tensor, got {x.ndim} dimensions")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError(f"vander: N must be non-negative, got {count}")
    if x._data.dtype.kind in "biu":
        x = x.to(dtypes.int64)
    powers = cat([x.new_ones((x.shape[0], 1)), x.unsqueeze(1).expand(-1, count)], 1).narrow(1, 0, count).cumprod(1)
    return powers if increasing else powers.flip(1)
