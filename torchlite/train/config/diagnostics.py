"""What can be wrong with a configuration: the table of codes, one finding, and the closest name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from torchlite.train.config.location import Location

Severity = Literal["error", "warning", "note"]

CODES: dict[str, str] = {
    "TL100": "A file cannot be read.",
    "TL101": "The text is not YAML.",
    "TL102": "The file is not UTF-8 text.",
    "TL103": "A key is written twice in one mapping.",
    "TL104": "A tab is used where YAML wants spaces.",
    "TL105": "The indentation does not fit the lines around it.",
    "TL106": "A bracket or a quote is opened and never closed.",
    "TL107": "The file is too large, too deep or expands too far.",
    "TL108": "A part of YAML that configurations do not use: tags, merge keys, several documents.",
    "TL109": "The document is empty or is not a mapping.",
    "TL110": "A YAML 1.1 reader would read this value differently.",
    "TL201": "No such key.",
    "TL202": "The value has the wrong type.",
    "TL203": "The component has no such argument.",
    "TL204": "A required key is missing.",
    "TL205": "The value is out of range.",
    "TL206": "The value is not one of the allowed words.",
    "TL207": "A required argument of a component is missing.",
    "TL208": "More positional arguments than the component takes.",
    "TL209": "A duration needs a number and a unit.",
    "TL210": "An argument of a component has the wrong type.",
    "TL211": "Keys that exclude each other are both present.",
    "TL212": "The version of the configuration format is not supported.",
    "TL213": "This is not a component: `name`, `{name: args}` or `{type: name, ...}`.",
    "TL214": "An argument is given twice.",
    "TL301": "A reference names nothing.",
    "TL302": "References form a circle.",
    "TL303": "No component or dataset of that name.",
    "TL304": "A reference or an expression cannot be evaluated.",
    "TL305": "A file named by `extends` cannot be used.",
    "TL306": "Files extend each other in a circle.",
    "TL307": "User code is not listed, not found, or has no such class.",
    "TL308": "An environment variable is not set and has no default.",
    "TL310": "An override is not of the form `key=value`, `key+=value` or `unset:key`.",
    "TL311": "An override addresses something that does not exist.",
    "TL401": "The monitored value is not among the metrics of this run.",
    "TL402": "A value is set that nothing uses.",
    "TL403": "Whether the monitored value should fall or rise is not known.",
    "TL404": "The warm-up is longer than the training.",
    "TL405": "Another component of this kind has that argument, the chosen one has not.",
    "TL406": "Gradients accumulate over more batches than an epoch has.",
    "TL407": "The validation split leaves no samples.",
    "TL408": "The mode goes against the direction in which the metric improves.",
    "TL409": "Early stopping can never happen.",
    "TL410": "There is not one full batch.",
    "TL411": "Something is to happen less often than the training lasts.",
    "TL412": "The optimizer can't be used so.",
    "TL413": "A name refers to something that is not among those it is to be one of.",
    "TL414": "Something needs another section that is not there.",
    "TL415": "A sweep cannot be made in this way.",
    "TL501": "A layer cannot take its input.",
    "TL502": "The loss cannot take the model's output and the targets.",
    "TL503": "The shape of the data is not known.",
    "TL504": "The model cannot be built.",
    "TL505": "The optimizer cannot take the model's parameters.",
    "TL506": "A pattern matches no parameter.",
    "TL507": "The weights to start from do not fit the model.",
    "TL601": "Files of the dataset are missing.",
    "TL602": "The data is not what its card says.",
    "TL701": "A training step on synthetic data failed.",
    "TL702": "The loss or a gradient of the first two steps is not finite.",
    "TL901": "A comment `# tl: ignore[...]` silences nothing.",
    "TL902": "The file is of an older version of the format.",
}
"""Every code with what it means: TL1 syntax, TL2 schema, TL3 references, TL4 semantics, TL5 shapes,
TL6 data, TL7 smoke run, TL9 upkeep."""

WARNINGS = frozenset({"TL110", "TL402", "TL408", "TL409", "TL411", "TL901", "TL902"})
"""The codes that are warnings; all others are errors."""


@dataclass(frozen=True, slots=True)
class Fix:
    """Replacing the columns `col` to `end_col` of line `line` by `text` mends the finding."""

    line: int
    col: int
    end_col: int
    text: str


@dataclass(frozen=True, slots=True)
class Origin:
    """How the text of a finding came into the configuration.

    `chain` lists (file, line) of the `extends` entries on the way, the nearest first; `argument` is the
    argument of the command line that holds an override.
    """

    kind: Literal["file", "include", "override"]
    chain: tuple[tuple[str, int], ...] = ()
    argument: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding, with its place: columns `col` up to, not including, `end_col`; all count from 1.

    For an override (`origin.kind == "override"`) the columns count in the argument and `file` is the
    configuration that it was applied to.
    """

    code: str
    severity: Severity
    message: str
    file: str
    line: int
    col: int
    end_col: int
    key: str | None = None
    hint: str | None = None
    fix: Fix | None = None
    origin: Origin = Origin("file")
    source_line: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}: {self.severity}[{self.code}]: {self.message}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding of the shape check or the smoke run, at a key path of the configuration.

    `path` is e.g. ``("model", "layers", 3)``; `code` one of TL5xx or TL7xx.
    """

    path: tuple[str | int, ...]
    code: str
    message: str
    hint: str | None = None


@dataclass
class Findings:
    """Collects the diagnostics of one configuration; two at the same place with one code count once."""

    root: str
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def report(
        self,
        code: str,
        at: Location,
        message: str,
        *,
        key: str | None = None,
        hint: str | None = None,
        replacement: str | None = None,
    ) -> None:
        """Adds a finding at `at`; `replacement` is the text that would mend it there."""
        source = at.source
        if source.kind == "override":
            file, origin = self.root, Origin("override", argument=source.lines[0])
        else:
            file, origin = at.file, Origin("include" if at.chain else "file", at.chain)
        diagnostic = Diagnostic(
            code,
            "warning" if code in WARNINGS else "error",
            message,
            file,
            at.line,
            at.col,
            at.end_col,
            key,
            hint,
            Fix(at.line, at.col, at.end_col, replacement) if replacement is not None else None,
            origin,
            at.source_line,
        )
        self.add(diagnostic)

    def add(self, found: Diagnostic) -> None:
        """Adds a finding, unless there is one of its code at its place."""
        place = (found.code, found.file, found.line, found.col, found.origin.argument)
        if all(
            place != (other.code, other.file, other.line, other.col, other.origin.argument)
            for other in self.diagnostics
        ):
            self.diagnostics.append(found)

    @property
    def failed(self) -> bool:
        """Whether there is an error among the findings."""
        return any(diagnostic.severity == "error" for diagnostic in self.diagnostics)

    def in_order(self) -> list[Diagnostic]:
        """The findings by file and place; a warning under an error at the same place is left out."""
        errors = {_place(found) for found in self.diagnostics if found.severity == "error"}
        kept = [found for found in self.diagnostics if found.severity == "error" or _place(found) not in errors]
        return sorted(kept, key=reading_order)


def reading_order(found: Diagnostic) -> tuple[object, ...]:
    """Sorts findings by file, those of overrides after those of the text, then by place."""
    return (found.file, found.origin.kind == "override", found.line, found.col, found.origin.argument or "")


def _place(found: Diagnostic) -> tuple[str, int, int, str]:
    return (found.file, found.line, found.col, found.origin.argument or "")


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The one candidate that `name` is most likely a slip of the hand for, or None.

    Slips are insertions, deletions, substitutions and swaps of neighbours, at most one for every three
    letters, case and ``-``/``_`` aside; a tie between two candidates gives None.

    >>> closest("weight_decy", ["lr", "weight_decay", "betas"])
    'weight_decay'
    >>> closest("colour", ["lr", "weight_decay"]) is None
    True
    """
    folded = _fold(name)
    limit = max(1, len(folded) // 3) if len(folded) > 2 else 0
    ranked = sorted((_edits(folded, _fold(candidate), limit), candidate) for candidate in set(candidates))
    if not ranked or ranked[0][0] > limit:
        return None
    if len(ranked) > 1 and ranked[1][0] == ranked[0][0]:
        return None
    return ranked[0][1]


def suggestion(name: str, candidates: Iterable[str], *, what: str = "") -> tuple[str | None, str | None]:
    """The closest candidate and a hint that names it, or None and a hint that lists the candidates."""
    known = sorted(set(candidates))
    best = closest(name, known)
    if best is not None:
        return best, f"did you mean '{best}'?"
    if not known:
        return None, None
    listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return None, f"{what or 'known'}: {listed}"


def _fold(name: str) -> str:
    return name.casefold().replace("-", "_")


def _edits(a: str, b: str, limit: int) -> int:
    """Optimal-string-alignment distance of `a` and `b`, or anything above `limit` once it exceeds that."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]
