"""`torchlite report`: what a run was and did, on one page."""

from __future__ import annotations

from torchlite.cli import options


def command(run: options.Run, allow_code: options.AllowCode = False) -> None:
    """Write report.html into the folder of a run: curves, mistakes, weights, configuration. Needs no network to be read."""
    from torchlite.train.report import write_report
    from torchlite.train.run_directory import find_run

    print(write_report(find_run(run), allow_code=allow_code))
