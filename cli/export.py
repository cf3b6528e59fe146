"""`torchlite export`: a trained model's weights for other programs."""

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


def command(
    run: options.Run,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="safetensors, npz (NumPy) or pt (torch.load); by default what --output ends in, else safetensors.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where to write; exports/ in the run's folder where unset.", show_default=False
        ),
    ] = None,
    checkpoint: options.Checkpoint = "best",
    allow_code: options.AllowCode = False,
) -> None:
    """Write a run's weights by PyTorch's names, read them back and compare."""
    from torchlite.cli.display import bytes_text
    from torchlite.errors import UsageError
    from torchlite.train.exporting import FORMATS, export
    from torchlite.train.trained import load_trained

    ending = output.suffix.lstrip(".") if output is not None else ""
    chosen = format.value if format is not None else ending or "safetensors"
    if chosen not in FORMATS:
        raise UsageError(f"can't tell the format from {output}: name it with --format {'|'.join(FORMATS)}")
    trained = load_trained(run, checkpoint, "cpu", allow_code=allow_code)
    target = output or trained.run.path / "exports" / f"model.{chosen}"
    export(trained, target, chosen)
    params = sum(p.numel() for p in trained.model.parameters())
    print(
        f"{target}  {bytes_text(target.stat().st_size)}  {params:,} params  step {trained.checkpoint.step}  read back: equal"
    )
