"""Changes from the command line: ``a.b=1``, ``callbacks.early_stop.patience=5``, ``x+=v``, ``unset:a.b``."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torchlite.train.config.diagnostics import Findings, suggestion
from torchlite.train.config.document import Entry, Mapping, Node, Scalar, Sequence, kind_name, parse
from torchlite.train.config.extends import COMPONENT_SECTIONS, changes_type, spread
from torchlite.train.config.location import Location, Source

_ASSIGNMENT = re.compile(r"(?P<path>[^=+]*)(?P<operator>\+?=)(?P<value>.*)\Z", re.DOTALL)
_OVERRIDE = re.compile(r"(unset:|[A-Za-z_][\w.\-:]*\+?=)")
_PART = re.compile(r"[\w\-:]+\Z")


def is_override(argument: str) -> bool:
    """Whether an argument of the command line is an override rather than a path.

    >>> [is_override(text) for text in ("optim.lr=0.1", "unset:train.clip", "configs/a.yaml")]
    [True, True, False]
    """
    return _OVERRIDE.match(argument) is not None


@dataclass(frozen=True)
class Override:
    """One parsed argument: where it points, what it does there, and the value."""

    source: Source
    parts: tuple[tuple[str, Location], ...]
    operator: str
    value: Node | None

    @property
    def whole(self) -> Location:
        """The place of the whole path in the argument."""
        first, last = self.parts[0][1], self.parts[-1][1]
        return Location(self.source, 1, first.col, last.end_col)


def apply_overrides(root: Mapping, arguments: tuple[str, ...], findings: Findings) -> None:
    """Changes `root` by every argument in turn; a `type` goes before the arguments of that type."""
    overrides = [parsed for text in arguments if (parsed := parse_override(text, findings)) is not None]
    for override in sorted(overrides, key=lambda one: one.parts[-1][0] != "type"):
        _apply(root, override, findings)


def parse_override(argument: str, findings: Findings) -> Override | None:
    """The parsed argument, or None after reporting what is wrong with it."""
    source = Source("command line", (argument,), "override")

    def at(start: int, end: int) -> Location:
        return Location(source, 1, start + 1, max(end, start + 1) + 1)

    if argument.startswith("unset:"):
        start, operator, path, value = len("unset:"), "unset", argument[len("unset:") :], None
    else:
        match = _ASSIGNMENT.match(argument)
        if match is None:
            hint = "write key=value, key+=value or unset:key"
            findings.report("TL310", at(0, len(argument)), f"'{argument}' is not an override", hint=hint)
            return None
        start, operator, path = 0, match["operator"], match["path"]
        value = _parse_value(match, source, findings)
        if value is None:
            return None
    parts = _parts(path, start, at, findings)
    return Override(source, parts, operator, value) if parts is not None else None


def _parts(
    path: str, start: int, at: Callable[[int, int], Location], findings: Findings
) -> tuple[tuple[str, Location], ...] | None:
    """The keys of a dotted path, each with its place; None after reporting what is none."""
    parts = []
    for part in path.split("."):
        place = at(start, start + len(part))
        if not _PART.match(part):
            message = f"'{part}' is not a key" if part else "a key is missing here"
            findings.report("TL310", place, message, hint="keys are joined by dots: optim.lr=0.1")
            return None
        parts.append((part, place))
        start += len(part) + 1
    return tuple(parts)


def assign(root: Mapping, key: Entry, value: Node, findings: Findings) -> None:
    """Changes `root` as the override ``key=value`` does, for a dotted key that is written in a file."""
    place = key.key_at
    quoted = place.source_line[place.col - 1 : place.col] in ("'", '"')

    def at(start: int, end: int) -> Location:
        first = place.col + quoted + start
        return Location(place.source, place.line, first, max(first + end - start, first + 1))

    parts = _parts(key.key, 0, at, findings)
    if parts is not None:
        _apply(root, Override(place.source, parts, "=", value), findings)


def _parse_value(match: re.Match[str], source: Source, findings: Findings) -> Node | None:
    text, start = match["value"], match.start("value")
    place = Location(source, 1, start + 1, start + 2)
    if not text.strip():
        message = f"'{match['path']}{match['operator']}' has no value"
        findings.report("TL310", place, message, hint="write null for nothing, '' for an empty text")
        return None
    node = parse(source, text, findings, col_offset=start)
    if isinstance(node, Scalar) and node.plain and isinstance(node.value, str) and "," in node.text:
        return _list_of_numbers(node, source, start, findings)
    return node


def _list_of_numbers(node: Scalar, source: Source, start: int, findings: Findings) -> Node:
    """``128,64`` as a list; a text with commas that are not all between numbers stays a text."""
    items: list[Node] = []
    col = start
    for part in node.text.split(","):
        item = parse(source, part, Findings(findings.root), col_offset=col) if part.strip() else None
        if not isinstance(item, Scalar) or isinstance(item.value, str):
            return node
        items.append(item)
        col += len(part) + 1
    return Sequence(items, node.at)


def split_list(node: Scalar) -> Sequence | None:
    """A plain text of an override, ``a,b``, as a list, for a key that holds one; None for other nodes."""
    if node.at.source.kind != "override" or not node.plain or not isinstance(node.value, str):
        return None
    items: list[Node] = []
    col = node.at.col
    for part in node.text.split(","):
        place = Location(node.at.source, 1, col, col + len(part))
        items.append(Scalar(part.strip(), place, part.strip()))
        col += len(part) + 1
    return Sequence(items, node.at)


def _apply(root: Mapping, override: Override, findings: Findings) -> None:
    target: Node = root
    for depth, (part, place) in enumerate(override.parts[:-1]):
        descended = _descend(target, part, place, override, depth, findings)
        if descended is None:
            return
        target = descended
    part, place = override.parts[-1]
    if isinstance(target, Sequence):
        _change_item(target, part, place, override, findings)
    elif isinstance(target, Mapping):
        _change_entry(target, part, place, override, findings)
    else:
        _report_no_inside(target, override, len(override.parts) - 1, findings)


def _descend(
    target: Node, part: str, place: Location, override: Override, depth: int, findings: Findings
) -> Node | None:
    """The node that `part` names inside `target`, made where an assignment needs it."""
    if isinstance(target, Sequence):
        index = _item_index(target, part)
        if index is None:
            _report_no_item(target, part, place, findings)
            return None
        item = target.items[index]
        if isinstance(item, Mapping) and isinstance(inner := item.get(part), Mapping):
            return inner
        if isinstance(item, Scalar) and item.value == part:
            item = target.items[index] = spread(item)
        return item
    if not isinstance(target, Mapping):
        _report_no_inside(target, override, depth, findings)
        return None
    entry = target.entries.get(part)
    if entry is None:
        if override.operator == "unset":
            _report_absent(target, part, place, findings)
            return None
        entry = target.entries[part] = Entry(part, place, Mapping({}, place))
    elif depth == 0 and part in COMPONENT_SECTIONS:
        entry.value = spread(entry.value)
    return entry.value


def _change_entry(target: Mapping, part: str, place: Location, override: Override, findings: Findings) -> None:
    entry = target.entries.get(part)
    if override.operator == "unset":
        if entry is None:
            _report_absent(target, part, place, findings)
        else:
            del target.entries[part]
        return
    assert override.value is not None
    if override.operator == "+=":
        _append(target, part, place, override.value, findings)
        return
    section = override.parts[0][0] if len(override.parts) == 2 else None
    if section in COMPONENT_SECTIONS and part in ("type", "layers"):
        new = Mapping({part: Entry(part, place, override.value)}, place)
        if changes_type(target, new):
            target.entries.clear()
    target.entries[part] = Entry(part, place, override.value)


def _append(target: Mapping, part: str, place: Location, value: Node, findings: Findings) -> None:
    entry = target.entries.get(part)
    if isinstance(value, Scalar) and (listed := split_list(value)) is not None:
        value = listed
    added = value.items if isinstance(value, Sequence) else [value]
    if entry is None:
        target.entries[part] = Entry(part, place, Sequence(list(added), place))
    elif isinstance(entry.value, Sequence):
        entry.value = Sequence([*entry.value.items, *added], entry.value.at)
    else:
        message = f"'{part}' is not a list but {kind_name(entry.value)}"
        findings.report("TL311", place, message, hint=f"'{part}=' replaces it")


def _change_item(target: Sequence, part: str, place: Location, override: Override, findings: Findings) -> None:
    index = _item_index(target, part)
    if index is None:
        _report_no_item(target, part, place, findings)
    elif override.operator == "unset":
        del target.items[index]
    elif override.operator == "+=":
        findings.report("TL311", place, "'+=' adds to a list; an item of a list is replaced with '='")
    else:
        assert override.value is not None
        item = target.items[index]
        if isinstance(item, Mapping) and part in item.entries:
            item.entries[part] = Entry(part, place, override.value)
        elif isinstance(item, Scalar) and item.value == part:
            target.items[index] = Mapping({part: Entry(part, item.at, override.value)}, item.at)
        else:
            target.items[index] = override.value


def _item_index(target: Sequence, part: str) -> int | None:
    """The index of the item that `part` names: by number, or by the one component of that name."""
    if part.isdecimal():
        return int(part) if int(part) < len(target.items) else None
    named = [index for index, item in enumerate(target.items) if _item_name(item) == part]
    return named[0] if len(named) == 1 else None


def _item_name(item: Node) -> str | None:
    if isinstance(item, Scalar):
        return item.value if isinstance(item.value, str) else None
    if isinstance(item, Mapping):
        named = item.get("type")
        if isinstance(named, Scalar):
            return str(named.value)
        if len(item.entries) == 1:
            return next(iter(item.entries))
    return None


def _report_no_item(target: Sequence, part: str, place: Location, findings: Findings) -> None:
    names = [name for item in target.items if (name := _item_name(item)) is not None]
    if part in names:
        message, hint = f"several items are called '{part}'", "name one by its number, from 0"
    elif part.isdecimal():
        message, hint = f"there is no item {part}", f"the list has {len(target.items)}, counted from 0"
    else:
        message = f"the list has no item '{part}'"
        hint = suggestion(part, names, what="its items")[1] or "the list is empty"
    findings.report("TL311", place, message, hint=hint)


def _report_absent(target: Mapping, part: str, place: Location, findings: Findings) -> None:
    hint = suggestion(part, target.entries, what="set are")[1]
    findings.report("TL311", place, f"'{part}' is not set", hint=hint)


def _report_no_inside(target: Node, override: Override, depth: int, findings: Findings) -> None:
    outer = ".".join(part for part, _ in override.parts[:depth])
    place = override.parts[depth][1]
    message = f"'{outer}' is {kind_name(target)} and has no '{override.parts[depth][0]}'"
    findings.report("TL311", place, message)
