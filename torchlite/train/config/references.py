"""References in values: ``$a.b`` for a whole value, ``${...}`` in text, arithmetic, and the environment."""

import ast
import math
import operator
import os
import re
from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torchlite.train.config.diagnostics import Findings, suggestion
from torchlite.train.config.document import (
    MAX_ALIAS_GROWTH,
    MAX_NODES,
    Entry,
    Mapping,
    Node,
    Poison,
    Scalar,
    Sequence,
    core_scalar,
    from_plain,
    kind_name,
    to_plain,
)
from torchlite.train.config.location import Location

_PATH = r"[A-Za-z_][\w-]*(?:\.[\w-]+)*"
_WHOLE = re.compile(rf"\$({_PATH})\Z")
_NAME = re.compile(rf"{_PATH}\Z")
_TEMPLATE = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_ENVIRONMENT = re.compile(r"env:\s*(?P<name>[A-Za-z_]\w*)\s*(?P<default>,.*)?\Z", re.DOTALL)

MAX_EXPRESSION = 200
MAX_EXPONENT = 64

Facts = Callable[[str, Callable[[str], Any]], AbstractMapping[str, Any] | None]
"""Gives what is known of a dataset, for ``$data.*``; None where there is no such dataset.

Its arguments are the dataset's name, and a function from another key of the section to its plain value.
"""


def resolve_references(root: Mapping, findings: Findings, facts: Facts, *, complete: bool = True) -> Mapping:
    """The tree with every reference replaced; what cannot be resolved is reported and becomes `Poison`.

    `complete` is False where a part of the tree could not be read: a name that is missing then says nothing.
    """
    resolved = _Resolver(root, findings, facts, complete).resolve(root)
    assert isinstance(resolved, Mapping)
    return resolved


class _Unresolved(Exception):
    """The value of a reference cannot be had; the reason has been reported."""


