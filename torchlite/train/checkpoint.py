"""Checkpoints that survive crashes, full disks and flipped bits.

A checkpoint is a folder ``step-000123`` with ``model.safetensors``, ``optim.safetensors``, ``state.json``
and ``MANIFEST.json``, which holds the SHA-256 of each file and the CRC-32 of each tensor. It appears under
its name only when it is complete and durable; then the pointers ``last.json`` and ``best.json`` are replaced,
and only then older checkpoints are deleted. Nothing is ever unpickled.
"""

import hashlib
import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torchlite.errors import CheckpointError, FormatError
from torchlite.serialization.atomic import fsync_folder, recover, remove_folder, write_file, write_folder
from torchlite.serialization.dtypes import Array
from torchlite.serialization.safetensors import array_bytes, read_safetensors, safetensors_chunks
from torchlite.serialization.source import ByteArray, open_source
from torchlite.train.sealed_json import decode, encode, seal, unseal

MODEL, OPTIM, STATE, MANIFEST = "model.safetensors", "optim.safetensors", "state.json", "MANIFEST.json"
_FORMAT = 1
_FOLDER = re.compile(r"step-(\d{6,18})")
_BIGGEST_STEP = 10**18
_BIGGEST_JSON = 256 << 20

AVERAGE_PREFIX = "ema/"
"""Begins the names under which the average of the weights stands among the optimizer's tensors."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a checkpoint holds; ``warnings`` say which newer ones were skipped because they are damaged."""

    step: int
    model: dict[str, Array]
    optim: dict[str, Array]
    state: dict[str, Any]
    folder: Path
    metric: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def average(self) -> dict[str, Array]:
        """The moving average of the model's tensors; empty where the run keeps none."""
        return {
            name.removeprefix(AVERAGE_PREFIX + "module."): array
            for name, array in self.optim.items()
            if name.startswith(AVERAGE_PREFIX + "module.")
        }


@dataclass(frozen=True, slots=True)
class _Manifest:
    """The checked content of a ``MANIFEST.json``; ``sequence`` counts the saves of a store."""

    step: int
    sequence: int
    metric: float | None
    mode: str
    files: dict[str, dict[str, Any]]
    tensors: dict[str, dict[str, dict[str, Any]]]


