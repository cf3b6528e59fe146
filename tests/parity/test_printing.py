"""Tensors print as PyTorch prints them: thousands of them, letter by letter."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, torch

import torchlite

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64", "complex128")
SHAPES = [(), (1,), (3,), (0,), (2, 0), (2, 3), (1, 1), (2, 3, 4), (40,), (1001,), (11, 100), (10, 11, 12), (7, 1, 200)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"precision": 2},
    {"sci_mode": True},
    {"sci_mode": False},
    {"linewidth": 40},
    {"profile": "short"},
    {"profile": "full"},
    {"threshold": 5, "edgeitems": 1},
    {"edgeitems": 0, "threshold": 3},
    {"edgeitems": 2, "threshold": 10, "linewidth": 120, "precision": 8},
]


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[Any]:
    n = rng.normal(size=shape)
    yield from (n, np.round(n * 10), n * 1e9, n * 1e-6, n * 10.0 ** rng.integers(-6, 6, size=shape), n * 0, n * -0.0)
    yield from (n * np.nan, n * 300, np.round(n * 1e7), np.round(n * 2) * 1e5)
    yield np.where(rng.random(shape) < 0.3, np.nan, np.where(rng.random(shape) < 0.3, np.inf, n))
    yield np.where(rng.random(shape) < 0.5, -np.inf, np.round(n * 4))


@pytest.fixture
def options(request: Any) -> Iterator[None]:
    for T in BOTH:
        T.set_printoptions(**request.param)
    yield
    for T in BOTH:
        T.set_printoptions(profile="default")


@pytest.mark.parametrize("options", OPTIONS, indirect=True, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_all_kinds_of_numbers(options: None, dtype: str, request: Any) -> None:
    rng = np.random.default_rng(0)
    plain = not request.node.callspec.params["options"]
    for shape in SHAPES if plain else [s for s in SHAPES if np.prod(s) < 300]:
        for array in numbers(rng, shape):
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                values = array + 1j * array[::-1] if "complex" in dtype and shape else array
                theirs = torch.tensor(values).to(getattr(torch, dtype))
                wide = theirs.float() if dtype == "bfloat16" else theirs
                ours = torchlite.from_numpy(wide.numpy().copy()).to(getattr(torchlite, dtype))
            assert repr(ours) == repr(theirs)
            if dtype in ("float32", "complex64") and plain:
                ours.requires_grad_(), theirs.requires_grad_()
                assert repr(ours) == repr(theirs)
                assert repr(ours * 1) == repr(theirs * 1)


def test_what_stands_around_the_numbers() -> None:
    def texts(T: Any) -> list[str]:
        subclass = type("Marked", (T.Tensor,), {})
        x = T.ones(2, 2, requires_grad=True)
        kinds = [
            x @ x, x.sum(), x.mean(), x.exp(), x[0], T.nn.functional.linear(x, x, x[0]), x.double(), x.log1p(), x.view(4), x.sqrt(),
            T.nn.Parameter(T.ones(2)), T.nn.Parameter(T.ones(2), requires_grad=False), subclass([1.0, 2.0]), x.cumsum(0),
            *(T.zeros(2, device="meta", dtype=d) for d in (T.float32, T.int64, T.bool, T.float64)), x.softmax(0), x.relu(),
            T.zeros(2, 0, dtype=T.int64), T.tensor([1e-8 + 1j, 2e8]), T.ones(1, 1, 1, 1, dtype=T.int8), x.expand(3, 2, 2),
        ]  # fmt: skip
        return [repr(kind) for kind in kinds]

    assert texts(torchlite) == texts(torch)


def test_with_another_default_dtype() -> None:
    found = []
    for T in BOTH:
        T.set_default_dtype(T.float64)
        try:
            found.append(
                [
                    repr(x)
                    for x in (T.zeros(2), T.zeros(2, dtype=T.float32), T.zeros(2, dtype=T.complex64), T.tensor([1j]))
                ]
            )
        finally:
            T.set_default_dtype(T.float32)
    assert found[0] == found[1]
