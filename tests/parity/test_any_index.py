"""Indexing against PyTorch with keys that hypothesis draws: what is read, written, refused, shared and differentiated."""

from typing import Any

import numpy as np
import pytest
from oracle import assert_same, attempt, tensors, torch

import torchlite

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")
SETTINGS = settings(derandomize=True, max_examples=150, deadline=None, database=None)
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


class OfBoth:
    """An array in a key that becomes a tensor of the library at hand."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __repr__(self) -> str:
        return f"tensor({self.array.tolist()}, {self.array.dtype})"


def of(library: Any, value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(of(library, v) for v in value)
    return library.tensor(value.array) if isinstance(value, OfBoth) else value


def arrays(dtype: str, elements: Any, shape: tuple[int, ...]) -> Any:
    n = int(np.prod(shape))
    return st.lists(elements, min_size=n, max_size=n).map(lambda v: OfBoth(np.array(v, dtype).reshape(shape)))


@st.composite
def keys(draw: Any, shape: tuple[int, ...]) -> Any:
    """A key for a tensor of ``shape``, now and then one that does not fit."""
    index_shape = draw(st.sampled_from([(), (2,), (3,), (1, 2), (2, 1), (0,)]))
    entries, axis = [], 0
    while axis < len(shape) and len(entries) < 6 and draw(st.integers(0, 7)):
        n = shape[axis]
        kind = draw(st.sampled_from("iiissstttlmMubBNEn"))
        position = st.integers(-n - (not draw(st.integers(0, 15))), max(n - 1, 0))
        if kind == "i":
            entries.append(draw(position))
        elif kind == "s":
            bound = st.none() | st.integers(-n - 1, n + 1)
            entries.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, None, 1, 2, 3]))))
        elif kind == "t":
            dtype = draw(st.sampled_from(["int64", "int64", "int32"]))
            entries.append(draw(arrays(dtype, position, index_shape)))
        elif kind == "l":
            entries.append(draw(st.lists(position, max_size=3)))
        elif kind in "mu":
            entries.append(draw(arrays("bool" if kind == "m" else "uint8", st.integers(0, 1), (n,))))
        elif kind == "M":
            entries.append(draw(arrays("bool", st.booleans(), shape[axis : axis + 2])))
            axis += len(shape[axis : axis + 2]) - 1
        elif kind == "b":
            entries.append(draw(st.booleans()))
            axis -= 1
        elif kind == "B":
            entries.append(OfBoth(draw(st.booleans())))
            axis -= 1
        elif kind == "N":
            entries.append(None)
            axis -= 1
        elif kind == "E" and not any(e is Ellipsis for e in entries):
            entries.append(Ellipsis)
            axis = max(axis, len(shape) - draw(st.integers(0, 2)) - 1)
        else:
            entries.append(np.int64(draw(position)))
        axis += 1
    return entries[0] if len(entries) == 1 and draw(st.booleans()) else tuple(entries)


@st.composite
def cases(draw: Any) -> tuple[tuple[int, ...], Any]:
    shape = draw(SHAPES)
    return shape, draw(keys(shape))


def numbers_of(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def refused(ours: Exception | None, theirs: Exception, what: Any) -> None:
    kind = RuntimeError if isinstance(theirs, NotImplementedError) else type(theirs)
    assert isinstance(ours, kind), (what, ours, theirs)


def accepted_for_nothing(error: Exception, theirs: Any) -> None:
    """PyTorch does not look at positions where nothing is read or written; here they must exist."""
    if not (isinstance(error, IndexError) and theirs.numel() == 0):
        raise error


@SETTINGS
@given(cases())
def test_reading(case: tuple[tuple[int, ...], Any]) -> None:
    shape, key = case
    a, b = tensors(numbers_of(shape), requires_grad=True)
    theirs, error = attempt(lambda: b[of(torch, key)])
    ours, our_error = attempt(lambda: a[of(torchlite, key)])
    if error is not None:
        refused(our_error, error, key)
        return
    if our_error is not None:
        accepted_for_nothing(our_error, theirs)
        return
    assert_same(ours, theirs, what=f"x[{key}]")
    weights = tensors(numbers_of(tuple(theirs.shape), 1))
    (ours * weights[0]).sum().backward()
    (theirs * weights[1]).sum().backward()
    assert_same(a.grad, b.grad, what=f"gradient of x[{key}]")
    if theirs.numel():
        shares = theirs.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
        assert (ours.untyped_storage().data_ptr() == a.untyped_storage().data_ptr()) == shares, key
        if shares:
            assert (ours.storage_offset(), ours._version) == (theirs.storage_offset(), theirs._version)


def distinct(shape: tuple[int, ...], key: Any) -> bool:
    """Whether a key names no element twice, so that it is determined what a write leaves."""
    places, _ = attempt(lambda: torch.arange(int(np.prod(shape))).reshape(shape)[of(torch, key)].reshape(-1))
    return places.unique().numel() == places.numel()


VALUES = ["number", "whole", "last", "one", "ones in front", "too long", "int64"]


@SETTINGS
@given(cases(), st.sampled_from(VALUES), st.booleans())
def test_writing(case: tuple[tuple[int, ...], Any], value: str, through_view: bool) -> None:
    shape, key = case
    region, error = attempt(lambda: torch.zeros(shape)[of(torch, key)].shape)
    old_masks = [
        e for e in (key if type(key) is tuple else (key,)) if isinstance(e, OfBoth) and e.array.dtype == np.uint8
    ]
    if old_masks or (error is None and not distinct(shape, key)):  # PyTorch does not fill masks of uint8
        return
    region = () if error else tuple(region)
    shapes = {
        "whole": region,
        "last": region[-1:],
        "one": (1,),
        "ones in front": (1, 1, *region),
        "too long": (7, *region),
    }
    source = (
        (2.5, 2.5)
        if value == "number"
        else tensors(numbers_of(shapes.get(value, region), 2), requires_grad=value != "int64")
    )
    if value == "int64":
        source = tuple(v.long() for v in source)
    leaves = tensors(numbers_of((*shape, 2) if through_view else shape), requires_grad=True)
    bases = [leaf * 1 for leaf in leaves]
    targets = [base[..., 0] if through_view else base for base in bases]
    _, error = attempt(lambda: targets[1].__setitem__(of(torch, key), source[1]))
    _, our_error = attempt(lambda: targets[0].__setitem__(of(torchlite, key), source[0]))
    if error is not None:
        if not (value == "too long" and isinstance(our_error, IndexError)):  # both are wrong, and either may be told
            refused(our_error, error, (shape, key, value))
        return
    if our_error is not None:
        accepted_for_nothing(our_error, source[1] if value == "whole" else torch.zeros(region))
        return
    assert_same(*targets, what=f"x[{key}] = {value}")
    assert_same(*bases, what=f"the base of x after x[{key}] = {value}")
    weights = tensors(numbers_of(tuple(bases[1].shape), 3))
    for base, weight in zip(bases, weights, strict=True):
        (base * weight).sum().backward()
    assert_same(leaves[0].grad, leaves[1].grad, what=f"gradient of x in x[{key}] = {value}")
    if value not in ("number", "int64"):
        mine, other = (v.grad if v.grad is not None else v.detach() * 0 for v in source)
        assert_same(mine, other, what=f"gradient of the value in x[{key}] = {value}")


@SETTINGS
@given(cases())
def test_adding_at_places_that_repeat(case: tuple[tuple[int, ...], Any]) -> None:
    shape, key = case
    entries = tuple(
        e
        for e in (key if type(key) is tuple else (key,))
        if isinstance(e, OfBoth) and e.array.dtype != np.uint8 and e.array.ndim
    )
    region, error = attempt(lambda: torch.zeros(shape)[of(torch, entries)].shape)
    if error is not None or not entries:
        return
    (a, b), (v, w) = (tensors(numbers_of(s, i), requires_grad=True) for i, s in enumerate((shape, tuple(region))))
    theirs, error = attempt(lambda: b.index_put(of(torch, entries), w, accumulate=True))
    ours, our_error = attempt(lambda: a.index_put(of(torchlite, entries), v, accumulate=True))
    if error is not None:
        refused(our_error, error, entries)
        return
    if our_error is not None:
        accepted_for_nothing(our_error, w)
        return
    assert_same(ours, theirs, what=str(entries))
    weights = tensors(numbers_of(shape, 4))
    (ours * weights[0]).sum().backward()
    (theirs * weights[1]).sum().backward()
    assert_same([a.grad, v.grad], [b.grad, w.grad], what=f"gradients of index_put {entries}")
