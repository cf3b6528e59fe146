"""From a file and overrides to a checked `Config`, or to every mistake with its place."""

from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from torchlite.errors import ConfigError
from torchlite.train.config.candidates import check_candidates
from torchlite.train.config.diagnostics import Diagnostic, Findings, closest, suggestion
from torchlite.train.config.document import Mapping, Scalar, decode
from torchlite.train.config.extends import Tree, load_tree
from torchlite.train.config.folders import Folder, with_classes
from torchlite.train.config.location import Source
from torchlite.train.config.overrides import apply_overrides
from torchlite.train.config.own_data import OWN_DATA, card_of, own_facts
from torchlite.train.config.references import resolve_references
from torchlite.train.config.schema import Config, Data
from torchlite.train.config.sections import SectionReader
from torchlite.train.config.semantics import check_semantics
from torchlite.train.config.suppressions import Suppressions

Level = Literal["syntax", "schema", "shapes", "data", "smoke"]


@dataclass(frozen=True)
class Loaded:
    """What became of a file.

    `config` is there when no value had to be left out, and that may be so in spite of errors: a name that is
    nearly right was then taken for the one it comes close to. Check `ok` before training with it. `sources` are the
    texts that were read, and `suppressions` the comments in them that silence findings.
    """

    config: Config | None
    diagnostics: list[Diagnostic]
    abstract: bool = False
    sources: tuple[Source, ...] = ()
    suppressions: Suppressions = field(default_factory=Suppressions)

    @property
    def ok(self) -> bool:
        """Whether there is a configuration without an error."""
        return self.config is not None and not any(one.severity == "error" for one in self.diagnostics)


def load_config(
    path: str | Path, overrides: AbstractSequence[str] = (), *, level: Level = "schema"
) -> tuple[Config | None, list[Diagnostic]]:
    """The configuration in the file `path`, changed by `overrides`, and every finding about it.

    The configuration is None if there is an error among the findings, if the file is ``abstract``, or at the
    level ``syntax``; a bad configuration never raises.
    """
    loaded = inspect_config(path, overrides, level=level)
    return (loaded.config if loaded.ok else None), loaded.diagnostics


def require_config(path: str | Path, overrides: AbstractSequence[str] = ()) -> Config:
    """The configuration in the file `path`.

    Raises: ConfigError that shows every mistake, where there is one.
    """
    from torchlite.train.config.render import as_text

    loaded = inspect_config(path, overrides)
    if loaded.ok:
        assert loaded.config is not None
        return loaded.config
    if loaded.abstract and not loaded.diagnostics:
        raise ConfigError(f"{path} is abstract: a base for others to extend, not a configuration to run")
    raise ConfigError(as_text(loaded.diagnostics))


def inspect_config(
    path: str | Path,
    overrides: AbstractSequence[str] = (),
    *,
    level: Level = "schema",
    content: bytes | None = None,
) -> Loaded:
    """Everything that can be said about a file; `content` stands for what it holds (standard input)."""
    path = Path(path)
    findings = Findings(str(path))
    text = None
    if content is not None:
        text = decode(content, str(path), findings, None)
        if text is None:
            return Loaded(None, findings.in_order())
    tree = load_tree(path, findings, text=text)
    if tree is None:
        return Loaded(None, findings.in_order())
    apply_overrides(tree.root, tuple(overrides), findings)
    abstract = _is_abstract(tree.root)
    config = _checked(tree, path, findings, abstract) if level != "syntax" else None
    suppressions = Suppressions.of(tree.sources)
    return Loaded(config, suppressions.apply(findings.in_order()), abstract, tuple(tree.sources), suppressions)


def _checked(tree: Tree, path: Path, findings: Findings, abstract: bool) -> Config | None:
    complete = tree.complete and not abstract
    config = _read(tree.root, path, findings, complete)
    if complete:
        check_candidates(tree.root, findings, lambda changed, found: _read(changed, path, found, complete))
    return config


def _read(written: Mapping, path: Path, findings: Findings, complete: bool) -> Config | None:
    reader = SectionReader(findings, path.parent, partial=not complete, datasets=dataset_names())
    named = reader.known_sections(written)
    root = resolve_references(named, findings, partial(_facts, path.parent), complete=complete)
    config = reader.read(root)
    config._path = path
    config, card = _known_dataset(config, reader, findings)
    check_semantics(config, reader.bad, card, findings)
    return config if complete and not reader.bad else None


def _is_abstract(root: Mapping) -> bool:
    mark = root.get("abstract")
    return isinstance(mark, Scalar) and mark.value is True


def _known_dataset(config: Config, reader: SectionReader, findings: Findings) -> tuple[Config, Any]:
    """The card of the dataset; an unknown name is reported, and replaced by the one it comes close to."""
    name = getattr(getattr(config, "data", None), "type", None)
    if name is None:
        return config, None
    if name in OWN_DATA:
        if not isinstance(config.data, OWN_DATA[name]) or any(path[:1] == ("data",) for path in reader.bad):
            return config, None
        if isinstance(config.data, Folder):
            config = config.model_copy(update={"data": with_classes(config.data, config.path.parent)})
        return config, card_of(config.data)
    if name in dataset_names():
        return config, dataset_card(name)
    best, hint = suggestion(name, [*dataset_names(), *OWN_DATA])
    at = config.at(("data", "type"))
    assert at is not None
    findings.report("TL303", at, f"there is no dataset '{name}'", key="data.type", hint=hint, replacement=best)
    if best is None:
        reader.bad.add(("data", "type"))
        return config, None
    data = config.data.model_copy(update={"type": best})
    return config.model_copy(update={"data": data}), dataset_card(best)


def data_card(data: Data) -> Any:
    """What is known of the data that a section names, before any of it is read."""
    return card_of(data) if data.type in OWN_DATA else dataset_card(data.type)


def _facts(folder: Path, name: str, value_of: Callable[[str], Any]) -> AbstractMapping[str, Any] | None:
    if name in OWN_DATA:
        return own_facts(name, value_of, folder)
    known = name if name in dataset_names() else closest(name, dataset_names())
    return dataset_facts(dataset_card(known)) if known is not None else None


@cache
def dataset_names() -> tuple[str, ...]:
    """The names of the catalogue."""
    from torchlite.datasets import names

    return tuple(names())


@cache
def dataset_card(name: str) -> Any:
    """The card of a dataset of the catalogue."""
    from torchlite.datasets import card

    return card(name)


def dataset_facts(card: Any) -> dict[str, Any]:
    """What ``$data.*`` knows of a dataset: its fields that are numbers, texts, lists or mappings of these."""
    facts: dict[str, Any] = {}
    for name in ("name", "num_classes", "classes", "scale", "mean", "std", "splits", "sample_rate"):
        value = _fact(getattr(card, name, None))
        if value is not None:
            facts[name] = value
    spec = getattr(card, "input", None)
    if spec is not None:
        facts["input"] = {"shape": list(spec.shape), "dtype": str(spec.dtype)}
    return facts


def _fact(value: Any) -> Any:
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_fact(item) for item in value]
    if isinstance(value, AbstractMapping):
        return {str(key): fact for key, item in value.items() if (fact := _fact(item)) is not None}
    return None
