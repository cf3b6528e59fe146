"""Components: ``name``, ``{name: args}`` or ``{type: name, ...args}``, checked against the class they name."""

import re
import types
import typing
from collections.abc import Callable, Container, Iterator
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

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
from torchlite.train.config.location import Location
from torchlite.train.config.usercode import UserCode, import_class
from torchlite.train.registry import (
    ALWAYS,
    ARGUMENT_WORDS,
    LOSSES,
    OPTIMIZERS,
    RANGES,
    WORDS,
    Kind,
    Parameter,
    Signature,
    registry,
    signature,
)

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """A component with its arguments by name; `layers` are those inside a container such as Sequential.

    Arguments that hold layers are a `Component`, a tuple of them, or a tuple of such tuples. `path` is where it stands in
    the configuration, and `file` the user's file that defines its class. `label` is the name that a layer's value and
    parameters, or a metric's value, get. Of a layer, `inputs` names the values that it takes, and `output` says what of its result goes on.
    """

    kind: Kind
    name: str
    arguments: dict[str, Any]
    path: KeyPath = field(default=(), compare=False)
    layers: tuple["Component", ...] = ()
    file: Path | None = None
    label: str | None = None
    inputs: tuple[str, ...] = ()
    output: int | str | None = None

    @property
    def inner(self) -> Iterator["Component"]:
        """The components inside this one."""
        yield from self.layers
        for value in self.arguments.values():
            yield from components_in(value)

    @property
    def called(self) -> str:
        """Its own name, or else that of its class."""
        return self.label or self.name

    @property
    def is_user_code(self) -> bool:
        """Whether the class, or one inside it, comes from the user's own file."""
        return self.file is not None or any(component.is_user_code for component in self.inner)

    def target(self) -> Callable[..., Any]:
        """The class that the name stands for; imports the user's file where it comes from one.

        Raises: UserCodeError where importing the user's file fails, KeyError for a name that is not registered.
        """
        if self.file is not None:
            return import_class(self.file, self.name.partition(":")[2])
        found = registry.find(self.kind, self.name)
        if found is None:
            raise KeyError(f"no {self.kind} is called {self.name!r}")
        return found

    def build(self, *args: Any, **supplied: Any) -> Any:
        """An instance; `args` and `supplied` are what does not stand in the configuration.

        These are the parameters of an optimizer, the layers of a container, the inferred sizes of a layer.
        """
        return self.target()(*args, **{**self.arguments, **supplied})


def components_in(value: Any) -> Iterator[Component]:
    """The components that an argument holds."""
    if isinstance(value, Component):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from components_in(item)


PREVIOUS, INPUT = "previous", "input"
"""The names under which every layer finds the value before it and the model's input."""

_LABEL = re.compile(r"[A-Za-z_]\w*\Z")
_VALUE = re.compile(r"(?P<base>[A-Za-z_]\w*)(\.[0-9]+)?\Z")
_WIRING = ("name", "inputs", "output")
_OUTPUTS = ("last",)
_LAYERS_IN_WORDS = {"layer": "a layer", "layers": "a list of layers", "paths": "a list of lists of layers"}


