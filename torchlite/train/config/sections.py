"""From a tree to the sections of a `Config`: every key known, every value of its type, all mistakes at once."""

import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from torchlite.train.config.components import Component, ComponentReader, KeyPath
from torchlite.train.config.diagnostics import Findings, closest, suggestion
from torchlite.train.config.document import (
    Entry,
    Mapping,
    Node,
    Poison,
    Scalar,
    Sequence,
    is_poisoned,
    kind_name,
    to_plain,
)
from torchlite.train.config.extends import spread
from torchlite.train.config.location import Location
from torchlite.train.config.migrations import VERSION
from torchlite.train.config.overrides import split_list
from torchlite.train.config.own_data import OWN_DATA
from torchlite.train.config.parts import UNITS, Of, Section, mark_of, without_none
from torchlite.train.config.places import elsewhere
from torchlite.train.config.schedules import PARTS, SCHEDULE_WORDS, SCHEDULES, Schedule
from torchlite.train.config.schema import (
    ADVICE,
    SYNONYMS,
    VALUE_WORDS,
    Clip,
    Config,
    Data,
    Initial,
    Model,
    Optim,
    ParameterGroup,
    Train,
)
from torchlite.train.config.search import Candidates
from torchlite.train.config.usercode import UserCode
from torchlite.train.registry import registry, signature


