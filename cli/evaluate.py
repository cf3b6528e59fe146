"""`torchlite eval`: loss and metrics of a trained model on a split."""

from __future__ import annotations

from typing import Annotated

import typer

from torchlite.cli import options


def command(
    run: options.Run,
    split: Annotated[str, typer.Option("--split", help="train, val or test.")] = "test",
    checkpoint: options.Checkpoint = "best",
    per_class: Annotated[bool, typer.Option("--per-class", help="Also the accuracy of each class.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; that of the training where unset.")] = None,
    allow_code: options.AllowCode = False,
    require: options.Require = None,
    json: options.Json = False,
) -> None:
    """Loss, accuracy and metrics of a run on a split; also written to eval/ in its folder."""
    import json as json_module

    from torchlite.serialization.atomic import write_file
    from torchlite.train.evaluation import evaluate_trained
    from torchlite.train.trained import load_trained

    trained = load_trained(run, checkpoint, device, allow_code=allow_code)
    result = evaluate_trained(trained, split)
    content = json_module.dumps(result, indent=2)
    folder = trained.run.path / "eval"
    folder.mkdir(exist_ok=True)
    write_file(folder / f"{split}.json", [content.encode() + b"\n"])
    if json:
        print(content)
    else:
        listed = "  ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items())
        print(f"{split}  {listed}  ({result['samples']:,} samples, checkpoint of step {result['step']})")
        if per_class:
            width = max(map(len, result["per_class"]))
            for name, accuracy in result["per_class"].items():
                print(f"  {name.ljust(width)}  {accuracy:.4f}")
    options.check_requirements(require, result["metrics"])
