"""`torchlite train`: train a configuration."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.cli import common, options

if TYPE_CHECKING:
    from torchlite.train.run import Outcome


class Resume(StrEnum):
    """Whether an unfinished run goes on."""

    auto = "auto"
    never = "never"


def command(
    config: Annotated[Path, typer.Argument(help="The configuration.", show_default=False)],
    overrides: options.Overrides = None,
    runs: options.Runs = Path("runs"),
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Train so many steps.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run.", show_default=False)] = None,
    device: options.Device = None,
    on_oom: options.Oom = None,
    resume: Annotated[
        Resume,
        typer.Option("--resume", help="auto: go on with the newest unfinished run of this name, if there is one."),
    ] = Resume.never,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Two steps on made-up data, nothing written.")] = False,
    require: options.Require = None,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a configuration; the result is a folder in runs/.

    --require compares the last evaluation (train/loss, val/loss, val/accuracy, ...).
    """
    from torchlite.cli.display import choose_display, plan_lines
    from torchlite.train import run, run_directory
    from torchlite.train.config.load import require_config

    changes = options.run_options(overrides, config=config, steps=steps, name=name, device=device, on_oom=on_oom)
    checked = require_config(config, changes)
    options.expect_requirements(require, checked)
    if smoke:
        _smoke(config, changes)
        return
    if dry_run:
        from torchlite.train.plan import make_plan

        print("\n".join(plan_lines(make_plan(checked))))
        return
    display = choose_display(plain=plain, quiet=quiet, events=json)
    unfinished = run_directory.unfinished_run(checked, runs) if resume is Resume.auto else None
    if unfinished is not None:
        outcome = run.resume(unfinished, display, overrides=changes, allow_code=True)
    else:
        outcome = run.train(checked, display, root=runs, overrides=changes)
    report(outcome, require, events=json)


def report(outcome: Outcome, require: list[str] | None, *, events: bool) -> None:
    """Say how a run ended and leave with its exit code."""
    from torchlite.cli.display import whole_values

    progress = outcome.progress
    for warning in outcome.warnings:
        common.say(f"warning: {warning}", err=True)
    if outcome.exit_code:
        typer.echo(f"stopped at step {progress.step}; continue: torchlite resume {outcome.run.path}", err=True)
        raise typer.Exit(outcome.exit_code)
    if not events:
        latest = "  ".join(f"{name} {value:.4f}" for name, value in whole_values(progress.latest).items())
        best = "" if progress.best.value is None else f"  best {outcome.monitor} {progress.best.value:.4f}"
        setbacks = "".join(f"  {name} {count}" for name, count in progress.setbacks.counts().items())
        print(f"{outcome.ending} at step {progress.step}: {latest}{best}{setbacks}")
        print(f"RESULT run={outcome.run.path}")
    options.check_requirements(require, progress.latest)


def _smoke(config: Path, overrides: list[str]) -> None:
    from torchlite.errors import ConfigError
    from torchlite.train.config.render import as_text
    from torchlite.train.config.validate import Options, validate

    checked = validate([str(config)], overrides, Options("smoke", import_code=True))
    if checked.errors:
        raise ConfigError(as_text(checked.diagnostics))
    print(f"{config}: one step on made-up data works")
