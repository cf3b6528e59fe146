"""`torchlite export`: a trained model for other programs: its weights, or all that it computes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from torchlite.cli import options


class Format(StrEnum):
    """The file formats."""

    safetensors = "safetensors"
    npz = "npz"
    pt = "pt"
    onnx = "onnx"
    c = "c"


def command(
    run: options.Trained,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Weights as safetensors, npz (NumPy) or pt (torch.load); the model as onnx or c (one file of C and a header). "
            "By default what --output ends in, else safetensors.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where to write; exports/ in the run's folder where unset.", show_default=False
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option("--opset", help="onnx: version of the operators; 18 where unset.", show_default=False)
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="onnx: any number of samples at a time.")] = False,
    batch: Annotated[int, typer.Option("--batch", min=1, help="onnx, c: so many samples at a time.")] = 1,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="onnx, c: which of several models.", show_default=False),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify", help="onnx, c: run what was made on made-up samples and compare (exit 10)."
        ),
    ] = True,
    checkpoint: options.Checkpoint = "best",
    allow_code: options.AllowCode = False,
) -> None:
    """Write a run's weights by PyTorch's names, or the model as a program, and compare with the original."""
    from torchlite.cli.display import bytes_text
    from torchlite.errors import UsageError
    from torchlite.train.exporting import FORMATS, PROGRAMS, ProgramOptions, export, export_program
    from torchlite.train.trained import load_trained

    ending = output.suffix.lstrip(".") if output is not None else ""
    chosen = format.value if format is not None else ending or "safetensors"
    if chosen not in FORMATS:
        raise UsageError(f"can't tell the format from {output}: name it with --format {'|'.join(FORMATS)}")
    if chosen != "onnx" and (opset is not None or dynamic):
        raise UsageError(f"--opset and --dynamic are for --format onnx, not {chosen}")
    if dynamic and batch != 1:
        raise UsageError("with --dynamic any number of samples fits; leave --batch out")
    trained = load_trained(run, checkpoint, "cpu", allow_code=allow_code)
    target = output or trained.run.path / "exports" / f"{model or 'model'}.{chosen}"
    if chosen in PROGRAMS:
        made = export_program(trained, target, chosen, ProgramOptions(model, batch, dynamic, opset, verify))
    else:
        made = export(trained, target, chosen)
    params = sum(p.numel() for p in trained.model.parameters())
    size = bytes_text(sum(path.stat().st_size for path in made.files))
    files = ", ".join([str(target), *(path.name for path in made.files[1:])])
    print(f"{files}  {size}  {params:,} params  step {trained.checkpoint.step}  {made.said}")