@dataclass
class SectionReader:
    """Builds sections and remembers the key paths, in `bad`, whose value is not what was meant.

    With `partial` (a base that others extend, or a tree with unreadable parts) nothing is missing.
    """

    findings: Findings
    folder: Path
    partial: bool = False
    bad: set[KeyPath] = field(default_factory=set)
    code: UserCode = field(default_factory=UserCode)
    datasets: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def read(self, root: Mapping) -> Config:
        """The configuration; where paths are bad or missing it holds defaults or lacks attributes."""
        named = root.get("models")
        self.models = tuple(named.entries) if isinstance(named, Mapping) else ()
        if not self.partial and "model" not in root.entries and not self.models:
            self.missing(root.at, "", "'model'")
            self.bad.add(("model",))
        if "model" in root.entries and self.models:
            hint = "keep one of the two"
            self.findings.report("TL211", root.entries["models"].key_at, "there are both model and models", hint=hint)
            self.bad.add(("models",))
        config = self.section(Config, root, (), root.at)
        assert isinstance(config, Config)
        config._tree = root
        return config

    def known_sections(self, root: Mapping) -> Mapping:
        """The tree with its sections under their right names; an unknown one is reported and left out."""
        own = {name: entry for name, entry in root.entries.items() if name.startswith("x-")}
        return Mapping({**self.known_keys(Config, root, ()), **own}, root.at)

    def section(self, model: type[Section], node: Node, path: KeyPath, name_at: Location) -> Any:
        """A section from its node; `name_at` is where something missing is reported."""
        if isinstance(node, Sequence) and model.from_list:
            keys = model.from_list
            node = Mapping({key: Entry(key, node.at, node) for key in keys}, node.at)
        if not isinstance(node, Mapping):
            fields = [name for name, info in model.model_fields.items() if not info.exclude]
            self.wrong_type(path, node, "a mapping", hint=f"its keys are: {', '.join(fields)}")
            return None
        if model is Config:
            self.read_code(node)
        given = self.known_keys(model, node, path)
        values: dict[str, Any] = {}
        for name, entry in given.items():
            value = self.value(model.model_fields[name], entry, (*path, name))
            if (*path, name) not in self.bad:
                values[name] = value
        return self.construct(model, values, given, path, name_at)

    def whole_section(self, model: type[Section], node: Node, path: KeyPath, name_at: Location) -> Any:
        """A section whose keys also go together."""
        section = self.section(model, node, path, name_at)
        self.exclusive(section, node, path, name_at)
        return section

    def read_code(self, root: Mapping) -> None:
        """Reads the files listed under `code`, for the classes that components name."""
        listed = root.get("code")
        for item in listed.items if isinstance(listed, Sequence) else []:
            if isinstance(item, Scalar) and isinstance(item.value, str):
                self.code.add(self.folder / item.value, item.at, self.findings)

    def known_keys(self, model: type[Section], node: Mapping, path: KeyPath) -> dict[str, Entry]:
        """The entries by field; an unknown key is reported, and taken for the field it comes close to."""
        fields = model.model_fields
        given = {name: entry for name, entry in node.entries.items() if name in fields}
        for name, entry in node.entries.items():
            if name in fields or name.startswith("x-"):
                continue
            best = self.unknown_key(name, entry, list(fields), path)
            if best is not None and best not in given:
                given[best] = entry
        return given

    def unknown_key(self, name: str, entry: Entry, fields: list[str], path: KeyPath) -> str | None:
        """Reports an unknown key; the field that is meant, where that is clear."""
        where = f"'{_dotted(path)}'" if path else "a configuration"
        synonym = SYNONYMS.get(name.casefold())
        best, hint = suggestion(name, fields, what="keys are")
        if synonym in fields:
            best, hint = synonym, f"did you mean '{synonym}'?"
        elif name in ADVICE:
            best, hint = None, ADVICE[name]
        elif best is None:
            hint = elsewhere(name, _dotted(path)) or hint
        self.findings.report(
            "TL201",
            entry.key_at,
            f"{where} has no key '{name}'",
            key=_dotted((*path, name)),
            hint=hint,
            replacement=best,
        )
        return best

    def value(self, info: FieldInfo, entry: Entry, path: KeyPath) -> Any:
        """The value of a field as pydantic takes it: sections and components built, the rest plain."""
        node = entry.value
        if isinstance(node, Poison) or (is_poisoned(node) and isinstance(node, Scalar)):
            self.bad.add(path)
            return None
        annotation = without_none(info.annotation)
        if _allows_none(info.annotation) and isinstance(node, Scalar) and node.value is None:
            return None
        if annotation is Optim:
            return self.optim(node, path)
        mark = mark_of(info)
        if mark is not None:
            listed = typing.get_origin(annotation) is list
            return self.components(node, mark, path) if listed else self.component(node, mark, path)
        if annotation is Model:
            return self.model(node, path, entry.key_at)
        if annotation == dict[str, Model]:
            return self.by_name(node, path, self.model)
        if annotation is Schedule:
            return self.schedule(node, path)
        if annotation == list[Schedule]:
            return self.schedules(node, path)
        if typing.get_origin(annotation) is dict and _holds_sections(annotation):
            (_, inner) = typing.get_args(annotation)
            return self.by_name(node, path, lambda one, inside, at: self.whole_section(inner, one, inside, at))
        if annotation is Data:
            annotation, node = self.data_section(node)
        if isinstance(annotation, type) and issubclass(annotation, Section):
            return self.whole_section(annotation, node, path, entry.key_at)
        if is_poisoned(node):
            self.bad.add(path)
            return None
        if typing.get_origin(annotation) is list and isinstance(node, Scalar):
            node = split_list(node) or node
        return to_plain(node)

    def data_section(self, node: Node) -> tuple[type[Data], Node]:
        """The section of the type of data that is named, and the node with that name in it where it was nearly right.

        It is the catalogue's where the name is none of them.
        """
        if not isinstance(node, Mapping):
            return Data, node
        key = "type" if "type" in node.entries else closest("type", node.entries) or "type"
        named = node.get(key)
        if not isinstance(named, Scalar) or not isinstance(named.value, str):
            return Data, node
        name = named.value
        known = name if name in self.datasets else closest(name, [*OWN_DATA, *self.datasets])
        if known not in OWN_DATA:
            return Data, node
        if known != name:
            hint = f"did you mean '{known}'?"
            message = f"there is no dataset '{name}'"
            self.findings.report("TL303", named.at, message, key="data.type", hint=hint, replacement=known)
        entry = Entry(key, node.entries[key].key_at, Scalar(known, named.at, known))
        return OWN_DATA[known], Mapping({**node.entries, key: entry}, node.at)

    def component(self, node: Node, mark: Of, path: KeyPath) -> Component | None:
        """A component, or None with `path` marked bad."""
        component = ComponentReader(self.findings, self.code).read(node, mark.kind, path)
        if component is None:
            self.bad.add(path)
        return component

    def components(self, node: Node, mark: Of, path: KeyPath) -> list[Component]:
        """A list of components; `path` is marked bad where one is."""
        if isinstance(node, Scalar):
            node = split_list(node) or node
        if not isinstance(node, Sequence):
            self.wrong_type(path, node, "a list")
            return []
        components = [self.component(item, mark, (*path, index)) for index, item in enumerate(node.items)]
        if None in components:
            self.bad.add(path)
        return [component for component in components if component is not None]

    def layers(self, node: Node, path: KeyPath) -> list[Component]:
        """The layers of the network; `path` is marked bad where there is a mistake in one."""
        if isinstance(node, Scalar):
            node = split_list(node) or node
        if not isinstance(node, Sequence):
            self.wrong_type(path, node, "a list")
            return []
        layers = ComponentReader(self.findings, self.code).read_layers(node.items, path)
        if layers is None:
            self.bad.add(path)
        return list(layers or ())

    def model(self, node: Node, path: KeyPath, name_at: Location) -> Model | None:
        """The network, from `layers` or from `type` and its arguments."""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return Model(component=self.component(node, Of("layer"), path))
        if not isinstance(node, Mapping):
            hint = "write {layers: [...]}" if isinstance(node, Sequence) else None
            self.wrong_type(path, node, "a mapping with `layers` or `type`", hint=hint)
            return None
        beside = {name: node.entries[name] for name in ("input", "init") if name in node.entries}
        if beside:
            kept = {name: other for name, other in node.entries.items() if name not in beside}
            model = self.model(Mapping(kept, node.at), path, name_at)
            values: dict[str, Any] = {
                name: self.beside_layers(name, entry, (*path, name)) for name, entry in beside.items()
            }
            if None in values.values():
                self.bad.add(path)
            return model.model_copy(update=values) if model is not None else None
        has_type = "type" in node.entries
        has_layers = "layers" in node.entries and not (has_type and isinstance(node.get("layers"), Scalar))
        if has_type and has_layers:
            at = node.entries["layers"].key_at
            message = f"'{_dotted(path)}' has both `type` and `layers`"
            self.findings.report("TL211", at, message, key=_dotted(path), hint="keep one of the two")
            self.bad.add(path)
            return None
        if has_type:
            return Model(component=self.component(node, Of("layer"), path))
        known: dict[str, Entry] = {}
        for name, entry in node.entries.items():
            if name == "layers":
                known["layers"] = entry
            elif not name.startswith("x-"):
                best = self.unknown_key(name, entry, ["layers", "type"], path)
                if best is not None:
                    known.setdefault(best, entry)
        if "layers" in known:
            layers = known["layers"].value
            if isinstance(layers, Sequence) and not layers.items:
                key = _dotted((*path, "layers"))
                self.findings.report("TL205", layers.at, f"'{key}' is empty", key=key, hint="list at least one layer")
                self.bad.add(path)
            return Model(layers=self.layers(layers, (*path, "layers")))
        self.bad.add(path)
        if not known and not self.partial and set(node.entries) <= {"layers", "type"}:
            self.missing(name_at, _dotted(path), "`layers` or `type`")
        return None

    def beside_layers(self, name: str, entry: Entry, path: KeyPath) -> list[Any] | None:
        """What a network has besides its layers: the shape that it takes, or its initial values."""
        if name == "init":
            return self.initial_values(entry.value, path)
        shape = self.value(Model.model_fields[name], entry, path)
        if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
            self.wrong_type(path, entry.value, "a list of sizes, e.g. [100]")
            return None
        return shape

    def initial_values(self, node: Node, path: KeyPath) -> list[Initial] | None:
        """One initializer, or a list of them with the patterns that they are for; None where there is a mistake in one."""
        if not isinstance(node, Sequence):
            rules = [self.initial(node, path)]
        else:
            rules = [self.initial(item, (*path, index)) for index, item in enumerate(node.items)]
        found = [rule for rule in rules if rule is not None]
        return found if len(found) == len(rules) else None

    def initial(self, node: Node, path: KeyPath) -> Initial | None:
        """An initializer with its pattern, if any."""
        match = None
        if isinstance(node, Mapping) and len(node.entries) > 1:
            slip = "match" if "match" in node.entries else closest("match", node.entries)
            if slip is not None:
                if slip != "match":
                    self.unknown_key(slip, node.entries[slip], ["match"], path)
                match = self.pattern(node.entries[slip].value, (*path, "match"))
                if match is None:
                    return None
                node = Mapping({key: entry for key, entry in node.entries.items() if key != slip}, node.at)
        component = self.component(node, Of("initializer"), path)
        return None if component is None else Initial(match=match, component=component)

    def optim(self, node: Node, path: KeyPath) -> Optim | None:
        """An optimizer, and what stands beside its arguments; one for each model where there are several."""
        if self.models and isinstance(node, Mapping) and "type" not in node.entries:
            for name, entry in node.entries.items():
                if name not in self.models:
                    self.unknown_key(name, entry, list(self.models), path)
                    self.bad.add(path)
            absent = [name for name in self.models if name not in node.entries]
            if absent and path not in self.bad and not self.partial:
                self.missing(node.at, _dotted(path), ", ".join(f"'{name}'" for name in absent))
                self.bad.add(path)
            return Optim(by_model=self.by_name(node, path, lambda one, inner, _at: self.optim(one, inner)))
        node = spread(node)
        beside: dict[str, Entry] = {}
        if isinstance(node, Mapping):
            special = ("groups", "no_decay")
            argument = self.argument_of(node.entries.get("type"))
            beside = {key: node.entries[key] for key in special if key in node.entries}
            slips = {key: closest(key, special) for key in node.entries if key not in special and not argument(key)}
            for key, meant in slips.items():
                if meant is not None and meant not in beside:
                    self.unknown_key(key, node.entries[key], [meant], path)
                    beside[meant] = node.entries[key]
            own = {key: one for key, one in node.entries.items() if key not in special and slips.get(key) is None}
            node = Mapping(own, node.at)
        component = self.component(node, Of("optimizer"), path)
        values: dict[str, Any] = {"component": component}
        if "groups" in beside and component is not None:
            values["groups"] = self.parameter_groups(beside["groups"].value, component, (*path, "groups"))
        if "no_decay" in beside:
            values["no_decay"] = self.value(Optim.model_fields["no_decay"], beside["no_decay"], (*path, "no_decay"))
            if component is not None and not self.takes(component, "weight_decay"):
                at, key = beside["no_decay"].key_at, _dotted((*path, "no_decay"))
                message = f"'{key}' has no effect: {component.name} has no weight decay"
                self.findings.report("TL402", at, message, key=key)
        optim = self.construct(Optim, values, beside, path, node.at)
        if any(bad[: len(path)] == path for bad in self.bad):
            self.bad.add(path)
        return optim if isinstance(optim, Optim) else None

    def by_name(self, node: Node, path: KeyPath, read: Callable[[Node, KeyPath, Location], Any]) -> dict[str, Any]:
        """What stands under names of the user's own."""
        if not isinstance(node, Mapping):
            self.wrong_type(path, node, "a mapping from names")
            return {}
        made = {name: read(entry.value, (*path, name), entry.key_at) for name, entry in node.entries.items()}
        if any(bad[: len(path)] == path for bad in self.bad):
            self.bad.add(path)
        return {name: value for name, value in made.items() if value is not None}

    def argument_of(self, entry: Entry | None) -> Callable[[str], bool]:
        """Whether a key is an argument of the optimizer that ``type`` names."""
        name = entry.value.value if entry is not None and isinstance(entry.value, Scalar) else None
        found = registry.find("optimizer", name) if isinstance(name, str) else None
        return lambda key: found is not None and signature("optimizer", found).find(key) is not None

    def takes(self, component: Component, argument: str) -> bool:
        """Whether a component has that argument."""
        return signature(component.kind, component.target()).find(argument) is not None

    def parameter_groups(self, node: Node, component: Component, path: KeyPath) -> list[ParameterGroup]:
        """The groups of an optimizer: a pattern each, and arguments that the optimizer has."""
        if not isinstance(node, Sequence):
            self.wrong_type(path, node, "a list")
            return []
        return [
            group
            for index, item in enumerate(node.items)
            if (group := self.parameter_group(item, component, (*path, index))) is not None
        ]

    def parameter_group(self, node: Node, component: Component, path: KeyPath) -> ParameterGroup | None:
        """One group; None, and its path bad, where there is a mistake in it."""
        if not isinstance(node, Mapping):
            self.wrong_type(path, node, "a mapping with `match` and arguments of the optimizer")
            return None
        if "match" not in node.entries:
            self.bad.add(path)
            best = closest("match", node.entries)
            if best is not None:
                self.unknown_key(best, node.entries[best], ["match"], path)
            elif not self.partial:
                self.missing(node.at, _dotted(path), "'match'")
            return None
        match = self.pattern(node.entries["match"].value, (*path, "match"))
        named = Entry("type", node.at, Scalar(component.name, node.at, component.name))
        own = {key: entry for key, entry in node.entries.items() if key != "match"}
        reader = ComponentReader(self.findings, self.code)
        read = reader.read(Mapping({"type": named, **own}, node.at), "optimizer", path, partial=True)
        if read is None or match is None:
            self.bad.add(path)
            return None
        return ParameterGroup(match=match, arguments=read.arguments)

    def pattern(self, node: Node, path: KeyPath) -> str | None:
        """A regular expression; reported where it is none."""
        text = node.value if isinstance(node, Scalar) else None
        if not isinstance(text, str) or not text:
            self.wrong_type(path, node, "a pattern")
            return None
        try:
            re.compile(text)
        except re.error as error:
            message = f"'{_dotted(path)}' is not a regular expression: {error}"
            self.findings.report("TL205", node.at, message, key=_dotted(path))
            self.bad.add(path)
            return None
        return text

    def schedules(self, node: Node, path: KeyPath) -> list[Schedule]:
        """The schedulers inside another; `path` is marked bad where one is."""
        if not isinstance(node, Sequence):
            self.wrong_type(path, node, "a list")
            return []
        parts = [self.schedule(item, (*path, index), PARTS) for index, item in enumerate(node.items)]
        if None in parts:
            self.bad.add(path)
        return [part for part in parts if part is not None]

    def schedule(self, node: Node, path: KeyPath, table: dict[str, type[Schedule]] = SCHEDULES) -> Schedule | None:
        """The schedule of the type that is named, in any of the three forms of a component.

        One inside another keeps no time of its own.
        """
        named = ComponentReader(self.findings, self.code).name_of(_spread_schedule(node), "schedule", table)
        if named is None:
            self.bad.add(path)
            return None
        name, at, arguments = named
        if name not in table:
            best, hint = suggestion(name, table)
            meant = SCHEDULE_WORDS.get(name.casefold())
            if meant in table:
                best, hint = meant, f"did you mean '{meant}'?"
            message = f"there is no schedule '{name}'"
            self.findings.report("TL303", at, message, key=_dotted(path), hint=hint, replacement=best)
            if best is None:
                self.bad.add(path)
                return None
            name = best
        model = table[name]
        body = arguments if isinstance(arguments, Mapping) else Mapping({}, node.at)
        elsewhere = {
            field_name
            for other in SCHEDULES.values()
            for field_name in other.model_fields
            if field_name not in model.model_fields
        }
        timing = ("warmup", "every") if table is PARTS else ()
        kept = {}
        for key, entry in body.entries.items():
            if key in timing or (key in elsewhere and closest(key, model.model_fields) is None):
                message = f"'{_dotted((*path, key))}' has no effect: {name} ignores it"
                self.findings.report("TL402", entry.key_at, message, key=_dotted((*path, key)))
            else:
                kept[key] = entry
        return self.section(model, Mapping(kept, body.at), path, at)

    def exclusive(self, section: Any, node: Node, path: KeyPath, name_at: Location) -> None:
        """Reports that several or none of the keys are there, of which a section needs one."""
        choices: dict[type[Section], tuple[str, ...]] = {
            Train: ("epochs", "steps"),
            Clip: ("norm", "value"),
            Candidates: Candidates.kinds(),
        }
        names = choices.get(type(section))
        if names is None or not isinstance(node, Mapping):
            return
        if any((*path, name) in self.bad for name in names):
            return
        given = [name for name in names if getattr(section, name) is not None]
        if len(given) > 1:
            second = max((node.entries[name] for name in names if name in node.entries), key=_order)
            message = f"'{_dotted(path)}' has both {given[0]} and {given[1]}"
            self.findings.report("TL211", second.key_at, message, key=_dotted(path), hint="keep one of the two")
            self.bad.add(path)
        elif not given:
            self.bad.add(path)
            if not self.partial:
                self.missing(name_at, _dotted(path), " or ".join(names))

    def construct(
        self,
        model: type[Section],
        values: dict[str, Any],
        given: dict[str, Entry],
        path: KeyPath,
        name_at: Location,
    ) -> Section:
        """The pydantic model of `values`; wrong ones are reported, marked bad and left out."""
        try:
            return model.model_validate(values)
        except ValidationError as error:
            wrong: dict[str, list[ErrorDetails]] = {}
            for detail in error.errors(include_url=False):
                wrong.setdefault(str(detail["loc"][0]) if detail["loc"] else "", []).append(detail)
            for name, details in wrong.items():
                field_path = (*path, name)
                if details[0]["type"] == "missing":
                    if field_path not in self.bad and not self.partial:
                        self.missing(name_at, _dotted(path), f"'{name}'")
                elif name in given:
                    self.invalid(details, given[name], path)
                self.bad.add(field_path)
                values.pop(name, None)
        for name, value in values.items():
            unit = without_none(model.model_fields[name].annotation)
            if unit in UNITS and value is not None:
                values[name] = unit.parse(value)
        return model.model_construct(**values)

    def missing(self, at: Location, section: str, what: str) -> None:
        """Reports at `at` that a section lacks something it needs."""
        where = f"'{section}'" if section else "the configuration"
        self.findings.report("TL204", at, f"{where} needs {what}", key=section or None)

    def invalid(self, details: list[ErrorDetails], entry: Entry, path: KeyPath) -> None:
        """Reports pydantic's errors of one entry in this program's words, each at the innermost value that it is about.

        The kinds that a union takes each give an error of their own; those about one value are one report, and where a
        value is nearly of one kind, so that an error lies inside of it, the others are none.
        """
        found = [_Wrong.of(detail, entry.value) for detail in details]
        nearly = {one.union for one in found if one.inner != one.union}
        by_value: dict[KeyPath, list[_Wrong]] = {}
        for one in found:
            if one.inner != one.union or one.union not in nearly:
                by_value.setdefault(one.inner, []).append(one)
        for inner, several in by_value.items():
            self._invalid(several, _dotted((*path, entry.key, *inner)))

    def _invalid(self, several: "list[_Wrong]", name: str) -> None:
        """Reports what is wrong with one value."""
        explained = [_explain(one.detail) for one in several]
        node, detail = several[0].node, several[0].detail
        code = next((code for code, _ in explained if code != "TL202"), "TL202")
        words = dict.fromkeys(words.removeprefix("must be ") for _, words in explained)
        expected = explained[0][1] if len(words) == 1 else f"must be {' or '.join(words)}"
        contexts = [one.detail.get("ctx", {}) for one in several]
        hint = next((context["hint"] for context in contexts if context.get("hint")), None)
        replacement = None
        choices = [str(context["expected"]) for context in contexts if "expected" in context]
        if choices and isinstance(node, Scalar):
            named = [word.strip("'") for word in ", ".join(choices).replace(" or ", ", ").split(", ")]
            word = VALUE_WORDS.get(str(node.value).casefold(), str(node.value))
            replacement, hint = (
                (word, f"did you mean '{word}'?") if word in named else suggestion(word, named, what="one of")
            )
        if expected == "must be a list":
            hint = hint or _as_list(node)
        if name == "version":
            quoted = isinstance(node, Scalar) and node.value == str(VERSION)
            code, hint = "TL212", "leave out the quotes" if quoted else f"this release reads version {VERSION}"
            replacement = str(VERSION) if quoted else replacement
        if replacement is None and "TL202" in [one for one, _ in explained]:
            replacement, hint = _boolean_fix(node, expected, hint)
        got = to_plain(node) if detail["type"] == "bounds" else kind_name(node)
        self.findings.report(
            code, node.at, f"'{name}' {expected}, not {got}", key=name, hint=hint, replacement=replacement
        )

    def wrong_type(self, path: KeyPath, node: Node, expected: str, hint: str | None = None) -> None:
        """Reports a node of the wrong type, unless it is poisoned, and marks its path bad."""
        self.bad.add(path)
        if not isinstance(node, Poison):
            message = f"'{_dotted(path)}' must be {expected}, not {kind_name(node)}"
            hint = _as_list(node) if expected == "a list" else hint
            self.findings.report("TL202", node.at, message, key=_dotted(path), hint=hint)


