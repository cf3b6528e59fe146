"""`torchlite show`: a configuration as it is read, with where each value comes from, or against another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.cli import options

if TYPE_CHECKING:
    from torchlite.train.config.schema import Config


def command(
    target: Annotated[str, typer.Argument(metavar="CONFIG|RUN", help="A configuration or a run.", show_default=False)],
    overrides: options.Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="With every default filled in.")] = False,
    origin: Annotated[bool, typer.Option("--origin", help="With the place of each value as a comment.")] = False,
    diff: Annotated[
        str | None,
        typer.Option("--diff", metavar="CONFIG|RUN", help="What differs from this one, by key.", show_default=False),
    ] = None,
    allow_code: options.AllowCode = False,
) -> None:
    """The configuration that a file means: bases merged, references replaced, overrides applied."""
    from torchlite.train.config.show import as_yaml, differences

    changes = overrides or []
    config = _read(target, changes, allow_code)
    if diff is None:
        print(as_yaml(config, defaults=resolved, origins=origin), end="")
        return
    lines = differences(_read(diff, changes, allow_code), config, origins=origin)
    print("\n".join(lines) if lines else f"{diff} and {target} mean the same")


def _read(target: str, changes: list[str], allow_code: bool) -> Config:
    from torchlite.train.config.load import require_config
    from torchlite.train.run_directory import find_run

    if Path(target).is_file():
        return require_config(target, changes)
    return find_run(target).read_config(changes, allow_code=allow_code)
