"""`torchlite runs`: the runs in a folder, listed, shown, compared, drawn and tidied."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchlite.cli import common, options

if TYPE_CHECKING:
    from torchlite.train.history import RunRecord

app = typer.Typer(help="Runs: ls, show, compare, plot, gc, repro.", no_args_is_help=True, rich_markup_mode=None)

SeveralRuns = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Runs: folders, or runs/NAME/latest.", show_default=False)
]


@app.command("ls")
def ls(
    runs: options.Runs = Path("runs"),
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="KEY", help="A metric, step, name or age; - in front reverses.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="'NAME>=VALUE'", help="Only runs whose metric is so; or state=STATE."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Every run, oldest first, with its state and last evaluation."""
    from torchlite.train.history import list_runs

    there = list_runs(runs)
    found = [one for one in there if all(_holds(one, text) for text in where or ())]
    if sort is not None:
        _check_key(sort.removeprefix("-"), there)
        found.sort(key=lambda one: _order(one, sort.removeprefix("-")), reverse=sort.startswith("-"))
    if json:
        _print_json([one.record() for one in found])
        return
    if not found:
        print(f"no runs in {runs}")
        return
    names = list(dict.fromkeys(name for one in found for name in one.metrics))
    rows = [["run", "state", "step", *names]]
    for one in found:
        values = [f"{one.metrics[name]:.4f}" if name in one.metrics else "" for name in names]
        rows.append([one.name, one.state, str(one.step), *values])
    print(options.table(rows))


@app.command("show")
def show(run: options.Run, json: options.Json = False) -> None:
    """One run: its state, checkpoints, metrics, size and environment."""
    from torchlite.cli.display import bytes_text, duration
    from torchlite.train.history import environment_of, record_of, size_of
    from torchlite.train.run_directory import find_run

    found = find_run(run)
    one, environment = record_of(found), environment_of(found)
    content: dict[str, Any] = {
        **one.record(),
        "status": found.status(),
        "checkpoints": found.store().steps(),
        "bytes": size_of(found),
        "environment": environment,
    }
    if json:
        _print_json(content)
        return
    git = environment.get("git", {})
    commit = git.get("commit", "")[:9] + (" (dirty: git.patch)" if git.get("dirty") else "")
    reason = content["status"].get("reason")
    lines = {
        "run": one.name,
        "state": one.state + (f": {reason}" if reason and one.state != "finished" else ""),
        "written": f"{duration(one.seconds)} ago",
        "step": str(one.step),
        "metrics": "  ".join(f"{name} {value:.4f}" for name, value in one.metrics.items()),
        "steps kept": ", ".join(map(str, content["checkpoints"])) or "none",
        "size": bytes_text(content["bytes"]),
        "git": commit or "-",
        "made by": f"torchlite {environment.get('torchlite', '?')}, Python {environment.get('python', '?')}",
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        print(f"{name.ljust(width)}  {text}".rstrip())


@app.command("compare")
def compare(
    runs: SeveralRuns,
    json: options.Json = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with the curves of all, too.", show_default=False),
    ] = None,
    allow_code: options.AllowCode = False,
) -> None:
    """What differs between runs: their configurations, key by key, and their last evaluations."""
    from torchlite.errors import UsageError
    from torchlite.train.report.comparison import as_html, compared
    from torchlite.train.run_directory import find_run

    if len(runs) < 2:
        raise UsageError("name at least two runs to compare")
    found = compared([find_run(run) for run in runs], allow_code=allow_code)
    if html is not None:
        options.write_text(html, as_html(found))
    if json:
        _print_json({"runs": [one.record() for one in found.records], "config": found.config})
    else:
        print(options.table([["", *found.names], *found.settings(), *found.results()]))