@dataclass
class ComponentReader:
    """Reads components out of a tree and reports everything that is wrong with them."""

    findings: Findings
    code: UserCode
    scopes: list[set[str]] = field(default_factory=list)

    def read_layers(self, items: list[Node], path: KeyPath) -> tuple[Component, ...] | None:
        """The layers of a list, which see the names of those before them and of the lists around it."""
        self.scopes.append(set())
        layers = [self.read(item, "layer", (*path, index)) for index, item in enumerate(items)]
        self.scopes.pop()
        found = tuple(layer for layer in layers if layer is not None)
        return found if len(found) == len(layers) else None

    def read(self, node: Node, kind: Kind, path: KeyPath, *, partial: bool = False) -> Component | None:
        """The component at `node`, or None where a mistake in it cannot be guessed right.

        Of a `partial` one, which stands over another, nothing is missing.
        """
        named = self.name_of(node, kind, registry.table(kind))
        if named is None:
            return None
        written, name_at, arguments = named
        resolved = self.resolve(written, name_at, kind)
        if resolved is None:
            return None
        name, taken, file = resolved
        spread = isinstance(node, Mapping) and (len(node.entries) > 1 or "type" in node.entries)
        reading = _Arguments(self, kind, name, name_at, taken, path, path if spread else (*path, written))
        reading.read(arguments, partial=partial)
        if reading.label is not None and self.scopes:
            self.scopes[-1].add(reading.label)
        if not reading.whole:
            return None
        return Component(
            kind, name, reading.values, path, reading.layers, file, reading.label, reading.inputs, reading.output
        )

    def name_of(self, node: Node, word: str, names: Container[str]) -> tuple[str, Location, Node | None] | None:
        """The name as written, its place, and what holds the arguments; `word` is what it names, `names` what there is."""
        forms = "write `name`, `{name: args}` or `{type: name, ...}`"
        if isinstance(node, Poison):
            return None
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
            return node.value, node.at, None
        if not isinstance(node, Mapping) or not node.entries:
            self.findings.report("TL213", node.at, f"{_a(word)} was expected, not {kind_name(node)}", hint=forms)
            return None
        type_entry = node.entries.get("type")
        if type_entry is None and len(node.entries) == 1:
            (only,) = node.entries.values()
            return only.key, only.key_at, only.value
        if type_entry is None:
            first = next(iter(node.entries.values()))
            slip = get_close_matches("type", node.entries, n=1, cutoff=0.7)
            if slip:
                type_entry = node.entries[slip[0]]
                self.findings.report(
                    "TL201",
                    type_entry.key_at,
                    f"{_a(word)} has no key '{slip[0]}'",
                    key=slip[0],
                    hint="did you mean 'type'?",
                    replacement="type",
                )
            else:
                message = f"{_a(word)} with several keys needs `type`"
                named = next((key for key in node.entries if key in names), None)
                hint = forms if named is None else f"write type: {named}"
                self.findings.report("TL213", first.key_at, message, hint=hint)
                return None
        value = type_entry.value
        if isinstance(value, Poison):
            return None
        if not isinstance(value, Scalar) or not isinstance(value.value, str):
            self.findings.report("TL202", value.at, f"'type' must be the name of {_a(word)}, not {kind_name(value)}")
            return None
        rest = {key: entry for key, entry in node.entries.items() if entry is not type_entry}
        return value.value, value.at, Mapping(rest, node.at)

    def resolve(self, name: str, at: Location, kind: Kind) -> tuple[str, Signature, Path | None] | None:
        """The registered name, what it takes, and the user's file that holds it."""
        if ":" in name:
            found = self.code.find(name, at, self.findings)
            return (found.name, found.signature, found.file) if found else None
        component = registry.find(kind, name)
        if component is None:
            names = registry.names(kind)
            plain = name.rpartition(".")[2]
            other_words = {value: key for key, value in (*LOSSES.items(), *OPTIMIZERS.items())}
            plain = WORDS.get(kind, {}).get(plain, other_words.get(plain, plain))
            best, hint = (plain, f"did you mean '{plain}'?") if plain in names else suggestion(name, names)
            if kind == "logger" and name in ALWAYS:
                best, hint = None, f"leave it out: {ALWAYS[name]}"
            if not names:
                hint = f"name a class of your own, from a file listed under `code`: module:{name or 'Class'}"
            self.findings.report("TL303", at, f"there is no {kind} '{name}'", hint=hint, replacement=best)
            if best is None:
                return None
            name, component = best, registry.find(kind, best)
            assert component is not None
        return name, signature(kind, component), None


