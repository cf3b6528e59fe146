"""TensorBoard's event files, written byte by byte: records with checksums (CRC-32C) around protocol buffers."""

from __future__ import annotations

import json
import os
import platform
import struct
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from torchlite import backends
from torchlite.train.loggers.logger import Logger

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types of protocol buffers


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli's polynomial.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """A record: its length, the length's checksum, the data, and its checksum; both masked, so that they may be nested."""

    def masked(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _integer(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, _DOUBLE) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _key(field, _FLOAT) + np.float32(value).tobytes()


def _bytes(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return _key(field, _BYTES) + _varint(len(data)) + data


def _doubles(field: int, values: Any) -> bytes:
    return _bytes(field, np.asarray(values, "<f8").tobytes())


class EventFile:
    """A file of events that TensorBoard reads.

    Args:
        folder: where it lies; made if need be.
        step: the steps that are done. What older files of the folder say of later ones is void.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("events.out.tfevents.*")))
        begun = time.time()
        self.path = folder / f"events.out.tfevents.{int(begun):010d}.{platform.node()}.{os.getpid()}.{number}"
        self._file = self.path.open("wb")
        self._event(0, _bytes(3, "brain.Event:2"))
        if step:
            started = 1  # SessionLog.START
            self._event(step + 1, _bytes(7, _integer(1, started)))

    def _event(self, step: int, content: bytes) -> None:
        self._file.write(record(_double(1, time.time()) + _integer(2, step) + content))

    def _value(self, tag: str, step: int, content: bytes) -> None:
        self._event(step, _bytes(5, _bytes(1, _bytes(1, tag) + content)))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Write a number."""
        self._value(tag, step, _float(2, value))

    def text(self, tag: str, text: str, step: int) -> None:
        """Write a text, which is shown as Markdown."""
        strings, one = 7, _bytes(2, _integer(1, 1))  # DT_STRING; the shape (1)
        tensor = _integer(1, strings) + _bytes(2, one) + _bytes(8, text)
        self._value(tag, step, _bytes(9, _bytes(1, _bytes(1, "text"))) + _bytes(8, tensor))

    def histogram(self, tag: str, values: np.ndarray[Any, Any], step: int, bins: int = 30) -> None:
        """Write how values are distributed; those that are not finite are left out."""
        finite = values[np.isfinite(values)].astype(np.float64)
        if not finite.size:
            return
        counts, edges = np.histogram(finite, bins)
        numbers = (finite.min(), finite.max(), finite.size, finite.sum(), np.square(finite).sum())
        content = b"".join(_double(field, value) for field, value in enumerate(numbers, start=1))
        # A bucket reaches from the limit before to its own; an empty first one gives the others their lower edge.
        content += _doubles(6, edges) + _doubles(7, np.concatenate([[0], counts]))
        self._value(tag, step, _bytes(5, content))

    def flush(self) -> None:
        """Make what was written visible."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class TensorBoard(Logger):
    """Event files in the folder ``tb`` of the run: look at them with ``tensorboard --logdir runs``.

    Args:
        every: steps between two numbers of the training.
        histograms: whether the weights are written at each evaluation.
    """

    def __init__(self, every: int = 1, histograms: bool = True) -> None:
        super().__init__(every)
        self.histograms = histograms
        self._events: Any = None
        self._plan: Any = None

    def started(self, plan: Any, progress: Any) -> None:
        """Remember what is trained."""
        self._plan = plan
        super().started(plan, progress)

    def open(self, config: Any, step: int) -> None:
        """Begin a file."""
        self._events = EventFile(self.folder / "tb", step)
        if step == 0:
            self._events.text("config", f"```json\n{json.dumps(config.resolved(), indent=2)}\n```", 0)

    def evaluated(self, progress: Any, row: dict[str, float], best: bool) -> None:
        """The model was evaluated."""
        super().evaluated(progress, row, best)
        if self.histograms:
            for name, parameter in self._plan.model.named_parameters():
                array = backends.to_numpy(parameter._data)
                self._events.histogram(f"weights/{name}", array.astype(np.float32), progress.step)
        self._events.flush()

    def write(self, values: dict[str, float], step: int) -> None:
        """Write numbers of a step."""
        for name, value in values.items():
            self._events.scalar(name, value, step)

    def close(self, _finished: bool) -> None:
        """Write what is left."""
        self._events.close()