_EXPECTED = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
}


@dataclass
class _Wrong:
    """One error of pydantic and the value that it is about.

    Attributes:
        node: the value.
        inner: where it is in the entry.
        union: where the value is whose type is a union of which the error concerns one kind; None without a union.
    """

    detail: ErrorDetails
    node: Node
    inner: KeyPath
    union: KeyPath | None

    @classmethod
    def of(cls, detail: ErrorDetails, node: Node) -> "_Wrong":
        """An error in the entry whose value is `node`."""
        inner: KeyPath = ()
        union = None
        for part in detail["loc"][1:]:
            if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
            elif isinstance(node, Mapping) and str(part) in node.entries:
                node = node.entries[str(part)].value
            else:  # a kind in a union
                union = inner
                continue
            inner = (*inner, part)
        return cls(detail, node, inner, union)


def _explain(detail: ErrorDetails) -> tuple[str, str]:
    """The code and the sentence ``must be ...`` for an error of pydantic."""
    kind, context = detail["type"], detail.get("ctx", {})
    bounds = {
        "greater_than": ("gt", "above"),
        "greater_than_equal": ("ge", "at least"),
        "less_than": ("lt", "below"),
        "less_than_equal": ("le", "at most"),
    }
    if kind in bounds:
        name, words = bounds[kind]
        return "TL205", f"must be {words} {context[name]:g}"
    if kind == "literal_error":
        return "TL206", f"must be {context['expected']}"
    if kind == "bounds":
        return "TL205", detail["msg"]
    if kind == "duration":
        return "TL209", detail["msg"]
    if kind == "device":
        return "TL206", detail["msg"]
    if kind in ("string_too_short", "string_too_long", "string_pattern_mismatch"):
        words = "must begin with a letter or digit and hold only letters, digits, '.', '_', '-'"
        short = {"string_too_short": "must not be empty", "string_too_long": "is too long"}
        return "TL205", short.get(kind, words)
    return "TL202", _EXPECTED.get(kind, detail["msg"])


