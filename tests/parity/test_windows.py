"""torchlite.signal.windows against torch.signal.windows."""

import pytest
from oracle import same

NAMES = [
    *("hann", "hamming", "blackman", "bartlett", "cosine", "gaussian", "exponential", "general_hamming", "kaiser"),
    "nuttall",
]
OLDER = ["hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window"]


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_windows(name: str, sym: bool) -> None:
    for length in (0, 1, 2, 7, 8, -1):
        same(lambda T, n=length: getattr(T.signal.windows, name)(n, sym=sym), tolerance=1e-6)
        same(lambda T, n=length: getattr(T.signal.windows, name)(n, sym=sym, dtype=T.float64), tolerance=1e-12)


@pytest.mark.parametrize("name", OLDER)
def test_older_names(name: str) -> None:
    for length in (0, 1, 2, 7, 8):
        same(lambda T, n=length: (getattr(T, name)(n), getattr(T, name)(n, periodic=False)), tolerance=1e-6)
    same(lambda T: getattr(T, name)(-1))
    same(lambda T: getattr(T, name)(5, dtype=T.int64))
    same(
        lambda T: getattr(T, name)(5, dtype=T.float64, requires_grad=True, device="cpu", layout=T.strided),
        tolerance=1e-12,
    )


@pytest.mark.parametrize("name", NAMES)
def test_refused_arguments(name: str) -> None:
    for keywords in ({"dtype": "int64"}, {"dtype": "float16"}):
        same(lambda T, k=keywords: getattr(T.signal.windows, name)(5, dtype=getattr(T, k["dtype"])))
    same(
        lambda T: getattr(T.signal.windows, name)(5, requires_grad=True, device="cpu", layout=T.strided), tolerance=1e-6
    )


def test_parameters_of_windows() -> None:
    windows = (
        ("general_cosine", {"a": (0.5, 0.3, 0.2)}), ("general_cosine", {"a": ()}), ("general_cosine", {"a": 0.5}),
        ("gaussian", {"std": 2.0}), ("gaussian", {"std": 0}), ("kaiser", {"beta": 3.0}), ("kaiser", {"beta": -1}),
        ("exponential", {"tau": 2.0, "center": 1.0, "sym": False}), ("exponential", {"center": 1.0}), ("exponential", {"tau": 0}),
    )  # fmt: skip
    for name, keywords in windows:
        same(lambda T, n=name, k=keywords: getattr(T.signal.windows, n)(6, **k), tolerance=1e-6)
    same(lambda T: T.hamming_window(6, True, 0.6, 0.3), tolerance=1e-6)
    same(lambda T: T.kaiser_window(6, False, 5.0, dtype=T.float64), tolerance=1e-12)
