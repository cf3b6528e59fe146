"""`torchlite validate`: find every mistake in configurations before anything runs."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchlite.cli import common

if TYPE_CHECKING:
    from torchlite.train.config.validate import FileReport, Report


class Level(StrEnum):
    """How deep the check goes; each level holds those before it."""

    syntax = "syntax"
    schema = "schema"
    shapes = "shapes"
    data = "data"
    smoke = "smoke"


class Format(StrEnum):
    """How the findings are written."""

    text = "text"
    github = "github"
    json = "json"
    sarif = "sarif"
    junit = "junit"


def command(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[PATHS|GLOBS|-]... [KEY=VALUE]...",
            help="Files, folders (every *.yaml in them), globs, or - for standard input; and overrides: "
            "key=value, key+=value, unset:key.",
            show_default=False,
        ),
    ],
    level: Annotated[Level, typer.Option(help="How deep the check goes.")] = Level.shapes,
    strict: Annotated[bool, typer.Option("--strict", help="Fail (exit 4) on warnings, too.")] = False,
    output_format: Annotated[
        Format | None, typer.Option("--format", help="How findings are written; text where unset.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the report to this file.", dir_okay=False, show_default=False)
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended in the files; comments stay.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what --fix would change, as a patch.")] = False,
    changed_since: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Only files that differ from this commit, or extend one.", show_default=False),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only codes that begin so, e.g. TL5.", show_default=False),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="No codes that begin so.", show_default=False)
    ] = None,
    max_errors: Annotated[int | None, typer.Option(min=1, help="Show at most so many findings.")] = None,
    import_code: Annotated[
        bool, typer.Option("--import-code", help="Import the files listed under `code`, to check their shapes.")
    ] = False,
) -> None:
    """Check configurations and show every mistake at its place.

    Exit codes: 0 valid, 3 errors, 4 warnings under --strict, 5 errors of the data only, 2 wrong usage or no file.
    """
    from torchlite.errors import UsageError
    from torchlite.train.config.fixes import as_patch, write_fixes
    from torchlite.train.config.overrides import is_override
    from torchlite.train.config.validate import STDIN, Options, validate

    overrides = [one for one in arguments if is_override(one) and not Path(one).exists()]
    paths = [one for one in arguments if one not in overrides]
    if not paths:
        raise UsageError("name at least one configuration to validate")
    if (fix or diff) and "-" in paths:
        raise UsageError(f"what {STDIN} holds cannot be mended: name a file")
    options = Options(level.value, import_code, tuple(select or ()), tuple(ignore or ()), changed_since)
    report = validate(paths, overrides, options)
    mended = 0
    for _ in range(_MOST_PASSES if fix else 0):
        made = write_fixes(report.diagnostics)
        if not made:
            break
        mended += made
        report = validate(paths, overrides, options)
    if mended:
        typer.echo(f"{_count(mended, 'replacement')} made", err=True)
    _write(as_patch(report.diagnostics) if diff else None, report, output_format, output, max_errors)
    raise typer.Exit(report.exit_code(strict=strict))


_MOST_PASSES = 5
"""A mended name may let a mistake behind it be seen, so mending begins anew, but not forever."""


def _write(
    patch: str | None, report: "Report", chosen: Format | None, output: Path | None, max_errors: int | None
) -> None:
    from torchlite.cli.options import write_text
    from torchlite.train.config.render import as_github, as_json, as_markdown

    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if patch is not None:
        text = patch.removesuffix("\n")
    elif chosen is Format.json:
        text = as_json(report.record(), report.diagnostics)
    elif chosen is Format.github:
        text = as_github(report.diagnostics)
    elif chosen is Format.sarif:
        from torchlite.train.config.sarif import as_sarif

        text = as_sarif(report.diagnostics)
    elif chosen is Format.junit:
        from torchlite.train.config.junit import as_junit

        text = as_junit(report.files)
    else:
        text = _as_text(report, max_errors)
        if on_github and chosen is None and report.diagnostics:
            text += "\n" + as_github(report.diagnostics)
    if output is None:
        if text and chosen in (None, Format.text):
            common.say(text)
        elif text:
            typer.echo(text)
    else:
        write_text(output, text + "\n")
        typer.echo(_totals(report), err=True)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and (chosen is Format.github or (on_github and chosen is None)):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(as_markdown([one.record() for one in report.files], report.diagnostics))


def _as_text(report: "Report", limit: int | None) -> str:
    from torchlite.train.config.render import as_text

    blocks = [as_text(report.diagnostics, limit=limit)] if report.diagnostics else []
    width = max((len(file.path) for file in report.files), default=0)
    blocks.append("\n".join([*(_file_line(file, width) for file in report.files), _totals(report)]))
    return "\n\n".join(blocks)


def _file_line(file: "FileReport", width: int) -> str:
    from torchlite.cli.display import bytes_text

    parts = [f"  {file.path:<{width}}"]
    if file.ok:
        parts.append("ok")
    else:
        parts.append(f"failed, {_count(file.errors, 'error')}")
    if file.warnings:
        parts.append(_count(file.warnings, "warning"))
    params, spec = file.summary.get("params"), file.summary.get("spec")
    peak = file.summary.get("peak_bytes")
    if params is not None:
        parts.append(f"{params:,} params")
    if peak is not None:
        parts.append(f"peak ≈ {bytes_text(peak)}")
    if spec is not None:
        parts.append(str(spec))
    skipped = [name for name, state in file.checks.items() if state == "skipped:user-code"]
    if skipped:
        parts.append(f"{' and '.join(skipped)} not checked: user code (pass --import-code)")
    elif "skipped:abstract" in file.checks.values():
        parts.append("abstract")
    return "   ".join(parts)


def _totals(report: "Report") -> str:
    files, failed = len(report.files), sum(not file.ok for file in report.files)
    verdict = f"{files - failed} ok" + (f", {failed} failed" if failed else "")
    found = [_count(number, word) for number, word in _found(report) if number]
    fixable = sum(one.fix is not None and one.origin.kind != "override" for one in report.diagnostics)
    mend = f" ({fixable} fixable with --fix)" if fixable else ""
    return f"{_count(files, 'file')}: {verdict}" + (f" — {', '.join(found)}{mend}" if found else "")


def _found(report: "Report") -> list[tuple[int, str]]:
    return [(report.errors, "error"), (report.warnings, "warning")]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
