"""Weights to start from: ``init`` of a configuration, and those of a teacher."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torchlite import backends, nn
from torchlite.errors import CheckpointError, FormatError, UsageError
from torchlite.ops.exchange import from_numpy
from torchlite.serialization import load
from torchlite.serialization.npz import read_npz
from torchlite.serialization.safetensors import read_header, read_safetensors
from torchlite.serialization.source import open_source
from torchlite.train.checkpoint import AVERAGE_PREFIX, MODEL, OPTIM
from torchlite.train.config.diagnostics import Problem, closest
from torchlite.train.config.schema import Config, Init, Model, Teacher
from torchlite.train.model import Trace, trace_model
from torchlite.train.patterns import matched
from torchlite.train.provenance import sha256_of
from torchlite.train.run_directory import RunDirectory, checkpoint_folder, checkpoint_of, find_run

FILES = (".safetensors", ".npz", ".pt", ".pth")
_MOST_NAMES = 8


def read_weights(source: str | Path, *, averaged: bool = True) -> dict[str, Any]:
    """The tensors by name of a file, or of a run: its best checkpoint, or the one named behind it (``RUN/last``).

    Of a run with an average of its weights that is taken, unless not ``averaged``.

    Raises:
        UsageError: when there is nothing of that name. CheckpointError, FormatError: when it is damaged.
    """
    path = Path(source)
    if path.suffix not in FILES:
        checkpoint = checkpoint_of(*_run_and_checkpoint(path))
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


def _run_and_checkpoint(path: Path) -> tuple[RunDirectory, str]:
    if path.name in ("best", "last") or path.name.isdecimal():
        return find_run(path.parent), path.name
    return find_run(path), "best"


def trace_teacher(config: Config, shape: Sequence[int], dtype: Any, batch: int) -> Trace | None:
    """The teacher followed on shapes, if there is one.

    Raises:
        UsageError: when its network is not written and its weights come from no run that is there.
    """
    if config.teacher is None:
        return None
    trace = trace_model(config, shape, dtype, batch, _network(config.teacher))
    if trace.problem is not None and config.teacher.model is None:  # it stands in another file
        trace.problem = dataclasses.replace(trace.problem, path=("teacher", "weights"))
    return trace


def _network(teacher: Teacher) -> Model:
    if teacher.model is not None:
        return teacher.model
    path = Path(teacher.weights)
    if path.suffix in FILES:
        raise UsageError(f"'{path}' holds weights and does not say of which")
    run, _ = _run_and_checkpoint(path)
    return run.read_config().model


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


Shapes = Mapping[str, tuple[int, ...]]


def misfits(init: Init, arrays: Mapping[str, Any], model: nn.Module) -> list[str]:
    """What speaks against starting from these tensors."""
    return [message for message, _ in _misfits(init, _shapes(arrays), _shapes(model.state_dict()))]


def check_weights(config: Config, model: nn.Module, teacher: nn.Module | None) -> list[Problem]:
    """What speaks against the weights that ``init`` and ``teacher`` name, as far as their headers tell.

    What is not there yet, or has no header, is left to the beginning of the training.
    """
    wanted: list[tuple[str, Init, nn.Module]] = []
    if config.init is not None:
        wanted.append(("init", config.init, model))
    if config.teacher is not None and teacher is not None:
        wanted.append(("teacher", Init(weights=config.teacher.weights), teacher))
    problems = []
    for section, init, needing in wanted:
        try:
            shapes = shapes_in(init.weights)
        except (CheckpointError, FormatError) as error:
            problems.append(Problem((section, "weights"), "TL507", str(error)))
            continue
        found = list(_misfits(init, shapes, _shapes(needing.state_dict()))) if shapes is not None else []
        if found:
            text = "; ".join(message for message, _ in found)
            hint = next((hint for _, hint in found if hint is not None), None)
            message = f"the weights of '{init.weights}' do not fit the model: {text}"
            problems.append(Problem((section, "weights"), "TL507", message, hint))
    return problems


def shapes_in(source: str | Path) -> Shapes | None:
    """The shapes of what `read_weights` gives, from a header alone; None of what is not there or is no safetensors file.

    Raises:
        CheckpointError, FormatError: when it is damaged.
    """
    path = Path(source)
    if path.suffix in FILES:
        return _header(path) if path.suffix == ".safetensors" and path.is_file() else None
    try:
        folder = checkpoint_folder(*_run_and_checkpoint(path))
    except UsageError:
        return None
    prefix = AVERAGE_PREFIX + "module."
    average = {name.removeprefix(prefix): s for name, s in _header(folder / OPTIM).items() if name.startswith(prefix)}
    return average or _header(folder / MODEL)


def _header(path: Path) -> Shapes:
    with open_source(path) as source:
        entries, _, _ = read_header(source)
    return {name: tuple(shape) for name, (_, shape, _, _) in entries.items()}


def _shapes(tensors: Mapping[str, Any]) -> Shapes:
    return {name: tuple(x.shape) for name, x in tensors.items()}


def _misfits(init: Init, shapes: Shapes, own: Shapes) -> Iterator[tuple[str, str | None]]:
    """What does not fit, each with what could help."""
    given: Shapes = renamed(init, shapes)
    for name in own:
        if name in given and given[name] != own[name]:
            yield f"'{name}' is {given[name]}, the model's is {own[name]}", None
    missing = [name for name in own if name not in given and not matched(init.expect_missing, name)]
    extra = [name for name in given if name not in own]
    if missing:
        yield f"missing: {_listed(missing)} (list what may be under init.expect_missing)", _renaming(missing, extra)
    if extra and not init.ignore_extra:
        yield f"not of the model: {_listed(extra)} (init.ignore_extra: true leaves them out)", None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )


def _renaming(missing: Sequence[str], extra: Sequence[str]) -> str | None:
    """How names of the file could become those that are missing: without a prefix, with one, or a close one."""
    for one in extra:
        for other in missing:
            if one.endswith("." + other):
                prefix = one.removesuffix(other)
                if all(prefix + name in extra for name in missing):
                    return f"rename: {{'^{re.escape(prefix)}': ''}}"
            if other.endswith("." + one):
                prefix = other.removesuffix(one)
                if all(name.removeprefix(prefix) in extra for name in missing):
                    return f"rename: {{'^': '{prefix}'}}"
    best = closest(missing[0], extra)
    return f"the file has '{best}': rename: {{'^{re.escape(best)}$': '{missing[0]}'}}" if best is not None else None
