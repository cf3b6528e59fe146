"""`torchlite profile`: where the time of training steps goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from torchlite.train.profiling import Profile


def command(
    config: Annotated[Path, typer.Argument(help="The configuration.", show_default=False)],
    overrides: options.Overrides = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps to look at.")] = 20,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Operators to show.")] = 12,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace", metavar="FILE", help="Write every call, for chrome://tracing or Perfetto.", show_default=False
        ),
    ] = None,
    device: options.Device = None,
    json: options.Json = False,
) -> None:
    """Where the time of training steps goes: layers, operators, waiting for data. Nothing is written but --trace."""
    import json as json_module
    from dataclasses import asdict

    from torchlite.train.config.load import require_config
    from torchlite.train.profiling import profile_steps

    found = profile_steps(require_config(config, options.run_options(overrides, device=device)), steps, trace)
    if json:
        print(json_module.dumps(asdict(found), indent=2))
        return
    _show(found, rows)
    if trace is not None:
        print(f"every call: {trace}")


def _show(found: Profile, rows: int) -> None:
    share = 100 * found.waited / found.total if found.total else 0
    print(f"{found.steps} steps, uncompiled: {_ms(found.total)} each, of which {share:.0f} % waiting for data")
    print()
    table = [["layer", "", "calls", "forward", "of a step"]]
    for name, kind, calls, seconds in found.layers:
        table.append([name, kind, f"{calls:g}", _ms(seconds), _percent(seconds, found.total)])
    print(options.table(table, left=(0, 1)))
    print()
    table = [["operator", "calls", "itself", "of a step"]]
    for name, calls, seconds in found.operators[:rows]:
        table.append([name, f"{calls:g}", _ms(seconds), _percent(seconds, found.total)])
    print(options.table(table))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f} ms"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