def _as_list(node: Node) -> str | None:
    """How to write as a list what is none."""
    if isinstance(node, Mapping):
        return "begin each item with '- '" if node.entries else "write []"
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return f"write [{node.text}]" if node.plain else f"write [{node.text!r}]"
    return None


def _boolean_fix(node: Node, expected: str, hint: str | None) -> tuple[str | None, str | None]:
    text = node.text.casefold() if isinstance(node, Scalar) and isinstance(node.value, str) else ""
    meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text)
    if meant is not None and "true or false" in expected:
        return meant, f"write {meant}"
    if isinstance(node, Scalar) and not node.plain and text.replace(".", "").isdecimal():
        return node.text, "leave out the quotes"
    return None, hint


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _order(entry: Entry) -> tuple[int, int]:
    return entry.key_at.line, entry.key_at.col


def _spread_schedule(node: Node) -> Node:
    """``{cosine: {...}}`` as ``{type: cosine, ...}``; other forms as they are."""
    if isinstance(node, Mapping) and "type" not in node.entries and len(node.entries) == 1:
        ((name, entry),) = node.entries.items()
        if isinstance(entry.value, Mapping) or name in SCHEDULES:
            inner = entry.value.entries if isinstance(entry.value, Mapping) else {}
            named = Entry("type", entry.key_at, Scalar(name, entry.key_at, name))
            return Mapping({"type": named, **inner}, node.at)
    return node


def _holds_sections(annotation: Any) -> bool:
    inner = typing.get_args(annotation)[1]
    return isinstance(inner, type) and issubclass(inner, Section)


def _allows_none(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)
