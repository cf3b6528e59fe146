"""Files that extend other files: reading them and merging their trees.

Bases merge from left to right and the file itself last; mappings merge deep, lists and scalars replace.
``$replace: true`` inside a mapping drops what it would have merged with, and a component whose `type`
changes loses the arguments of the old type.
"""

from dataclasses import dataclass, field
from pathlib import Path

from torchlite.train.config.diagnostics import Findings
from torchlite.train.config.document import (
    Entry,
    Mapping,
    Node,
    Poison,
    Scalar,
    Sequence,
    core_scalar,
    kind_name,
    nearly,
    parse,
    read_text,
)
from torchlite.train.config.location import Location, Source
from torchlite.train.config.migrations import migrate

MAX_FILES = 64

COMPONENT_SECTIONS = frozenset({"model", "loss", "optim", "schedule"})
"""The top-level keys whose value is a component, so that `type` decides over the other keys."""

_OF_ONE_FILE = ("extends", "abstract", "code")


@dataclass
class Tree:
    """The merged tree of a file and its bases; `complete` is False where a part could not be read.

    `sources` are the texts of all files that were read for it.
    """

    root: Mapping
    complete: bool
    sources: list[Source] = field(default_factory=list)


def load_tree(path: Path, findings: Findings, *, text: str | None = None) -> Tree | None:
    """The tree of `path` merged over the files it extends; None where the file itself cannot be read.

    `text` stands for the content of the file where it is already known (standard input).
    """
    reader = _Reader(findings)
    tree = reader.load(path, text, included_from=None, within=())
    if tree is not None:
        tree.sources = reader.sources
    return tree


@dataclass
class _Reader:
    findings: Findings
    sources: list[Source] = field(default_factory=list)

    def load(
        self, path: Path, text: str | None, included_from: Location | None, within: tuple[Path, ...]
    ) -> Tree | None:
        name = self.findings.root if included_from is None else str(path)
        source = Source(name, ("",), included_from=included_from)
        if text is None:
            text = read_text(path, self.findings, included_from or Location(source, 1, 1, 1))
            if text is None:
                return None
        source = Source.of(name, text, included_from=included_from)
        self.sources.append(source)
        root = parse(source, text, self.findings)
        if root is None:
            return None
        if not isinstance(root, Mapping):
            message = f"a configuration is a mapping of sections, not {kind_name(root)}"
            self.findings.report("TL109", root.at, message)
            return None
        migrate(root, self.findings)
        if included_from is not None and "code" in root.entries:
            hint = f"list it in {self.findings.root}"
            message = "only the file named on the command line may list `code`"
            self.findings.report("TL307", root.entries["code"].key_at, message, key="code", hint=hint)
        return self.merged_over_bases(root, path, (*within, path.resolve()))

    def merged_over_bases(self, root: Mapping, path: Path, within: tuple[Path, ...]) -> Tree:
        result: Mapping | None = None
        complete = True
        for entry in self.base_names(root):
            base = self.base(entry, path, within)
            if base is None:
                complete = False
                continue
            complete = complete and base.complete
            for key in _OF_ONE_FILE:
                base.root.entries.pop(key, None)
            result = base.root if result is None else merge(result, base.root)
        merged = root if result is None else merge(result, root)
        cleaned = _without_replace_marks(merged, self.findings)
        assert isinstance(cleaned, Mapping)
        return Tree(cleaned, complete)

    def base_names(self, root: Mapping) -> list[Scalar]:
        node = root.get("extends")
        if node is None:
            return []
        names = []
        for item in node.items if isinstance(node, Sequence) else [node]:
            if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
                names.append(item)
            elif not isinstance(item, Poison):
                message = f"'extends' takes the name of a file or a list of names, not {kind_name(item)}"
                self.findings.report("TL202", item.at, message, key="extends")
        return names

    def base(self, entry: Scalar, path: Path, within: tuple[Path, ...]) -> Tree | None:
        target = path.parent / str(entry.value)
        try:
            resolved = target.resolve()
            present = target.is_file()
        except (OSError, ValueError, RuntimeError):
            resolved, present = target, False
        if resolved in within:
            shown = " -> ".join(part.name for part in (*within, resolved))
            self.findings.report("TL306", entry.at, f"files extend each other: {shown}", key="extends")
            return None
        if not present:
            hint = nearly(target, str(entry.value)) or f"paths are relative to {path.parent}"
            self.findings.report("TL305", entry.at, f"there is no file '{target}'", key="extends", hint=hint)
            return None
        if len(self.sources) > MAX_FILES:
            message = f"more than {MAX_FILES} files are extended"
            self.findings.report("TL107", entry.at, message, key="extends")
            return None
        return self.load(target, None, entry.at, within)


