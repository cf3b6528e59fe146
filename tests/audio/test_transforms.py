"""Transforms of waveforms."""

import numpy as np
import pytest

from torchlite.audio.transforms import AddNoise, LogMel, SpecAugment, TimeShift, triangles

KEYS = np.arange(4, dtype=np.uint64) * np.uint64(1_000_003)


def test_a_sine_is_loudest_in_its_own_band() -> None:
    transform = LogMel(8000, n_fft=256, hop=128, mels=32)
    centres = triangles(8000, 256, 32).argmax(0) * 8000 / 256
    t = np.arange(2000) / 8000
    for pitch in (400.0, 1000.0, 2500.0):
        wave = np.sin(2 * np.pi * pitch * t).astype(np.float32)[None, None]
        loudest = transform(wave, KEYS[:1])[0, 0].mean(1).argmax()
        assert abs(centres[loudest] - pitch) < 150


def test_frames_are_what_a_loop_over_them_gives() -> None:
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((2, 1, 300)).astype(np.float32)
    transform = LogMel(8000, n_fft=64, hop=32, mels=8)
    out = transform(batch, KEYS[:2])
    assert out.shape == (2, *transform.infer((1, 300), "float32")[0]) == (2, 1, 8, 8)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    power = np.abs(np.fft.rfft(batch[1, 0, 3 * 32 : 3 * 32 + 64] * window)) ** 2
    np.testing.assert_allclose(out[1, 0, :, 3], np.log(power @ triangles(8000, 64, 8) + 1e-6), rtol=1e-4)


def test_a_shift_turns_each_waveform_by_its_key() -> None:
    batch = np.arange(4 * 10, dtype=np.float32).reshape(4, 1, 10)
    out = TimeShift(3)(batch, KEYS)
    for before, after in zip(batch[:, 0], out[:, 0], strict=True):
        assert any(np.array_equal(after, np.roll(before, shift)) for shift in range(-3, 4))
    assert np.array_equal(TimeShift(0)(batch, KEYS), batch)
    assert np.array_equal(TimeShift(3)(batch[2:3], KEYS[2:3]), out[2:3]), "whatever the batch"


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 100), "float32", "at least 256"),
        ((8,), "float32", "waveforms"),
        ((1, 300), "int16", "put to_float before it"),
    ],
)
def test_what_cannot_be_transformed(shape: tuple[int, ...], dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(8000).infer(shape, dtype)


def test_a_shift_in_seconds() -> None:
    assert TimeShift("5 ms", sample_rate=1000).most == 5
    for wrong in ("5", "0 s", "five s"):
        with pytest.raises(ValueError, match="a stretch of time"):
            TimeShift(wrong, sample_rate=1000)
    with pytest.raises(ValueError, match="sample_rate"):
        TimeShift("5 ms")


def test_noise_is_as_loud_as_asked() -> None:
    wave = np.sin(np.arange(4 * 4000, dtype=np.float32) / 7).reshape(4, 1, 4000)
    noise = AddNoise((20.0, 20.0))(wave, KEYS) - wave
    found = 10 * np.log10(np.square(wave).mean((1, 2)) / np.square(noise).mean((1, 2)))
    np.testing.assert_allclose(found, 20, atol=0.3)
    assert np.array_equal(AddNoise((20.0, 20.0))(wave[2:3], KEYS[2:3]) - wave[2:3], noise[2:3]), "whatever the batch"
    with pytest.raises(ValueError, match="smaller one first"):
        AddNoise((20.0, 10.0))


def test_bands_and_frames_are_covered() -> None:
    batch = np.random.default_rng(0).standard_normal((4, 1, 10, 12)).astype(np.float32)
    out = SpecAugment(freq=3, time=4)(batch, KEYS)
    for before, after in zip(batch[:, 0], out[:, 0], strict=True):
        covered = before != after
        bands, frames = covered.all(1).sum(), covered.all(0).sum()
        assert bands <= 3 and frames <= 4
        assert covered.sum() == bands * 12 + frames * 10 - bands * frames
        assert np.allclose(after[covered], before.mean(), atol=1e-6)
    assert np.array_equal(SpecAugment(0, 0)(batch, KEYS), batch)
    with pytest.raises(ValueError, match="put log_mel before it"):
        SpecAugment().infer((1, 2000), "float32")
