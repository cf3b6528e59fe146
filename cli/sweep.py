"""`torchlite sweep`: train a configuration with other values, and rank them."""

from __future__ import annotations

import sys
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from torchlite.train.sweep.sweep import Standing, Sweeping
    from torchlite.train.sweep.trial import Trial


class Resume(StrEnum):
    """What to do about trials that are there."""

    auto = "auto"
    never = "never"


def command(
    config: Annotated[Path, typer.Argument(help="The configuration, with a section `sweep`.", show_default=False)],
    overrides: options.Overrides = None,
    runs: options.Runs = Path("runs"),
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="How many; sweep.trials where unset.")] = None,
    parallel: Annotated[
        int,
        typer.Option("--parallel", min=1, help="Trials at once, each in its own process; they share the processors."),
    ] = 1,
    resume: Annotated[
        Resume,
        typer.Option(
            "--resume", help="auto: go on with the trials that are there; never: refuse to, where there are some."
        ),
    ] = Resume.auto,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and stop.")] = False,
    plain: options.Plain = False,
    json: options.Json = False,
) -> None:
    """Train with the values that the section `sweep` lists, and rank the trials.

    A trial is known by what it trains: the same command goes on with a sweep that was stopped, and trains nothing twice.
    """
    import json as json_module

    from torchlite.errors import UsageError
    from torchlite.train.sweep.sweep import plan_sweep, run_sweep, summary

    changes = [*(overrides or []), *([f"sweep.trials={trials}"] if trials is not None else [])]
    sweeping = plan_sweep(config, changes, runs)
    if resume is Resume.never and any(trial.results() for trial in sweeping.trials):
        raise UsageError(
            f"{sweeping.folder} has trials of this sweep; --resume auto goes on with them, another name begins anew"
        )
    if dry_run:
        for trial in sweeping.trials:
            print(f"{trial.id}  {_listed(trial.values)}")
        missing = (sweeping.config.sweep.trials or 0) - len(sweeping.trials) if sweeping.config.sweep else 0
        if sweeping.follows_results and missing > 0:
            typer.echo(f"{missing} more follow from the results of these", err=True)
        return

    def say(standing: Standing) -> None:
        value = standing.problem if standing.exit_code else f"{sweeping.monitor} {standing.value}"
        typer.echo(f"{standing.trial.id}  step {standing.step}  {value}  {_listed(standing.trial.values)}", err=True)

    if plain or json or not sys.stdout.isatty():
        code = run_sweep(sweeping, parallel, fail_fast=fail_fast, progressed=say)
    else:
        with Board(sweeping) as board:
            code = run_sweep(sweeping, parallel, fail_fast=fail_fast, watched=board.watched)
    content = summary(sweeping)
    print(json_module.dumps(content, indent=2) if json else "\n".join(_leaderboard(content)))
    if code:
        failed = all(one["exit_code"] for one in content["trials"])
        typer.echo("every trial failed" if failed else "stopped; the same command goes on", err=True)
        raise typer.Exit(code)
    if not json:
        print(f"RESULT report={sweeping.folder / 'report.html'}")


class Board:
    """The leaderboard on a terminal while trials train."""

    def __init__(self, sweeping: Sweeping) -> None:
        from rich.console import Console
        from rich.live import Live

        self.sweeping = sweeping
        self.console = Console()
        self.live = Live(console=self.console, transient=True, auto_refresh=False)

    def __enter__(self) -> Board:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def watched(self, running: Collection[Trial]) -> None:
        """Draw it anew."""
        self.live.update(self.picture(running, self.console.height), refresh=True)

    def picture(self, running: Collection[Trial], height: int) -> Table:
        """The best trials, as many as fit on the terminal, those that train marked with what they have come to."""
        from rich.table import Table

        board = self.sweeping.leaderboard()
        training = {trial.id for trial in running}
        done = sum(one.value is not None or bool(one.exit_code) for one in board)
        table = Table(box=None, padding=(0, 2, 0, 0), title=f"{done} of {self._count()} trials", title_justify="left")
        for name in ("", "trial", self.sweeping.monitor, "step", "", "values"):
            table.add_column(name, justify="right" if name in (self.sweeping.monitor, "step") else "left", no_wrap=True)
        for place, one in enumerate(board[: max(height - 4, 1)], 1):
            table.add_row(
                str(place), one.trial.id, *self._standing(one, one.trial.id in training), _listed(one.trial.values)
            )
        return table

    def _count(self) -> int:
        sweep = self.sweeping.config.sweep
        wanted = sweep.trials if sweep is not None and self.sweeping.follows_results else None
        return max(wanted or 0, len(self.sweeping.trials))

    def _standing(self, one: Standing, trains: bool) -> tuple[str, str, str]:
        """Value, step and state."""
        from torchlite.train.metrics_log import read_metrics
        from torchlite.train.run_directory import RunDirectory
        from torchlite.train.sweep.trial import best_value

        value, step = one.value, one.step
        if trains:
            directory = RunDirectory(one.trial.folder)
            rows = read_metrics(directory.metrics) if directory.metrics.is_file() else []
            step = int(rows[-1].get("step", step)) if rows else step
            value = best_value(directory, self.sweeping.monitor, self.sweeping.mode) if rows else value
        state = "trains" if trains else "failed" if one.exit_code else "done" if one.value is not None else "waits"
        return "" if value is None else f"{value:.6g}", str(step) if step else "", state


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