def merge(base: Mapping, new: Mapping, path: tuple[str, ...] = ()) -> Mapping:
    """`new` over `base`; neither is changed."""
    mark = new.get("$replace")
    if isinstance(mark, Scalar) and mark.value is True:
        return new
    entries = dict(base.entries)
    for key, entry in new.entries.items():
        below = entries.get(key)
        entries[key] = entry if below is None else _merge_entry(below, entry, (*path, key))
    return Mapping(entries, new.at)


def _merge_entry(base: Entry, new: Entry, path: tuple[str, ...]) -> Entry:
    below, above = base.value, new.value
    if not isinstance(above, Mapping):
        return new
    if len(path) == 1 and path[0] in COMPONENT_SECTIONS:
        below = spread(below)
        if "$replace" not in above.entries and single_form(above):
            above = spread(above)
        if not isinstance(above, Mapping):
            return new
        if isinstance(below, Mapping) and changes_type(below, above):
            return new
    if not isinstance(below, Mapping):
        return new
    return Entry(new.key, new.key_at, merge(below, above, path))


_SECTION_WORDS = frozenset({"type", "layers", "$replace"})


def single_form(node: Node) -> bool:
    """Whether a component is written as ``{name: args}`` with a mapping of arguments."""
    if not isinstance(node, Mapping) or len(node.entries) != 1:
        return False
    ((key, entry),) = node.entries.items()
    return key not in _SECTION_WORDS and isinstance(entry.value, Mapping)


def spread(node: Node) -> Node:
    """A component in the form ``{type: name, ...args}``, where it can be written so."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return Mapping({"type": Entry("type", node.at, node)}, node.at)
    if isinstance(node, Mapping) and single_form(node):
        ((name, entry),) = node.entries.items()
        assert isinstance(entry.value, Mapping)
        type_entry = Entry("type", entry.key_at, Scalar(core_scalar(name), entry.key_at, name))
        return Mapping({"type": type_entry, **entry.value.entries}, node.at)
    return node


def changes_type(base: Mapping, new: Mapping) -> bool:
    """Whether `new` names another type than `base`, or turns from a type to layers or back."""
    if isinstance(new.get("layers"), Sequence) and "type" in base.entries:
        return True
    above = new.get("type")
    if above is None:
        return False
    below = base.get("type")
    if below is None:
        return isinstance(base.get("layers"), Sequence)
    return not (isinstance(below, Scalar) and isinstance(above, Scalar) and below.value == above.value)


def _without_replace_marks(node: Node, findings: Findings) -> Node:
    if isinstance(node, Sequence):
        node.items = [_without_replace_marks(item, findings) for item in node.items]
    if isinstance(node, Mapping):
        mark = node.entries.pop("$replace", None)
        if mark is not None and not (isinstance(mark.value, Scalar) and mark.value.value is True):
            findings.report("TL206", mark.value.at, f"'$replace' can only be true, not {kind_name(mark.value)}")
        for entry in node.entries.values():
            entry.value = _without_replace_marks(entry.value, findings)
    return node
