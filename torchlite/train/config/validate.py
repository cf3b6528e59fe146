"""Validating many configurations at once; see `validate`."""

import gc
import glob
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchlite.errors import ConfigError, DataError, UsageError
from torchlite.train.config.diagnostics import Diagnostic, Findings, Problem, reading_order
from torchlite.train.config.load import Level, Loaded, inspect_config
from torchlite.train.config.schema import Config, head

LEVELS: tuple[Level, ...] = ("syntax", "schema", "shapes", "data", "smoke")

STDIN = Path("<stdin>")

_LEVEL_OF_CODES: dict[str, Level] = {"TL1": "syntax", "TL5": "shapes", "TL6": "data", "TL7": "smoke"}


def level_of(code: str) -> Level:
    """The level at which a code is found.

    >>> level_of("TL203"), level_of("TL501")
    ('schema', 'shapes')
    """
    return _LEVEL_OF_CODES.get(code[:3], "schema")


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
        """0 without errors, 3 with, 5 if all are of the data; 4 if `strict` and there are only warnings."""
        if self.errors:
            wrong = {level_of(found.code) for found in self.diagnostics if found.severity == "error"}
            return DataError.exit_code if wrong == {"data"} else ConfigError.exit_code
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


def changed_since(reference: str) -> set[Path]:
    """The files that differ from the commit `reference`, and those that git does not know yet.

    Raises: UsageError where this is no repository or has no such commit.
    """
    try:
        top = _git("rev-parse", "--show-toplevel").strip()
        listed = _git("-C", top, "diff", "--name-only", "-z", reference, "--")
        listed += _git("-C", top, "ls-files", "--others", "--exclude-standard", "-z")
    except (OSError, subprocess.CalledProcessError) as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise UsageError(f"--changed-since {reference}: {reason[0] if reason else 'git failed'}") from None
    return {(Path(top) / name).resolve() for name in listed.split("\0") if name}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Options:
    """What `validate` is asked for besides files and overrides.

    `select` and `ignore` are beginnings of codes: of what is found only the selected, and nothing of the ignored,
    is reported. `changed_since` names a commit: files that neither differ from it nor read one that does are left out.
    """

    level: Level = "shapes"
    import_code: bool = False
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    changed_since: str | None = None

    def keeps(self, found: Diagnostic) -> bool:
        """Whether a finding is to be reported."""
        return found.code.startswith(self.select or "TL") and not found.code.startswith(self.ignore or "-")


def validate(paths: Sequence[str], overrides: Sequence[str] = (), options: Options | Level = "shapes") -> Report:
    """Checks every file that `paths` name, each with all `overrides`; `options` may be only the level.

    Up to ``shapes`` nothing is downloaded, no dataset is read and no user code is imported, unless
    `options.import_code` allows the last.

    Raises: UsageError where a path matches nothing, or `options.changed_since` is no commit.
    """
    asked = Options(options) if isinstance(options, str) else options
    files = find_files(paths)
    content = sys.stdin.buffer.read() if STDIN in files else None
    with _seldom_collected():
        found = [
            (path, inspect_config(path, overrides, level=asked.level, content=content if path == STDIN else None))
            for path in files
        ]
        if asked.changed_since is not None:
            changed = changed_since(asked.changed_since)
            found = [(path, one) for path, one in found if not changed.isdisjoint(_files_read(path, one))]
        known: ShapesKnown = {}
        return Report([_deeper(path, one, asked, known) for path, one in found])


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Within the block the garbage collector runs seldom: trees of many files are much to look through, and none is garbage."""
    before = gc.get_threshold()
    gc.set_threshold(max(50_000, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


ShapesKnown = dict[str, tuple[dict[str, Any], list[Problem]]]
"""What the shape check has given, by the sections that it depends on: files often differ in others alone."""

_DECIDE_SHAPES = ("data", "code", "model", "models", "teacher", "init", "freeze", "loss", "optim", "train")


def _files_read(path: Path, loaded: Loaded) -> set[Path]:
    read = [path, *(Path(source.name) for source in loaded.sources)]
    if loaded.config is not None:
        read += [path.parent / file for file in loaded.config.code]
    return {one.resolve() for one in read}


def _deeper(path: Path, loaded: Loaded, asked: Options, known: ShapesKnown) -> FileReport:
    """What is known of a file, the levels behind the schema added."""
    report = FileReport(str(path), list(loaded.diagnostics))
    wrong = {level_of(found.code) for found in report.diagnostics if found.severity == "error"}
    for level in LEVELS[: LEVELS.index(asked.level) + 1]:
        if level == "data" and asked.level == "smoke":
            continue  # whose data is made up
        if level == "shapes" or level in _CHECKS:
            report.checks[level] = _run(level, loaded, report, asked, known)
        else:
            report.checks[level] = "failed" if level in wrong else "ok"
    findings = Findings(report.path)
    done = [level for level, state in report.checks.items() if not state.startswith("skipped")]
    loaded.suppressions.report_unused(
        findings, tuple(f"TL{number}" for number in range(1, 10) if level_of(f"TL{number}00") in done)
    )
    kept = [found for found in (*report.diagnostics, *findings.diagnostics) if asked.keeps(found)]
    report.diagnostics = sorted(kept, key=reading_order)
    return report


def _run(level: Level, loaded: Loaded, report: FileReport, asked: Options, known: ShapesKnown) -> str:
    config = loaded.config
    if loaded.abstract:
        return "skipped:abstract"
    if config is None or (level != "shapes" and not report.ok):
        return "skipped:errors"
    imports = {"shapes": config.builds_user_code, "smoke": config.uses_user_code}.get(level, False)
    if imports and not asked.import_code:
        return "skipped:user-code"
    findings = Findings(report.path)
    if level == "shapes":
        report.summary, problems = _shapes(config, known)
    else:
        problems = _CHECKS[level](config)
    for problem in problems:
        at = config.at(problem.path)
        assert at is not None and config._tree is not None
        key = ".".join(map(str, problem.path)) or None
        place = at if problem.path else head(config._tree)
        findings.report(problem.code, place, problem.message, key=key, hint=problem.hint)
    report.diagnostics += loaded.suppressions.apply(findings.in_order())
    return "failed" if findings.failed else "ok"


def _shapes(config: Config, known: ShapesKnown) -> tuple[dict[str, Any], list[Problem]]:
    from torchlite.train import check

    resolved = config.resolved()
    key = repr([str(config.path.parent if config.code else ""), *(resolved.get(name) for name in _DECIDE_SHAPES)])
    if key not in known:
        known[key] = check.check_shapes(config)
    summary, problems = known[key]
    return dict(summary), problems


def _data(config: Config) -> list[Problem]:
    from torchlite.train import check

    return check.check_data(config)


def _smoke(config: Config) -> list[Problem]:
    from torchlite.train import smoke

    return smoke.check_smoke(config)


_CHECKS: dict[Level, Callable[[Config], list[Problem]]] = {"data": _data, "smoke": _smoke}
"""The levels behind the shapes, with what each finds."""
