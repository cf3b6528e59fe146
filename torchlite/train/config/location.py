"""Where a value was written: a source text, a place in it, and the files that led there."""

import re
from dataclasses import dataclass
from typing import Literal, Self

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A text that holds configuration: a file, or one argument of the command line.

    `included_from` is the place of the `extends` entry that named this file.
    """

    name: str
    lines: tuple[str, ...]
    kind: Literal["file", "override"] = "file"
    included_from: "Location | None" = None

    @classmethod
    def of(
        cls,
        name: str,
        text: str,
        kind: Literal["file", "override"] = "file",
        included_from: "Location | None" = None,
    ) -> Self:
        """The source of `text`, split into the lines that YAML sees."""
        return cls(name, tuple(LINE_BREAK.split(text)), kind, included_from)


@dataclass(frozen=True, slots=True)
class Location:
    """Columns `col` up to, not including, `end_col` of line `line`; all count from 1."""

    source: Source
    line: int
    col: int
    end_col: int

    @property
    def file(self) -> str:
        """The file, as the user named it, or ``command line``."""
        return self.source.name

    @property
    def chain(self) -> tuple[tuple[str, int], ...]:
        """The (file, line) of every `extends` entry that led here, the nearest first."""
        places = []
        included_from = self.source.included_from
        while included_from is not None:
            places.append((included_from.file, included_from.line))
            included_from = included_from.source.included_from
        return tuple(places)

    @property
    def source_line(self) -> str:
        """The text of the line."""
        lines = self.source.lines
        return lines[self.line - 1] if self.line <= len(lines) else ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"
