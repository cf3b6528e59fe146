"""`torchlite resume`: go on with a run."""

from __future__ import annotations

from torchlite.cli import options
from torchlite.cli.train import report


def command(
    run: options.Run,
    overrides: options.Overrides = None,
    allow_code: options.AllowCode = False,
    require: options.Require = None,
    plain: options.Plain = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Go on where the newest intact checkpoint was taken, bit for bit as if nothing had happened.

    KEY=VALUE changes the configuration, such as train.epochs=20.
    """
    from torchlite.cli.display import choose_display
    from torchlite.train import run as runs
    from torchlite.train.run_directory import find_run

    display = choose_display(plain=plain, quiet=quiet, events=json)
    report(runs.resume(find_run(run), display, overrides=overrides or [], allow_code=allow_code), require, events=json)
