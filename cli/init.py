"""`torchlite init`: a configuration to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    template: Annotated[str | None, typer.Argument(help="An example that --list names.", show_default=False)] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where to write.", file_okay=False)] = Path(),
    list_them: Annotated[bool, typer.Option("--list", help="The examples.")] = False,
    from_data: Annotated[
        Path | None,
        typer.Option(
            "--from-data",
            metavar="PATH",
            help="Infer the task from a table (CSV), or from a folder with a folder of images or WAV files for each class.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="COLUMN", help="What is to be told; the last column where unset.", show_default=False
        ),
    ] = None,
    ci: Annotated[bool, typer.Option("--ci", help="Also a GitHub workflow that validates configs/.")] = False,
) -> None:
    """Write a configuration to begin with: an example, or one made from data. Overwrites nothing."""
    from torchlite.errors import UsageError
    from torchlite.train.beginning import WORKFLOW, from_table, templates, write_new, write_template

    if list_them:
        found = templates()
        width = max(map(len, found))
        for name, text in found.items():
            print(f"{name.ljust(width)}  {text}")
        return
    if from_data is not None and template is not None:
        raise UsageError("either an example or --from-data, not both")
    if template is None and from_data is None and not ci:
        raise UsageError("name an example (see --list), or --from-data PATH")
    written: list[Path] = []
    if template is not None:
        written = write_template(template, folder)
    elif from_data is not None:
        source = from_data.resolve() if folder != Path() else from_data
        if source.is_dir():
            from torchlite.train.beginning_folder import from_folder

            if target is not None:
                raise UsageError("--target names a column of a table; of a folder the names of its folders are told")
            made = from_folder(source)
        else:
            made = from_table(source, target)
        written = [folder / f"{from_data.stem}.yaml"]
        write_new(written[0], made.text.encode())
        for note in made.notes:
            typer.echo(note, err=True)
    begin = written[-1] if written else None
    if ci:
        written.append(folder / ".github" / "workflows" / "configurations.yml")
        write_new(written[-1], WORKFLOW.encode())
    for path in written:
        print(path)
    if begin is not None:
        typer.echo(f"next: torchlite train {begin}", err=True)
