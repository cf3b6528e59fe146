"""YAML text to a tree of plain values, every key and value with its place.

PyYAML's pure-Python parser supplies the events; the scalars follow the core schema of YAML 1.2, in which
``1e-3`` is a number, ``no`` is text, ``010`` is ten and only ``true`` and ``false`` are booleans.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from torchlite.train.config.diagnostics import Findings, closest
from torchlite.train.config.location import LINE_BREAK, Location, Source

MAX_BYTES = 1_000_000
MAX_DEPTH = 64
MAX_NODES = 10_000
MAX_ALIAS_GROWTH = 10
MAX_DIGITS = 400


@dataclass(slots=True, eq=False)
class Scalar:
    """A text, number, boolean or null; `text` is what was written, `plain` whether without quotes."""

    value: str | int | float | bool | None
    at: Location
    text: str
    plain: bool = True


@dataclass(slots=True, eq=False)
class Sequence:
    """A list of nodes."""

    items: list["Node"]
    at: Location


@dataclass(slots=True)
class Entry:
    """A key of a mapping, its place, and its value."""

    key: str
    key_at: Location
    value: "Node"


@dataclass(slots=True, eq=False)
class Mapping:
    """Keys with their entries, in the order they were written."""

    entries: dict[str, Entry]
    at: Location

    def get(self, key: str) -> "Node | None":
        """The value of `key`, or None where it is absent."""
        entry = self.entries.get(key)
        return entry.value if entry else None


@dataclass(slots=True, eq=False)
class Poison:
    """A value that could not be made; what is wrong with it has been reported."""

    at: Location


Node = Scalar | Sequence | Mapping | Poison


def nearly(path: Path, name: str) -> str | None:
    """A hint that names the file which is nearly called so, in the folder where `path`, written `name`, is not."""
    try:
        best = closest(path.name, (one.name for one in path.parent.iterdir() if one.suffix[:2] == path.suffix[:2]))
    except (OSError, ValueError):  # of a folder that is not there, or is none
        return None
    return None if best is None else f"did you mean '{Path(name).with_name(best)}'?"


def read_text(path: Path, findings: Findings, at: Location) -> str | None:
    """The UTF-8 text of a file, or None after reporting at `at` why it cannot be had."""
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        findings.report("TL100", at, f"'{name}' does not exist", hint=nearly(path, name))
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        findings.report("TL100", at, f"'{name}' cannot be read: {reason}")
        return None
    return decode(data, name, findings, at.source.included_from if at.file == name else at)


def decode(data: bytes, name: str, findings: Findings, included_from: Location | None) -> str | None:
    """The text that `data` encodes in UTF-8, or None after reporting the place of the wrong byte."""
    if len(data) > MAX_BYTES:
        start = Location(Source(name, ("",), included_from=included_from), 1, 1, 1)
        findings.report("TL107", start, f"'{name}' is larger than {MAX_BYTES:,} bytes")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        source = Source.of(name, data.decode("utf-8", errors="replace"), included_from=included_from)
        before = LINE_BREAK.split(data[: error.start].decode("utf-8", errors="replace"))
        at = Location(source, len(before), len(before[-1]) + 1, len(before[-1]) + 2)
        byte = data[error.start]
        findings.report("TL102", at, f"byte 0x{byte:02x} is not UTF-8", hint="save the file as UTF-8")
        return None


def parse(source: Source, text: str, findings: Findings, *, col_offset: int = 0) -> Node | None:
    """The tree of one YAML document, or None after reporting why there is none.

    `col_offset` is the number of columns before `text` in its source line (of an override).
    """
    composer = _Composer(source, findings, col_offset)
    try:
        return composer.document(text)
    except _Stopped:
        return None
    except yaml.reader.ReaderError as error:
        before = LINE_BREAK.split(text[: error.position])
        code_point = error.character if isinstance(error.character, int) else ord(error.character)
        composer.report(
            "TL102",
            composer.place(len(before) - 1, len(before[-1]), len(before[-1]) + 1),
            f"character U+{code_point:04X} is not allowed in YAML",
            hint='write it as an escape in double quotes, e.g. "\\x07"' if code_point < 0x80 else None,
        )
    except yaml.MarkedYAMLError as error:
        composer.report_syntax(error)
    except (ValueError, OverflowError, IndexError) as error:
        composer.report("TL101", composer.last, f"this is not YAML: {error}")
    return None


def to_plain(node: Node) -> Any:
    """The dicts, lists and scalars of a tree; poisoned values are left out."""
    if isinstance(node, Mapping):
        return {
            key: to_plain(entry.value) for key, entry in node.entries.items() if not isinstance(entry.value, Poison)
        }
    if isinstance(node, Sequence):
        return [to_plain(item) for item in node.items if not isinstance(item, Poison)]
    return None if isinstance(node, Poison) else node.value


def from_plain(value: Any, at: Location) -> Node:
    """The tree of a plain value, all of it at one place."""
    if isinstance(value, dict):
        return Mapping({str(key): Entry(str(key), at, from_plain(item, at)) for key, item in value.items()}, at)
    if isinstance(value, (list, tuple)):
        return Sequence([from_plain(item, at) for item in value], at)
    return Scalar(value, at, text=str(value))


def is_poisoned(node: Node) -> bool:
    """Whether any part of the value could not be made."""
    if isinstance(node, Mapping):
        return any(is_poisoned(entry.value) for entry in node.entries.values())
    if isinstance(node, Sequence):
        return any(is_poisoned(item) for item in node.items)
    return isinstance(node, Poison)


def kind_name(node: Node) -> str:
    """What a node is, for a message: ``the text '128a'``, ``a list``.

    >>> kind_name(Scalar(True, Location(Source("x", ()), 1, 1, 1), "true"))
    'the boolean true'
    """
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Poison) or node.value is None:
        return "nothing (null)"
    if isinstance(node.value, bool):
        return f"the boolean {str(node.value).lower()}"
    shown = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    return f"the number {shown}" if isinstance(node.value, (int, float)) else f"the text {shown!r}"


_NULL = re.compile(r"(null|Null|NULL|~|)\Z")
_BOOLEAN = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"([-+]?)(\.inf|\.Inf|\.INF)\Z|\.nan\Z|\.NaN\Z|\.NAN\Z")
_YAML_1_1 = re.compile(
    r"(?P<boolean>yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)\Z"
    r"|(?P<octal>[-+]?0[0-7]+)\Z|(?P<sexagesimal>[-+]?[1-9][0-9]*(:[0-5]?[0-9])+)\Z"
)


def core_scalar(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar in the core schema of YAML 1.2.

    >>> [core_scalar(text) for text in ("1e-3", "no", "010", "1:30", "true", "0x1f", "~")]
    [0.001, 'no', 10, '1:30', True, 31, None]
    """
    if _NULL.match(text):
        return None
    if _BOOLEAN.match(text):
        return text[0] in "tT"
    if _INTEGER.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    infinite = _INFINITE.match(text)
    if infinite:
        return float((infinite[1] or "") + text[-3:].lower())
    return text


