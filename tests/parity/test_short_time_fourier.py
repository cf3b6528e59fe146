"""stft and istft against PyTorch, with gradients."""

from typing import Any

import numpy as np
import pytest
from oracle import same

import torchlite

rng = np.random.default_rng(71)
SIGNALS, WINDOW = rng.normal(size=(2, 60)), np.abs(rng.normal(size=16)) + 0.1


def real(T: Any, z: Any) -> Any:
    return T.view_as_real(z.resolve_conj()) if z.is_complex() else z


FORWARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "hop": {"hop_length": 5},
    "not_centred": {"center": False},
    "normalized": {"normalized": True},
    "two_sided": {"onesided": False},
    "replicated": {"pad_mode": "replicate"},
    "circular": {"pad_mode": "circular"},
    "constant": {"pad_mode": "constant"},
    "as_real": {"return_complex": False},
    "unknown_padding": {"pad_mode": "other"},
    "no_hop": {"hop_length": 0},
    "long_window": {"win_length": 20},
}


@pytest.mark.parametrize("name", FORWARD)
def test_stft(name: str) -> None:
    keywords = {"return_complex": True, **FORWARD[name]}
    same(lambda T, x, w: real(T, T.stft(x, 16, window=w, **keywords)), SIGNALS, WINDOW)
    same(lambda T, x: real(T, x.stft(16, **keywords)), SIGNALS[0])


def test_short_windows_are_centred_or_aligned() -> None:
    for keywords in ({}, {"center": False}, {"center": False, "align_to_window": True}, {"align_to_window": True}):
        same(
            lambda T, x, w, k=keywords: real(T, T.stft(x, 16, 4, 11, w, return_complex=True, **k)),
            SIGNALS,
            WINDOW[:11],
        )


def test_stft_refuses() -> None:
    same(lambda T, x: T.stft(x, 16), SIGNALS)
    same(lambda T, x: T.stft(x, 200, center=False, return_complex=True), SIGNALS)
    same(lambda T, x: T.stft(x, 16, window=T.ones(8), return_complex=True), SIGNALS)
    same(lambda T, x: T.stft(T.complex(x, x), 16, onesided=True), SIGNALS)
    same(lambda T: T.stft(T.zeros(100, dtype=T.int64), 4, return_complex=True))


BACKWARD: dict[str, dict[str, Any]] = {
    "plain": {},
    "length": {"length": 50},
    "longer": {"length": 70},
    "normalized": {"normalized": True},
    "not_onesided": {"onesided": False},
    "complex": {"onesided": False, "return_complex": True},
    "wrong_hop": {"hop_length": 17},
}


@pytest.mark.parametrize("name", BACKWARD)
def test_istft(name: str) -> None:
    keywords = BACKWARD[name]
    rows = 16 if keywords.get("onesided") is False else 9
    a, b = rng.normal(size=(2, 2, rows, 12))
    same(lambda T, x, y, w: real(T, T.istft(T.complex(x, y), 16, window=w, **keywords)), a, b, WINDOW, tolerance=1e-8)
    same(lambda T, x, y: real(T, T.complex(x, y).istft(16, **keywords)), a[0], b[0], tolerance=1e-8)


def test_istft_refuses() -> None:
    z = rng.normal(size=(9, 5, 2))
    same(lambda T, x: T.istft(x, 16), z)
    for keywords in ({"n_fft": 20}, {"return_complex": True}, {"window": np.zeros(16)}, {"window": np.ones(8)}):
        k = {"n_fft": 16, **keywords}
        same(
            lambda T, x, k=k: T.istft(
                T.view_as_complex(x), **{n: T.tensor(v) if n == "window" else v for n, v in k.items()}
            ),
            z,
        )
    same(lambda T: T.istft(T.zeros(9, 0, dtype=T.complex64), 16))


def test_the_inverse_restores_the_signal() -> None:
    x, w = torchlite.tensor(SIGNALS), torchlite.hann_window(16, dtype=torchlite.float64)
    for keywords in ({}, {"normalized": True}, {"hop_length": 3}, {"onesided": False}):
        spectra = torchlite.stft(x, 16, window=w, return_complex=True, **keywords)
        back = torchlite.istft(spectra, 16, window=w, length=60, **keywords)
        np.testing.assert_allclose(back.numpy(), SIGNALS, atol=1e-12)
