"""Findings for people, for programs and for GitHub."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

from torchlite.train.config.diagnostics import Diagnostic

JSON_VERSION = 1
GITHUB_LIMIT = 10
"""Annotations of each severity that GitHub shows for one step."""

_RANK = {"error": 0, "warning": 1, "note": 2}


def as_text(diagnostics: Iterable[Diagnostic], *, limit: int | None = None) -> str:
    """Each finding with its source line and a caret, separated by blank lines; at most `limit` of them."""
    found = list(diagnostics)
    shown = found if limit is None else found[:limit]
    blocks = [_block(diagnostic) for diagnostic in shown]
    if len(shown) < len(found):
        blocks.append(f"... and {len(found) - len(shown)} more")
    return "\n\n".join(blocks)


def _block(found: Diagnostic) -> str:
    origin = found.origin
    lines = [f"{found.severity}[{found.code}]: {found.message}"]
    if origin.kind == "override":
        lines.append(f"  --> command line, column {found.col}   applied to {found.file}")
    else:
        chain = "".join(f"   included by {file}:{line}" for file, line in origin.chain)
        lines.append(f"  --> {found.file}:{found.line}:{found.col}{chain}")
    margin = str(found.line)
    if found.source_line:
        text, pad, width = _excerpt(found)
        caret = "^" * width + (f" {found.hint}" if found.hint else "")
        lines += [f"{margin} | {text}", f"{' ' * len(margin)} | {' ' * pad}{caret}"]
    elif found.hint:
        lines.append(f"  = help: {found.hint}")
    return "\n".join(lines)


def _excerpt(found: Diagnostic) -> tuple[str, int, int]:
    """The source line cut to what a terminal shows, the caret's offset, and its width, in columns."""
    start, end = found.col - 1, max(found.end_col - 1, found.col)
    first = max(0, start - 70) if start > 90 else 0
    text = found.source_line[first : first + 120]
    if first:
        text, first = "..." + text, first - 3
    shown = "".join(map(_printable, text))
    start, end = start - first, min(end - first, max(len(text), start - first + 1))
    pad = sum(map(_columns, text[:start])) + max(0, start - len(text))
    return shown, pad, max(1, sum(map(_columns, text[start:end])))


def _printable(character: str) -> str:
    if character == "\t":
        return " "
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def as_json(report: dict[str, Any], diagnostics: Iterable[Diagnostic]) -> str:
    """One JSON document: ``{version, ok, files, diagnostics}``, every key always there.

    `report` holds `ok` and `files`. The place of an override is line 1 of the file it was applied to; its
    columns in the argument stand in `origin`.
    """
    document = {
        "version": JSON_VERSION,
        "ok": report["ok"],
        "files": report["files"],
        "diagnostics": [_record(diagnostic) for diagnostic in diagnostics],
    }
    return json.dumps(document, indent=2)


def _record(found: Diagnostic) -> dict[str, Any]:
    override = found.origin.kind == "override"
    origin: dict[str, Any] = {
        "kind": found.origin.kind,
        "chain": [{"file": file, "line": line} for file, line in found.origin.chain],
        "argument": found.origin.argument,
        "col": found.col if override else None,
        "end_col": found.end_col if override else None,
    }
    fix = found.fix
    return {
        "code": found.code,
        "severity": found.severity,
        "file": found.file,
        "line": 1 if override else found.line,
        "col": 1 if override else found.col,
        "end_col": 1 if override else found.end_col,
        "key": found.key,
        "message": found.message,
        "hint": found.hint,
        "fix": None if fix is None else {"line": fix.line, "col": fix.col, "end_col": fix.end_col, "text": fix.text},
        "origin": origin,
    }


def as_github(diagnostics: Iterable[Diagnostic]) -> str:
    """Workflow commands that annotate the files of a pull request, the worst findings first.

    GitHub shows ten errors and ten warnings of a step; a notice counts the rest.
    """
    ranked = sorted(diagnostics, key=lambda found: _RANK[found.severity])
    lines, shown = [], {"error": 0, "warning": 0, "note": 0}
    for found in ranked:
        if shown[found.severity] < GITHUB_LIMIT:
            shown[found.severity] += 1
            lines.append(_annotation(found))
    left = len(ranked) - len(lines)
    if left:
        lines.append(f"::notice::{left} more")
    return "\n".join(lines)


def _annotation(found: Diagnostic) -> str:
    override = found.origin.kind == "override"
    command = "notice" if found.severity == "note" else found.severity
    properties: dict[str, str] = {"file": PurePath(found.file).as_posix()}
    if override:
        properties["line"] = "1"
    else:
        properties.update(line=str(found.line), col=str(found.col), endColumn=str(found.end_col))
    properties["title"] = found.code
    message = found.message + (f"\n{found.hint}" if found.hint else "")
    if override:
        message += f"\nin the argument {found.origin.argument}"
    for file, line in found.origin.chain:
        message += f"\nincluded by {file}:{line}"
    joined = ",".join(f"{name}={escape_property(value)}" for name, value in properties.items())
    return f"::{command} {joined}::{escape_data(message)}"


def escape_data(text: str) -> str:
    r"""The message of a workflow command.

    >>> escape_data("50 %\nof it")
    '50 %25%0Aof it'
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The value of a property of a workflow command.

    >>> escape_property("C:/a,b")
    'C%3A/a%2Cb'
    """
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def as_markdown(files: Sequence[dict[str, Any]], diagnostics: Iterable[Diagnostic]) -> str:
    """Two tables for the summary of a GitHub step: the files, and the findings with the worst first."""
    lines = ["### torchlite validate", "", "| file | result |", "|---|---|"]
    lines += [f"| {_cell(file['path'])} | {'ok' if file['ok'] else 'failed'} |" for file in files]
    ranked = sorted(diagnostics, key=lambda found: _RANK[found.severity])
    if ranked:
        lines += ["", "| code | place | message |", "|---|---|---|"]
        for found in ranked:
            message = found.message + (f" ({found.hint})" if found.hint else "")
            place = f"{found.file}:{found.line}:{found.col}"
            if found.origin.kind == "override":
                place = f"`{found.origin.argument}`"
            lines.append(f"| {found.code} | {_cell(place)} | {_cell(message)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return " ".join(escaped.split())
