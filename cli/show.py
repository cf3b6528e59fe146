"""`torchlite show`: a configuration as it is read, with where each value comes from, or against another."""

from __future__ import annotations

from typing import Annotated

import typer

from torchlite.cli import options


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
    config = options.read_config(target, changes, allow_code=allow_code)
    if diff is None:
        print(as_yaml(config, defaults=resolved, origins=origin), end="")
        return
    lines = differences(options.read_config(diff, changes, allow_code=allow_code), config, origins=origin)
    print("\n".join(lines) if lines else f"{diff} and {target} mean the same")
