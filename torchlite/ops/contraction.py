"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.backends import native, nvidia
from torchlite.backends.matmul_precision import get_float32_matmul_precision
from torchlite.dispatch import apply
from torchlite.ir import LOWER, Autocast, Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.construct import common_dtype
from torchlite.ops.destination import OutDtype, stored, takes_out, takes_out_as
from torchlite.ops.exchange import from_numpy
from torchlite.ops.half_precision import BFLOAT16, HALVES, cast, widened

_FEWEST = 1 << 9  # numbers of the left operand for which a compiled product of half types is wanted

# Multiplications from which a compiled product is wanted, and from which on it is one for several threads. Those of BLAS stay
# asleep then: they would go on occupying processors for a tenth of a second.
_SMALL, _LARGE = 1 << 16, 1 << 18

_FLOATS = {np.dtype(letter).num for letter in "fdFD"}  # of 32 and 64 bits and complex ones


def _large(name: str, *arrays: Any) -> Any:
    """The product that a kernel for several threads computes, or None where it does not or there is none."""
    if arrays[0].dtype == np.float32 and get_float32_matmul_precision() == "medium":
        fast = native.kernel(f"bfloat16.{name}")
        rounded = None if fast is None else fast(*arrays)
        if rounded is not None:
            return rounded
    fast = native.kernel(f"products.{name}")
    return None if fast is None else fast(*arrays)


def product(xp: Any, x: Any, y: Any, out: Any = None) -> Any:
    """``x @ y``, into ``out`` where given.

    Half types are multiplied in float32 where there is no fast product of theirs.
    """
    if xp is np and out is None and _SMALL <= x.size * y.shape[-1] < _LARGE:
        small = native.kernel("products.small_product")
        compiled = None if small is None else small(x, y, None)
        if compiled is not None:
            return compiled
    dtype = x.dtype
    if xp is not np and dtype == y.dtype:
        fast = nvidia.function("products.matmul")(x, y)
        if fast is not None:
            if out is None:
                return fast
            out[...] = fast
            return out
    if (dtype is y.dtype or dtype == y.dtype) and dtype.num in _FLOATS:  # nearly always
        if xp is np and x.size * y.shape[-1] >= _LARGE:
            compiled = _large("matmul", x, y)
            if compiled is not None:
                if out is None:
                    return compiled
                out[...] = compiled  # a copy costs less than what the threads of BLAS wait busily for afterwards
                return out
        return xp.matmul(x, y) if out is None else xp.matmul(x, y, out=out)
    if dtype != y.dtype:  # NumPy would promote; PyTorch asks what was meant
        raise RuntimeError(f"expected both to have the same dtype, but got {x.dtype} and {y.dtype}")
    if dtype.kind == "b":
        raise RuntimeError("matrix products are not implemented for bool")
    if dtype.itemsize == 2 and dtype in HALVES and not _has_product(xp, x, y):
        rounded = _rounded_product(xp, x, y)
        if out is None:
            return rounded
        out[...] = rounded
        return out
    return xp.matmul(x, y) if out is None else xp.matmul(x, y, out=out)


@native.accelerated("bfloat16.matmul", least=_FEWEST, of=BFLOAT16)
@widened
def _rounded_product(xp: Any, x: Any, y: Any) -> Any:
    return xp.matmul(x, y)


def _has_product(xp: Any, x: Any, y: Any) -> bool:
    """Whether half types have a product in ``xp``: NumPy has none, and CuPy 14's of bfloat16 fails on batches."""
    return xp is not np and (x.dtype == np.float16 or x.ndim == y.ndim == 2)


def _infer_matmul(x: Aval, y: Aval) -> Aval:
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"matmul: expected both to have the same dtype, but got {dtypes.of(x.dtype)} and {dtypes.of(y.dtype)}"
        )
    if x.dtype.kind == "b":
        raise RuntimeError(
            "matmul is not implemented for torch.bool; convert to an integer dtype to count, then compare with 0"
        )
    if x.shape[-1] != y.shape[-2]:
        raise RuntimeError(
            f"matmul: shapes {list(x.shape)} and {list(y.shape)} cannot be multiplied: {x.shape[-1]} columns against "
            f"{y.shape[-2]} rows"
        )
    batch = broadcast_shapes("matmul", x.shape[:-2], y.shape[:-2])
    return Aval((*batch, x.shape[-2], y.shape[-1]), x.dtype, x.device)


_matmul: Op = register(
    Op(
        "matmul",
        "contract",
        run=product,
        infer=_infer_matmul,
        vjp=(
            lambda g, _out, _x, y: g @ y.mH,
            lambda g, _out, x, _y: x.mH @ g,
        ),
        onnx="MatMul",
        autocast=LOWER,
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(4, 2))), {}),
            Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))), {}),
            Sample((rng.normal(size=(5, 1, 2, 3)), rng.normal(size=(2, 3, 1))), {}),
            Sample((rng.normal(size=(2, 0)), rng.normal(size=(0, 3))), {}),
        ],
        doc="Matrix product over the last two dimensions, the others broadcast.",
    )
)


