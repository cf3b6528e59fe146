"""`torchlite explain`: what a key, a component or a code means."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    name: Annotated[
        str, typer.Argument(metavar="KEY|COMPONENT|CODE", help="E.g. train.clip, Conv2d, TL203.", show_default=False)
    ],
) -> None:
    """What a key of the configuration, a component or a code of `validate` means."""
    from torchlite.train.config.reference import explain

    print(explain(name))
