"""Weights to start from: ``init`` of a configuration, and those of a teacher."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchlite import backends, nn
from torchlite.errors import CheckpointError, UsageError
from torchlite.ops.exchange import from_numpy
from torchlite.serialization import load
from torchlite.serialization.npz import read_npz
from torchlite.serialization.safetensors import read_safetensors
from torchlite.train.config.schema import Init
from torchlite.train.patterns import matched
from torchlite.train.provenance import sha256_of
from torchlite.train.run_directory import checkpoint_of, find_run

FILES = (".safetensors", ".npz", ".pt", ".pth")


def read_weights(source: str | Path, *, averaged: bool = True) -> dict[str, Any]:
    """The tensors by name of a file, or of a run: its best checkpoint, or the one named behind it (``RUN/last``).

    Of a run with an average of its weights that is taken, unless not ``averaged``.

    Raises:
        UsageError: when there is nothing of that name. CheckpointError, FormatError: when it is damaged.
    """
    path = Path(source)
    if path.suffix not in FILES:
        folder, which = path, "best"
        if path.name in ("best", "last") or path.name.isdecimal():
            folder, which = path.parent, path.name
        checkpoint = checkpoint_of(find_run(folder), which)
        return (checkpoint.average if averaged else None) or dict(checkpoint.model)
    if not path.is_file():
        raise UsageError(f"there is no file '{path}' to take weights from")
    if path.suffix == ".safetensors":
        return dict(read_safetensors(path)[0])
    if path.suffix == ".npz":
        return dict(read_npz(path))
    state = load(path)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"'{path}' holds no state_dict but {type(state).__name__}")
    return {name: backends.to_numpy(x._data) for name, x in state.items()}


def start_from(init: Init, model: nn.Module) -> None:
    """Put the weights that ``init`` names into the model.

    Raises:
        UsageError, CheckpointError: when they are not there, are others than expected or do not fit.
    """
    if init.sha256 is not None and sha256_of(Path(init.weights)) != init.sha256:
        raise CheckpointError(f"the SHA-256 of '{init.weights}' is not what init.sha256 says: it is another file")
    problems = misfits(init, read_weights(init.weights), model)
    if problems:
        raise CheckpointError(f"the weights of '{init.weights}' do not fit the model: {'; '.join(problems)}")
    own = model.state_dict()
    found = {name: from_numpy(x) for name, x in renamed(init, read_weights(init.weights)).items() if name in own}
    model.load_state_dict(found, strict=False)


def renamed(init: Init, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors under the names that `init.rename` gives them."""
    found = {}
    for name, array in arrays.items():
        for pattern, text in init.rename.items():
            name = re.sub(pattern, text, name)
        found[name] = array
    return found


def misfits(init: Init, arrays: Mapping[str, Any], model: nn.Module) -> list[str]:
    """What speaks against starting from these tensors."""
    own, given = model.state_dict(), renamed(init, arrays)
    missing = [name for name in own if name not in given and not matched(init.expect_missing, name)]
    extra = [name for name in given if name not in own and not init.ignore_extra]
    problems = [
        f"'{name}' is {tuple(given[name].shape)}, the model's is {tuple(own[name].shape)}"
        for name in own
        if name in given and tuple(given[name].shape) != tuple(own[name].shape)
    ]
    if missing:
        problems.append(f"missing: {', '.join(missing)} (list what may be under init.expect_missing)")
    if extra:
        problems.append(f"not of the model: {', '.join(extra)} (init.ignore_extra: true leaves them out)")
    return problems
