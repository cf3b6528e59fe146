"""Functions that read and write at positions: what they accept and refuse, as PyTorch does."""

from typing import Any

import numpy as np
import pytest
from oracle import assert_same, attempt, torch

import torchlite


def x(T: Any) -> Any:
    return T.arange(6.0).reshape(2, 3)


def zero_dim(T: Any) -> Any:
    return T.tensor(5.0)


def pair(T: Any) -> Any:
    return T.tensor([1.0, 2.0])


INDEX_DTYPES = ("int64", "int32", "int16", "uint8", "bool", "float32")


def by_dtype(T: Any, dtype: str) -> dict[str, Any]:
    """Every function with an index of one dtype."""
    i, j = T.zeros(1, 1).to(getattr(T, dtype)), T.zeros(1).to(getattr(T, dtype))
    one, column, a = T.tensor([[9.0]]), T.ones(2, 1), x(T)
    return {
        "gather": lambda: a.gather(1, i),
        "scatter": lambda: a.scatter(1, i, 9.0),
        "scatter_add": lambda: a.scatter_add(1, i, one),
        "scatter_reduce": lambda: a.scatter_reduce(1, i, one, "amax"),
        "index_select": lambda: a.index_select(1, j),
        "index_add": lambda: a.index_add(1, j, column),
        "index_copy": lambda: a.index_copy(1, j, column),
        "index_fill": lambda: a.index_fill(1, j, 7.0),
        "index_reduce": lambda: a.index_reduce(1, j, column, "amax"),
        "take": lambda: a.take(j),
        "put": lambda: a.put(j, T.tensor([9.0])),
        "take_along_dim": lambda: a.take_along_dim(i, 1),
    }


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("name", list(by_dtype(torchlite, "int64")))
@pytest.mark.parametrize("dtype", INDEX_DTYPES)
def test_dtypes_of_an_index(name: str, dtype: str) -> None:
    compare(by_dtype(torchlite, dtype)[name], by_dtype(torch, dtype)[name])


def compare(ours: Any, theirs: Any, *, kinds: tuple[type[Exception], ...] = ()) -> None:
    """Equal results, or an error of the same type (or one of ``kinds``)."""
    expected, error = attempt(theirs)
    got, our_error = attempt(ours)
    if error is None:
        if our_error is not None:
            raise our_error
        assert_same(got, expected)
    else:
        kind = (RuntimeError if isinstance(error, NotImplementedError) else type(error), *kinds)
        assert isinstance(our_error, kind), (got, our_error, error)
        assert len(str(our_error)) > 15


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("position", [-7, -4, -1, 0, 2, 3, 6])
def test_positions_from_the_end_and_outside(position: int) -> None:
    def calls(T: Any) -> list[Any]:
        a, i, j, column, one = x(T), T.tensor([[position]]), T.tensor([position]), T.ones(2, 1), T.tensor([[9.0]])
        return [
            lambda: a.gather(1, i), lambda: a.scatter(1, i, 9.0), lambda: a.scatter_add(1, i, one),
            lambda: a.scatter_reduce(1, i, one, "prod"), lambda: a.index_copy(1, j, column), lambda: a.index_fill(1, j, 7.0),
            lambda: a.index_reduce(1, j, column, "amin"), lambda: a.take(j), lambda: a.put(j, one[0]),
            lambda: a.put(j, one[0], accumulate=True), lambda: a.index_put((T.tensor([0]), j), one[0]),
            lambda: a.index_put((T.tensor([0]), j), one[0], accumulate=True), lambda: a.take_along_dim(i, 1),
            lambda: a.take_along_dim(j), lambda: a[:, j], lambda: a[0, position], lambda: a.select(1, position),
            lambda: a.narrow(1, position, 0), lambda: a.unbind(1)[position], lambda: a.select_scatter(T.zeros(2), 1, position),
        ]  # fmt: skip

    for ours, theirs in zip(calls(torchlite), calls(torch), strict=True):
        compare(ours, theirs)
    # PyTorch raises one or the other here, by the shape at hand.
    for name, argument in (("index_select", ()), ("index_add", (lambda T: T.ones(2, 1),))):
        compare(
            lambda n=name, a=argument: getattr(x(torchlite), n)(
                1, torchlite.tensor([position]), *(f(torchlite) for f in a)
            ),
            lambda n=name, a=argument: getattr(x(torch), n)(1, torch.tensor([position]), *(f(torch) for f in a)),
            kinds=(IndexError, RuntimeError),
        )


