"""Comments that silence findings: ``# tl: ignore[TL404] why``, in the line of the finding or alone in the line before."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from torchlite.train.config.diagnostics import Diagnostic, Findings
from torchlite.train.config.location import Location, Source

_COMMENT = re.compile(r"(?:^|(?<=\s))#\s*tl:\s*ignore\[(?P<codes>[^\]]*)\]")
_IGNORABLE = re.compile(r"TL(110|4\d\d|5\d\d|9\d\d)\Z")


@dataclass(eq=False)
class Suppression:
    """One code of one comment, the line it is about, and whether it has silenced something."""

    code: str
    at: Location
    line: int
    used: bool = False


@dataclass
class Suppressions:
    """The comments of a configuration's files."""

    all: list[Suppression] = field(default_factory=list)

    @classmethod
    def of(cls, sources: Iterable[Source]) -> Self:
        """Those in the texts of `sources`."""
        return cls([one for source in sources for one in _in(source)])

    def apply(self, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
        """The findings that no comment silences."""
        return [found for found in diagnostics if not self._silence(found)]

    def _silence(self, found: Diagnostic) -> bool:
        if found.origin.kind == "override" or not _IGNORABLE.match(found.code):
            return False
        matching = [
            one for one in self.all if (one.code, one.at.file, one.line) == (found.code, found.file, found.line)
        ]
        for one in matching:
            one.used = True
        return bool(matching)

    def report_unused(self, findings: Findings, checked: tuple[str, ...]) -> None:
        """Reports every comment that silenced nothing, of the codes that begin as one of `checked`."""
        for one in self.all:
            if not _IGNORABLE.match(one.code):
                hint = "only TL110, TL4xx, TL5xx and TL9xx can: others leave nothing to run"
                findings.report("TL901", one.at, f"{one.code} cannot be ignored", hint=hint)
            elif not one.used and one.code.startswith(checked):
                findings.report("TL901", one.at, f"nothing here gives {one.code}", hint="remove the comment")


def _in(source: Source) -> list[Suppression]:
    found = []
    for number, text in enumerate(source.lines, start=1):
        match = _COMMENT.search(text) if "ignore[" in text else None
        if match is not None:
            at = Location(source, number, match.start() + 1, match.end() + 1)
            alone = not text[: match.start()].strip()
            codes = [code.strip() for code in match["codes"].split(",")]
            found += [Suppression(code, at, number + alone) for code in codes]
    return found