@method("matmul", "__matmul__")
def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Matrix product with PyTorch's rules: vectors are rows or columns, leading dimensions broadcast.

    Raises:
        RuntimeError: naming the shapes where inner lengths or dtypes differ.
    """
    if out is not None:  # not by `takes_out`, which would cost a call
        return stored("matmul", matmul, (input, other), {}, out, OutDtype.SAME)
    try:
        plain = len(input._data.shape) == 2 == len(other._data.shape)
    except AttributeError:
        if isinstance(other, np.ndarray):
            return matmul(input, from_numpy(other))
        if isinstance(input, np.ndarray):
            return matmul(from_numpy(input), other)
        raise TypeError(
            f"matmul: expected two tensors, got {type(input).__name__} and {type(other).__name__}"
        ) from None
    if plain:
        return apply(_matmul, (input, other))
    if input.ndim == 0 or other.ndim == 0:
        raise RuntimeError(
            f"matmul: both arguments need to be at least 1D, but they are {input.ndim}D and {other.ndim}D"
        )
    row, column = input.ndim == 1, other.ndim == 1
    if row and other.ndim > 2:  # the case below, turned round
        return matmul(other.mT, input)
    x = input.unsqueeze(0) if row else input
    y = other.unsqueeze(1) if column else other
    if y.ndim == 2 and x.ndim > 2:  # one tall product instead of many small ones
        lead = x.shape[:-1]
        if x.shape[-1] == y.shape[0]:
            flat: Tensor = apply(_matmul, (x.reshape(-1, x.shape[-1]) if x.numel() else x, y))
            product = flat.reshape((*lead, y.shape[-1]))
        else:
            product = apply(_matmul, (x, y))
    else:
        product = apply(_matmul, (x, y))
    if row:
        product = product.squeeze(-2)
    return product.squeeze(-1) if column else product


method("__rmatmul__")(lambda self, other: matmul(other, self))


def _run_added(xp: Any, x: Any, y: Any, added: Any, *, beta: float, alpha: float) -> Any:
    wide = np.dtype(np.float32) if x.dtype in HALVES else x.dtype
    total = _wide_product(xp, x, y, dtype=wide)
    if alpha != 1:
        total *= wide.type(alpha)
    if beta != 0:
        total += cast(xp, added, dtype=wide) * wide.type(beta)
    return cast(xp, total, dtype=x.dtype)


@native.accelerated("bfloat16.matmul", least=_FEWEST, of=BFLOAT16)
def _wide_product(xp: Any, x: Any, y: Any, *, dtype: Any) -> Any:
    return xp.matmul(x.astype(dtype, copy=False), y.astype(dtype, copy=False))


def _infer_added(x: Aval, y: Aval, added: Aval, *, beta: float, alpha: float) -> Aval:  # noqa: ARG001
    out = _infer_matmul(x, y)
    if broadcast_shapes("matmul_added", out.shape, added.shape) != out.shape:
        raise RuntimeError(f"a product of shape {list(out.shape)} can't be added to shape {list(added.shape)}")
    return out


matmul_added: Op = register(
    Op(
        "matmul_added",
        "contract",
        run=_run_added,
        infer=_infer_added,
        vjp=(
            lambda g, _out, _x, y, _added, beta, alpha: _scaled(g @ y.mH, alpha),  # noqa: ARG005
            lambda g, _out, x, _y, _added, beta, alpha: _scaled(x.mH @ g, alpha),  # noqa: ARG005
            lambda g, _out, _x, _y, _added, beta, alpha: _scaled(g, beta),  # noqa: ARG005
        ),
        samples=lambda rng: [
            Sample(
                (rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=(3, 2))), {"beta": 1, "alpha": 0.7}
            ),
            Sample(
                (rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5)), rng.normal(size=5)), {"beta": 0.3, "alpha": 1}
            ),
            Sample(
                (rng.normal(size=(2, 0)), rng.normal(size=(0, 3)), rng.normal(size=(2, 1))), {"beta": 2, "alpha": 1}
            ),
        ],
        doc="β · added + α · (x @ y); of half types the product is not rounded before it is added.",
    )
)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor


def _expect_dims(name: str, x: Tensor, ndim: int) -> Tensor:
    if x.ndim != ndim:
        raise RuntimeError(f"{name}: expected a {ndim}-D tensor, got shape {list(x.shape)}")
    return x


@takes_out_as(OutDtype.SAME)
@method()
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices."""
    return matmul(*matrices("mm", input, mat2))


