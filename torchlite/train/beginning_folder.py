"""A configuration to begin with, made from a folder of images or recordings."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from torchlite.audio.wav import wav_header
from torchlite.errors import DataError
from torchlite.train.beginning import Inferred
from torchlite.train.config.folders import AudioFolder, ImageFolder, class_names
from torchlite.vision.images import image_size

_LOOKED_AT = 50
_LARGE = 96
_VALIDATION = ("val", "valid", "validation")


def from_folder(path: Path) -> Inferred:
    """A configuration for the folder ``path``, which holds a folder of files for each class, or such folders for each split.

    Raises:
        DataError: when it holds something else. DeviceError: when a package is missing that reads its images.
    """
    notes: list[str] = []
    splits = _splits(path)
    root = path / splits["train"] if splits else path
    classes = class_names(root)
    if len(classes) < 2:
        raise DataError(f"'{root}' holds no folders of at least two classes; a table is a file: --from-data FILE.csv")
    files = [found for name in classes for found in sorted((root / name).rglob("*"))]
    images = [file for file in files if file.suffix.lower() in ImageFolder.suffixes]
    sounds = [file for file in files if file.suffix.lower() in AudioFolder.suffixes]
    if not images and not sounds:
        raise DataError(f"the folders in '{root}' hold neither images nor WAV files")
    data: dict[str, Any] = {"root": str(root)}
    data |= {name: str(path / folder) for name, folder in splits.items() if name != "train"}
    if "val" not in data:
        data["split"] = {"val": 0.2, "stratify": True}
    notes.append(f"{len(images) or len(sounds):,} files of {len(classes)} classes: {', '.join(classes[:8])}")
    made = _of_images(images, notes) if images else _of_sounds(sounds, notes)
    config = {
        "version": 1,
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name).strip("-._") or "folder",
        "seed": 42,
        "data": {**made["data"], **data, "batch_size": min(64, max(4, len(images or sounds) // 20))},
        "model": {"type": "resnet18", "num_classes": "$data.num_classes", "stem": made["stem"]},
        "optim": {"type": "adamw", "lr": 1e-3, "weight_decay": 0.01, "no_decay": ["bias", "norm"]},
        "schedule": {"type": "cosine", "warmup": "1 epoch"},
        "train": {"epochs": 20},
        "metrics": ["accuracy"],
        "checkpoint": {"monitor": "val/accuracy"},
    }
    head = f"# Made from {path.name}/ by torchlite init: a beginning, to be changed.\n"
    return Inferred(head + yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=110), notes)


def _splits(path: Path) -> dict[str, str]:
    """The folders of the splits by the splits' names; none where the folders are those of classes."""
    there = class_names(path)
    if "train" not in there:
        return {}
    validation = [name for name in _VALIDATION if name in there]
    found = {"train": "train", "val": validation[0] if validation else "", "test": "test" if "test" in there else ""}
    return {split: name for split, name in found.items() if name}


def _of_images(files: list[Path], notes: list[str]) -> dict[str, Any]:
    sizes = Counter(image_size(file) for file in files[:: max(1, len(files) // _LOOKED_AT)])
    size = max(sizes, key=lambda one: sizes[one])
    if len(sizes) > 1:
        side = min(224, max(32, min(size)))
        notes.append(f"images of {len(sizes)} sizes become {side}x{side}")
        size = (side, side)
    transforms = {"train": ["hflip", "to_float"], "eval": ["to_float"]}
    data = {"type": "image_folder", "image": {"size": list(size), "channels": 3}, "transforms": transforms}
    return {"data": data, "stem": "large" if min(size) > _LARGE else "small"}


def _of_sounds(files: list[Path], notes: list[str]) -> dict[str, Any]:
    headers = [wav_header(file) for file in files[:: max(1, len(files) // _LOOKED_AT)]]
    rates = Counter(header.sample_rate for header in headers)
    rate = max(rates, key=lambda one: rates[one])
    if len(rates) > 1:
        notes.append(f"files of several sample rates: resample those that have other than {rate}")
    lengths = sorted(header.length / header.sample_rate for header in headers)
    clip = max(1, round(1000 * lengths[len(lengths) // 2]))
    notes.append(f"clips of {clip} ms, as half of the files are at least")
    plain = [{"to_float": "$data.scale"}, "log_mel"]
    transforms = {"train": [plain[0], {"time_shift": f"{max(1, clip // 20)} ms"}, "log_mel"], "eval": plain}
    data = {"type": "audio_folder", "sample_rate": rate, "clip": f"{clip} ms", "transforms": transforms}
    return {"data": data, "stem": "small"}
