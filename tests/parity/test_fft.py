"""torchlite.fft against torch.fft, with gradients."""

from typing import Any

import numpy as np
import pytest
from oracle import same

rng = np.random.default_rng(61)
X, Y, CUBE = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 5))


def real(T: Any, z: Any) -> Any:
    return T.view_as_real(z.resolve_conj()) if z.is_complex() else z


@pytest.mark.parametrize("norm", [None, "backward", "forward", "ortho", "other"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "ihfft"])
def test_one_dimension_of_real_signals(name: str, norm: Any) -> None:
    for n, dim in ((None, -1), (3, 0), (7, 1), (0, 1), (None, 3)):
        same(lambda T, x, n=n, dim=dim: real(T, getattr(T.fft, name)(x, n, dim, norm)), X)
    same(lambda T, x: real(T, getattr(T.fft, name)(x, norm=norm)), X.astype(np.float32), tolerance=1e-5)


@pytest.mark.parametrize("norm", [None, "forward", "ortho"])
@pytest.mark.parametrize("name", ["fft", "ifft", "irfft", "hfft", "rfft"])
def test_one_dimension_of_complex_signals(name: str, norm: Any) -> None:
    for n, dim in ((None, -1), (3, 0), (7, 1), (1, 1)):
        same(lambda T, x, y, n=n, dim=dim: real(T, getattr(T.fft, name)(T.complex(x, y), n, dim, norm)), X, Y)


SEVERAL = ["fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn", "fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2"]


@pytest.mark.parametrize("name", SEVERAL)
def test_several_dimensions(name: str) -> None:
    same(lambda T, x: real(T, getattr(T.fft, name)(x)), CUBE)
    same(lambda T, x: real(T, getattr(T.fft, name)(x, s=(4, 3), dim=(0, 2), norm="ortho")), CUBE)


def test_frequencies_and_shifts() -> None:
    for n in (4, 5):
        same(lambda T, n=n: (T.fft.fftfreq(n), T.fft.rfftfreq(n, 0.5)))
    same(lambda T, x: (T.fft.fftshift(x), T.fft.ifftshift(x), T.fft.fftshift(x, 1)), CUBE)
    same(lambda T, x: real(T, T.fft.fft(x)), np.arange(4))
    same(lambda T: (T.fft.fftfreq(0), T.fft.fftfreq(4, dtype=T.float64, requires_grad=True)))
    same(lambda T: T.fft.fftfreq(4, dtype=T.int64))
    same(lambda T, x: T.fft.fftshift(x, 3), CUBE)


@pytest.mark.parametrize("name", SEVERAL)
def test_refused_shapes(name: str) -> None:
    for keywords in ({"dim": (0, 0)}, {"dim": ()}, {"s": (1, 1, 1, 1)}, {"s": (2, 2), "dim": (0,)}, {"dim": (0, 5)}):
        same(lambda T, x, k=keywords: real(T, getattr(T.fft, name)(x, **k)), CUBE)
    same(lambda T: getattr(T.fft, name)(T.zeros(4, 4, dtype=T.float16)))


@pytest.mark.parametrize("name", ["hfftn", "irfftn", "hfft2", "irfft2"])
def test_several_dimensions_of_complex_signals(name: str) -> None:
    for keywords in (
        {},
        {"s": (4, 3), "dim": (0, 2), "norm": "ortho"},
        {"s": (3, 5), "dim": (1, 0), "norm": "forward"},
    ):
        same(lambda T, x, y, k=keywords: getattr(T.fft, name)(T.complex(x, y), **k), CUBE, CUBE[::-1].copy())