class _Stopped(Exception):
    """The document cannot be read further; the reason has been reported."""


@dataclass
class _Recent:
    """The events of the texts read last: many configurations extend the same base, and scanning is most of the work."""

    most: int = 32
    known: dict[str, list[Any]] = field(default_factory=dict)

    def events(self, text: str) -> Iterator[Any]:
        """The events of a text, one by one; those of a text with a mistake end in its exception and are not kept."""
        if text in self.known:
            yield from self.known[text]
            return
        loader: Any = yaml.SafeLoader(text)
        found = []
        while loader.check_event():
            event = loader.get_event()
            found.append(event)
            if isinstance(event, yaml.StreamEndEvent):
                self.keep(text, found)
            yield event

    def keep(self, text: str, events: list[Any]) -> None:
        """Remember a text in place of the one that was remembered first."""
        while len(self.known) >= self.most:
            del self.known[next(iter(self.known))]
        self.known[text] = events


_RECENT = _Recent()


@dataclass
class _Composer:
    """Builds the tree from the parser's events; recursion is bounded by MAX_DEPTH."""

    source: Source
    findings: Findings
    col_offset: int
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)
    nodes: int = 0
    expanded: int = 0
    last: Location = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.place(0, 0, 1)

    def report(
        self, code: str, at: Location, message: str, hint: str | None = None, replacement: str | None = None
    ) -> None:
        self.findings.report(code, at, message, hint=hint, replacement=replacement)

    def stop(self, code: str, at: Location, message: str, hint: str | None = None) -> _Stopped:
        self.report(code, at, message, hint)
        return _Stopped()

    def place(self, line: int, col: int, end_col: int) -> Location:
        """A location from 0-based numbers."""
        shift = self.col_offset + 1 if line == 0 else 1
        return Location(self.source, line + 1, col + shift, max(end_col, col) + shift)

    def span(self, start: Any, end: Any) -> Location:
        """The place between two marks, cut at the end of the first line."""
        if start.line == end.line:
            return self.place(start.line, start.column, end.column)
        shift = self.col_offset if start.line == 0 else 0
        text = self.source.lines[start.line] if start.line < len(self.source.lines) else ""
        return self.place(start.line, start.column, len(text.rstrip()) - shift)

    def document(self, text: str) -> Node:
        events = self.events(text)
        event = next(events)
        while isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
            event = next(events)
        if isinstance(event, yaml.StreamEndEvent):
            raise self.stop("TL109", self.place(0, 0, 1), "the document is empty")
        root = self.node(event, events, depth=1)[0]
        next(events)
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            at = self.span(after.start_mark, after.end_mark)
            raise self.stop("TL108", at, "a second document starts here", "keep one document in a file")
        return root

    def events(self, text: str) -> Iterator[Any]:
        for event in _RECENT.events(text):
            self.last = self.span(event.start_mark, event.end_mark)
            yield event

    def node(self, event: Any, events: Iterator[Any], depth: int, *, is_key: bool = False) -> tuple[Node, int]:
        """The node that `event` begins and how many nodes it holds once aliases are expanded."""
        at = self.span(event.start_mark, event.end_mark)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), at)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.stop("TL107", at, f"the document holds more than {MAX_NODES:,} values")
        if depth > MAX_DEPTH:
            raise self.stop("TL107", at, f"values are nested more than {MAX_DEPTH} deep")
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node, size = self.scalar(event, at, is_key), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            node, size = self.sequence(event, events, depth)
        else:
            node, size = self.mapping(event, events, depth)
        if event.tag is not None and event.tag != "!":
            node = self.tagged(event, at)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, size)
        return node, size

    def tagged(self, event: Any, at: Location) -> Poison:
        """Reports a tag at the tag itself, which stands before the value with its anchor, if any."""
        written = re.compile(r"(?:&\S+\s+)?(!\S*)").match(at.source_line, at.col - 1)
        if written:
            at = Location(at.source, at.line, written.start(1) + 1, written.end(1) + 1)
        self.report("TL108", at, f"the tag '{event.tag}' is not used in configurations", "remove it")
        return Poison(at)

    def alias(self, anchor: str, at: Location) -> tuple[Node, int]:
        if anchor not in self.anchors:
            hint = "an anchor '&name' must stand, complete, before its alias '*name'"
            self.report("TL108", at, f"the alias '*{anchor}' has no anchor", hint)
            return Poison(at), 1
        node, size = self.anchors[anchor]
        self.expanded += size
        if self.expanded > MAX_ALIAS_GROWTH * max(self.nodes, 100):
            limit = f"{MAX_ALIAS_GROWTH} times the size of the document"
            raise self.stop("TL107", at, f"aliases expand to more than {limit}")
        return node, size

    def scalar(self, event: Any, at: Location, is_key: bool) -> Node:
        text: str = event.value
        if event.style is not None or not event.implicit[0] or event.tag == "!":
            return Scalar(text, at, text, plain=False)
        if len(text) > MAX_DIGITS and (_INTEGER.match(text) or _BASED.match(text)):
            self.report("TL107", at, f"a number has more than {MAX_DIGITS} digits")
            return Poison(at)
        if not is_key:
            self.warn_of_other_reading(text, at)
        return Scalar(core_scalar(text), at, text)

    def warn_of_other_reading(self, text: str, at: Location) -> None:
        older = _YAML_1_1.match(text)
        if older is None or (older["octal"] and abs(int(text)) < 8):
            return
        replacement = f'"{text}"'
        if older["boolean"]:
            meant = "true" if text.lower() in ("yes", "on") else "false"
            message, hint = f"{text} is text, but a boolean to YAML 1.1", f'quote it ("{text}") or write {meant}'
        elif older["octal"]:
            message = f"{text} is {int(text)}, but {int(text, 8)} to YAML 1.1"
            hint, replacement = "leave out the leading zero", str(int(text))
        else:
            message, hint = f"{text} is text, but a number to YAML 1.1", f'quote it ("{text}")'
        self.report("TL110", at, message, hint, replacement)

    def sequence(self, start: Any, events: Iterator[Any], depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        total = 1
        event = next(events)
        while not isinstance(event, yaml.SequenceEndEvent):
            item, size = self.node(event, events, depth + 1)
            items.append(item)
            total += size
            event = next(events)
        return Sequence(items, self.span(start.start_mark, event.end_mark)), total

    def mapping(self, start: Any, events: Iterator[Any], depth: int) -> tuple[Node, int]:
        entries: dict[str, Entry] = {}
        total = 1
        event = next(events)
        while not isinstance(event, yaml.MappingEndEvent):
            key_at = self.span(event.start_mark, event.end_mark)
            key, _ = self.node(event, events, depth + 1, is_key=True)
            value, size = self.node(next(events), events, depth + 1)
            total += size + 1
            self.enter(entries, key, key_at, value)
            event = next(events)
        return Mapping(entries, self.span(start.start_mark, event.end_mark)), total

    def enter(self, entries: dict[str, Entry], key: Node, key_at: Location, value: Node) -> None:
        if not isinstance(key, Scalar):
            self.report("TL108", key_at, f"a key must be text, not {kind_name(key)}")
        elif key.plain and key.text == "<<":
            hint = "use `extends`, or references to `vars`"
            self.report("TL108", key_at, "merge keys '<<' are not part of YAML 1.2", hint)
        elif key.text in entries:
            first = entries[key.text].key_at
            self.report("TL103", key_at, f"the key '{key.text}' is written twice", f"first on line {first.line}")
        else:
            entries[key.text] = Entry(key.text, key_at, value)

    def report_syntax(self, error: yaml.MarkedYAMLError) -> None:
        """Turns an error of the parser into a finding at the place where a person would look."""
        problem, context = error.problem or "", error.context or ""
        mark = error.problem_mark or error.context_mark
        if mark is None:
            self.report("TL101", self.last, f"this is not YAML: {problem}")
            return
        at = self.place(mark.line, mark.column, mark.column + 1)
        opened = error.context_mark
        if "'\\t'" in problem:
            self.report("TL104", at, "a tab cannot begin a value or indent a line", "indent with spaces")
        elif opened is not None and "flow" in context and self.never_closed(problem, opened, mark):
            bracket = "[" if "sequence" in context else "{"
            start = self.place(opened.line, opened.column, opened.column + 1)
            close = "]" if bracket == "[" else "}"
            self.report("TL106", start, f"'{bracket}' is never closed", f"add '{close}'")
        elif opened is not None and "quoted scalar" in context and "unexpected end" in problem:
            start = self.place(opened.line, opened.column, opened.column + 1)
            self.report("TL106", start, "a quote is opened and never closed", "add the closing quote")
        elif opened is not None and "simple key" in context:
            start = self.span(opened, mark)
            self.report("TL101", start, "a key without ':'", "write `key: value`")
        elif "mapping values are not allowed" in problem:
            hint = "check the indentation of this line, or quote a text that holds ': '"
            self.report("TL105", at, "a value cannot begin here", hint)
        elif "block" in problem and "block" in context:
            hint = "align it with the lines that belong together"
            self.report("TL105", at, "the indentation does not fit the lines above", hint)
        else:
            readable = f"{problem} ({context})" if context else problem
            self.report("TL101", at, f"this is not YAML: {readable}")

    def never_closed(self, problem: str, opened: yaml.Mark, mark: yaml.Mark) -> bool:
        return "<stream end>" in problem or (mark.line > opened.line and "but got" in problem)
