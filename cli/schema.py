"""`torchlite schema`: the JSON Schema of configurations, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchlite.cli import options


def command(
    out: Annotated[
        Path | None, typer.Option("--out", help="Write it to this file.", dir_okay=False, show_default=False)
    ] = None,
) -> None:
    """The JSON Schema of configurations: with it an editor completes keys and marks mistakes.

    Its place is the first line of a configuration: # yaml-language-server: $schema=PATH
    """
    import json

    from torchlite.train.config.json_schema import json_schema

    text = json.dumps(json_schema(), indent=1)
    if out is None:
        print(text)
        return
    options.write_text(out, text + "\n")
    typer.echo(f"{out}: put '# yaml-language-server: $schema={out}' into the first line of a configuration", err=True)
