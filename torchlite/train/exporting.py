"""Writing a trained model's weights in formats that other programs read, and proving that they are the same."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from torchlite import backends
from torchlite.errors import ExportError
from torchlite.serialization import load, save
from torchlite.serialization.npz import read_npz, write_npz
from torchlite.serialization.safetensors import read_safetensors, write_safetensors
from torchlite.train.trained import Trained

Format = Literal["safetensors", "npz", "pt"]
FORMATS: tuple[Format, ...] = ("safetensors", "npz", "pt")


def export(trained: Trained, target: Path, format: Format) -> None:
    """Write the state_dict to ``target`` by PyTorch's parameter names, read it back and compare every bit.

    Raises:
        ExportError: when what is read back differs.
    """
    state = trained.model.state_dict()
    arrays = {name: backends.to_numpy(x._data) for name, x in state.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    read: dict[str, Any]
    if format == "safetensors":
        write_safetensors(target, arrays)
        read, _ = read_safetensors(target)
    elif format == "npz":
        write_npz(target, arrays)
        read = read_npz(target)
    else:
        save(OrderedDict((name, x.cpu()) for name, x in state.items()), target)
        read = {name: x.numpy() for name, x in load(target).items()}
    different = [n for n in arrays if n not in read or not _same(arrays[n], read[n])]
    if different or read.keys() != arrays.keys():
        raise ExportError(
            f"{target} does not hold what was exported: {', '.join(different) or 'other names'}; nothing uses it yet"
        )


def _same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