@dataclass
class _Arguments:
    """The arguments of one component, bound to the names of its parameters."""

    reader: ComponentReader
    kind: Kind
    name: str
    name_at: Location
    taken: Signature
    path: KeyPath
    inside: KeyPath
    values: dict[str, Any] = field(default_factory=dict)
    layers: tuple[Component, ...] = ()
    label: str | None = None
    inputs: tuple[str, ...] = ()
    output: int | str | None = None
    whole: bool = True

    def report(
        self, code: str, at: Location, message: str, hint: str | None = None, replacement: str | None = None
    ) -> None:
        key = ".".join(map(str, self.path))
        self.reader.findings.report(code, at, message, key=key, hint=hint, replacement=replacement)

    def read(self, node: Node | None, *, partial: bool) -> None:
        """Binds what `node` holds: arguments by name, by position, or one."""
        given: set[str] = set()
        if isinstance(node, Poison):
            self.whole = False
            return
        if isinstance(node, Mapping):
            for entry in node.entries.values():
                given.add(self.keyword(entry))
        elif isinstance(node, Sequence) and self.taken.takes_layers:
            self.layers = self.nested(self.reader.read_layers(node.items, self.inside)) or ()
        elif isinstance(node, Sequence) and (first := self.taken.first_list) is not None:
            self.bind(first, node, self.inside)
            given.add(first.name)
        elif node is not None and not (isinstance(node, Scalar) and node.value is None):
            given |= self.positional(node.items if isinstance(node, Sequence) else [node])
        if not partial:
            self.require(given)

    def nested(self, found: Any) -> Any:
        """What was read inside this component; None means that there was a mistake in it."""
        self.whole = self.whole and found is not None
        return found

    def positional(self, items: list[Node]) -> set[str]:
        slots = [one for one in self.taken.parameters if one.positional and one.name not in self.taken.inferred]
        if len(items) > len(slots) and not self.taken.takes_any_keyword:
            takes = f"takes {len(slots)}" if slots else "takes none"
            hint = "in order: " + ", ".join(slot.name for slot in slots) if slots else None
            message = f"{self.name} gets {len(items)} positional arguments but {takes}"
            self.report("TL208", items[len(slots)].at, message, hint)
            self.whole = False
        for index, (slot, item) in enumerate(zip(slots, items, strict=False)):
            self.bind(slot, item, (*self.inside, index))
        return {slot.name for slot in slots[: len(items)]}

    def keyword(self, entry: Entry) -> str:
        parameter = self.taken.find(entry.key)
        name = entry.key
        if parameter is None and not self.is_common(name) and not self.taken.takes_any_keyword:
            better = self.unknown(entry)
            if better is None or better in self.values:
                self.whole = self.whole and better is not None
                return name
            name, parameter = better, self.taken.find(better)
        if parameter is None and self.is_common(name):
            self.wire(name, entry.value)
            return name
        self.bind(parameter or Parameter(name, required=False), entry.value, (*self.inside, entry.key))
        return name

    def is_common(self, key: str) -> bool:
        """Whether every layer has that key, or every container, or every metric."""
        if self.kind == "metric":
            return key == "name"
        return self.kind == "layer" and (key in _WIRING or (key == "layers" and self.taken.takes_layers))

    def wire(self, key: str, node: Node) -> None:
        """What every layer has: `name`, `inputs` and `output`; and the `layers` of a container."""
        items: list[Node] = node.items if isinstance(node, Sequence) else [node]
        if key == "layers" and isinstance(node, Sequence):
            self.layers = self.nested(self.reader.read_layers(items, (*self.inside, key))) or ()
        elif is_poisoned(node):
            self.whole = False
        elif key == "layers":
            self.report("TL210", node.at, f"{self.name}'s 'layers' must be a list of layers, not {kind_name(node)}")
            self.whole = False
        elif key == "inputs":
            self.inputs = tuple(name for item in items if (name := self.input_name(item)) is not None)
            self.whole = self.whole and 0 < len(items) == len(self.inputs)
        elif key == "name":
            self.label = self.label_of(node)
        else:
            value = to_plain(node)
            if value in _OUTPUTS or (accepts(int, value) and value >= 0):
                self.output = value
            else:
                words = ", ".join(repr(word) for word in _OUTPUTS)
                self.report("TL210", node.at, f"'output' must be a number from 0 or {words}, not {kind_name(node)}")
                self.whole = False

    def label_of(self, node: Node) -> str | None:
        """The name of this layer, which no other in its list may have."""
        name = to_plain(node)
        if not isinstance(name, str) or not _LABEL.match(name) or name in (PREVIOUS, INPUT):
            hint = f"letters, digits and _, from a letter on; {PREVIOUS} and {INPUT} are taken"
            self.report("TL205", node.at, f"'name' must be the name of a value, not {kind_name(node)}", hint)
        elif self.reader.scopes and name in self.reader.scopes[-1]:
            self.report("TL214", node.at, f"another layer of this list is called '{name}'")
        else:
            return name
        self.whole = False
        return None

    def input_name(self, node: Node) -> str | None:
        """One of the values that a layer takes, by a name that is known here."""
        written = to_plain(node)
        match = _VALUE.match(written) if isinstance(written, str) else None
        known = {PREVIOUS, INPUT}.union(*self.reader.scopes)
        if match is None:
            hint = f"{PREVIOUS}, {INPUT}, or the `name` of a layer before"
            self.report("TL210", node.at, f"'inputs' takes names of values, not {kind_name(node)}", hint)
            return None
        base = match["base"]
        if base in known:
            return str(written)
        best, listed = suggestion(base, known, what="there are")
        fix = best if written == base else None
        self.report("TL301", node.at, f"no layer before this one is called '{base}'", listed, fix)
        return best

    def unknown(self, entry: Entry) -> str | None:
        """Reports an argument that does not exist; the one that is meant, where that is clear."""
        names = [parameter.name for parameter in self.taken.parameters]
        best, hint = suggestion(entry.key, names, what=f"{self.name} takes")
        if best is None and (word := ARGUMENT_WORDS.get(entry.key.casefold())) in names:
            best, hint = word, f"did you mean '{word}'?"
        if best is None and self.kind == "layer":
            best = closest(entry.key, _WIRING)
            hint = f"did you mean '{best}'?" if best is not None else hint
        message = f"{self.name}() has no argument '{entry.key}'"
        if best is None:
            others = [
                other
                for other in registry.names(self.kind)
                if (component := registry.find(self.kind, other)) and signature(self.kind, component).find(entry.key)
            ]
            if others and self.kind != "layer":
                self.report(
                    "TL405", entry.key_at, message, f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} it"
                )
                return None
            if hint is None:
                hint = f"{self.name} takes no arguments"
        self.report("TL203", entry.key_at, message, hint, best)
        return best

    def bind(self, parameter: Parameter, node: Node, path: KeyPath) -> None:
        """Checks and keeps the value of a parameter, which stands at `path`."""
        if parameter.holds != "value" and not isinstance(node, Poison) and self.bind_layers(parameter, node, path):
            return
        if is_poisoned(node):
            self.whole = False
            return
        value = to_plain(node)
        if not accepts(parameter.annotation, value):
            expected = " or ".join(
                filter(None, (_LAYERS_IN_WORDS.get(parameter.holds), describe(parameter.annotation)))
            )
            message = f"{self.name}'s '{parameter.name}' must be {expected}, not {kind_name(node)}"
            self.report("TL210", node.at, message)
            self.whole = False
            return
        allowed = RANGES[self.kind].get(parameter.name)
        for part in _parts(node):
            number = part.value if isinstance(part, Scalar) else None
            if allowed and isinstance(number, (int, float)) and not allowed.holds(number):
                message = f"{self.name}'s '{parameter.name}' must be {allowed}, not {to_plain(part)}"
                self.report("TL205", part.at, message)
                self.whole = False
                return
        self.values[parameter.name] = value

    def bind_layers(self, parameter: Parameter, node: Node, path: KeyPath) -> bool:
        """Reads a value that is a layer, a list of layers or a list of such lists; False where it is something else."""
        found: Any
        reader, items = self.reader, node.items if isinstance(node, Sequence) else []
        if parameter.holds == "layer":
            if isinstance(node, Scalar) and not isinstance(node.value, str):
                return False
            found = reader.read(node, "layer", path)
        elif not isinstance(node, Sequence):
            return False
        elif parameter.holds == "layers":
            found = reader.read_layers(items, path)
        elif not items or not all(isinstance(item, Sequence) for item in items):
            return False
        else:
            lists = [reader.read_layers(item.items, (*path, i)) for i, item in enumerate(items)]  # type: ignore[union-attr]
            found = tuple(lists) if None not in lists else None
        if self.nested(found) is not None:
            self.values[parameter.name] = found
        return True

    def require(self, given: set[str]) -> None:
        """Reports every argument that has no value from anywhere."""
        if not self.whole:
            return
        missing = [
            parameter.name
            for parameter in self.taken.parameters
            if parameter.required and parameter.name not in given | self.taken.inferred
        ]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            self.report("TL207", self.name_at, f"{self.name} needs {names}")
            self.whole = False


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _parts(node: Node) -> Iterator[Node]:
    if isinstance(node, Sequence):
        yield from node.items
    else:
        yield node