def matrices(name: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two matrices, once it is known that they are."""
    return _expect_dims(name, x, 2), _expect_dims(name, y, 2)


@takes_out_as(OutDtype.SAME)
@method()
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of two batches of matrices."""
    return matmul(*batches("bmm", input, mat2))


def batches(name: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two batches of matrices, once it is known that they can be multiplied."""
    left, right = x._data.shape, y._data.shape
    if len(left) == len(right) == 3 and (left[0] != right[0] or left[2] != right[1]):
        raise RuntimeError(
            f"{name}: batches of shape {list(left)} and {list(right)} cannot be multiplied: expected [b, n, m] and [b, m, p]"
        )
    return _expect_dims(name, x, 3), _expect_dims(name, y, 3)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(Autocast("as given", "widest"))
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Σ xᵢ yᵢ of two vectors."""
    x, y = _expect_dims("dot", input, 1), _expect_dims("dot", tensor, 1)
    if x._data.shape != y._data.shape:
        raise RuntimeError(f"dot: expected two vectors of one length, got {list(x.shape)} and {list(y.shape)}")
    return matmul(x, y)


@takes_out_as(OutDtype.SAME)
@method()
@autocasts(Autocast("as given", "lower"))
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector."""
    return matmul(*matrix_and_vector("mv", input, vec))


def matrix_and_vector(name: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix and a vector, once it is known that they can be multiplied."""
    _expect_dims(name, x, 2), _expect_dims(name, y, 1)
    if x._data.shape[1] != y._data.shape[0]:
        raise RuntimeError(
            f"{name}: a matrix {list(x.shape)} and a vector {list(y.shape)} cannot be multiplied: {x._data.shape[1]} columns "
            f"against {y._data.shape[0]} elements"
        )
    return x, y


def _run_linear(xp: Any, x: Any, weight: Any, *bias: Any) -> Any:
    if xp is not np:
        fast = nvidia.function("products.linear")(x, weight, *bias) if bias else None
        if fast is not None:
            return fast
    elif x.dtype.itemsize == 2 and x.dtype in HALVES:
        if any(y.dtype != x.dtype for y in (weight, *bias)):
            raise RuntimeError("expected input, weight and bias to have the same dtype")
        return _rounded_linear(xp, x, weight, *bias)
    elif (multiplications := x.size * weight.shape[0]) >= _SMALL:
        if multiplications >= _LARGE:
            compiled = _large("linear", x, weight, *bias)
        else:
            small = native.kernel("products.small_product")
            compiled = None if small is None else small(x, weight.T, bias[0] if bias else None)
        if compiled is not None:
            return compiled
    out = product(xp, x, weight.T)
    for b in bias:
        out += b
    return out


_rounded_linear = native.accelerated("bfloat16.linear", least=_FEWEST, of=BFLOAT16)(
    widened(_run_linear)
)  # rounded once, bias and all


def _infer_linear(x: Aval, weight: Aval, *bias: Aval) -> Aval:
    if x.shape[-1] != weight.shape[1]:
        raise RuntimeError(
            f"linear: input of shape {list(x.shape)} has {x.shape[-1]} features, but the weight {list(weight.shape)} "
            f"expects {weight.shape[1]}"
        )
    for b in bias:
        if b.shape != weight.shape[:1]:
            raise RuntimeError(f"linear: bias of shape {list(b.shape)} does not fit the weight {list(weight.shape)}")
    if len({a.dtype for a in (x, weight, *bias)}) > 1:
        listed = ", ".join(dtypes.of(a.dtype).name for a in (x, weight, *bias))
        raise RuntimeError(f"linear: input, weight and bias must have the same dtype, but got {listed}")
    return Aval((x.shape[0], weight.shape[0]), x.dtype, x.device)


# Not a composite: the gradient of the weight comes out in the weight's own layout, without a transposed copy.
_linear = register(
    Op(
        "linear",
        "contract",
        run=_run_linear,
        infer=_infer_linear,
        vjp=(
            lambda g, _out, _x, weight, *_bias: matmul(g, weight.conj()),
            lambda g, _out, x, _weight, *_bias: matmul(g.t(), x.conj()),
            lambda g, _out, _x, _weight, *_bias: g.sum(0),
        ),
        onnx="Gemm",
        autocast=LOWER,
        samples=lambda rng: [
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(2, 4)), rng.normal(size=2)), {}),
            Sample((rng.normal(size=(3, 4)), rng.normal(size=(2, 4))), {}),
        ],
        doc="x Wᵀ + b of a batch of rows.",
    )
)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b.

    Shape:
        - input: (*, in_features), weight: (out_features, in_features), bias: (out_features,)
        - result: (*, out_features)

    Raises:
        RuntimeError: when the number of features differs, naming both.
        TypeError: for an input that is no tensor.
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"linear(): argument 'input' must be Tensor, not {type(input).__name__}")
    if weight.ndim == 1:
        out = matmul(input, weight)
        return out if bias is None else out + bias
    parameters = (weight,) if bias is None else (weight, bias)
    if input.ndim == 2:
        return apply(_linear, (input, *parameters))
    if input.ndim == 0 or input.shape[-1] != weight.shape[-1]:
        _infer_linear(
            Aval(tuple(input.shape) or (1,), input._data.dtype), Aval(tuple(weight.shape), weight._data.dtype)
        )
    rows: Tensor = apply(_linear, (input.reshape(-1, input.shape[-1]), *parameters))
    return rows.reshape((*input.shape[:-1], weight.shape[0]))


@takes_out
@method()
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """xᵢ yⱼ of two vectors."""
    dtype = common_dtype((input, vec2))
    product: Tensor = input.to(dtype).unsqueeze(1) * vec2.to(dtype)
    return product
