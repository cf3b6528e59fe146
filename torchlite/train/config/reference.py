"""What can be written in a configuration, read off the models and signatures that check it: keys, components, codes."""

import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from torchlite.errors import UsageError
from torchlite.train.config.components import Component, describe
from torchlite.train.config.diagnostics import CODES, WARNINGS, suggestion
from torchlite.train.config.folders import Image
from torchlite.train.config.own_data import OWN_DATA, Column, Target
from torchlite.train.config.parts import Duration, Period, Seconds, Section, Time, mark_of, without_none
from torchlite.train.config.places import elsewhere
from torchlite.train.config.schedules import SCHEDULES, Schedule
from torchlite.train.config.schema import Config, Data, Initial, Model, Optim, ParameterGroup
from torchlite.train.config.search import Candidates, Sweep
from torchlite.train.registry import RANGES, Kind, Parameter, registry, signature

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Key:
    """One key of a section, as documentation says it."""

    path: str
    type: str
    default: str
    description: str


def sections(model: type[Section] = Config, path: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Every section with its dotted path, the whole configuration first, each before those inside it."""
    yield path, model
    for name, info in model.model_fields.items():
        inner = without_none(info.annotation)
        if inner is Data:
            for kind, own in OWN_DATA.items():
                yield f"data (type: {kind})", own
            yield "data.inputs[]", Column
            yield "data.target", Target
            yield "data.image", Image
        if inner is Optim:
            yield "optim", Optim
            yield "optim.groups[]", ParameterGroup
        if inner is Model and name == "model":
            yield "model", Model
            yield "model.init[]", Initial
        if is_section(inner):
            yield from sections(inner, f"{path}.{name}".lstrip("."))
        if inner is Sweep:
            yield "sweep.params.*", Candidates


def is_section(annotation: Any) -> bool:
    """Whether a key of this type holds a section with keys of its own."""
    return (
        isinstance(annotation, type) and issubclass(annotation, Section) and annotation not in (Model, Schedule, Optim)
    )


def keys(model: type[Section], path: str = "") -> list[Key]:
    """The keys of one section."""
    return [
        Key(f"{path}.{name}".lstrip("."), _type(info), _default(info), info.description or "")
        for name, info in _fields(model).items()
    ]


def _fields(model: type[Section]) -> dict[str, FieldInfo]:
    """The fields of a section that are keys, and not how it holds what stands under it; of a kind of data its own."""
    shared = Data.model_fields if model in OWN_DATA.values() else {}

    def is_own(name: str, info: FieldInfo) -> bool:
        return name not in shared or (name != "type" and info.description != shared[name].description)

    return {name: info for name, info in model.model_fields.items() if not info.exclude and is_own(name, info)}


def _type(info: FieldInfo) -> str:
    annotation = without_none(info.annotation)
    mark = mark_of(info)
    if mark is not None:
        listed = typing.get_origin(annotation) is list
        return (
            {"list": f"a list of {mark.kind}s", "dict": f"{mark.kind}s by name"}.get(
                "list" if listed else "dict" if typing.get_origin(annotation) is dict else "", f"a {mark.kind}"
            )
            .replace("a optim", "an optim")
            .replace("a initial", "an initial")
        )
    if annotation == list[ParameterGroup]:
        return "a list of groups"
    if annotation == list[Initial]:
        return "an initializer, or a list of them"
    if annotation == dict[str, Candidates]:
        return "values by key"
    if annotation is Model:
        return "layers, or a type with its arguments"
    if annotation is Schedule:
        return "a schedule"
    if annotation == list[Schedule]:
        return "a list of schedules"
    lengths = {Duration: "a duration", Period: "a duration or a time", Time: "a time", Seconds: "a stretch of time"}
    if annotation in lengths:
        return lengths[annotation]
    if is_section(annotation):
        return "a section"
    bounds = [
        f"{words} {getattr(bound, name):g}"
        for bound in info.metadata
        for name, words in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
        if getattr(bound, name, None) is not None
    ]
    return ", ".join([describe(annotation), *bounds])


def _default(info: FieldInfo) -> str:
    value = info.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "unset"
    if isinstance(value, Component):
        return value.name
    if isinstance(value, Schedule):
        return value.type
    if isinstance(value, Section):
        return "its defaults"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "''"


def explain(name: str) -> str:
    """What a key, a component, a schedule or a code means.

    Raises: UsageError where there is no such thing; it says what comes close.
    """
    for explanation in (_explain_code(name), _explain_key(name), *_explain_components(name)):
        if explanation is not None:
            return explanation
    known = [*CODES, *(key.path for path, model in sections() for key in keys(model, path))]
    known += [*SCHEDULES, *(one for kind in KINDS for one in registry.names(kind))]
    best, hint = suggestion(name, known)
    if best is None:
        best = hint = elsewhere(name.rpartition(".")[2], "")
    wanted = "a key such as train.epochs, a component such as Conv2d, or a code such as TL203"
    raise UsageError(f"there is nothing called '{name}': {hint if best else 'name ' + wanted}")


def _explain_code(name: str) -> str | None:
    code = name.upper()
    if code not in CODES:
        return None
    kind = "a warning" if code in WARNINGS else "an error"
    return f"{code}, {kind}: {CODES[code]}"


def _explain_key(name: str) -> str | None:
    for path, model in sections():
        for key, info in zip(keys(model, path), _fields(model).values(), strict=True):
            if key.path == name:
                inner = without_none(info.annotation)
                mark = mark_of(info)
                lines = [f"{key.path}: {key.type}; default {key.default}", key.description]
                if is_section(inner):
                    lines += ["", *_listed(keys(inner, name))]
                elif mark is not None:
                    lines += ["", f"{mark.kind}s: {', '.join(registry.names(mark.kind))}"]
                elif inner is Schedule:
                    lines += ["", f"schedules: {', '.join(SCHEDULES)}"]
                return "\n".join(lines)
    return _explain_argument(name)


def _explain_argument(name: str) -> str | None:
    """An argument of the component that a top-level key holds, such as ``optim.lr``: who takes it."""
    section, _, argument = name.partition(".")
    info = Config.model_fields.get(section)
    mark = mark_of(info) if info is not None else None
    if mark is None or not argument:
        return None
    takers = [
        (one, parameter)
        for one in registry.names(mark.kind)
        if (parameter := signature(mark.kind, registry.table(mark.kind)[one]).find(argument)) is not None
    ]
    if not takers:
        return None
    lines = [f"{name}: {_argument_type(mark.kind, takers[0][1])}", f"an argument of {', '.join(n for n, _ in takers)}"]
    return "\n".join(lines)


def _explain_components(name: str) -> Iterator[str | None]:
    if name in SCHEDULES:
        model = SCHEDULES[name]
        yield "\n".join([f"{name}, a schedule: {_summary(model)}", "", *_listed(keys(model))])
    for kind in KINDS:
        found = registry.find(kind, name)
        if found is not None:
            yield "\n".join([f"{name}, a {kind}: {_summary(found)}", "", *component_arguments(kind, found)])


def catalogue(kind: str | None = None) -> dict[str, dict[str, str]]:
    """The names that a configuration may use with what they are, by kind (``layers``, ``losses``, ...); or of one kind.

    Raises: UsageError where there is no such kind.
    """
    from torchlite.train.config.load import dataset_card, dataset_names

    kinds = {_plural(one): one for one in KINDS if one != "step"}
    titles = [*kinds, "schedules", "datasets"]
    if kind is not None and kind not in titles and f"{kind}s" not in titles and f"{kind}es" not in titles:
        raise UsageError(f"there is no kind '{kind}'; the kinds are {', '.join(titles)}")
    found: dict[str, dict[str, str]] = {}
    for title in titles:
        if kind is not None and kind not in (title, title.removesuffix("s"), title.removesuffix("es")):
            continue
        if title == "schedules":
            found[title] = {name: _summary(model) for name, model in SCHEDULES.items()}
        elif title == "datasets":
            found[title] = {name: dataset_card(name).title for name in dataset_names() if name not in OWN_DATA}
            found[title] |= {name: _summary(model) for name, model in OWN_DATA.items()}
        else:
            table = registry.table(kinds[title])
            found[title] = {name: _summary(table[name]) for name in sorted(table)}
    return found


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def component_arguments(kind: Kind, component: Callable[..., Any]) -> list[str]:
    """One line for each argument of a component: its name, type, and whether it must be given."""
    taken = signature(kind, component)
    lines = []
    for parameter in taken.parameters:
        needed = "required" if parameter.required else "optional"
        if parameter.name in taken.inferred:
            needed = "follows from the input"
        lines.append(f"  {parameter.name}: {_argument_type(kind, parameter)} ({needed})")
    return lines or ["  no arguments"]


def _argument_type(kind: Kind, parameter: Parameter) -> str:
    words = describe(parameter.annotation) if parameter.annotation is not Any else "a value"
    if parameter.holds != "value":
        words = {"layer": "a layer", "layers": "a list of layers", "paths": "lists of layers"}[parameter.holds]
    allowed = RANGES[kind].get(parameter.name)
    return f"{words}, {allowed}" if allowed is not None else words


def _summary(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


def _listed(found: list[Key]) -> list[str]:
    return [f"  {key.path}: {key.type}; default {key.default}\n      {key.description}" for key in found]


def key_tables() -> str:
    """The tables of docs/configuration.md: every section with its keys, and every code."""
    parts = []
    for path, model in sections():
        heading = f"### `{path}`" if path else "### The whole file"
        rows = [f"| `{key.path}` | {key.type} | {key.default} | {key.description} |" for key in keys(model, path)]
        parts.append(
            "\n".join([heading, "", _summary(model), "", "| key | type | default | |", "|---|---|---|---|", *rows])
        )
    rows = [f"| {code} | {'warning' if code in WARNINGS else 'error'} | {meaning} |" for code, meaning in CODES.items()]
    parts.append("\n".join(["### Codes", "", "| code | | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


_FROM, _TO = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"


def write_tables(page: Path) -> None:
    """Puts `key_tables` between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_FROM)
    after = rest.partition(_TO)[2]
    page.write_text(f"{before}{_FROM}\n{key_tables()}\n{_TO}{after}", encoding="utf-8")


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]))
