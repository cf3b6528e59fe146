"""Data that is made on the spot, for examples and tests that need no download.

``python -m torchlite.datasets.made_up FOLDER`` writes the tables and the folders that lie in ``bundled/``.
"""

import csv
import io
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TONES_RATE = 8000
"""Samples a second of `tones`."""

_PASSENGERS, _REVIEWS = 600, 500
_SIDE, _SHAPES_EACH, _SOUNDS_EACH = 20, 30, 14


def tones(split: str, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A quarter of a second of a sine, a square, a sawtooth, a rising chirp or noise, each in noise of its own.

    Shape: waveforms (count, 1, 2000) of int16, classes (count,) of int64.
    """
    rng = np.random.default_rng([7, sum(split.encode())])
    labels = rng.permutation(np.arange(count) % 5)
    t = np.arange(TONES_RATE // 4) / TONES_RATE
    pitch = rng.uniform(150, 900, (count, 1))
    rise = np.where(labels[:, None] == 3, rng.uniform(2000, 6000, (count, 1)), 0)
    phase = rng.uniform(0, 1, (count, 1)) + pitch * t + rise * t**2 / 2
    sine = np.sin(2 * np.pi * phase)
    kinds = np.stack([sine, np.sign(sine), 2 * (phase % 1) - 1, sine, rng.standard_normal(sine.shape)])
    waves = kinds[labels, np.arange(count)] * rng.uniform(0.2, 0.9, (count, 1))
    waves += 0.05 * rng.standard_normal(waves.shape)
    return (np.clip(waves, -1, 1) * 32767).astype(np.int16)[:, None], labels.astype(np.int64)


def passengers() -> str:
    """A table in the manner of the Titanic's, of people who never were: some ages and ports are missing."""
    rng = np.random.default_rng(11)
    rows = []
    for _ in range(_PASSENGERS):
        grade = int(rng.choice([1, 2, 3], p=[0.25, 0.2, 0.55]))
        sex = str(rng.choice(["male", "female"], p=[0.64, 0.36]))
        age = float(np.clip(rng.normal(40 - 5 * grade, 13), 1, 75))
        fare = float(np.exp(rng.normal(4.4 - 0.9 * (grade - 1), 0.5)))
        score = 0.5 + 2.6 * (sex == "female") - 0.9 * (grade - 1) - 0.03 * (age - 30)
        survived = int(rng.random() < 1 / (1 + np.exp(-score)))
        port = str(rng.choice(["C", "Q", "S", ""], p=[0.18, 0.09, 0.72, 0.01]))
        shown = f"{age:.0f}" if rng.random() > 0.2 else ""
        rows.append([survived, grade, sex, shown, rng.poisson(0.5), f"{fare:.2f}", port])
    return _csv(["survived", "class", "sex", "age", "relatives", "fare", "port"], rows)


def reviews() -> str:
    """Short opinions of films with what they say, made of patterns; a `not` turns them round."""
    rng = np.random.default_rng(12)
    words = {
        "pos": ["brilliant", "moving", "funny", "gripping", "wonderful", "clever", "charming", "superb"],
        "neg": ["dull", "clumsy", "boring", "tedious", "awful", "shallow", "confusing", "lifeless"],
    }
    things = [
        "the plot",
        "the acting",
        "the music",
        "this film",
        "the ending",
        "every scene",
        "the dialogue",
        "the cast",
    ]
    fillers = ["honestly", "to my surprise", "from start to end", "as expected", "for once", "in the end", "all in all"]
    rows = []
    for _ in range(_REVIEWS):
        label = str(rng.choice(["neg", "pos"]))
        parts = []
        for _ in range(int(rng.integers(1, 4))):
            turned = rng.random() < 0.25
            word = rng.choice(words["pos" if (label == "pos") != turned else "neg"])
            parts.append(f"{rng.choice(things)} was {'not ' if turned else ''}{word}")
        text = ", ".join(parts) if rng.random() < 0.5 else " and ".join(parts)
        rows.append([f"{rng.choice(fillers).capitalize()}, {text}.", label])
    return _csv(["text", "label"], rows)


def _csv(header: list[str], rows: list[list[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


def shapes() -> dict[str, bytes]:
    """Small grey pictures (PGM) of circles, crosses and squares anywhere, of any size, on noise: by the names of their files."""
    rng = np.random.default_rng(13)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    files = {}
    for kind in ("circle", "cross", "square"):
        for number in range(_SHAPES_EACH):
            radius = rng.uniform(4, 8)
            y, x = np.abs(rows - rng.uniform(8, 12)), np.abs(columns - rng.uniform(8, 12))
            inside = {
                "circle": y**2 + x**2 <= radius**2,
                "cross": (np.minimum(y, x) <= radius / 4) & (np.maximum(y, x) <= radius),
                "square": np.maximum(y, x) <= 0.85 * radius,
            }[kind]
            picture = rng.normal(90, 25, inside.shape) + rng.uniform(60, 120) * inside
            pixels = np.clip(picture, 0, 255).astype(np.uint8).tobytes()
            files[f"{kind}/{number:02d}.pgm"] = f"P5 {_SIDE} {_SIDE} 255\n".encode() + pixels
    return files


def sounds() -> dict[str, bytes]:
    """A quarter of a second (WAV, 8 bits) of buzzing, hissing and whistling: by the names of their files."""
    rng = np.random.default_rng(14)
    t = np.arange(TONES_RATE // 4) / TONES_RATE
    files = {}
    for kind in ("buzz", "hiss", "whistle"):
        for number in range(_SOUNDS_EACH):
            pitch = rng.uniform(90, 200) if kind == "buzz" else rng.uniform(900, 2200)
            trembling = 0.02 * np.sin(2 * np.pi * rng.uniform(4, 9) * t)
            sine = np.sin(2 * np.pi * pitch * (t + trembling / 10))
            clean = {"buzz": np.sign(sine), "hiss": rng.normal(0, 0.5, t.shape), "whistle": sine}[kind]
            noisy = rng.uniform(0.3, 0.9) * clean + rng.normal(0, 0.05, t.shape)
            files[f"{kind}/{number:02d}.wav"] = _wav((127.5 * (1 + np.clip(noisy, -1, 1))).astype(np.uint8))
    return files


def _wav(samples: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(TONES_RATE)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


TABLES = {"passengers.csv": passengers, "reviews.csv": reviews}
FOLDERS: dict[str, Callable[[], dict[str, bytes]]] = {"shapes": shapes, "sounds": sounds}

if __name__ == "__main__":
    for name, make in TABLES.items():
        (Path(sys.argv[1]) / name).write_text(make(), encoding="utf-8")
    for folder, make_files in FOLDERS.items():
        for name, content in make_files().items():
            path = Path(sys.argv[1]) / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
