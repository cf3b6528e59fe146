"""Files in folders as samples: what there is, decoded when a batch asks for it."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from torchlite.audio.wav import read_wav, wav_header
from torchlite.datasets import Arrays
from torchlite.errors import DataError, MissingDataError
from torchlite.train.config.folders import AudioFolder, Folder, ImageFolder, class_names
from torchlite.train.config.own_data import card_of
from torchlite.vision.images import image_size, read_image

Array = np.ndarray[Any, Any]

_SHOWN = 5
_ENDS = 4096


@dataclass(frozen=True, eq=False)
class Files:
    """The inputs of a split as files: it stands for the array that it decodes to.

    ``files[7]`` is one sample, ``files[[3, 1, 7]]`` a batch, ``numpy.asarray(files)`` all of them.
    """

    data: Folder
    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of all samples together."""
        return (len(self), *card_of(self.data).input.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of every sample."""
        return np.dtype(card_of(self.data).input.dtype)

    def subset(self, indices: Iterable[int]) -> Files:
        """Some of the files, in another order."""
        return Files(self.data, tuple(self.paths[i] for i in indices))

    def __getitem__(self, index: Any) -> Array:
        if isinstance(index, (int, np.integer)):
            return _decoded(self.data, self.paths[index])
        chosen = np.arange(len(self))[index]
        batch = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for row, place in zip(batch, chosen, strict=True):
            row[...] = _decoded(self.data, self.paths[place])
        return batch

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        del copy
        return self[:].astype(dtype or self.dtype, copy=False)

    def fingerprint(self, targets: Array) -> str:
        """A SHA-256 (hex) of names, sizes, ends and classes of the files.

        It finds what was added, removed, renamed, replaced or cut without reading everything.
        """
        digest = sha256()
        for path, target in zip(self.paths, targets, strict=True):
            size = path.stat().st_size
            with path.open("rb") as file:
                ends = file.read(_ENDS)
                file.seek(max(0, size - _ENDS), os.SEEK_SET)
                ends += file.read(_ENDS)
            digest.update(f"{path.name} {size} {target}\n".encode() + ends)
        return digest.hexdigest()


def read_folder(data: Folder, folder: Path, split: str) -> Arrays:
    """A split: its files as `Files`, or decoded where ``cache: ram`` says so, and the places of their classes.

    Raises:
        DataError: when there is no such split, a class has no files, or a folder is of no class that the configuration lists.
    """
    paths, targets = list_files(data, folder, split)
    files = Files(data, tuple(paths))
    inputs: Any = np.asarray(files) if data.cache == "ram" else files
    return Arrays(inputs, targets)


def list_files(data: Folder, folder: Path, split: str) -> tuple[list[Path], Array]:
    """The files of a split in the order of their classes and names, and the places of their classes."""
    root = root_of(data, folder, split)
    if not root.is_dir():
        raise MissingDataError(f"there is no folder '{root}' (data.{'root' if split == 'train' else split})")
    if data.target == "none":
        paths = files_in(root, data.suffixes)
        if not paths:
            raise DataError(f"'{root}' holds no files that end in {_ends(data)}")
        return paths, np.zeros(len(paths), np.int64)
    classes, there = data.classes or [], class_names(root)
    if unknown := [name for name in there if name not in classes]:
        hint = ""
        if set(there) <= {"train", "val", "valid", "validation", "test"}:
            hint = f"; these are splits: write root: {data.root}/{there[0]}, and val and test beside it"
        raise DataError(
            f"'{root}' has folders of no class ({_listed(unknown)}); data.classes lists {_listed(classes)}{hint}"
        )
    found = {name: files_in(root / name, data.suffixes) if name in there else [] for name in classes}
    if empty := [name for name, paths in found.items() if not paths]:
        raise DataError(f"'{root}' has no files that end in {_ends(data)} for {_listed(empty)}")
    paths = [path for of_class in found.values() for path in of_class]
    return paths, np.repeat(np.arange(len(classes)), [len(one) for one in found.values()]).astype(np.int64)


def root_of(data: Folder, folder: Path, split: str) -> Path:
    """The folder of a split.

    Raises:
        DataError: when the configuration names none.
    """
    name = data.root if split == "train" else getattr(data, split, None)
    if name is None:
        raise DataError(f"the data has no split '{split}': name its folder under data.{split}")
    return folder / name


def files_in(folder: Path, suffixes: Container[str]) -> list[Path]:
    """The files below a folder whose names end so, sorted by their paths."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not _is_hidden(path, folder))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def check_files(data: Folder, folder: Path, split: str) -> None:
    """See from names and headers whether a split is what the configuration says; nothing is decoded.

    Raises:
        DataError: that names the first files that are something else.
    """
    paths, _ = list_files(data, folder, split)
    wrong = [reason for path in paths if (reason := _misfit(data, path)) is not None]
    if wrong:
        more = f"\n... and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError("\n".join(wrong[:_SHOWN]) + more)


def _misfit(data: Folder, path: Path) -> str | None:
    try:
        if isinstance(data, ImageFolder):
            size = image_size(path)
            if data.image.fit == "exact" and list(size) != data.image.size:
                wanted = "x".join(map(str, data.image.size))
                return f"'{path}' has {size[0]}x{size[1]} pixels, not {wanted} (data.image.fit is exact)"
            return None
        assert isinstance(data, AudioFolder)
        return _wrong_rate(data, path)
    except DataError as error:
        return str(error)


def _wrong_rate(data: AudioFolder, path: Path) -> str | None:
    rate = wav_header(path).sample_rate
    if rate == data.sample_rate:
        return None
    return f"'{path}' has {rate} samples a second, data.sample_rate says {data.sample_rate}"


def _decoded(data: Folder, path: Path) -> Array:
    if isinstance(data, ImageFolder):
        height, width = data.image.size
        return read_image(path, (height, width), data.image.channels, data.image.fit)
    assert isinstance(data, AudioFolder)
    wrong = _wrong_rate(data, path)
    if wrong is not None:
        raise DataError(wrong)
    clip = np.zeros((1, data.length), np.int16)
    samples = read_wav(path, data.length)
    clip[0, : len(samples)] = samples
    return clip


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _ends(data: Folder) -> str:
    return ", ".join(sorted(data.suffixes))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
