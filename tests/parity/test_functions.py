"""The public functions and methods against PyTorch's: promotion, broadcasting, reductions, shapes, errors."""

import pickle
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, assert_same, attempt, dtype_name, same, tensors, torch

import torchlite
from torchlite import dtypes

DTYPES = [d.name for d in dtypes.ALL]
REAL = [n for n in DTYPES if not n.startswith("complex")]
rng = np.random.default_rng(11)
X, Y, ROW, COLUMN = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=(3, 1))
CUBE, ZERO_D, EMPTY = rng.normal(size=(2, 3, 4)), np.array(0.7), np.zeros((0, 3))
POSITIVE, INTS = np.abs(X) + 0.1, rng.integers(-5, 6, (3, 4))
BOOLS = X > 0
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-300, 2.5, -2.5, 0.5, 3.0])

OPERATORS = {
    "add": lambda T, x, y: x + y,
    "sub": lambda T, x, y: x - y,
    "mul": lambda T, x, y: x * y,
    "div": lambda T, x, y: x / y,
    "floordiv": lambda T, x, y: x // y,
    "mod": lambda T, x, y: x % y,
    "pow": lambda T, x, y: x**y,
    "eq": lambda T, x, y: x == y,
    "lt": lambda T, x, y: x < y,
    "maximum": lambda T, x, y: T.maximum(x, y),
    "and": lambda T, x, y: x & y,
    "where": lambda T, x, y: T.where(T.tensor(True), x, y),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_promotion_of_all_pairs_of_dtypes(name: str) -> None:
    function = OPERATORS[name]
    for first in DTYPES:
        for second in DTYPES:
            for shapes in (((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())):
                pairs = [
                    tensors(np.ones(shape), dtype=dtype) for shape, dtype in zip(shapes, (first, second), strict=True)
                ]
                compare(function, f"{name} {first}{shapes[0]} {second}{shapes[1]}", *pairs)


@pytest.mark.parametrize("name", [n for n in OPERATORS if n not in ("maximum", "where")])
def test_promotion_with_numbers(name: str) -> None:
    function = OPERATORS[name]
    for dtype in DTYPES:
        for shape in ((2,), ()):
            for number in (True, 2, 2.0, 1 + 1j):
                pair = tensors(np.ones(shape), dtype=dtype)
                compare(function, f"{name} {dtype}{shape} {number}", pair, (number, number))
                if name != "and":
                    compare(
                        lambda T, x, y: function(T, y, x), f"{name} {number} {dtype}{shape}", pair, (number, number)
                    )


def compare(function: Any, what: str, *pairs: Any) -> None:
    ours, our_error = attempt(function, torchlite, *(a for a, _ in pairs))
    theirs, their_error = attempt(function, torch, *(b for _, b in pairs))
    if their_error is not None:
        # What PyTorch leaves out may work here, but it must not raise something of another kind.
        kind = RuntimeError if isinstance(their_error, NotImplementedError) else type(their_error)
        assert our_error is None or isinstance(our_error, kind), (what, our_error)
        return
    assert our_error is None, (what, our_error)
    if isinstance(theirs, torch.Tensor) and dtype_name(theirs) == "complex32":  # exists in PyTorch only
        theirs = theirs.to(torch.complex64)
    assert_same(ours, theirs, tolerance=1e-2, what=what)


def test_promote_types_and_can_cast_tables() -> None:
    for first in DTYPES:
        for second in DTYPES:
            ours, theirs = ((getattr(T, first), getattr(T, second)) for T in BOTH)
            assert str(torchlite.promote_types(*ours)) == str(torch.promote_types(*theirs)), (first, second)
            assert torchlite.can_cast(*ours) == torch.can_cast(*theirs), (first, second)


def test_in_place_promotion_of_all_pairs() -> None:
    for first in DTYPES:
        for second in DTYPES:
            for name in ("add_", "mul_", "div_"):
                pairs = [tensors(np.ones(2), dtype=d) for d in (first, second)]
                compare(lambda T, x, y, n=name: getattr(x, n)(y), f"{name} {first} {second}", *pairs)


UNARY = [
    "neg", "reciprocal", "square", "sqrt", "rsqrt", "sign", "abs", "exp", "expm1", "log", "log1p", "log2", "log10",
    "sin", "cos", "tan", "tanh", "sigmoid", "relu", "erf", "floor", "ceil", "trunc", "round", "isnan", "isinf",
    "isfinite", "logical_not",
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary_values_and_dtypes(name: str) -> None:
    function = lambda T, x: getattr(T, name)(x)  # noqa: E731
    for array in (X, POSITIVE, ZERO_D, EMPTY, X.T, X[:, ::2]):
        same(function, array)
    for dtype in REAL if name != "square" else REAL[1:]:  # the square of a bool stays bool here
        pair = tensors(INTS if dtype != "uint8" else np.abs(INTS), dtype=dtype)
        compare(function, f"{name} {dtype}", pair)
        compare(lambda T, x: getattr(x, name)(), f"{name} {dtype}", pair)
    with np.errstate(all="ignore"):
        for dtype in ("float32", "float64"):
            ours, theirs = tensors(SPECIAL, dtype=dtype)
            assert_same(function(torchlite, ours), function(torch, theirs), what=f"{name} {dtype}")


@pytest.mark.parametrize("name", ["sqrt", "log", "abs", "sign", "reciprocal", "relu", "pow"])
def test_gradients_at_special_points(name: str) -> None:
    points = np.array([0.0, 1.0, -1.0, 2.0])
    if name == "pow":
        for exponent in (0, 1, 2, 3, 0.5, -1.0, 2.0, 0.0):
            same(lambda T, x, e=exponent: x**e, points)
            same(lambda T, x, e=exponent: x ** T.tensor(e, dtype=T.float64, requires_grad=True), points)
        for base in (0.0, 2.0, 1):
            same(lambda T, x, b=base: b**x, points)
    else:
        same(lambda T, x: getattr(T, name)(x), points)


BINARY = ["add", "sub", "mul", "div", "maximum", "minimum", "remainder", "floor_divide", "eq", "ne", "lt", "le", "gt",
          "ge", "logical_and", "logical_or", "logical_xor"]  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasting_and_special_values(name: str) -> None:
    function = lambda T, x, y: getattr(T, name)(x, y)  # noqa: E731
    if name == "floor_divide":
        function = lambda T, x, y: T.floor_divide(x.detach(), y.detach())  # noqa: E731
    for a, b in ((X, Y), (X, ROW), (COLUMN, ROW), (CUBE, COLUMN), (ZERO_D, X), (X, ZERO_D), (EMPTY, ROW[:3]), (X, X)):
        same(function, a, b)
    same(function, X, CUBE.transpose(2, 0, 1))
    same(function, INTS, INTS)
    same(function, INTS[:, :3], np.abs(INTS[:, :3].T) + 1)
    same(function, SPECIAL[:, None], SPECIAL) if name not in ("remainder", "div", "mul") else None
    for dtype in ("float64", "int64"):
        pairs = [tensors(np.array([7, -7, 7, -7, 0]), dtype=dtype), tensors(np.array([2, 2, -2, -2, 3]), dtype=dtype)]
        compare(function, f"{name} {dtype}", *pairs)


def test_alpha_rounding_modes_and_aliases() -> None:
    same(lambda T, x, y: T.add(x, y, alpha=2.5), X, ROW)
    same(lambda T, x, y: x.sub(y, alpha=0.5), X, ROW)
    same(lambda T, x, y: T.add(x, y, alpha=2), INTS, INTS)
    same(lambda T, x: T.add(x, 3, alpha=2), X)
    same(lambda T, x: T.sub(x, 3, alpha=2), X)
    for mode in (None, "floor", "trunc", "up"):
        same(lambda T, x, y, m=mode: T.div(x.detach(), y.detach(), rounding_mode=m), X, Y)
        same(lambda T, x, m=mode: T.div(x, 2, rounding_mode=m), INTS)
    for name in ("multiply", "divide", "subtract", "true_divide"):
        same(lambda T, x, y, n=name: getattr(T, n)(x, y), X, ROW)
    same(lambda T, x: 2 - x, X)
    same(lambda T, x: 1 / x, POSITIVE)
    same(lambda T, x: (2 // x.detach(), 5 % x.detach()), POSITIVE)
    same(lambda T, x: (+x, -x, abs(x)), X)
    same(lambda T, x: (x & 3, x | 3, x ^ 3, ~x), INTS)
    same(lambda T, x: (x & True, x | x, x ^ False, ~x), BOOLS)
    same(lambda T, x, y: T.pow(x, y), POSITIVE, Y)
    same(lambda T, x: (T.pow(2.0, x), x.pow(3), T.pow(x, 2), x**-2), POSITIVE)
    same(lambda T, x: x**-1, INTS)
    same(lambda T, x: x**2, INTS)
    same(lambda T, x: x**2.0, INTS)


CLAMPS: list[dict[str, Any]] = [
    {"min": -0.5}, {"max": 0.5}, {"min": -0.5, "max": 0.5}, {"min": 0}, {"min": 1.0, "max": -1.0}, {}, {"min": 0.5, "max": 2},
]  # fmt: skip


@pytest.mark.parametrize("bounds", CLAMPS)
def test_clamp(bounds: dict[str, Any]) -> None:
    same(lambda T, x: T.clamp(x, **bounds), X)
    same(lambda T, x: T.clamp(x, **bounds), INTS)
    same(lambda T, x: x.clip(**bounds), X.astype(np.float32))
    same(lambda T, x: x.clone().clamp_(**bounds), X)


def test_clamp_by_tensors_and_of_nan() -> None:
    same(lambda T, x, y: T.clamp(x, min=y), X, ROW)
    same(lambda T, x, y: T.clamp(x, max=y), X, ROW)
    same(lambda T, x, y, z: T.clamp(x, y, z), X, ROW, COLUMN)
    same(lambda T, x: T.clamp(x, 0, 1), np.array([np.nan, np.inf, 0.0, 1.0]))


def test_where() -> None:
    same(lambda T, c, x, y: T.where(c, x, y), BOOLS, X, ROW)
    same(lambda T, c, x: T.where(c, x, 0), BOOLS, X)
    same(lambda T, c, x: T.where(c, 1.5, x), BOOLS, X)
    same(lambda T, c: T.where(c, 1, 0), BOOLS)
    same(lambda T, c: T.where(c, 1.0, 0), BOOLS)
    same(lambda T, c, x: x.where(c, T.tensor(0.5, dtype=T.float64)), BOOLS, X)
    same(lambda T, c, x, y: T.where(c, x, y), BOOLS, X, INTS)


REDUCTIONS = ["sum", "mean", "amax", "amin", "any", "all", "var", "std", "logsumexp", "norm"]
DIMS: list[Any] = [None, 0, 1, -1, (0, 2), (-1, 0), (), [1], 3, -4, (0, 0)]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dim", DIMS)
def test_reductions_over_dims(name: str, dim: Any) -> None:
    if name == "logsumexp" and dim is None:
        return
    if name in ("norm", "logsumexp", "var", "std") and dim == ():
        pytest.skip("PyTorch's own functions disagree on what an empty dim means here")
    for keepdim in (False, True):

        def run(T: Any, x: Any, keepdim: bool = keepdim) -> Any:
            function = getattr(T, name)
            if dim is None and name in ("amax", "amin"):
                return function(x, keepdim=keepdim)
            if name == "norm":
                return function(x, 2, dim, keepdim)
            return function(x, dim=dim, keepdim=keepdim)

        same(run, CUBE)
        same(run, CUBE.astype(np.float32))
        if dim in (None, 0, -1, ()):
            same(run, ROW[0])


@pytest.mark.parametrize(
    "name", ["sum", "mean", "amax", "amin", "any", "all", "argmax", "argmin", "cumsum", "max", "min"]
)
def test_reductions_of_integers_bools_and_nothing(name: str) -> None:
    kinds = (INTS,) if name in ("argmax", "argmin") else (INTS, BOOLS)  # PyTorch orders no bools
    for array in (*kinds, np.abs(INTS).astype(np.uint8), INTS.astype(np.int32), EMPTY, np.zeros((3, 0))):
        if name == "cumsum":
            same(lambda T, x: T.cumsum(x, 1), array)
            continue
        same(lambda T, x: getattr(T, name)(x), array)
        same(lambda T, x: getattr(T, name)(x, 1), array)
        same(lambda T, x: getattr(T, name)(x, 0, True), array)


def test_reduction_dtypes_and_methods() -> None:
    same(lambda T, x: (T.sum(x, dtype=T.float64), x.sum(0, dtype=T.int32), x.mean(dtype=T.float32)), INTS)
    same(lambda T, x: x.sum((0, 1)), X)
    same(lambda T, x: x.mean((0, 1)), X)
    same(lambda T, x: (x.var(0), x.var(unbiased=False), T.var(x, 1, correction=0), x.std(1, keepdim=True)), X)
    same(lambda T, x: T.var(x), np.array([1.0]))
    same(lambda T, x: (x.norm(), x.norm(1), x.norm(3.0), x.norm(float("inf")), x.norm(p=2, dim=1)), X)
    same(lambda T, x: (x.detach().norm(0), x.norm("fro"), x.norm(float("-inf")), x.norm(2, 0, True)), X)
    same(lambda T, x: x.norm(), np.zeros(3))
    same(lambda T, x: x.var(), np.arange(3))
    same(lambda T, x: x.cumsum(0), CUBE)
    same(lambda T, x: x.cumsum(-1), ZERO_D)
    same(lambda T, x: x.logsumexp(1), np.array([[-np.inf, -np.inf], [1000.0, 1000.0]]))
    same(lambda T, x: (x.softmax(0), x.log_softmax(-1), T.softmax(x, 1, dtype=T.float64)), X.astype(np.float32))
    same(lambda T, x: (T.softmax(x, 0), T.log_softmax(x, 0)), ZERO_D)
    same(lambda T, x: T.softmax(x, 1), INTS)
    same(lambda T, x: T.softmax(x, 1, T.float32), INTS)


WITH_NAMES_OF_NUMPY = {
    "sum": lambda T, x: (x.sum(axis=1, keepdims=True), T.sum(x, axis=(0, 1)), x.sum(axis=0, dtype=T.float32)),
    "mean": lambda T, x: (T.mean(x, axis=-1, keepdims=True), x.std(axis=0), T.var(x, axis=1, keepdims=True)),
    "extremes": lambda T, x: (x.max(axis=1, keepdims=True).values, T.min(x, axis=0).indices, x.amax(axis=0)),
    "positions": lambda T, x: (
        x.argmax(axis=1),
        T.argsort(x, axis=0),
        x.topk(2, axis=1).values,
        x.median(axis=0).values,
    ),
    "joined": lambda T, x: (T.cat([x, x], axis=1), T.stack([x, x], axis=-1), T.concatenate((x, x), axis=0)),
    "parts": lambda T, x: (x.chunk(2, axis=1)[1], x.unbind(axis=0)[0], x.index_select(axis=1, index=T.tensor([2]))),
    "shapes": lambda T, x: (x.unsqueeze(axis=0), T.squeeze(x[:1], axis=0), x.cumsum(axis=1), x.any(axis=0)),
    "exponentials": lambda T, x: (x.softmax(axis=1), T.log_softmax(x, axis=0), x.logsumexp(axis=1)),
    "norms": lambda T, x: (T.linalg.norm(x, axis=1, keepdims=True), T.linalg.vector_norm(x, axis=0)),
    "refused": lambda T, x: x.sum(dim=0, axis=0),
    "refused, too": lambda T, x: x.exp(axis=0),
}


@pytest.mark.parametrize("name", WITH_NAMES_OF_NUMPY)
def test_names_of_numpy_for_arguments(name: str) -> None:
    same(WITH_NAMES_OF_NUMPY[name], X)


def test_functions_that_take_names_of_numpy_are_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(torchlite.sum)) is torchlite.sum


def test_arg_reductions_sorting_and_extremes_with_indices() -> None:
    ties = np.array([[1.0, 3.0, 3.0, 2.0], [2.0, 2.0, 0.0, 0.0]])
    for name in ("argmax", "argmin"):
        for array in (ties, X, INTS, ZERO_D, np.array([1.0, np.nan, 2.0])):
            same(lambda T, x, n=name: getattr(T, n)(x), array)
            same(lambda T, x, n=name: getattr(T, n)(x, -1, keepdim=True), array)
    for name in ("max", "min"):
        for array in (ties, X, CUBE, ZERO_D):
            same(lambda T, x, n=name: getattr(T, n)(x, dim=0), array)
            same(lambda T, x, n=name: tuple(getattr(x, n)(-1, keepdim=True)), array)
            same(lambda T, x, n=name: getattr(x, n)(), array)
        same(lambda T, x, y, n=name: getattr(T, n)(x, y), X, ROW)
        same(lambda T, x, n=name: getattr(T, n)(x, 1).values, X)
    same(lambda T, x: (x.amax(), x.amin(1)), ties)
    for descending in (False, True):
        same(lambda T, x, d=descending: T.sort(x, dim=1, descending=d, stable=True), ties)
        same(lambda T, x, d=descending: T.sort(x, descending=d), CUBE)
        same(lambda T, x, d=descending: T.argsort(x, dim=0, descending=d, stable=True), INTS)
        same(lambda T, x, d=descending: T.sort(x, dim=0, descending=d), np.array([1.0, np.nan, -1.0, np.inf]))
    same(lambda T, x: T.topk(x, 2), X)
    same(lambda T, x: T.topk(x, 2, dim=0, largest=False), X)
    same(lambda T, x: x.topk(9), X)


def test_shapes() -> None:
    same(lambda T, x: x.view(4, 3), X)
    same(lambda T, x: x.view(-1), X)
    same(lambda T, x: x.view(2, -1), X)
    same(lambda T, x: x.view(5, 2), X)
    same(lambda T, x: x.view(-1, -1), X)
    same(lambda T, x: x.view((4, 3)), X)
    same(lambda T, x: x.t().view(-1), X)
    same(lambda T, x: x.t().reshape(-1), X)
    same(lambda T, x: T.reshape(x, (2, 6)), X)
    same(lambda T, x: x.reshape(0, -1), EMPTY)
    same(lambda T, x: x.reshape(-1, 3), EMPTY)
    same(lambda T, x: (x.T, x.mT, x.t(), x.transpose(0, 1), T.transpose(x, -1, 0)), X)
    same(lambda T, x: (x.permute(2, 0, 1), T.permute(x, (1, 0, 2)), x.permute(-1, 0, 1)), CUBE)
    same(lambda T, x: x.permute(0, 1), CUBE)
    same(lambda T, x: x.permute(0, 0, 1), CUBE)
    same(lambda T, x: (x.squeeze(), x.squeeze(1), x.squeeze(0), x.squeeze((0, 1))), COLUMN)
    same(lambda T, x: (x.unsqueeze(0), x.unsqueeze(-1), x.unsqueeze(1)), X)
    same(lambda T, x: x.unsqueeze(4), X)
    same(lambda T, x: (x.flatten(), x.flatten(1), x.flatten(0, 1), T.flatten(x, start_dim=-2)), CUBE)
    same(lambda T, x: x.flatten(), ZERO_D)
    same(lambda T, x: (x.unflatten(1, (2, 2)), x.unflatten(-1, (-1, 2)), T.unflatten(x, 0, (3, 1))), X)
    same(lambda T, x: (x.expand(3, 4), x.expand(2, -1, 4), x.expand(-1, -1)), COLUMN)
    same(lambda T, x: x.expand(4, 4), COLUMN)
    same(lambda T, x: (T.broadcast_to(x, (3, 4)), x.expand_as(T.zeros(3, 2)), x.view_as(T.zeros(1, 3))), COLUMN)
    same(lambda T, x: (x.movedim(0, -1), T.movedim(x, (0, 1), (1, 2))), CUBE)
    same(lambda T, x: (x.repeat(2, 1), x.repeat(2, 1, 3), x.repeat((1, 2)), x.repeat(0, 1)), X)
    same(lambda T, x: x.repeat(2), X)
    same(lambda T, x: (x.flip(0), x.flip(0, 1), T.flip(x, (1,)), x.flip([-1])), X)
    same(lambda T, x: (x.narrow(1, 1, 2), x.narrow(0, -2, 1), T.select(x, 1, -1), x.select(0, 0)), X)
    same(lambda T, x: x.narrow(1, 3, 2), X)
    same(lambda T, x: x.select(1, 4), X)
    same(lambda T, x: x.unbind(), X)
    same(lambda T, x: T.unbind(x, 1), X)
    for parts in (2, 3, 5, [1, 3], [1, 1]):
        same(lambda T, x, n=parts: x.split(n, 1), X)
    for chunks in (1, 2, 3, 4, 7, 0):
        same(lambda T, x, n=chunks: T.chunk(x, n, 1), X)
        same(lambda T, x, n=chunks: T.chunk(x, n), rng.normal(size=(10, 2)))
    same(lambda T, x: (x.numel(), x.dim(), x.size(0), x.size(-1), tuple(x.size()), x.stride(), x.is_contiguous()), X)
    same(lambda T, x: x.size(3), X)
    same(lambda T, x: (len(x), x.ndim, x.nelement(), x.element_size(), x.nbytes), X)
    same(lambda T, x: len(x), ZERO_D)
    same(lambda T, x: list(x), X)
    same(lambda T, x: list(x), ZERO_D)
    same(lambda T, x: (x.t().is_contiguous(), x.t().contiguous().stride(), x.t().stride()), X)


def test_joining() -> None:
    same(lambda T, x, y: T.cat([x, y]), X, Y)
    same(lambda T, x, y: T.cat((x, y), dim=-1), X, COLUMN)
    same(lambda T, x, y: T.cat([x, y], 1), X, ROW)
    same(lambda T, x, y: T.cat([x, y], 0), X, COLUMN)
    same(lambda T, x, y: T.cat([x, y], 0), X, INTS)
    same(lambda T, x: T.cat([T.zeros(0, dtype=T.float64), x]), X)
    same(lambda T, x: T.cat([x, x]), ZERO_D)
    same(lambda T: T.cat([]))
    same(lambda T: T.stack([]))
    same(lambda T, x, y: (T.stack([x, y]), T.stack((x, y), 1), T.stack([x, y], -1)), X, Y)
    same(lambda T, x, y: T.stack([x, y]), X, ROW)
    same(lambda T, x, y: T.stack([x, y]), ZERO_D, np.array(1.5))
    same(lambda T, x: T.concat([x, x, x], dim=1), X)


def test_products_of_matrices() -> None:
    a, b, v, batch = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=4), rng.normal(size=(2, 3, 4))
    wide = rng.normal(size=(5, 1, 4, 2))
    for x, y in (
        (a, b),
        (a, v),
        (v, b),
        (v, v),
        (batch, b),
        (batch, v),
        (v, wide),
        (batch, wide),
        (a, a),
        (v, ROW[:3]),
    ):
        same(lambda T, x, y: x @ y, x, y)
        same(lambda T, x, y: T.matmul(x, y), x, y)
    same(lambda T, x, y: x @ y, ZERO_D, b)
    same(lambda T, x, y: x @ y, INTS, INTS.T.copy())
    same(lambda T, x, y: x @ y, np.zeros((2, 0)), np.zeros((0, 3)))
    same(lambda T, x, y: x @ y, np.zeros((0, 2, 3)), np.zeros((3, 2)))
    same(lambda T, x, y: x @ y, a, b.astype(np.float32))
    same(lambda T, x, y: T.mm(x, y), a, b)
    same(lambda T, x, y: T.mm(x, y), batch, b)
    same(lambda T, x, y: T.bmm(x, y), batch, batch.transpose(0, 2, 1).copy())
    same(lambda T, x, y: T.bmm(x, y), a, b)
    same(lambda T, x, y: (T.dot(x, y), T.outer(x, y)), v, ROW)
    same(lambda T, x, y: T.mv(x, y), a, v)
    same(lambda T, c, x, y: T.addmm(c, x, y, beta=0.5, alpha=2), rng.normal(size=(3, 2)), a, b)
    same(lambda T, c, x, y: T.addmm(c, x, y), rng.normal(size=2), a, b)


def test_composites() -> None:
    same(lambda T, x, y: T.addcmul(x, y, y, value=0.5), X, ROW)
    same(lambda T, x, y: T.addcdiv(x, x, y, value=2), X, POSITIVE)
    same(lambda T, x, y: (T.lerp(x, y, 0.3), x.lerp(y, T.tensor(0.25, dtype=T.float64))), X, Y)
    same(lambda T, x: (T.tril(x), T.triu(x), T.tril(x, 1), x.triu(-1)), X)
    same(lambda T, x: (T.tril(x), T.triu(x, 1)), INTS)
    same(lambda T, x: (T.tril(x), T.triu(x, 1)), BOOLS)
    same(lambda T, x: (T.nonzero(x), T.nonzero(x, as_tuple=True)), BOOLS)
    same(lambda T, x: (T.nonzero(x), x.nonzero(as_tuple=True)), INTS)
    same(lambda T, x: T.nonzero(x), np.array(3))
    same(lambda T, x: T.nonzero(x), np.array(0))
    same(lambda T, x, y: (T.isclose(x, y), T.allclose(x, y), T.equal(x, y)), X, X + 1e-7)
    same(lambda T, x, y: (T.isclose(x, y, equal_nan=True), T.isclose(x, y), T.equal(x, y)), SPECIAL, SPECIAL)
    same(lambda T, x, y: T.equal(x, y), X, ROW)
    same(lambda T, x: T.isclose(x, x), INTS)


def test_gather_scatter_and_masks() -> None:
    places = rng.integers(0, 3, (2, 4))
    same(lambda T, x, i: T.gather(x, 0, i), X, places)
    same(lambda T, x, i: x.gather(1, i), X, places)
    same(lambda T, x, i: x.gather(1, i), X, np.array([[7]]))
    same(lambda T, x, i: x.gather(2, i), X, places)
    same(lambda T, x, i: x.gather(1, i), X, np.array([1]))
    same(lambda T, x, i, s: T.scatter_add(x, 0, i, s), X, places, Y[:2])
    same(lambda T, x, i: T.index_select(x, 1, i), X, np.array([0, 3, 3]))
    same(lambda T, x, i: x.index_select(0, i), X, np.array([-1]))
    same(lambda T, x, m: (x.masked_fill(m, 0.5), T.masked_fill(x, m, -1)), X, BOOLS)
    same(lambda T, x, m: x.masked_fill(m, float("-inf")), X, BOOLS[0])
    same(lambda T, x, m: x.clone().masked_fill_(m, 3.0), X, BOOLS)
    same(lambda T, x, m: x.clone().masked_fill_(m, 3), INTS, BOOLS[:1])
    same(lambda T, x, m: x.masked_fill(m, 2.5), INTS, BOOLS)


CREATED: dict[str, Any] = {
    "numbers": lambda T: [T.tensor(1), T.tensor(1.5), T.tensor(True), T.tensor([1, 2.5]), T.tensor([[1, 2], [3, 4]])],
    "mixed": lambda T: [T.tensor([True, 2]), T.tensor([]), T.tensor([[]]), T.tensor(()), T.tensor(1 + 2j)],
    "ragged": lambda T: T.tensor([[1, 2], [3]]),
    "strings": lambda T: T.tensor("x"),
    "none": lambda T: T.tensor(None),
    "tensors": lambda T: T.tensor([T.tensor(1.0), T.tensor(2.0)]),
    "int tensors": lambda T: T.tensor([T.tensor(1), T.tensor(2)]),
    "arrays": lambda T: [T.tensor(np.float64(1.5)), T.tensor(np.arange(3, dtype=np.int32)), T.tensor([np.float32(2)])],
    "array list": lambda T: T.tensor([np.arange(2), np.arange(2)][0]),
    "dtype": lambda T: [T.tensor([1, 2], dtype=T.float16), T.tensor([1.7, -1.7], dtype=T.int32), T.tensor([0, 2], dtype=T.bool)],
    "zeros": lambda T: [T.zeros(2, 3), T.zeros((2, 3)), T.zeros([2]), T.zeros(0), T.zeros(()), T.ones(2, dtype=T.int8)],
    "negative": lambda T: T.zeros(-1),
    "full": lambda T: [T.full((2, 2), 7), T.full((2,), 0.5), T.full((1,), True), T.full((), 3.0, dtype=T.int32)],
    "like": lambda T: [T.zeros_like(T.ones(2, 3, dtype=T.int32)), T.full_like(T.ones(2), 3), T.ones_like(T.zeros(2), dtype=T.bool)],
    "arange": lambda T: [T.arange(5), T.arange(1, 5), T.arange(0, 1, 0.25), T.arange(5, 0, -2), T.arange(2.5), T.arange(0)],
    "arange dtype": lambda T: [T.arange(3, dtype=T.float32), T.arange(0, 10, 3, dtype=T.int32), T.arange(1, 2, 0.1)],
    "arange step": lambda T: T.arange(0, 5, -1),
    "arange zero": lambda T: T.arange(0, 5, 0),
    "linspace": lambda T: [T.linspace(0, 1, 5), T.linspace(3, -3, 4), T.linspace(0, 1, 1), T.linspace(0, 1, 0), T.linspace(0, 10, 11)],
    "eye": lambda T: [T.eye(3), T.eye(2, 3), T.eye(2, dtype=T.int64), T.eye(0)],
    "new": lambda T: [T.zeros(2, dtype=T.float64).new_tensor([1, 2]), T.zeros(1).new_full((2,), 3), T.ones(2).new_zeros(3, 2)],
    "as_tensor": lambda T: [T.as_tensor([1.0, 2.0]), T.as_tensor(np.arange(3)), T.as_tensor(T.ones(2), dtype=T.float64)],
    "from_numpy": lambda T: [T.from_numpy(np.arange(3)), T.from_numpy(np.ones((2, 2)))],
    "from_list": lambda T: T.from_numpy([1, 2]),
    "legacy": lambda T: [T.Tensor([1, 2]), T.Tensor([[1.5]])],
    "overflow": lambda T: T.tensor(300, dtype=T.int64).to(T.uint8),
}  # fmt: skip


@pytest.mark.parametrize("name", CREATED)
def test_creation(name: str) -> None:
    same(CREATED[name])


def test_conversions() -> None:
    for source in REAL:
        for target in DTYPES:
            array = np.array([0, 1, 2, 100, 3])
            ours, theirs = tensors(array, dtype=source)
            assert_same(
                ours.to(getattr(torchlite, target)), theirs.to(getattr(torch, target)), what=f"{source} {target}"
            )
    same(
        lambda T, x: (x.float(), x.half(), x.int(), x.long(), x.bool(), x.short(), x.char(), x.byte(), x.bfloat16()), X
    )
    same(lambda T, x: (x.to(T.float64) is x, x.double() is x, x.to(T.float64, copy=True) is x), X)
    same(lambda T, x: (x.type(), x.float().type(), x.type(T.int32), x.type_as(T.zeros(1))), X)
    same(lambda T, x: (x.to("cpu"), x.to(T.zeros(1)), x.to("cpu", T.float32), x.to(device="cpu", dtype=T.float16)), X)
    same(lambda T, x: x.to("nowhere"), X)
    same(lambda T, x: x.to(dtype="float32"), X)
    same(lambda T, x: (x.sum().item(), x.tolist(), float(x[0, 0]), int(x[0, 0]), bool(x[0, 0])), X)
    same(lambda T, x: (x[0, 0].item(), x.tolist(), x[1, 1].item()), INTS)
    same(lambda T, x: (x[0, 0].item(), x.tolist()), BOOLS)
    same(lambda T, x: x.item(), X)
    same(lambda T, x: bool(x), X)
    same(lambda T, x: bool(x), EMPTY)
    same(lambda T, x: float(x), X)
    same(lambda T, x: [10, 20, 30][x], np.array(1))
    same(lambda T, x: [10, 20, 30][x], np.array(1.0))
    same(lambda T, x: (f"{x.detach():.2f}", f"{T.tensor(3):d}"), ZERO_D)
    same(lambda T, x: (2.0 in T.ones(2), 1.0 in T.ones(2)), X)
    for d in DTYPES:
        ours, theirs = getattr(torchlite, d), getattr(torch, d)
        assert (repr(ours), ours.itemsize, ours.is_floating_point, ours.is_complex, ours.is_signed) == (
            repr(theirs), theirs.itemsize, theirs.is_floating_point, theirs.is_complex, theirs.is_signed,
        )  # fmt: skip
    assert dtype_name(torchlite.tensor(1.0)) == "float32"


NAMES = [n for n in torchlite.namespace.__all__ if callable(getattr(torchlite.namespace, n))]


def test_every_public_name_is_pytorch_s() -> None:
    ours_only = {n for n in torchlite.namespace.__all__ if not hasattr(torch, n)}
    assert ours_only <= {"bool_", "float_", "int_"}


def test_every_method_is_pytorch_s() -> None:
    methods = {n for n in dir(torchlite.Tensor) if not n.startswith("_")}
    assert {n for n in methods if not hasattr(torch.Tensor, n)} <= {"maximum_", "minimum_"}
