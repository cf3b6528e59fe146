"""`torchlite sweep`: train a configuration with other values, and rank them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from torchlite.train.sweep.sweep import Standing


def command(
    config: Annotated[Path, typer.Argument(help="The configuration, with a section `sweep`.", show_default=False)],
    overrides: options.Overrides = None,
    runs: options.Runs = Path("runs"),
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="How many; sweep.trials where unset.")] = None,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Trials at once, each in its own process.")] = 1,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and stop.")] = False,
    json: options.Json = False,
) -> None:
    """Train with the values that the section `sweep` lists, and rank the trials.

    A trial is known by what it trains: the same command goes on with a sweep that was stopped, and trains nothing twice.
    """
    import json as json_module

    from torchlite.train.sweep.sweep import plan_sweep, run_sweep, summary

    changes = [*(overrides or []), *([f"sweep.trials={trials}"] if trials is not None else [])]
    sweeping = plan_sweep(config, changes, runs)
    if dry_run:
        for trial in sweeping.trials:
            print(f"{trial.id}  {_listed(trial.values)}")
        return

    def say(standing: Standing) -> None:
        value = standing.problem if standing.exit_code else f"{sweeping.monitor} {standing.value}"
        typer.echo(f"{standing.trial.id}  step {standing.step}  {value}  {_listed(standing.trial.values)}", err=True)

    code = run_sweep(sweeping, parallel, fail_fast=fail_fast, progressed=say)
    content = summary(sweeping)
    print(json_module.dumps(content, indent=2) if json else "\n".join(_leaderboard(content)))
    if code:
        failed = all(one["exit_code"] for one in content["trials"])
        typer.echo("every trial failed" if failed else "stopped; the same command goes on", err=True)
        raise typer.Exit(code)
    if not json:
        print(f"RESULT report={sweeping.folder / 'report.html'}")


def _listed(values: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in values.items())


def _leaderboard(content: dict[str, Any]) -> list[str]:
    from torchlite.train.sweep.report import said

    rows = [("", "trial", content["monitor"], "step", "values")]
    for place, one in enumerate(content["trials"], 1):
        rows.append((str(place), one["id"], said(one), str(one["step"]), _listed(one["values"])))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    cells = [[cell.ljust(width) for cell, width in zip(row, widths, strict=False)] for row in rows]
    return ["  ".join([*left, row[4]]).rstrip() for left, row in zip(cells, rows, strict=True)]