class CheckpointStore:
    """The checkpoints of one run in one folder, with one process that writes.

    Args:
        folder: where they are; made when the first is saved.
        keep_last: how many of the latest to keep; at least 2, for the latest may turn out to be damaged.
        keep_best: how many of those with the best metric to keep beside them.

    >>> import numpy as np, tempfile
    >>> store = CheckpointStore(tempfile.mkdtemp())
    >>> _ = store.save(10, {"weight": np.ones(3)}, {}, {"epoch": 1}, metric=0.5, mode="min")
    >>> store.load("last").state
    {'epoch': 1}
    """

    def __init__(self, folder: str | os.PathLike[str], keep_last: int = 2, keep_best: int = 1) -> None:
        if keep_last < 2:
            raise ValueError(f"keep_last must be at least 2, got {keep_last}: the only checkpoint may turn out damaged")
        if keep_best < 0:
            raise ValueError(f"keep_best must not be negative, got {keep_best}")
        self.folder = Path(folder)
        self.keep_last = keep_last
        self.keep_best = keep_best
        self._damaged: set[int] = set()

    def save(
        self,
        step: int,
        model: Mapping[str, Array],
        optim: Mapping[str, Array],
        state: dict[str, Any],
        *,
        metric: float | None = None,
        mode: Literal["min", "max"] = "min",
        spared: int | None = None,
    ) -> Path:
        """Save a checkpoint durably, point to it, delete those that need not be kept; returns its folder.

        A checkpoint of the same step is replaced.

        Args:
            step: the optimizer step it was taken after.
            model: the tensors of the model by name.
            optim: the tensors of the optimizer by name.
            state: everything else: plain dicts, lists and tuples of numbers and strings.
            metric: what "best" is judged by; None or NaN is never the best.
            mode: whether a smaller (``"min"``) or larger (``"max"``) metric is better.
            spared: a step whose checkpoint is kept in any case.

        Raises:
            CheckpointError: it could not be saved; all earlier checkpoints are as they were.
        """
        if not 0 <= step < _BIGGEST_STEP:
            raise CheckpointError(f"a checkpoint cannot be of step {step}; expected 0 to {_BIGGEST_STEP - 1}")
        if mode not in ("min", "max"):
            raise CheckpointError(f"mode must be 'min' or 'max', got {mode!r}")
        metric = None if metric is None else float(metric)
        folder = self._folder_of(step)
        try:
            state_json = encode(state)
            self._make_folder()
            known, _ = self._manifests()
            sequence = 1 + max((manifest.sequence for manifest in known), default=0)
            contents: dict[str, Iterable[Any]] = {
                MODEL: safetensors_chunks(model),
                OPTIM: safetensors_chunks(optim),
                STATE: [state_json],
            }
            manifest = _Manifest(step, sequence, metric, mode, {}, {MODEL: _checksums(model), OPTIM: _checksums(optim)})
            with write_folder(folder) as files:
                for name, chunks in contents.items():
                    digest = _Digest()
                    files.write(name, digest.through(chunks))
                    manifest.files[name] = {"size": digest.size, "sha256": digest.hash.hexdigest()}
                files.write(MANIFEST, [_manifest_json(manifest)])
            self._damaged.discard(step)
            known = [other for other in known if other.step != step] + [manifest]
            best = self._best(known, mode)
            self._point_to(manifest, best)
            self._delete_old(known, best, spared)
        except (OSError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint of step {step} could not be saved completely to {folder}: {error}; "
                "earlier checkpoints are as they were"
            ) from error
        return folder

    def forget_after(self, step: int) -> None:
        """Delete the checkpoints that were saved after that of ``step``.

        Raises:
            CheckpointError: there is none of that step, or something could not be deleted.
        """
        known, _ = self._manifests()
        last = next((manifest for manifest in known if manifest.step == step), None)
        if last is None:
            raise CheckpointError(f"there is no checkpoint of step {step} in {self.folder}")
        kept = [manifest for manifest in known if manifest.sequence <= last.sequence]
        try:
            self._point_to(last, self._best(kept, last.mode))
            for manifest in known:
                if manifest not in kept:
                    remove_folder(self._folder_of(manifest.step))
        except OSError as error:
            raise CheckpointError(f"the checkpoints after step {step} could not be deleted: {error}") from error

    def load(self, which: Literal["last", "best"] | int = "last") -> Checkpoint:
        """The checkpoint that was saved last, the best one or that of a step; every byte of it is verified.

        Raises:
            CheckpointError: there is no such checkpoint, or it is damaged.
        """
        step, folder = self.find(which)
        try:
            return self._read(folder, _read_manifest(folder))
        except CheckpointError:
            self._damaged.add(step)
            raise

    def find(self, which: Literal["last", "best"] | int) -> tuple[int, Path]:
        """The step and the folder of a checkpoint, which is not looked into.

        Raises:
            CheckpointError: there is no such checkpoint.
        """
        step = which if isinstance(which, int) else self._pointed_step(which)
        folder = self._folder_of(step)
        if not folder.is_dir():
            there = ", ".join(map(str, self.steps())) or "none"
            raise CheckpointError(f"there is no checkpoint of step {step} in {self.folder}; steps there: {there}")
        return step, folder

    def latest_good(self) -> Checkpoint | None:
        """The newest checkpoint that is intact, or None if none was ever saved.

        The ``warnings`` of what is returned name each newer one that is damaged and why.

        Raises:
            CheckpointError: there are checkpoints, but all of them are damaged.
        """
        manifests, problems = self._manifests()
        for manifest in sorted(manifests, key=lambda manifest: manifest.sequence, reverse=True):
            try:
                checkpoint = self._read(self._folder_of(manifest.step), manifest)
            except CheckpointError as error:
                self._damaged.add(manifest.step)
                problems.append(str(error))
            else:
                warnings = [f"{problem}; continuing from step {checkpoint.step}" for problem in problems]
                return replace(checkpoint, warnings=tuple(warnings))
        if problems:
            listed = "\n  ".join(problems)
            raise CheckpointError(f"no checkpoint in {self.folder} is intact:\n  {listed}")
        return None

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, damaged ones included, in ascending order."""
        if not self.folder.is_dir():
            return []
        matches = (_FOLDER.fullmatch(path.name) for path in self.folder.iterdir())
        steps = (int(match[1]) for match in matches if match)
        return sorted(step for step in steps if self._folder_of(step).is_dir())

    def clean(self) -> list[Path]:
        """Remove what processes that died left half-written; to be called when a run starts.

        Raises:
            CheckpointError: something could not be removed.
        """
        if not self.folder.is_dir():
            return []
        try:
            return recover(self.folder)
        except OSError as error:
            raise CheckpointError(f"{self.folder} could not be tidied: {error}") from error

    def _folder_of(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            os.makedirs(self.folder, exist_ok=True)
            fsync_folder(self.folder.parent)

    def _manifests(self) -> tuple[list[_Manifest], list[str]]:
        """The manifests that can be read, and what is wrong with the others."""
        manifests, problems = [], []
        for step in self.steps():
            try:
                manifests.append(_read_manifest(self._folder_of(step)))
            except CheckpointError as error:
                self._damaged.add(step)
                problems.append(str(error))
        return manifests, problems

    def _best(self, manifests: list[_Manifest], mode: str) -> list[_Manifest]:
        """Those that are the best to keep, best first; of equals the one saved first."""
        sign = 1 if mode == "min" else -1
        candidates = [
            (sign * manifest.metric, manifest.sequence, manifest)
            for manifest in manifests
            if manifest.metric is not None
            and not math.isnan(manifest.metric)
            and manifest.mode == mode
            and manifest.step not in self._damaged
        ]
        return [manifest for _, _, manifest in sorted(candidates, key=lambda item: item[:2])[: self.keep_best]]

    def _point_to(self, last: _Manifest, best: list[_Manifest]) -> None:
        self._point("last", last)
        if best:
            self._point("best", best[0])
        else:
            (self.folder / "best.json").unlink(missing_ok=True)

    def _point(self, which: str, manifest: _Manifest) -> None:
        folder = self._folder_of(manifest.step).name
        write_file(
            self.folder / f"{which}.json",
            [
                seal(
                    {
                        "folder": folder,
                        "step": manifest.step,
                        "metric": manifest.metric,
                        "mode": manifest.mode,
                    }
                )
            ],
        )

    def _pointed_step(self, which: str) -> int:
        if which not in ("last", "best"):
            raise CheckpointError(f"expected 'last', 'best' or a step, got {which!r}")
        path = self.folder / f"{which}.json"
        advice = "latest_good() finds the newest intact checkpoint without it"
        try:
            pointer = unseal(path.read_bytes())
        except FileNotFoundError:
            there = ", ".join(map(str, self.steps())) or "none"
            raise CheckpointError(f"there is no {path}; steps with a checkpoint: {there}; {advice}") from None
        except (OSError, FormatError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}; {advice}") from error
        step = pointer.get("step")
        if type(step) is not int:
            raise CheckpointError(f"{path} names no step; {advice}")
        return step

    def _delete_old(self, manifests: list[_Manifest], best: list[_Manifest], spared: int | None) -> None:
        """Delete by the keep policy; damaged checkpoints do not count and are left to be examined."""
        good = [manifest for manifest in manifests if manifest.step not in self._damaged]
        latest = sorted(good, key=lambda manifest: manifest.sequence)[-self.keep_last :]
        kept = {spared, *(manifest.step for manifest in (*latest, *best))}
        for manifest in good:
            if manifest.step not in kept:
                remove_folder(self._folder_of(manifest.step))

    def _read(self, folder: Path, manifest: _Manifest) -> Checkpoint:
        """Read all files of a checkpoint and compare them with its manifest."""
        contents = {name: _read_verified(folder / name, manifest) for name in (MODEL, OPTIM, STATE)}
        try:
            model, _ = read_safetensors(contents[MODEL])
            optim, _ = read_safetensors(contents[OPTIM])
            state = decode(contents[STATE].tobytes())
        except FormatError as error:
            raise CheckpointError(f"{folder} cannot be read: {error}") from error
        for name, tensors in ((MODEL, model), (OPTIM, optim)):
            if tensors.keys() != manifest.tensors[name].keys():
                raise CheckpointError(f"{folder / name} holds other tensors than {MANIFEST} lists")
        return Checkpoint(
            manifest.step,
            {name: model[name] for name in manifest.tensors[MODEL]},
            {name: optim[name] for name in manifest.tensors[OPTIM]},
            state,
            folder,
            manifest.metric,
        )


class _Digest:
    """The size and SHA-256 of bytes on their way to a file."""

    def __init__(self) -> None:
        self.size = 0
        self.hash = hashlib.sha256()

    def through(self, chunks: Iterable[Any]) -> Iterator[memoryview]:
        for chunk in chunks:
            view = memoryview(chunk).cast("B")
            self.size += view.nbytes
            self.hash.update(view)
            yield view


def _checksums(arrays: Mapping[str, Array]) -> dict[str, dict[str, Any]]:
    return {
        name: {"size": array.nbytes, "crc32": f"{zlib.crc32(array_bytes(array).data):08x}"}
        for name, array in arrays.items()
    }


def _manifest_json(manifest: _Manifest) -> bytes:
    return seal(
        {
            "format": _FORMAT,
            "step": manifest.step,
            "sequence": manifest.sequence,
            "metric": manifest.metric,
            "mode": manifest.mode,
            "files": manifest.files,
            "tensors": manifest.tensors,
        }
    )


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _BIGGEST_JSON:
            raise FormatError(f"it has more than {_BIGGEST_JSON} bytes")
        content = unseal(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is incomplete: it has no {MANIFEST}") from None
    except (OSError, FormatError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    match content:
        case {
            "format": 1,
            "step": int(step),
            "sequence": int(sequence),
            "metric": None | float() as metric,
            "mode": "min" | "max" as mode,
            "files": {
                "model.safetensors": dict(),
                "optim.safetensors": dict(),
                "state.json": dict(),
            } as files,
            "tensors": {"model.safetensors": dict(), "optim.safetensors": dict()} as tensors,
        } if folder.name == f"step-{step:06d}":
            return _Manifest(step, sequence, metric, mode, files, tensors)
    raise CheckpointError(
        f"{path} is not the manifest of {folder.name} in format {_FORMAT}; "
        "it belongs to another step or was written by another version of torchlite"
    )


def _read_verified(path: Path, manifest: _Manifest) -> ByteArray:
    """The bytes of a file, which are exactly those that were written."""
    size, sha256 = (manifest.files[path.name].get(key) for key in ("size", "sha256"))
    try:
        with open_source(path) as source:
            if source.size != size:
                raise CheckpointError(f"{path} is damaged: it has {source.size} bytes, {size} were written")
            content = source.read_array(0, source.size)
    except (OSError, FormatError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if hashlib.sha256(content.data).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: {_describe_damage(content, manifest.tensors.get(path.name, {}))}")
    return content


def _describe_damage(content: ByteArray, checksums: dict[str, dict[str, Any]]) -> str:
    """Which tensors of a file with a wrong SHA-256 are damaged, as far as that can be told."""
    try:
        arrays, _ = read_safetensors(content)
    except FormatError:
        return "its SHA-256 is not that of what was written"
    actual = _checksums(arrays)
    damaged = [repr(name) for name, checksum in checksums.items() if actual.get(name) != checksum]
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return f"tensors {', '.join(damaged[:3])}{more} changed" if damaged else "its header changed"