CALLS: dict[str, Any] = {
    "gather 0-d": lambda T: zero_dim(T).gather(0, T.tensor([0, 0])),
    "gather 0-d by 0-d": lambda T: zero_dim(T).gather(0, T.tensor(0)),
    "gather 0-d by matrix": lambda T: zero_dim(T).gather(0, T.tensor([[0]])),
    "gather vector by 0-d": lambda T: pair(T).gather(0, T.tensor(1)),
    "gather by too few dimensions": lambda T: x(T).gather(0, T.tensor([0])),
    "gather by too wide an index": lambda T: x(T).gather(0, T.zeros(1, 4, dtype=T.int64)),
    "gather nothing": lambda T: x(T).gather(0, T.zeros(0, dtype=T.int64)),
    "gather nothing along no dimension": lambda T: x(T).gather(5, T.zeros(0, dtype=T.int64)),
    "scatter 0-d twice": lambda T: zero_dim(T).scatter(0, T.tensor([0, 0]), T.tensor([3.0, 4.0])),
    "scatter vector by 0-d": lambda T: pair(T).scatter(0, T.tensor(1), T.tensor(3.0)),
    "scatter a 0-d tensor": lambda T: x(T).scatter(1, T.tensor([[1]]), T.tensor(3.0)),
    "scatter nothing of another dtype": lambda T: x(T).scatter(1, T.zeros(0, dtype=T.int64), T.tensor([3])),
    "scatter by int16 nothing": lambda T: x(T).scatter(1, T.zeros(0, dtype=T.int16), T.tensor([3.0])),
    "scatter add": lambda T: x(T).scatter(1, T.tensor([[1, 1]]), T.tensor([[3.0, 4.0]]), reduce="add"),
    "scatter multiply": lambda T: x(T).scatter(1, T.tensor([[1, 1]]), 3.0, reduce="multiply"),
    "scatter mean": lambda T: x(T).scatter(1, T.tensor([[1]]), 3.0, reduce="mean"),
    "scatter without source": lambda T: x(T).scatter(1, T.tensor([[1]])),
    "scatter by name": lambda T: x(T).scatter(1, T.tensor([[1]]), value=3.0),
    "scatter a fraction into bool": lambda T: x(T).bool().scatter(1, T.tensor([[1]]), 3.5),
    "scatter complex": lambda T: x(T).scatter(1, T.tensor([[1]]), 3j),
    "scatter too small a source": lambda T: x(T).scatter(0, T.zeros(2, 3, dtype=T.int64), T.ones(1, 3)),
    "scatter too long an index": lambda T: x(T).scatter(1, T.zeros(3, 3, dtype=T.int64), 1.0),
    "scatter a larger source": lambda T: x(T).scatter(0, T.tensor([[1, 0]]), T.ones(4, 5)),
    "scatter another dtype": lambda T: x(T).scatter(1, T.tensor([[1]]), T.ones(1, 1, dtype=T.float64)),
    "scatter_add another dtype": lambda T: x(T).scatter_add(1, T.tensor([[1]]), T.ones(1, 1, dtype=T.float64)),
    "scatter_reduce any": lambda T: x(T).scatter_reduce(0, T.tensor([[0, 0]]), x(T), "any"),
    "scatter_reduce mean of ints": lambda T: x(T).long().scatter_reduce(0, T.tensor([[0, 0]]), -x(T).long(), "mean"),
    "scatter_reduce mean of bools": lambda T: x(T).bool().scatter_reduce(0, T.tensor([[0, 0]]), x(T).bool(), "mean"),
    "scatter_reduce sum of bools": lambda T: x(T).bool().scatter_reduce(0, T.tensor([[0, 0]]), x(T).bool(), "sum"),
    "scatter_reduce prod of bools": lambda T: x(T).bool().scatter_reduce(0, T.tensor([[0, 0]]), x(T).bool(), "prod"),
    "index_select by matrix": lambda T: x(T).index_select(0, T.tensor([[0], [1]])),
    "index_select by 0-d": lambda T: x(T).index_select(0, T.tensor(1)),
    "index_select 0-d": lambda T: zero_dim(T).index_select(0, T.tensor([0])),
    "index_select 0-d twice": lambda T: zero_dim(T).index_select(0, T.tensor([0, 0])),
    "index_copy scalar into vector": lambda T: pair(T).index_copy(0, T.tensor(1), T.tensor(3.0)),
    "index_copy scalar to two": lambda T: pair(T).index_copy(0, T.tensor([1, 0]), T.tensor(3.0)),
    "index_copy scalar into matrix": lambda T: x(T).index_copy(0, T.tensor([1]), T.tensor(1.0)),
    "index_copy vector into 0-d": lambda T: zero_dim(T).index_copy(0, T.tensor([0]), T.tensor([3.0])),
    "index_copy too many": lambda T: x(T).index_copy(0, T.tensor([0]), T.ones(2, 3)),
    "index_copy other width": lambda T: x(T).index_copy(0, T.tensor([0, 1]), T.ones(2, 2)),
    "index_copy too few dimensions": lambda T: x(T).index_copy(0, T.tensor([0]), T.ones(3)),
    "index_copy another dtype": lambda T: x(T).index_copy(0, T.tensor([1]), T.ones(1, 3, dtype=T.float64)),
    "index_add vector into 0-d": lambda T: zero_dim(T).index_add(0, T.tensor(0), T.tensor([3.0])),
    "index_add scalar into 0-d": lambda T: zero_dim(T).index_add(0, T.tensor([0]), T.tensor(3.0)),
    "index_add scalar into vector": lambda T: pair(T).index_add(0, T.tensor(1), T.tensor(3.0)),
    "index_add repeatedly": lambda T: x(T).index_add(0, T.tensor([0, 0, 1]), T.ones(3, 3)),
    "index_add fraction of ints": lambda T: x(T).long().index_add(0, T.tensor([1]), T.ones(1, 3).long(), alpha=2.5),
    "index_add bools": lambda T: x(T).bool().index_add(0, T.tensor([0]), T.ones(1, 3).bool()),
    "index_add by matrix": lambda T: x(T).index_add(0, T.tensor([[0], [1]]), T.ones(2, 3)),
    "index_add too few": lambda T: x(T).index_add(0, T.tensor([0, 0, 1]), T.ones(2, 3)),
    "index_add another dtype": lambda T: x(T).index_add(0, T.tensor([1]), T.ones(1, 3, dtype=T.float64)),
    "index_fill by matrix": lambda T: x(T).index_fill(0, T.tensor([[0], [1]]), 1.0),
    "index_fill 0-d": lambda T: zero_dim(T).index_fill(0, T.tensor(0), 7),
    "index_fill vector value": lambda T: x(T).index_fill(0, T.tensor([1]), T.tensor([2.0])),
    "index_fill fraction": lambda T: x(T).long().index_fill(0, T.tensor([0]), T.tensor(2.7)),
    "index_fill complex": lambda T: x(T).index_fill(0, T.tensor([0]), 2.5j),
    "index_reduce sum": lambda T: x(T).index_reduce(0, T.tensor([0]), T.ones(1, 3), "sum"),
    "index_reduce mean of ints": lambda T: x(T).long().index_reduce(0, T.tensor([0, 0]), -x(T).long(), "mean"),
    "index_reduce without itself": lambda T: x(T).index_reduce(0, T.tensor([0, 0]), x(T), "mean", include_self=False),
    "index_reduce 0-d": lambda T: zero_dim(T).index_reduce(0, T.tensor(0), T.tensor(3.0), "amax"),
    "index_reduce other width": lambda T: x(T).index_reduce(0, T.tensor([0]), T.ones(1, 2), "prod"),
    "index_put vector to rows": lambda T: x(T).index_put((T.tensor([0, 1]),), T.tensor([1.0, 2.0])),
    "index_put by mask": lambda T: x(T).index_put((x(T) > 2,), T.tensor([1.0, 2.0, 3.0])),
    "index_put too few by mask": lambda T: x(T).index_put((x(T) > 2,), T.tensor([1.0, 2.0])),
    "index_put number": lambda T: x(T).index_put((T.tensor([0]),), 1.0),
    "index_put None": lambda T: x(T).index_put([None, T.tensor([0])], T.tensor(1.0)),
    "index_put too many": lambda T: x(T).index_put((T.tensor([0]),) * 3, T.tensor(1.0)),
    "index_put unequal": lambda T: x(T).index_put((T.tensor([0, 1]), T.tensor([0, 1, 2])), T.tensor(1.0)),
    "index_put another dtype": lambda T: x(T).index_put((T.tensor([0]),), T.tensor([1])),
    "masked_fill uint8 too large": lambda T: x(T).to(T.uint8).masked_fill(x(T) > 2, 300),
    "masked_fill uint8 negative": lambda T: x(T).to(T.uint8).masked_fill(x(T) > 2, -1),
    "masked_fill wider mask": lambda T: zero_dim(T).masked_fill(x(T) > 2, 1),
    "masked_fill_ wider mask": lambda T: zero_dim(T).masked_fill_(x(T) > 2, 1),
    "masked_fill text": lambda T: x(T).masked_fill(x(T) > 2, "a"),
    "masked_fill complex": lambda T: x(T).masked_fill(x(T) > 2, T.tensor(1j)),
    "masked_fill by ints": lambda T: x(T).masked_fill(x(T).long(), 1.0),
    "masked_select by uint8": lambda T: x(T).masked_select(x(T).to(T.uint8)),
    "masked_scatter too few": lambda T: x(T).masked_scatter(x(T) > 2, T.tensor([1.0])),
    "masked_scatter wide": lambda T: zero_dim(T).masked_scatter(T.tensor([True, False]), T.tensor([1.0, 2.0])),
    "put unequal": lambda T: x(T).put(T.tensor([0, 1]), T.tensor([1.0])),
    "put into nothing": lambda T: T.zeros(0).put(T.tensor([0]), T.tensor([1.0])),
    "take from nothing": lambda T: T.zeros(0).take(T.tensor([0])),
    "take nothing from nothing": lambda T: T.zeros(0).take(T.zeros(0, dtype=T.int64)),
    "take_along_dim other dimensions": lambda T: x(T).take_along_dim(T.tensor([1]), 1),
    "take_along_dim 0-d": lambda T: zero_dim(T).take_along_dim(T.tensor(0), 0),
    "select of 0-d": lambda T: zero_dim(T).select(0, 0),
    "narrow too far": lambda T: x(T).narrow(0, 0, 3),
    "narrow to negative": lambda T: x(T).narrow(0, 0, -1),
    "narrow from a tensor": lambda T: x(T).narrow(0, T.tensor(1), 1),
    "narrow from a vector": lambda T: x(T).narrow(0, T.tensor([1]), 1),
    "narrow of 0-d": lambda T: zero_dim(T).narrow(0, 0, 1),
    "select_scatter other shape": lambda T: x(T).select_scatter(T.zeros(2), 0, 0),
    "slice_scatter other shape": lambda T: x(T).slice_scatter(T.zeros(3), 0, 1),
    "slice_scatter step": lambda T: x(T).slice_scatter(T.zeros(1, 3), 0, 0, 2, 0),
    "slice_scatter ints": lambda T: x(T).slice_scatter(T.zeros(1, 3).long(), 0, -5, 1),
    "diagonal_scatter other shape": lambda T: x(T).diagonal_scatter(T.zeros(3)),
    "as_strided_scatter other shape": lambda T: x(T).as_strided_scatter(T.zeros(2), (3,), (2,), 1),
    "as_strided_scatter": lambda T: x(T).as_strided_scatter(T.zeros(2), (2,), (2,), 1),
}


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    compare(lambda: CALLS[name](torchlite), lambda: CALLS[name](torch))


@pytest.mark.parametrize("reduce", ["prod", "amax", "amin"])
def test_many_elements_scattered_at_once(reduce: str) -> None:
    """Large enough that a loop over the elements would be seen."""
    rng = np.random.default_rng(0)
    values, index = rng.uniform(0.99, 1.01, (50, 4_000)), rng.integers(0, 40, (50, 4_000))

    def reduced(T: Any) -> Any:
        source = T.tensor(values, requires_grad=True)
        out = T.ones(50, 40, dtype=T.float64).scatter_reduce(1, T.tensor(index), source, reduce)
        (gradient,) = T.autograd.grad(out.sum(), source)
        return out, gradient

    assert_same(reduced(torchlite), reduced(torch), tolerance=1e-9)
