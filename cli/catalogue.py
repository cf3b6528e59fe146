"""`torchlite list`: the names that a configuration may use."""

from __future__ import annotations

from typing import Annotated

import typer

from torchlite.cli import options


def command(
    kind: Annotated[
        str | None,
        typer.Argument(help="layers, losses, optimizers, ... ; every kind where unset.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """The components that a configuration may name, by kind; `explain NAME` says more of one."""
    import json as json_module

    from torchlite.train.config.reference import catalogue

    found = catalogue(kind)
    if json:
        print(json_module.dumps(found, indent=2))
        return
    for title, names in found.items():
        print(title)
        width = max(map(len, names), default=0)
        for name, summary in names.items():
            print(f"  {name.ljust(width)}  {summary}".rstrip())
