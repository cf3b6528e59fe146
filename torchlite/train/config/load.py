"""From a file and overrides to a checked `Config`, or to every mistake with its place."""

from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from torchlite.errors import ConfigError
from torchlite.train.config.diagnostics import Diagnostic, Findings, closest, suggestion
from torchlite.train.config.document import Mapping, Scalar, decode
from torchlite.train.config.extends import Tree, load_tree
from torchlite.train.config.overrides import apply_overrides
from torchlite.train.config.references import resolve_references
from torchlite.train.config.schema import Config
from torchlite.train.config.sections import SectionReader
from torchlite.train.config.semantics import check_semantics

Level = Literal["syntax", "schema", "shapes", "smoke"]


@dataclass(frozen=True)
class Loaded:
    """What became of a file.

    `config` is there when no value had to be left out, and that may be so in spite of errors: a name that is
    nearly right was then taken for the one it comes close to. Check `ok` before training with it.
    """

    config: Config | None
    diagnostics: list[Diagnostic]
    abstract: bool = False

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
    if level == "syntax":
        return Loaded(None, findings.in_order(), abstract)
    config = _checked(tree, path, findings, abstract)
    return Loaded(config, findings.in_order(), abstract)


def _checked(tree: Tree, path: Path, findings: Findings, abstract: bool) -> Config | None:
    card = _card(tree.root)

    def facts() -> AbstractMapping[str, Any] | None:
        return dataset_facts(card) if card is not None else None

    root = resolve_references(tree.root, findings, facts, complete=tree.complete and not abstract)
    reader = SectionReader(findings, path.parent, partial=abstract or not tree.complete)
    config = reader.read(root)
    config._path = path
    if card is None:
        card = _card(root)
    _check_dataset(root, config, reader, findings)
    check_semantics(config, reader.bad, card, findings)
    return config if not reader.bad and not abstract and tree.complete else None


def _is_abstract(root: Mapping) -> bool:
    mark = root.get("abstract")
    return isinstance(mark, Scalar) and mark.value is True


def _dataset_name(root: Mapping) -> Scalar | None:
    data = root.get("data")
    named = data.get("type") if isinstance(data, Mapping) else None
    return named if isinstance(named, Scalar) and isinstance(named.value, str) else None


def _card(root: Mapping) -> Any:
    """The card of the dataset that is named, or nearly named; None where there is none."""
    named = _dataset_name(root)
    if named is None:
        return None
    names = dataset_names()
    name = str(named.value) if named.value in names else closest(str(named.value), names)
    return dataset_card(name) if name is not None else None


def _check_dataset(root: Mapping, config: Config, reader: SectionReader, findings: Findings) -> None:
    named = _dataset_name(root)
    if named is None or named.value in dataset_names():
        return
    best, hint = suggestion(str(named.value), dataset_names())
    message = f"there is no dataset '{named.value}'"
    findings.report("TL303", named.at, message, key="data.type", hint=hint, replacement=best)
    if best is None:
        reader.bad.add(("data", "type"))
    else:
        object.__setattr__(config, "data", config.data.model_copy(update={"type": best}))


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
    for name in ("name", "num_classes", "classes", "mean", "std", "splits"):
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
