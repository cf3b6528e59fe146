"""Event files, read by a reader of the format's own description that shares nothing with the writer."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs

from torchlite.train import run
from torchlite.train.loggers.tensorboard import EventFile, crc32c


def slow_crc32c(data: bytes) -> int:
    """Division of polynomials, bit by bit."""
    remainder = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            remainder ^= byte >> bit & 1
            remainder = remainder >> 1 ^ 0x82F63B78 if remainder & 1 else remainder >> 1
    return remainder ^ 0xFFFFFFFF


def unmasked(stored: int) -> int:
    rotated = (stored - 0xA282EAD8) % 2**32
    return (rotated >> 17 | rotated << 15) % 2**32


def records(content: bytes) -> list[bytes]:
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        (of_length,) = struct.unpack("<I", content[8:12])
        data, content = content[12 : 12 + length], content[12 + length :]
        assert unmasked(of_length) == slow_crc32c(struct.pack("<Q", length))
        assert unmasked(struct.unpack("<I", content[:4])[0]) == slow_crc32c(data)
        found.append(data)
        content = content[4:]
    return found


def message(data: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer by number; what is nested stays bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    fields: dict[int, list[Any]] = {}
    while place < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value: Any = varint()
        else:
            size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
            value = data[place : place + size]
            place += size
            value = value if kind == 2 else struct.unpack("<d" if kind == 1 else "<f", value)[0]
        fields.setdefault(key >> 3, []).append(value)
    return fields


def values(path: Path) -> list[tuple[str, int, dict[int, list[Any]]]]:
    """Tag, step and content of all that a file holds."""
    found = []
    for event in map(message, records(path.read_bytes())):
        for summary in event.get(5, []):
            for value in message(summary)[1]:
                content = message(value)
                found.append((content[1][0].decode(), event[2][0], content))
    return found


def test_the_checksum() -> None:
    data = np.random.default_rng(0).bytes(300)
    assert crc32c(data) == slow_crc32c(data)
    assert crc32c(b"") == 0


def test_scalars_texts_and_histograms(tmp_path: Path) -> None:
    events = EventFile(tmp_path)
    events.scalar("loss", 0.1, 300)
    events.text("config", "# Ünïcode", 0)
    array = np.array([[0.0, 1.0], [3.0, np.nan]], np.float32)
    events.histogram("weights", array, 7, bins=3)
    events.histogram("nothing", array[:0], 7)
    events.close()
    first = message(records(events.path.read_bytes())[0])
    assert first[3] == [b"brain.Event:2"]
    (loss, text, histogram) = values(events.path)
    assert loss[:2] == ("loss", 300)
    assert loss[2][2] == [np.float32(0.1)]
    assert message(text[2][8][0])[8] == ["# Ünïcode".encode()]
    content = message(histogram[2][5][0])
    assert [content[field][0] for field in range(1, 6)] == [0.0, 3.0, 3.0, 4.0, 10.0]
    np.testing.assert_allclose(np.frombuffer(content[6][0]), [0, 1, 2, 3])
    np.testing.assert_array_equal(np.frombuffer(content[7][0]), [0, 1, 1, 1])


def logged(folder: Path, *overrides: str, **more: Any) -> Any:
    text = small_runs.CONFIG.replace("steps: 40", "steps: 20").replace("patience: 50", "patience: 2")
    return small_runs.train(folder, "log=tensorboard", *overrides, text=text, **more)


def test_a_run_writes_what_its_metrics_say(tmp_path: Path) -> None:
    directory = logged(tmp_path)
    (path,) = (directory.path / "tb").iterdir()
    found = values(path)
    steps = {step: content[2][0] for tag, step, content in found if tag == "train/step_loss"}
    assert list(steps) == list(range(1, 21))
    np.testing.assert_array_equal(np.float32(small_runs.losses(directory)), list(steps.values()))
    assert {"config", "val/loss", "val/accuracy", "train/loss", "train/lr"} < {tag for tag, _, _ in found}
    assert any(tag.startswith("weights/") for tag, _, _ in found)


def test_a_resumed_run_voids_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    directory = logged(tmp_path)
    resumed = small_runs.rewound(directory, 12, tmp_path / "resumed")
    run.resume(resumed, small_runs.Quiet())
    path = max((resumed.path / "tb").iterdir(), key=lambda path: int(path.suffix[1:]))
    started = [event for event in map(message, records(path.read_bytes())) if 7 in event]
    assert [(event[2][0], message(event[7][0])) for event in started] == [(13, {1: [1]})]
    assert [step for tag, step, _ in values(path) if tag == "train/step_loss"] == list(range(13, 21))


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_it(tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    directory = logged(tmp_path)
    resumed = small_runs.rewound(directory, 12, tmp_path / "resumed")
    run.resume(resumed, small_runs.Quiet())
    accumulator = reading.EventAccumulator(str(resumed.path / "tb"), {"scalars": 0, "tensors": 0, "histograms": 0})
    accumulator.Reload()
    scalars = accumulator.Scalars("train/step_loss")
    assert [one.step for one in scalars] == list(range(1, 21))
    np.testing.assert_array_equal([one.value for one in scalars], np.float32(small_runs.losses(resumed)))
    assert "config/text_summary" in accumulator.Tags()["tensors"] or "config" in accumulator.Tags()["tensors"]
    weights = [name for name in accumulator.Tags()["histograms"] if name.endswith("weight")]
    assert accumulator.Histograms(weights[0])[0].histogram_value.num == 36  # of 4 filters of 3 × 3
