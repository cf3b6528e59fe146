"""Findings as SARIF 2.1.0, the format of code scanning services."""

import json
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from torchlite import __version__
from torchlite.train.config.diagnostics import CODES, Diagnostic

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_sarif(diagnostics: Iterable[Diagnostic]) -> str:
    """One run whose rules are the codes that were found; files are relative to where the command ran.

    A finding in an override has its place in line 1 of the file that it was applied to, because services take no
    result without a place.
    """
    found = list(diagnostics)
    codes = sorted({one.code for one in found})
    driver = {
        "name": "torchlite validate",
        "version": __version__,
        "rules": [{"id": code, "shortDescription": {"text": CODES[code]}} for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, codes.index(one.code)) for one in found],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(found: Diagnostic, rule: int) -> dict[str, Any]:
    message = found.message + (f" ({found.hint})" if found.hint else "")
    override = found.origin.kind == "override"
    if override:
        message += f"\nin the argument {found.origin.argument}"
    region = {"startLine": 1} if override else _region(found.line, found.col, found.end_col)
    result: dict[str, Any] = {
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": found.severity,
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": _artifact(found.file), "region": region}}],
    }
    if found.origin.chain:
        result["relatedLocations"] = [
            {
                "message": {"text": "included here"},
                "physicalLocation": {"artifactLocation": _artifact(file), "region": {"startLine": line}},
            }
            for file, line in found.origin.chain
        ]
    if found.fix is not None and not override:
        replacement = {
            "deletedRegion": _region(found.fix.line, found.fix.col, found.fix.end_col),
            "insertedContent": {"text": found.fix.text},
        }
        change = {"artifactLocation": _artifact(found.file), "replacements": [replacement]}
        result["fixes"] = [{"description": {"text": found.hint or "fix"}, "artifactChanges": [change]}]
    return result


def _region(line: int, col: int, end_col: int) -> dict[str, int]:
    return {"startLine": line, "startColumn": col, "endLine": line, "endColumn": max(end_col, col)}


def _artifact(file: str) -> dict[str, str]:
    return {"uri": quote(PurePath(file).as_posix())}
