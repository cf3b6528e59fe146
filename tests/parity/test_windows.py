"""torchlite.signal.windows against torch.signal.windows."""

import pytest
from oracle import same

NAMES = ["hann", "hamming", "blackman", "bartlett", "cosine", "gaussian", "exponential", "general_hamming"]


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_windows(name: str, sym: bool) -> None:
    for length in (0, 1, 2, 7, 8, -1):
        same(lambda T, n=length: getattr(T.signal.windows, name)(n, sym=sym), tolerance=1e-6)
        same(lambda T, n=length: getattr(T.signal.windows, name)(n, sym=sym, dtype=T.float64), tolerance=1e-12)


@pytest.mark.parametrize("name", ["hann_window", "hamming_window", "blackman_window", "bartlett_window"])
def test_older_names(name: str) -> None:
    for length in (0, 1, 2, 7, 8):
        same(lambda T, n=length: (getattr(T, name)(n), getattr(T, name)(n, periodic=False)), tolerance=1e-6)
