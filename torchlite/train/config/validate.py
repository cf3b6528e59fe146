"""Validating many configurations at once; see `validate`."""

import glob
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchlite.errors import UsageError
from torchlite.train.config.diagnostics import Diagnostic, Findings, reading_order
from torchlite.train.config.load import Level, Loaded, inspect_config
from torchlite.train.config.schema import head

LEVELS: tuple[Level, ...] = ("syntax", "schema", "shapes", "smoke")

STDIN = Path("<stdin>")


@dataclass
class FileReport:
    """What validating one file gave.

    `checks` says of every level ``ok``, ``failed`` or ``skipped:reason``; `summary` is that of the shape check
    (`params`, `flops`, `peak_bytes`, `spec`), as far as it gives one.
    """

    path: str
    diagnostics: list[Diagnostic]
    checks: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the file has no error."""
        return self.errors == 0

    @property
    def errors(self) -> int:
        """How many errors the file has."""
        return sum(found.severity == "error" for found in self.diagnostics)

    @property
    def warnings(self) -> int:
        """How many warnings the file has."""
        return sum(found.severity == "warning" for found in self.diagnostics)

    def record(self) -> dict[str, Any]:
        """The entry of the file in the JSON report."""
        numbers = {key: self.summary.get(key) for key in ("params", "flops", "peak_bytes", "spec")}
        return {"path": self.path, "ok": self.ok, **numbers, "checks": dict(self.checks)}


@dataclass
class Report:
    """What validating all files gave, sorted by path; a finding in a shared base counts once."""

    files: list[FileReport]

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The findings of all files, in the order of the files."""
        seen: dict[tuple[object, ...], Diagnostic] = {}
        for file in self.files:
            for found in file.diagnostics:
                place = (found.code, found.file, found.line, found.col, found.message, found.origin.argument)
                seen.setdefault(place, found)
        return list(seen.values())

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(found.severity == "error" for found in self.diagnostics)

    @property
    def warnings(self) -> int:
        """How many warnings there are."""
        return sum(found.severity == "warning" for found in self.diagnostics)

    def exit_code(self, *, strict: bool = False) -> int:
        """0 without errors, 3 with; 4 if `strict` and there are only warnings."""
        if self.errors:
            return 3
        return 4 if strict and self.warnings else 0

    def record(self) -> dict[str, Any]:
        """What the JSON report says besides the findings."""
        return {"ok": self.errors == 0, "files": [file.record() for file in self.files]}


def find_files(patterns: Sequence[str]) -> list[Path]:
    """The files that paths, folders (every ``*.yaml`` in them) and globs name, sorted; ``-`` is standard input.

    Raises: UsageError where one of them matches nothing.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        if pattern == "-":
            matches = [STDIN]
        elif Path(pattern).is_dir():
            matches = sorted(Path(pattern).glob("*.yaml"))
        elif Path(pattern).is_file():
            matches = [Path(pattern)]
        else:
            matches = [Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()]
        if not matches:
            raise UsageError(f"no configuration matches '{pattern}'")
        found.update({str(match): match for match in matches})
    return [found[name] for name in sorted(found)]


def validate(
    paths: Sequence[str],
    overrides: Sequence[str] = (),
    level: Level = "shapes",
    *,
    import_code: bool = False,
) -> Report:
    """Checks every file that `paths` name up to `level`, each with all `overrides`.

    Up to ``shapes`` nothing is downloaded, no dataset is read and no user code is imported, unless
    `import_code` allows the last.

    Raises: UsageError where a path matches nothing.
    """
    files = find_files(paths)
    content = sys.stdin.buffer.read() if STDIN in files else None
    with ThreadPoolExecutor() as pool:
        loaded = list(
            pool.map(
                lambda path: inspect_config(path, overrides, level=level, content=content if path == STDIN else None),
                files,
            )
        )
    return Report([_beyond_schema(path, one, level, import_code) for path, one in zip(files, loaded, strict=True)])


def _beyond_schema(path: Path, loaded: Loaded, level: Level, import_code: bool) -> FileReport:
    """Adds the shape check and the smoke run to what is known of a file."""
    report = FileReport(str(path), list(loaded.diagnostics))
    syntax_failed = any(found.code.startswith("TL1") for found in report.diagnostics if found.severity == "error")
    report.checks["syntax"] = "failed" if syntax_failed else "ok"
    if level == "syntax":
        return report
    report.checks["schema"] = "ok" if report.ok else "failed"
    for deeper in LEVELS[2 : LEVELS.index(level) + 1]:
        report.checks[deeper] = _run(deeper, loaded, report, import_code)
    report.diagnostics.sort(key=reading_order)
    return report


def _run(level: Level, loaded: Loaded, report: FileReport, import_code: bool) -> str:
    config = loaded.config
    if loaded.abstract:
        return "skipped:abstract"
    if config is None:
        return "skipped:errors"
    if config.uses_user_code and not import_code:
        return "skipped:user-code"
    if level == "smoke" and not report.ok:
        return "skipped:errors"
    from torchlite.train import check

    if level == "shapes":
        summary, problems = check.check_shapes(config)
        report.summary = dict(summary)
    else:
        problems = check.check_smoke(config)
    findings = Findings(report.path)
    for problem in problems:
        at = config.at(problem.path)
        assert at is not None and config._tree is not None
        key = ".".join(map(str, problem.path)) or None
        place = at if problem.path else head(config._tree)
        findings.report(problem.code, place, problem.message, key=key, hint=problem.hint)
    report.diagnostics += findings.in_order()
    return "failed" if findings.failed else "ok"