@dataclass
class _Resolver:
    root: Mapping
    findings: Findings
    facts: Facts
    complete: bool
    done: dict[int, Node] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    active: dict[int, str] = field(default_factory=dict)
    locals: dict[str, Node] = field(default_factory=dict)
    expanded: int = 0

    def resolve(self, node: Node) -> Node:
        """The node with all references in it replaced."""
        if id(node) in self.done:
            return self.done[id(node)]
        resolved: Node
        if isinstance(node, Mapping):
            entries = {key: Entry(key, entry.key_at, self.resolve(entry.value)) for key, entry in node.entries.items()}
            resolved = Mapping(entries, node.at)
            parts = [entry.value for entry in entries.values()]
        elif isinstance(node, Sequence):
            parts = [part for item in node.items for part in self.item(item)]
            resolved = Sequence(parts, node.at)
        elif isinstance(node, Scalar) and isinstance(node.value, str) and "$" in node.value:
            resolved = self.scalar(node, node.value)
            parts = []
        else:
            resolved, parts = node, []
        self.sizes.setdefault(id(resolved), 1 + sum(self.sizes.get(id(part), 1) for part in parts))
        self.done[id(node)] = self.done[id(resolved)] = resolved
        return resolved

    def item(self, node: Node) -> list[Node]:
        """What stands in a list for one of its items: for ``{repeat: ...}`` the layers in it, again and again."""
        body = node.get("repeat") if isinstance(node, Mapping) and len(node.entries) == 1 else None
        return [self.resolve(node)] if body is None else self.repeated(body)

    def repeated(self, body: Node) -> list[Node]:
        """The layers of a ``repeat`` as often as it says, each time with the values of its `vars` for that time."""
        found: list[Node] = []
        outer, done = self.locals, self.done
        try:
            times, layers, variables = self.repetition(body)
            for time in range(times):
                self.locals = {**outer, **{name: values[time] for name, values in variables.items()}}
                self.done = {}  # what the same text stands for differs from time to time
                parts = [part for item in layers.items for part in self.item(item)]
                found += parts
                if any(isinstance(part, Poison) for part in parts):
                    break  # what is wrong would only be found again
                self.expanded += sum(self.sizes.get(id(part), 1) for part in parts)
                if self.expanded > MAX_NODES:
                    self.fail("TL107", body.at, f"repetitions expand to more than {MAX_NODES:,} values")
        except _Unresolved:
            return [Poison(body.at)]
        finally:
            self.locals, self.done = outer, done
        return found

    def repetition(self, body: Node) -> tuple[int, Sequence, dict[str, list[Node]]]:
        """How often, what, and the values of each variable; reports and raises where that makes no sense."""
        hint = "write repeat: {n: 3, layers: [...]}, and vars: {name: [one, for, each]} where they differ"
        if not isinstance(body, Mapping):
            self.fail("TL202", body.at, f"'repeat' takes `n`, `vars` and `layers`, not {kind_name(body)}", hint)
        for key, entry in body.entries.items():
            if key not in ("n", "vars", "layers"):
                self.fail("TL201", entry.key_at, f"'repeat' has no key '{key}'", hint)
        layers, counted, named = (body.get(key) for key in ("layers", "n", "vars"))
        if not isinstance(layers, Sequence):
            self.fail("TL204", body.at, "'repeat' needs a list of `layers`", hint)
        variables: dict[str, Node] = {}
        if named is not None:
            resolved = self.resolve(named)
            if not isinstance(resolved, Mapping):
                self.fail("TL202", named.at, f"'vars' must be a mapping, not {kind_name(named)}", hint)
            variables = {name: entry.value for name, entry in resolved.entries.items()}
        lengths = {name: len(value.items) for name, value in variables.items() if isinstance(value, Sequence)}
        count = self.resolve(counted) if counted is not None else None
        times = count.value if isinstance(count, Scalar) else next(iter(lengths.values()), None)
        if isinstance(count, Poison):
            raise _Unresolved
        if not isinstance(times, int) or isinstance(times, bool) or not 1 <= times <= MAX_NODES:
            at = counted.at if counted is not None else body.at
            self.fail("TL205", at, f"'repeat' needs `n`, from 1 to {MAX_NODES:,}, or a list among its `vars`", hint)
        for name, length in lengths.items():
            if length != times:
                message = f"'{name}' has {length} values for {times} repetitions"
                self.fail("TL205", variables[name].at, message)
        each: dict[str, list[Node]] = {
            name: value.items if isinstance(value, Sequence) else [value] * times for name, value in variables.items()
        }
        return times, layers, each

    def scalar(self, node: Scalar, text: str) -> Node:
        if id(node) in self.active:
            circle = " -> ".join([*list(self.active.values())[list(self.active).index(id(node)) :], text])
            self.findings.report("TL302", node.at, f"references form a circle: {circle}")
            return Poison(node.at)
        self.active[id(node)] = text
        try:
            whole = _WHOLE.match(text)
            if whole:
                named = self.look_up(whole[1], node.at, text)
                assert named is not None
                return self.expand(named, node.at)
            return self.template(node, text)
        except _Unresolved:
            return Poison(node.at)
        finally:
            del self.active[id(node)]

    def expand(self, node: Node, at: Location) -> Node:
        """The node that takes the place of a reference: a scalar is placed at `at`, the rest is shared."""
        self.expanded += self.sizes.get(id(node), 1)
        if self.expanded > MAX_NODES * MAX_ALIAS_GROWTH:
            self.fail("TL107", at, "references expand to too many values")
        return Scalar(node.value, at, node.text, node.plain) if isinstance(node, Scalar) else node

    def template(self, node: Scalar, text: str) -> Node:
        """A text with ``${...}`` replaced; where it is nothing but one ``${...}`` its value keeps its type."""
        whole = _TEMPLATE.fullmatch(text)
        if whole and whole[1] is not None:
            return self.expand(self.evaluate(whole[1], node), node.at)
        pieces = []
        end = 0
        for match in _TEMPLATE.finditer(text):
            pieces.append(text[end : match.start()])
            end = match.end()
            if match[0] == "$$":
                pieces.append("$")
            elif match[1] is None:
                self.fail("TL304", node.at, "'${' is never closed", "add '}', or write '$${' for a literal '${'")
            else:
                pieces.append(self.text_of(self.evaluate(match[1], node), match[1], node))
        result = "".join(pieces) + text[end:]
        if len(result) > 100_000:
            self.fail("TL107", node.at, "references expand to too long a text")
        return Scalar(result, node.at, result, plain=False)

    def text_of(self, value: Node, expression: str, node: Scalar) -> str:
        if not isinstance(value, Scalar):
            self.fail("TL304", node.at, f"'${{{expression}}}' is {kind_name(value)} and cannot stand in text")
        if isinstance(value.value, bool):
            return str(value.value).lower()
        return "null" if value.value is None else str(value.value)

    def evaluate(self, expression: str, node: Scalar) -> Node:
        """The value of what stands between ``${`` and ``}``."""
        expression = expression.strip()
        environment = _ENVIRONMENT.match(expression)
        if environment:
            return self.environment(environment["name"], environment["default"], node)
        if _NAME.match(expression):
            named = self.look_up(expression, node.at, f"${{{expression}}}", hyphens_subtract="-" in expression)
            if named is not None:
                return named
        return self.arithmetic(expression, node)

    def environment(self, name: str, default: str | None, node: Scalar) -> Node:
        value = os.environ.get(name)
        if value is None:
            if default is None:
                hint = f"set it, or give a default: ${{env:{name},default}}"
                self.fail("TL308", node.at, f"the environment variable {name} is not set", hint)
            value = default[1:].strip()
        if len(value) > MAX_EXPRESSION and value.isdecimal():
            return Scalar(value, node.at, value, plain=False)
        return Scalar(core_scalar(value), node.at, value)

    def look_up(self, path: str, at: Location, shown: str, *, hyphens_subtract: bool = False) -> Node | None:
        """The resolved node at `path`; reports and raises where there is none.

        With `hyphens_subtract` the answer is None instead, for then ``a-b`` may be a difference.
        """
        here: Node = self.root
        parts = path.split(".")
        if parts[0] in self.locals:
            here = Mapping({name: Entry(name, value.at, value) for name, value in self.locals.items()}, here.at)
        for depth, part in enumerate(parts):
            if isinstance(here, Scalar):
                here = self.resolve(here)
            below = _child(here, part)
            if below is None:
                if isinstance(here, Poison):
                    raise _Unresolved
                fact = self.fact(parts)
                if fact is not None:
                    return from_plain(fact, at)
                if hyphens_subtract:
                    return None
                self.report_missing(here, parts, depth, at, shown)
            here = below
        if isinstance(here, (Mapping, Sequence)) and id(here) not in self.done:
            if id(here) in self.active:
                self.fail("TL302", at, f"references form a circle: '{shown}' lies inside what it names")
            self.active[id(here)] = shown
            try:
                here = self.resolve(here)
            finally:
                self.active.pop(id(here), None)
        resolved = self.resolve(here)
        if isinstance(resolved, Poison):
            raise _Unresolved
        return resolved

    def fact(self, parts: list[str]) -> Any:
        """What the dataset's card says, for a path that begins with ``data``."""
        if parts[0] != "data" or len(parts) < 2:
            return None
        here: Any = self.facts_of_dataset()
        for part in parts[1:]:
            if isinstance(here, AbstractMapping) and part in here:
                here = here[part]
            elif isinstance(here, (list, tuple)) and part.isdecimal() and int(part) < len(here):
                here = here[int(part)]
            else:
                return None
        return here

    def facts_of_dataset(self) -> AbstractMapping[str, Any]:
        """What is known of the dataset that ``data.type`` names; raises where it names none."""
        data = self.root.get("data")
        named = _child(data, "type") if data is not None else None
        name = self.resolve(named) if named is not None else None

        def value_of(key: str) -> Any:
            node = _child(data, key) if data is not None else None
            return to_plain(self.resolve(node)) if node is not None else None

        facts = self.facts(name.value, value_of) if isinstance(name, Scalar) and isinstance(name.value, str) else None
        if facts is None:
            raise _Unresolved
        return facts

    def report_missing(self, here: Node, parts: list[str], depth: int, at: Location, shown: str) -> NoReturn:
        if not self.complete:
            raise _Unresolved
        names = list(here.entries) if isinstance(here, Mapping) else []
        if depth == 0:
            names += list(self.locals)
        if parts[0] == "data" and depth == 1:
            names += list(self.facts_of_dataset())
        outer = ".".join(parts[:depth])
        best, hint = suggestion(parts[depth], names, what=f"'{outer}' has" if outer else "there is")
        message = f"'{shown}' names nothing: there is no '{parts[depth]}'" + (f" in '{outer}'" if outer else "")
        exact = at.source_line[at.col - 1 : at.end_col - 1] == shown
        replacement = None
        if best is not None and exact and shown.count(parts[depth]) == 1:
            replacement = shown.replace(parts[depth], best)
        self.findings.report("TL301", at, message, hint=hint, replacement=replacement)
        raise _Unresolved

    def arithmetic(self, expression: str, node: Scalar) -> Node:
        if len(expression) > MAX_EXPRESSION:
            self.fail("TL304", node.at, f"an expression is longer than {MAX_EXPRESSION} characters")
        try:
            tree = ast.parse(expression, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            hint = "write a name, arithmetic on names, or env:NAME,default"
            self.fail("TL304", node.at, f"'${{{expression}}}' is not an expression", hint)
        try:
            value = self.compute(tree.body, node)
        except (ArithmeticError, ValueError, TypeError) as error:
            self.fail("TL304", node.at, f"'${{{expression}}}' cannot be computed: {error}")
        if isinstance(value, float) and not math.isfinite(value):
            self.fail("TL304", node.at, f"'${{{expression}}}' is not finite")
        return Scalar(value, node.at, str(value))

    def compute(self, tree: ast.expr, node: Scalar) -> Any:
        """The number that an expression stands for; only the forms below are known."""
        if isinstance(tree, ast.Constant) and type(tree.value) in (int, float):
            return tree.value
        if isinstance(tree, (ast.Name, ast.Attribute)) and _NAME.match(ast.unparse(tree)):
            return self.number(ast.unparse(tree), node)
        if isinstance(tree, ast.UnaryOp) and type(tree.op) in _UNARY:
            return _UNARY[type(tree.op)](self.compute(tree.operand, node))
        if isinstance(tree, ast.BinOp) and type(tree.op) in _BINARY:
            left, right = self.compute(tree.left, node), self.compute(tree.right, node)
            return _bounded(_BINARY[type(tree.op)](left, right))
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in _FUNCTIONS:
            arguments = [self.compute(argument, node) for argument in tree.args]
            if arguments and not tree.keywords:
                return _FUNCTIONS[tree.func.id](*arguments)
        raise ValueError(
            "only numbers, names, + - * / // % **, parentheses and " + ", ".join(_FUNCTIONS) + " are known"
        )

    def number(self, path: str, node: Scalar) -> int | float:
        named = self.look_up(path, node.at, f"${{{path}}}")
        value = named.value if isinstance(named, Scalar) else None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            assert named is not None
            self.fail("TL304", node.at, f"'{path}' is {kind_name(named)}, not a number")
        return value

    def fail(self, code: str, at: Location, message: str, hint: str | None = None) -> NoReturn:
        self.findings.report(code, at, message, hint=hint)
        raise _Unresolved


def _power(base: float, exponent: float) -> Any:
    if abs(exponent) > MAX_EXPONENT:
        raise ValueError(f"exponents go to {MAX_EXPONENT}")
    return base**exponent


def _bounded(value: Any) -> Any:
    if isinstance(value, complex) or abs(value) > 1e300:
        raise ValueError("the result is no real number below 1e300")
    return value


_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "int": int,
    "round": lambda value: round(value),
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
}


def _child(node: Node, part: str) -> Node | None:
    if isinstance(node, Mapping):
        return node.get(part)
    if isinstance(node, Sequence) and part.isdecimal() and int(part) < len(node.items):
        return node.items[int(part)]
    return None
