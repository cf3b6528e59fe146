"""`torchlite resume`: go on with a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from torchlite.train.run import Resumption


def command(
    run: options.Run,
    overrides: options.Overrides = None,
    begin: Annotated[
        str,
        typer.Option(
            "--from", metavar="last|best|STEP", help="The checkpoint; any but the last goes on in a new folder."
        ),
    ] = "last",
    fork: Annotated[bool, typer.Option("--fork", help="Go on in a new folder; this one stays as it is.")] = False,
    verify: Annotated[
        int,
        typer.Option(
            "--verify", metavar="N", min=0, help="First take the last N recorded steps again and compare every bit."
        ),
    ] = 0,
    device: options.Device = None,
    on_oom: options.Oom = None,
    allow_code: options.AllowCode = False,
    require: options.Require = None,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Go on where the newest intact checkpoint was taken, bit for bit as if nothing had happened.

    KEY=VALUE changes the configuration, such as train.epochs=20; what changed is shown, and whether the run stays exact.
    """
    from torchlite.cli.display import choose_display
    from torchlite.cli.train import report
    from torchlite.train import run as runs
    from torchlite.train.run_directory import find_run

    found = find_run(run)
    options.expect_requirements(require)
    if verify:
        from torchlite.train.verification import verify as verify_run

        typer.echo(f"  verify   {verify_run(found, found.read_config(allow_code=allow_code), verify)}", err=json)
    outcome = runs.resume(
        found,
        choose_display(plain=plain, quiet=quiet, events=json),
        overrides=options.run_options(overrides, device=device, on_oom=on_oom),
        allow_code=allow_code,
        begin=begin,
        fork=fork,
        told=lambda resumption: _show(resumption, to_errors=json or quiet),
    )
    report(outcome, require, events=json)


def _show(resumption: Resumption, *, to_errors: bool) -> None:
    """What changed, and where the run goes on."""
    for one in resumption.changed:
        typer.echo(f"  changed  {one}", err=to_errors)
    if resumption.checkpoint is not None:
        typer.echo(f"  from     {resumption.checkpoint.folder}", err=to_errors)
    typer.echo(f"  run      {resumption.run.path}", err=to_errors)