def accepts(annotation: Any, value: Any) -> bool:
    """Whether a plain value from a configuration fits a type; a type that is not understood accepts all.

    A list stands for a tuple, an integer for a float, but a boolean for neither.

    >>> accepts(int | tuple[int, int], [3, 3]), accepts(int, True), accepts(float, 1), accepts(str, 1)
    (True, False, True, False)
    """
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is typing.Never:
        return False
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(accepts(one, value) for one in inner)
    if origin is typing.Annotated:
        return accepts(inner[0], value)
    if origin is typing.Literal:
        return value in inner
    base = origin or annotation
    if base is bool:
        return isinstance(value, bool)
    if base is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if base is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if base is str:
        return isinstance(value, str)
    if base in (list, tuple, AbstractSequence):
        return isinstance(value, list) and _accepts_items(base, inner, value)
    if base is dict:
        return isinstance(value, dict)
    return True


def _accepts_items(base: Any, inner: tuple[Any, ...], value: list[Any]) -> bool:
    if not inner:
        return True
    if base is tuple and not (len(inner) == 2 and inner[1] is ...):
        return len(value) == len(inner) and all(map(accepts, inner, value))
    return all(accepts(inner[0], item) for item in value)


def describe(annotation: Any) -> str:
    """A type in words.

    >>> describe(int | tuple[int, int]), describe(float | None)
    ('an integer or a list of 2 integers', 'a number or null')
    """
    if annotation is None or annotation is type(None):
        return "null"
    if annotation is typing.Never:
        return ""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(one) for one in inner))
    if origin is typing.Annotated:
        return describe(inner[0])
    if origin is typing.Literal:
        return " or ".join(repr(one) for one in inner)
    words = {bool: "true or false", int: "an integer", float: "a number", str: "a text", dict: "a mapping"}
    base = origin or annotation
    if base in (list, tuple, AbstractSequence):
        plurals: dict[Any, str] = {int: "integers", float: "numbers", str: "texts"}
        plural = plurals.get(inner[0] if inner else None, "values")
        fixed = base is tuple and inner and inner[-1] is not ...
        return f"a list of {len(inner)} {plural}" if fixed else f"a list of {plural}"
    return words.get(base, getattr(base, "__name__", str(base)))