@app.command("plot")
def plot(
    runs: SeveralRuns,
    metric: Annotated[str, typer.Option("--metric", help="loss of every step, or a metric: val/loss, ...")] = "loss",
    width: Annotated[
        int | None, typer.Option("--width", min=20, help="Columns; those of the terminal where unset.")
    ] = None,
    height: Annotated[int, typer.Option("--height", min=3, help="Lines.")] = 12,
) -> None:
    """The course of a metric, drawn in the terminal; several runs in one picture."""
    import shutil

    from torchlite.cli.chart import chart
    from torchlite.train.history import series
    from torchlite.train.run_directory import find_run

    found = [find_run(run) for run in runs]
    curves = {f"{run.path.resolve().parent.name}/{run.path.name}": series(run, metric) for run in found}
    print(f"{metric} by step")
    print(chart(curves, width or shutil.get_terminal_size().columns, height))


@app.command("gc")
def gc(
    runs: options.Runs = Path("runs"),
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="Keep so many of the newest of each name; 0 keeps all.")
    ] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them; without it they are only listed.")] = False,
) -> None:
    """Runs that may go: those without a checkpoint and, with --keep, older ones.

    Lists them; deletes them with --yes, or where someone at a terminal says so.
    """
    from torchlite.cli.display import bytes_text
    from torchlite.train.history import list_runs, remove, size_of, superfluous

    going = superfluous(list_runs(runs), keep)
    if not going:
        print("nothing to delete")
        return
    sizes = [size_of(one.run) for one in going]
    for one, size in zip(going, sizes, strict=True):
        print(f"{'deleted' if yes else 'would delete'}  {one.name}  {one.state}  {bytes_text(size)}")
    total = f"{len(going)} runs, {bytes_text(sum(sizes))}"
    if yes or common.ask(f"delete {total}?"):
        for one in going:
            remove(one)
    else:
        print(f"{total}; --yes deletes them")


@app.command("repro")
def repro(
    run: options.Run,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Only so many steps.", show_default=False)] = None,
    at_commit: Annotated[
        bool,
        typer.Option("--at-commit", help="With the modules of the run's commit and patch, in a temporary work tree."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only say what is different now; train nothing.")] = False,
    allow_code: options.AllowCode = False,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Train a run again, in a folder inside its own, and compare every number and the weights bit for bit.

    First it says what is different now: versions, processor, threads, commit, code, data. Exit 0: identical; 13: not.
    """
    from torchlite.cli.display import Silent, choose_display
    from torchlite.errors import ReproductionError
    from torchlite.train.reproduction import differences, reproduce
    from torchlite.train.run_directory import find_run

    found = find_run(run)
    apart = differences(found, found.read_config(allow_code=allow_code))
    if not json:
        for one in apart:
            typer.echo(f"  differs  {one}")
        if not apart:
            typer.echo("  differs  nothing: versions, processor, threads, commit, code and data are what they were")
    if check:
        if json:
            _print_json({"differences": [vars(one) for one in apart]})
        if apart:
            raise typer.Exit(ReproductionError.exit_code)
        return
    display = Silent() if json else choose_display(plain=plain, quiet=quiet, events=False)
    again, comparison = reproduce(found, display, steps=steps, allow_code=allow_code, at_commit=at_commit)
    if json:
        content = {"run": str(again.path), "identical": comparison.identical, **vars(comparison)}
        _print_json({**content, "differences": [vars(one) for one in apart]})
    else:
        typer.echo(f"  again    {again.path}")
        typer.echo(str(comparison))
    if not comparison.identical:
        raise typer.Exit(ReproductionError.exit_code)


def _holds(one: RunRecord, text: str) -> bool:
    if text.startswith("state="):
        return one.state == text.removeprefix("state=")
    requirement = options.parse_requirement("--where", text)
    value = one.value(requirement.name)
    return isinstance(value, (int, float)) and requirement.holds(value)


def _check_key(key: str, found: list[RunRecord]) -> None:
    from torchlite.errors import UsageError
    from torchlite.train.config.diagnostics import suggestion
    from torchlite.train.history import RunRecord

    known = dict.fromkeys([*RunRecord.KEYS, *(name for one in found for name in one.metrics)])
    if key not in known:
        raise UsageError(f"--sort {key!r}: {suggestion(key, known)[1]}")


def _order(one: RunRecord, key: str) -> tuple[bool, Any]:
    value = one.value(key)
    return value is None, value if value is not None else 0


def _print_json(content: Any) -> None:
    import json

    print(json.dumps(content, indent=2))
