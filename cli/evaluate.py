"""`torchlite eval`: loss and metrics of a trained model on a split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torchlite.cli import options


def command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CHECKPOINT|WEIGHTS",
            help="A run, the folder of one of its checkpoints, or with CONFIG a .safetensors, .npz or .pt file.",
            show_default=False,
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Argument(help="Model, data, loss and metrics as in this file, not as in the run.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    checkpoint: options.Checkpoint = "best",
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="These metrics, not those of the configuration; with arguments as in YAML: 'f1,{top_k: 3}'.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also those of each class.")] = False,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slices",
            metavar="COLUMN",
            help="Also of the samples with each value of this column of the table, or of each `class`.",
            show_default=False,
        ),
    ] = None,
    ci: Annotated[
        bool, typer.Option("--ci", help="With intervals of 95 %: samples drawn anew a thousand times, seeded.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; that of the training where unset.")] = None,
    allow_code: options.AllowCode = False,
    require: options.Require = None,
    json: options.Json = False,
) -> None:
    """Loss, accuracy and metrics of a run on a split; also written to eval/ in its folder.

    With CONFIG the weights are put into its model and tried on its data, which may be another than that of the training.

    --require takes accuracy>=0.9, of slices accuracy[sex=male]>=0.9 or accuracy[sex]>=0.9 (each of them), and of --ci the ends
    of intervals, accuracy.low>=0.9.
    """
    import json as json_module

    from torchlite.serialization.atomic import write_file
    from torchlite.train.evaluation import evaluate_trained, requirable
    from torchlite.train.trained import Loaded, Trained, load_for, load_trained

    loaded: Loaded
    if config is None:
        loaded = load_trained(run, checkpoint, device, allow_code=allow_code, metrics=metrics)
    else:
        loaded = load_for(config, run, checkpoint, device, metrics=metrics)
    result = evaluate_trained(loaded, split, slices=slices or (), certain=ci)
    content = json_module.dumps(result, indent=2)
    if isinstance(loaded, Trained):
        folder = loaded.run.path / "eval"
        folder.mkdir(exist_ok=True)
        write_file(folder / f"{split}.json", [content.encode() + b"\n"])
    if json:
        print(content)
    else:
        _show(result, per_class=per_class)
    options.check_requirements(require, *requirable(result))


def _show(result: Mapping[str, Any], *, per_class: bool) -> None:
    listed = "  ".join(f"{name} {_text(result, name)}" for name in result["metrics"])
    of = "" if result["step"] is None else f", checkpoint of step {result['step']}"
    print(f"{result['split']}  {listed}  ({result['samples']:,} samples{of})")
    if per_class and result["per_class"]:
        rows = [["class", "samples", "accuracy", "precision", "f1"]]
        for name, one in result["per_class"].items():
            rows.append([name, f"{one['samples']:,}", *(f"{one[key]:.4f}" for key in ("accuracy", "precision", "f1"))])
        print(_indented(rows))
    for column, values in result.get("slices", {}).items():
        names = [name for name in result["metrics"] if "/" not in name]
        rows = [[column, "samples", *names]]
        for value, part in values.items():
            rows.append([value, f"{part['samples']:,}", *(_text(part, name) for name in names)])
        print(_indented(rows))


def _text(part: Mapping[str, Any], name: str) -> str:
    """A number, with its interval where there is one."""
    between = part.get("intervals", {}).get(name)
    return f"{part['metrics'][name]:.4f}" + (f" [{between[0]:.4f}, {between[1]:.4f}]" if between else "")


def _indented(rows: list[list[str]]) -> str:
    return "\n".join(f"  {line}" for line in options.table(rows).splitlines())
