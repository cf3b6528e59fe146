"""Indexing against PyTorch: random keys for reading, writing and their gradients."""

from typing import Any

import numpy as np
import pytest
from oracle import assert_same, attempt, same, tensors, torch

import torchlite

SHAPES = [(5,), (4, 3), (2, 3, 4), (3, 1, 2, 4), (2, 0, 3), ()]
KEYS_PER_SHAPE = 120


class OfBoth:
    """An entry of a key that is a tensor: made for the library at hand."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __repr__(self) -> str:
        return f"tensor({self.array.tolist()})"


def of(library: Any, key: Any) -> Any:
    """``key`` with its arrays as tensors of ``library``."""
    if type(key) is tuple:
        return tuple(of(library, e) for e in key)
    return library.tensor(key.array) if isinstance(key, OfBoth) else key


def random_entry(rng: np.random.Generator, n: int, index_shape: tuple[int, ...]) -> Any:
    kind = rng.integers(0, 8)
    if kind <= 2 or n == 0:
        start, stop = (int(v) if rng.random() > 0.3 else None for v in rng.integers(-n - 1, n + 2, 2))
        return slice(start, stop, int(rng.integers(1, 4)) if rng.random() > 0.5 else None)
    if kind <= 4:
        return int(rng.integers(-n, n))
    if kind == 5:
        return OfBoth(rng.integers(-n, n, index_shape))
    if kind == 6:
        return (
            OfBoth(rng.random(n) > 0.5) if not index_shape else [int(i) for i in rng.integers(-n, n, index_shape[-1])]
        )
    return OfBoth(rng.integers(0, n))


def random_key(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    index_shape = [(), (2,), (3, 2), (1,), (2, 2)][rng.integers(0, 5)]
    entries: list[Any] = []
    axis = 0
    while axis < len(shape) and rng.random() > 0.15:
        if rng.random() < 0.08 and axis + 1 < len(shape):
            entries.append(OfBoth(rng.random(shape[axis : axis + 2]) > 0.5))
            axis += 2
        else:
            entries.append(random_entry(rng, shape[axis], index_shape))
            axis += 1
        if rng.random() < 0.12:
            entries.append(None)
    if axis < len(shape) and rng.random() < 0.5:
        # Dimensions between the ellipsis and the end are addressed from the back.
        entries.append(Ellipsis)
        if rng.random() < 0.5:
            entries.append(random_entry(rng, shape[-1], index_shape))
    elif rng.random() < 0.2:
        entries.insert(int(rng.integers(0, len(entries) + 1)), Ellipsis)
    if len(entries) == 1 and rng.random() < 0.5:
        return entries[0]
    return tuple(entries)


def keys(shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng([9, *shape])
    return [random_key(rng, shape) for _ in range(KEYS_PER_SHAPE)]


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_by_random_keys(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).normal(size=shape)
    read = 0
    for key in keys(shape):
        a, b = tensors(x, requires_grad=True)
        theirs, their_error = attempt(lambda k=key, b=b: b[of(torch, k)])
        ours, our_error = attempt(lambda k=key, a=a: a[of(torchlite, k)])
        assert (our_error is None) == (their_error is None), (key, our_error, their_error)
        if their_error is not None:
            assert isinstance(our_error, (IndexError, RuntimeError)), (key, our_error)
            continue
        assert_same(ours, theirs, what=f"x[{key}]")
        weights = np.random.default_rng(2).normal(size=tuple(theirs.shape))
        (ours * torchlite.tensor(weights)).sum().backward()
        (theirs * torch.tensor(weights)).sum().backward()
        assert_same(a.grad, b.grad, what=f"gradient of x[{key}]")
        # What shares memory in PyTorch must share it here.
        shares = theirs.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() and theirs.numel() > 0
        assert np.shares_memory(ours.detach().numpy(), a.detach().numpy()) == shares, key
        read += 1
    assert read > KEYS_PER_SHAPE // 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("source", ["number", "tensor", "row"])
def test_writing_by_random_keys(shape: tuple[int, ...], source: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=shape)
    for key in keys(shape)[: KEYS_PER_SHAPE // 2]:
        leaf_a, leaf_b = tensors(x, requires_grad=True)
        a, b = leaf_a * 1, leaf_b * 1
        region, error = attempt(lambda k=key, b=b: b.detach()[of(torch, k)].shape)
        if error is not None or repeated(key):
            continue
        if source == "number":
            values: Any = (7.5, 7.5)
        else:
            value_shape = tuple(region) if source == "tensor" else tuple(region[-1:])
            values = tensors(rng.normal(size=value_shape), requires_grad=True)
        b[of(torch, key)] = values[1]
        a[of(torchlite, key)] = values[0]
        assert_same(a, b, what=f"x[{key}] = {source}")
        weights = rng.normal(size=shape)
        (a * torchlite.tensor(weights)).sum().backward()
        (b * torch.tensor(weights)).sum().backward()
        assert_same(leaf_a.grad, leaf_b.grad, what=f"gradient of x in x[{key}] = {source}")
        if source != "number":
            theirs = values[1].grad if values[1].grad is not None else torch.zeros_like(values[1])
            ours = values[0].grad if values[0].grad is not None else torchlite.zeros_like(values[0])
            assert_same(ours, theirs, what=f"gradient of the value in x[{key}] = {source}")


def repeated(key: Any) -> bool:
    """Whether an element may be written twice, where the winner is not defined."""
    entries = key if type(key) is tuple else (key,)
    many = [e for e in entries if isinstance(e, list) or (isinstance(e, OfBoth) and e.array.dtype != bool)]
    return any(np.size(e.array if isinstance(e, OfBoth) else e) > 1 for e in many)


def test_writing_many_elements_by_index_tensors() -> None:
    x, places = np.zeros((5, 3)), np.array([4, 0, 2])
    same(lambda T, x, i: set_and_return(x.clone(), i, 1.0), x, places)
    same(lambda T, x, i: set_and_return(x.clone(), (i, 1), T.tensor([1.0, 2.0, 3.0], dtype=T.float64)), x, places)
    same(
        lambda T, x, i: set_and_return(x.clone(), (slice(None), i[1:]), T.arange(10.0, dtype=T.float64).view(5, 2)),
        x,
        places,
    )
    same(lambda T, x, i: set_and_return(x.clone(), (i[:, None], T.tensor([[0, 2]])), 4), x, places)
    same(lambda T, x: set_and_return(x.clone(), x > 0.5, 0.0), np.random.default_rng(0).random((3, 4)))
    same(
        lambda T, x: set_and_return(x.clone(), x > 0.5, T.arange(6.0, dtype=T.float64)[: int((x > 0.5).sum())]),
        np.linspace(0, 1, 11),
    )
    same(lambda T, x: set_and_return(x, (0, 1), 3.7), np.arange(6).reshape(2, 3))
    same(lambda T, x: set_and_return(x, 0, T.tensor([1.9, -1.9, 300.0])), np.arange(6).reshape(2, 3))
    same(lambda T, x: set_and_return(x, slice(0, 1), True), np.arange(6).reshape(2, 3))
    same(lambda T, x: set_and_return(x, 0, T.ones(1, 1, 3)), np.arange(6).reshape(2, 3))
    same(lambda T, x: set_and_return(x, 0, T.ones(2)), np.arange(6).reshape(2, 3))
    same(lambda T, x: set_and_return(x, 5, 1), np.arange(6).reshape(2, 3))
    same(lambda T, x: set_and_return(x, (0, 0, 0), 1), np.arange(6).reshape(2, 3))
    same(lambda T, x: set_and_return(x, T.tensor([True, False, True]), 1), np.arange(6).reshape(2, 3))


def set_and_return(x: Any, key: Any, value: Any) -> Any:
    x[key] = value
    return x


KEYS: list[Any] = [
    True, False, (slice(None), True), (None, False), [], ([0, 1], [1, 0]), [True, False], (slice(None), [0, 2]),
    np.int64(1), np.array([0, 1]), np.array([True, False]), (0, 0, 0), 2, -3, slice(None, None, -1),
    slice(5, 9), slice(2, 1), 1.5, "a", (None, None), (Ellipsis, None, 0), OfBoth(np.array([1.0])), OfBoth(np.uint8([1, 0])),
    OfBoth(np.int32([1, 0])), OfBoth([[True, False, True]]), OfBoth(True), OfBoth(False), (OfBoth([0, 1]), OfBoth([0, 1, 2])),
    (slice(None), OfBoth(np.array(2))), (OfBoth([0]), slice(None), None), range(2), (OfBoth(1), OfBoth([2, 0])),
    (0, OfBoth([2, 0])), (OfBoth([1, 0]), 0), (slice(OfBoth(1).array.item(), None),),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_unusual_keys(key: Any) -> None:
    x = np.arange(6.0).reshape(2, 3)
    a, b = tensors(x)
    with np.errstate(all="ignore"):
        theirs, their_error = attempt(lambda: b[of(torch, key)])
        ours, our_error = attempt(lambda: a[of(torchlite, key)])
    assert (our_error is None) == (their_error is None), (our_error, their_error, ours)
    if their_error is None:
        assert_same(ours, theirs)
    else:
        assert isinstance(our_error, (IndexError, type(their_error))), our_error
