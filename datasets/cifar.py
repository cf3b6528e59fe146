"""The binary version of CIFAR-10: records of one label byte and 3,072 pixels.

The pixels are the red, the green and the blue plane of 32x32, row by row.

Source: the homepage of CIFAR-10, "Binary version".
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from torchlite.datasets.arrays import Arrays
from torchlite.datasets.tar import regular_members
from torchlite.errors import FormatError

FOLDER = "cifar-10-batches-bin"
MEMBERS = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
_IMAGE_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32
_NUM_CLASSES = 10


def read_cifar10(path: Path, split: str, *, max_bytes: int = 1 << 28) -> Arrays:
    """One split ("train" or "test") from the .tar.gz archive or from the folder that it unpacks to.

    The archive is read without writing anything to disk; members other than the expected ones are ignored.
    `max_bytes` caps the unpacked size.

    Shape:
        inputs (N, 3, 32, 32) of uint8, targets (N,) of int64.

    Raises:
        FormatError: a batch is missing, given twice, damaged, or too large.
    """
    source = _folder_members(path, split, max_bytes) if path.is_dir() else _archive_members(path, max_bytes)
    try:
        return _join(source, MEMBERS[split])
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: damaged gzip data ({error})") from error


def _archive_members(path: Path, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    with gzip.open(path) as stream:
        for name, content in regular_members(stream, max_bytes=max_bytes):
            folder, _, batch = name.rpartition("/")
            if folder == FOLDER:
                yield batch, content


def _folder_members(path: Path, split: str, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    for batch in MEMBERS[split]:
        file = path / batch
        if file.is_file():
            size = file.stat().st_size
            if size > max_bytes:
                raise FormatError(f"{batch} has {size} bytes, more than the {max_bytes} allowed")
            yield batch, file.read_bytes()


def _join(members: Iterator[tuple[str, bytes]], wanted: tuple[str, ...]) -> Arrays:
    batches: dict[str, Arrays] = {}
    for name, content in members:
        if name in batches:
            raise FormatError(f"the batch {name} is there twice")
        if name in wanted:
            batches[name] = _parse_batch(name, content)
    missing = [name for name in wanted if name not in batches]
    if missing:
        raise FormatError(f"no {', '.join(missing)} in {FOLDER}/")
    ordered = [batches[name] for name in wanted]
    return Arrays(
        np.concatenate([batch.inputs for batch in ordered]),
        np.concatenate([batch.targets for batch in ordered]),
    )


def _parse_batch(name: str, content: bytes) -> Arrays:
    if len(content) % _RECORD_BYTES:
        raise FormatError(f"{name} has {len(content)} bytes, not a multiple of the record's {_RECORD_BYTES}")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD_BYTES)
    labels = records[:, 0]
    if labels.size and labels.max() >= _NUM_CLASSES:
        raise FormatError(f"{name} has a label {labels.max()}, expected 0 to {_NUM_CLASSES - 1}")
    return Arrays(records[:, 1:].reshape(-1, *_IMAGE_SHAPE), labels.astype(np.int64))
