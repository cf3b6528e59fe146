"""From a name and a split to verified arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from torchlite.datasets.arrays import Arrays
from torchlite.datasets.catalogue import Card, File, card
from torchlite.datasets.checksum import mismatch, unpacked_mismatch
from torchlite.datasets.cifar import read_cifar10
from torchlite.datasets.digits import split_digits
from torchlite.datasets.idx import read_idx
from torchlite.datasets.made_up import tones
from torchlite.errors import DataError, FormatError, MissingDataError

if TYPE_CHECKING:
    from torchlite.datasets.download import Opener, Progress


def load(
    name: str,
    split: str,
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: Progress | None = None,
    opener: Opener | None = None,
) -> Arrays:
    """One split of a dataset of the catalogue, every file verified against the card's checksums.

    A file is looked for, packed or unpacked, in `root`, in ``$TORCHLITE_DATA``, in the user's cache
    (``$XDG_CACHE_HOME`` or ``~/.cache``, then ``torchlite/datasets/<name>``) and in the places of the system
    that the card names; in `root` and ``$TORCHLITE_DATA`` first in a folder called as the dataset, then
    directly. A file whose checksum is wrong is passed over. What is found nowhere is downloaded into the
    user's cache, unless `download` is False. `progress` is called during a download; `opener` replaces the
    one that opens URLs.

    Shape:
        inputs (N, *card.input.shape) of the card's dtype, targets (N,) of int64.

    Raises:
        DataError: the dataset or split is unknown, or a file is missing and could not be downloaded (the
            message says which files, where to get them and where to put them), or the data contradicts the
            card.

    >>> images, labels = load("digits", "train")
    >>> images.shape, images.dtype, labels.shape, labels.dtype
    ((1437, 1, 8, 8), dtype('uint8'), (1437,), dtype('int64'))
    """
    spec = card(name)
    files = spec.files_of(split)
    folders = search_folders(spec, root)
    rejected: list[str] = []
    found = {file.name: _find(file, folders, rejected) for file in files}
    missing = [file for file in files if found[file.name] is None]
    if missing and not download:
        raise MissingDataError(_missing_message(spec, missing, folders, rejected))
    for file in missing:
        from torchlite.datasets.download import download as download_file  # it imports all of https

        try:
            found[file.name] = download_file(file, cache_folder(name), progress=progress, opener=opener)
        except (DataError, OSError) as error:
            raise MissingDataError(_missing_message(spec, missing, folders, rejected, error)) from error

    paths = {file.role: path for file in files if (path := found[file.name]) is not None}
    try:
        arrays = _READERS[spec.format](paths, spec, split)
    except FormatError as error:
        raise DataError(str(error)) from error
    _check_against_card(arrays, spec, split)
    return arrays


def cache_folder(name: str) -> Path:
    """Where downloads of the dataset called `name` go."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "torchlite" / "datasets" / name


def search_folders(spec: Card, root: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
    """The folders where the files of a dataset are looked for, in order."""
    bases = [Path(base).expanduser() for base in (root, os.environ.get("TORCHLITE_DATA")) if base]
    of_user = [folder for base in bases for folder in (base / spec.name, base)]
    return (*of_user, cache_folder(spec.name), *spec.folders)


def _find(file: File, folders: tuple[Path, ...], rejected: list[str]) -> Path | None:
    """The first good copy of `file`; what is wrong with copies before it is appended to `rejected`."""
    for folder in folders:
        for path, reason in _candidates(file, folder):
            if reason is None:
                return path
            rejected.append(f"{path} {reason}")
    return None


def _candidates(file: File, folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Each copy of `file` in `folder`, with what is wrong with it."""
    packed = folder / file.name
    if packed.is_file():
        reason = mismatch(packed, file)
        # Packed anew (as by Debian), a file has other bytes and the same content.
        if reason is not None and file.unpacked is not None and file.unpacked.sha256 is not None:
            reason = unpacked_mismatch(packed, file.unpacked)
        yield packed, reason
    if file.unpacked is not None and (folder / file.unpacked.name).exists():
        yield folder / file.unpacked.name, unpacked_mismatch(folder / file.unpacked.name, file.unpacked)


def _missing_message(
    spec: Card,
    missing: list[File],
    folders: tuple[Path, ...],
    rejected: list[str],
    failure: Exception | None = None,
) -> str:
    lines = [f"{spec.name}: {len(missing)} file(s) not found", "needed:"]
    for file in missing:
        lines.append(f"  {file.name} ({file.size_bytes:,} bytes)")
        lines += [f"    {url}" for url in file.urls]
    lines += ["put them, as they are or unpacked, into one of the folders searched:"]
    lines += [f"  {folder}" for folder in folders]
    if rejected:
        lines += ["passed over:", *(f"  {reason}" for reason in rejected)]
    if failure is not None:
        lines += ["the download failed:", f"  {failure}"]
    return "\n".join(lines)


def _read_idx_pair(paths: dict[str, Path], spec: Card, split: str) -> Arrays:
    count = spec.splits[split]
    images = read_idx(paths["images"], max_bytes=count * int(np.prod(spec.input.shape)))
    labels = read_idx(paths["labels"], max_bytes=count)
    return Arrays(images.reshape(-1, *spec.input.shape), labels.astype(np.int64))


def _read_digits(paths: dict[str, Path], spec: Card, split: str) -> Arrays:
    images, labels = read_idx(paths["images"]), read_idx(paths["labels"])
    chosen = split_digits(labels, split)
    return Arrays(images[chosen].reshape(-1, *spec.input.shape), labels[chosen].astype(np.int64))


def _make_tones(paths: dict[str, Path], spec: Card, split: str) -> Arrays:
    del paths
    return Arrays(*tones(split, spec.splits[split]))


def _read_cifar10(paths: dict[str, Path], spec: Card, split: str) -> Arrays:
    del spec
    return read_cifar10(paths["archive"], split)


_READERS: dict[str, Callable[[dict[str, Path], Card, str], Arrays]] = {
    "cifar10": _read_cifar10,
    "digits": _read_digits,
    "idx": _read_idx_pair,
    "tones": _make_tones,
}


def _check_against_card(arrays: Arrays, spec: Card, split: str) -> None:
    count = spec.splits[split]
    found = (arrays.inputs.shape, str(arrays.inputs.dtype), arrays.targets.shape)
    expected = ((count, *spec.input.shape), spec.input.dtype, (count,))
    if found != expected:
        raise DataError(f"{spec.name} {split}: inputs and targets are {found}, the card says {expected}")
    if arrays.targets.min() < 0 or arrays.targets.max() >= spec.num_classes:
        raise DataError(f"{spec.name} {split}: a label lies outside 0 to {spec.num_classes - 1}")
