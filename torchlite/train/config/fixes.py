"""Mending files: the replacements that findings carry, written into the text so that everything else in it stays."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from torchlite.errors import UsageError
from torchlite.serialization.atomic import write_file
from torchlite.train.config.diagnostics import Diagnostic, Fix
from torchlite.train.config.location import LINE_BREAK


def fixes_by_file(diagnostics: Iterable[Diagnostic]) -> dict[str, list[Fix]]:
    """The replacements that belong into files, by file; those of the command line are for its user to make."""
    found: dict[str, list[Fix]] = {}
    for diagnostic in diagnostics:
        if diagnostic.fix is not None and diagnostic.origin.kind != "override":
            found.setdefault(diagnostic.file, []).append(diagnostic.fix)
    return found


def fixed_text(text: str, fixes: Iterable[Fix]) -> str:
    """`text` with every replacement made; of two that overlap the first counts.

    >>> fixed_text("optm: 1  # note", [Fix(1, 1, 5, "optim")])
    'optim: 1  # note'
    """
    starts = [0, *(match.end() for match in LINE_BREAK.finditer(text))]
    pieces, done = [], 0
    for fix in sorted(set(fixes), key=lambda one: (one.line, one.col)):
        begin, end = (starts[fix.line - 1] + col - 1 for col in (fix.col, fix.end_col))
        if begin >= done:
            pieces += [text[done:begin], fix.text]
            done = end
    return "".join(pieces) + text[done:]


def read_original(file: str) -> tuple[str, str]:
    """The byte-order mark of a file, if any, and the text behind it."""
    text = Path(file).read_bytes().decode("utf-8")
    return ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)


def write_fixes(diagnostics: Iterable[Diagnostic]) -> int:
    """Makes every replacement in its file; how many there were.

    Raises: UsageError where a file cannot be written.
    """
    count = 0
    for file, fixes in fixes_by_file(diagnostics).items():
        mark, text = read_original(file)
        try:
            write_file(Path(file), [(mark + fixed_text(text, fixes)).encode()])
        except OSError as error:
            raise UsageError(f"cannot write '{file}': {error.strerror}") from error
        count += len(set(fixes))
    return count


def as_patch(diagnostics: Iterable[Diagnostic]) -> str:
    """What `write_fixes` would change, as a unified diff; empty where that is nothing."""
    parts = []
    for file, fixes in sorted(fixes_by_file(diagnostics).items()):
        _, text = read_original(file)
        old, new = (one.splitlines(keepends=True) for one in (text, fixed_text(text, fixes)))
        name = file.lstrip("/")
        for line in difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"):
            parts.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(parts)
