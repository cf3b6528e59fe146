"""Whether every value that a sweep tries is one that its key can have: what is wrong is reported at the value."""

from collections.abc import Callable, Iterator

from torchlite.train.config.diagnostics import Diagnostic, Findings
from torchlite.train.config.document import Entry, Mapping, Node, Scalar, Sequence
from torchlite.train.config.location import Location
from torchlite.train.config.overrides import assign

Place = tuple[str, int, int]


def check_candidates(root: Mapping, findings: Findings, read: Callable[[Mapping, Findings], object]) -> None:
    """Reads the configuration once with each candidate in its place, and reports what is wrong only then."""
    sweep = root.get("sweep")
    params = sweep.get("params") if isinstance(sweep, Mapping) else None
    if not isinstance(params, Mapping):
        return
    known = {_identity(one) for one in findings.diagnostics}
    for key, value in _candidates(params):
        if key.key.partition(".")[0] == "sweep":
            continue
        found = Findings(findings.root)
        changed = _copy(root)
        assert isinstance(changed, Mapping)
        changed.entries.pop("sweep", None)
        assign(changed, key, value, found)
        read(changed, found)
        places = {_place(at) for at in _locations(value)}
        for one in found.diagnostics:
            if _identity(one) in known:
                continue
            inside = (one.file, one.line, one.col) in places or (one.file, one.line) == _place(key.key_at)[:2]
            if inside:
                findings.add(one)
            elif one.severity == "error":
                message = f"with this value of '{key.key}': {one.message} (line {one.line})"
                findings.report(one.code, value.at, message, key=f"sweep.params.{key.key}", hint=one.hint)


def _candidates(params: Mapping) -> Iterator[tuple[Entry, Node]]:
    """The values of each key; of a range its ends, which are numbers with a point unless it is one of whole numbers."""
    for key in params.entries.values():
        if isinstance(key.value, Sequence):
            yield from ((key, item) for item in key.value.items)
        elif isinstance(key.value, Mapping):
            for kind, entry in key.value.entries.items():
                for item in entry.value.items if isinstance(entry.value, Sequence) else []:
                    if kind in ("uniform", "log_uniform") and isinstance(item, Scalar) and type(item.value) is int:
                        item = Scalar(float(item.value), item.at, item.text, item.plain)
                    yield key, item


def _copy(node: Node) -> Node:
    """The tree again, so that changes leave the first as it is; scalars are never changed and stay."""
    if isinstance(node, Mapping):
        entries = {name: Entry(one.key, one.key_at, _copy(one.value)) for name, one in node.entries.items()}
        return Mapping(entries, node.at)
    return Sequence([_copy(item) for item in node.items], node.at) if isinstance(node, Sequence) else node


def _locations(node: Node) -> Iterator[Location]:
    yield node.at
    if isinstance(node, Mapping):
        for entry in node.entries.values():
            yield entry.key_at
            yield from _locations(entry.value)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _locations(item)


def _place(at: Location) -> Place:
    return at.file, at.line, at.col


def _identity(one: Diagnostic) -> tuple[object, ...]:
    return one.code, one.file, one.line, one.col, one.origin.argument, one.message
