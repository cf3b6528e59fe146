"""Writing a trained model for other programs, and proving that it is the same: its weights, or all that it computes."""

from __future__ import annotations

import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from torchlite import backends, nn
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.errors import DeviceError, ExportError, UsageError
from torchlite.extras import extra
from torchlite.serialization import load, save
from torchlite.serialization.npz import read_npz, write_npz
from torchlite.serialization.safetensors import read_safetensors, write_safetensors
from torchlite.tracing import Uncapturable
from torchlite.train.made_up import made_up_inputs
from torchlite.train.trained import Trained

Format = Literal["safetensors", "npz", "pt", "onnx", "c"]
FORMATS: tuple[Format, ...] = ("safetensors", "npz", "pt", "onnx", "c")
PROGRAMS: tuple[Format, ...] = ("onnx", "c")
"""Formats that hold what a model computes, and not only its weights."""

_BATCHES, _TOLERANCE = 16, 1e-4


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: of which the first is the one that was asked for.
        said: what there is to say about it.
    """

    files: tuple[Path, ...]
    said: str


@dataclass
class Parity:
    """How far the results of a program are from the model's.

    Attributes:
        runner: what ran the program.
        greatest: the greatest difference, by the size of the results.
        decides: whether the largest of the last dimension is a decision for a class.
        batches: how many were compared.
        decided, same: decisions for a class, and how many were the same.
    """

    runner: str
    decides: bool = False
    greatest: float = 0.0
    batches: int = 0
    decided: int = 0
    same: int = 0

    def add(self, got: Any, expected: Any) -> None:
        """Compare the results for one batch."""
        self.batches += 1
        if got.shape != expected.shape:
            raise ExportError(f"{self.runner} gives a result of shape {got.shape}, the model {expected.shape}")
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        apart = np.where((got == expected) | (np.isnan(got) & np.isnan(expected)), 0, np.abs(got - expected) / scale)
        self.greatest = max(self.greatest, float(apart.max(initial=0)))
        if self.decides and expected.ndim > 1 and expected.shape[-1] > 1:
            chosen = got.argmax(-1) == expected.argmax(-1)
            self.decided += chosen.size
            self.same += int(chosen.sum())

    def check(self) -> str:
        """What there is to say.

        Raises:
            ExportError: where the results are others.
        """
        if not self.greatest <= _TOLERANCE:
            raise ExportError(
                f"{self.runner} computes other results: they differ by {self.greatest:.2g} on {self.batches} batches"
            )
        decisions = f", argmax {100 * self.same / self.decided:.4g} %" if self.decided else ""
        return f"parity on {self.batches} batches by {self.runner}: max |Δ| {self.greatest:.1e}{decisions}"


def export(trained: Trained, target: Path, format: Format) -> Exported:
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
    return Exported((target,), "read back: equal")


def _same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@dataclass(frozen=True)
class ProgramOptions:
    """How a program is exported.

    Attributes:
        model: which, where a configuration has several.
        batch: samples at a time.
        dynamic: whether it takes any number of samples; of ONNX.
        opset: the version of ONNX's operators; the least that can be where None.
        verify: whether it is run and compared.
    """

    model: str | None = None
    batch: int = 1
    dynamic: bool = False
    opset: int | None = None
    verify: bool = True


def export_program(trained: Trained, target: Path, format: Format, options: ProgramOptions) -> Exported:
    """Write what a model computes, as ONNX or C, after it was run and compared with the model.

    Raises:
        UsageError: where it is not said which of several models. DeviceError: without the package or compiler that it needs.
        ExportError: for an operation that has no form there, and where it computes other results. Nothing is written then.
    """
    name, model = _chosen(trained, options.model)
    make = _onnx if format == "onnx" else _c
    return make(trained, name, model, target, options)


def _chosen(trained: Trained, name: str | None) -> tuple[str, nn.Module]:
    models = trained.config.models
    if not models:
        if name is not None:
            raise UsageError(f"the configuration has one model, not several of which '{name}' could be one")
        return "model", trained.model
    if name is None or name not in models:
        raise UsageError(f"the configuration has several models; choose one with --model: {', '.join(models)}")
    return name, trained.model.get_submodule(name)


def _batches(trained: Trained, name: str, sizes: Sequence[int]) -> list[Tensor]:
    """Inputs of a model, made up."""
    return [made_up_inputs(trained.config, trained.traces[name], n, i) for i, n in enumerate(sizes)]


def _parity(
    trained: Trained, runner: str, model: nn.Module, batches: Sequence[Tensor], run: Callable[[list[Any]], list[Any]]
) -> Parity:
    parity = Parity(runner, decides=not trained.config.models)
    with no_grad():
        for x in batches:
            (got,) = run([backends.to_numpy(x._data)])
            parity.add(np.asarray(got), backends.to_numpy(model(x)._data))
    return parity


def _onnx(trained: Trained, name: str, model: nn.Module, target: Path, options: ProgramOptions) -> Exported:
    extra("onnx", "export --format onnx")
    from torchlite.onnx import export as export_onnx

    (example,) = _batches(trained, name, [options.batch])
    axes = {"input": {0: "batch"}} if options.dynamic else None
    program = export_onnx(
        model, example, input_names=["input"], output_names=["output"], opset_version=options.opset, dynamic_axes=axes
    )
    said = [f"opset {next(one.version for one in program.model_proto.opset_import if not one.domain)}"]
    said.append(f"{_shape(example, any_batch=options.dynamic)} -> {_shape(model(example), any_batch=options.dynamic)}")
    if options.verify:
        sizes = [1 + i % 5 if options.dynamic else options.batch for i in range(_BATCHES)]
        said.append(_parity(trained, program.runner, model, _batches(trained, name, sizes), program.run).check())
    target.parent.mkdir(parents=True, exist_ok=True)
    program.save(target)
    return Exported((target,), "  ".join(said))


def _c(trained: Trained, name: str, model: nn.Module, target: Path, options: ProgramOptions) -> Exported:
    from torchlite.backends.native import toolchain
    from torchlite.compiler.standalone import WithoutC, compile_standalone, standalone

    (example,) = _batches(trained, name, [options.batch])
    try:
        made = standalone(model, (example,), identifier(target.stem))
    except (WithoutC, Uncapturable) as error:
        raise ExportError(f"the model can't become C: {error}") from None
    said = [f"{_shape(example)} -> {_shape(model(example))}"]
    contents = {target: made.source.encode(), target.with_suffix(".h"): made.header.encode()}
    if made.weights is not None:
        contents[target.with_suffix(".weights")] = made.weights
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export") as folder:
        written = [Path(folder) / path.name for path in contents]
        for path, content in zip(written, contents.values(), strict=True):
            path.write_bytes(content)
        if options.verify:
            try:
                compiled = compile_standalone(
                    made, written[0], written[2] if made.weights is not None else None, Path(folder)
                )
            except toolchain.Unavailable as error:
                raise DeviceError(
                    f"the program can't be compared with the model: {error}; --no-verify leaves that out"
                ) from None
            runner = Path(toolchain.compiler().command[0]).name
            batches = _batches(trained, name, [options.batch] * _BATCHES)
            said.append(_parity(trained, f"a program that {runner} compiled", model, batches, compiled).check())
        for path, final in zip(written, contents, strict=True):
            os.replace(path, final)
    return Exported(tuple(contents), "  ".join(said))


def identifier(text: str) -> str:
    """A name of C that resembles a text.

    >>> identifier("digits-mlp 2"), identifier("2nd")
    ('digits_mlp_2', '_2nd')
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII) or "model"
    return f"_{name}" if name[0].isdigit() else name


def _shape(x: Tensor, *, any_batch: bool = False) -> str:
    first, *others = x.shape
    return f"[{', '.join(['N' if any_batch else str(first), *map(str, others)])}]"


def check_formats(formats: Sequence[Format]) -> None:
    """Whether what these formats need is there, before a long training.

    Raises:
        DeviceError: naming what is missing.
    """
    if "onnx" in formats:
        extra("onnx", "export: onnx")
    if "c" in formats:
        from torchlite.backends.native import toolchain

        try:
            toolchain.compiler()
        except toolchain.Unavailable as error:
            raise DeviceError(f"export: c can't be compared with the model: {error}") from None


def export_all(trained: Trained, formats: Sequence[Format], folder: Path) -> None:
    """Write a model in each format that a configuration lists; of several models each as a program of its own.

    Raises:
        ExportError: as `export` and `export_program`.
    """
    for name in formats:
        if name not in PROGRAMS:
            export(trained, folder / f"model.{name}", name)
            continue
        names: list[str | None] = [*trained.config.models] or [None]
        for model in names:
            options = ProgramOptions(model=model, dynamic=name == "onnx")
            export_program(trained, folder / f"{model or 'model'}.{name}", name, options)
