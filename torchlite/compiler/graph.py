"""The graph of a captured function: values, the operations that compute them, and its text as a Python function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from torchlite.devices import CPU, Device
from torchlite.ir import Aval, Op, Shape

Params = dict[str, Any]


@dataclass(eq=False, slots=True)
class Value:
    """An array (or a Python number, where there is no aval) that is computed once and never changed.

    Attributes:
        aval: shape and dtype; None for a Python number.
        node: what computes it; None for inputs and constants.
        constant: the array it always is.
        label: the name of an input.
    """

    aval: Aval | None
    node: Node | None = None
    constant: Any = None
    label: str = ""

    @property
    def shape(self) -> Shape:
        """That of an array."""
        assert self.aval is not None, "a Python number has no shape"
        return self.aval.shape


@dataclass(eq=False, slots=True)
class Node:
    """One operation: ``outputs = op(*inputs, **params)``.

    Attributes:
        lifted: parameters whose value is computed at every replay, such as the offset of a random stream.
        several: whether the operator gives a tuple.
        line: where the user's code asked for it.
    """

    op: Op
    inputs: tuple[Value, ...]
    params: Params
    outputs: tuple[Value, ...] = ()
    lifted: dict[str, Value] = field(default_factory=dict)
    several: bool = False
    line: str = ""

    @property
    def device(self) -> Device:
        """Where it runs: where its first array is, or what it draws."""
        for v in (*self.inputs, *self.outputs):
            if v.aval is not None:
                return v.aval.device
        return CPU

    def reads(self) -> Iterable[Value]:
        """All values that it needs."""
        return (*self.inputs, *self.lifted.values()) if self.lifted else self.inputs


@dataclass(frozen=True, slots=True)
class Graph:
    """Operations in the order in which they run.

    Attributes:
        name: the captured function's.
        inputs: what it is called with.
        nodes: the operations.
        outputs: what it gives back.
    """

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]

    def with_nodes(self, nodes: Iterable[Node], became: dict[Value, Value] | None = None) -> Graph:
        """The graph with other operations, and with outputs replaced as ``became`` says."""
        outputs = tuple(became.get(v, v) for v in self.outputs) if became else self.outputs
        return replace(self, nodes=tuple(nodes), outputs=outputs)

    def values(self) -> Iterable[Value]:
        """All inputs and everything that is computed."""
        return (*self.inputs, *(v for node in self.nodes for v in node.outputs))

    def names(self) -> dict[Value, str]:
        """A name for every value."""
        names: dict[Value, str] = {}
        for i, v in enumerate(self.inputs):
            names[v] = v.label or f"input{i}"
        count = 0
        for node in self.nodes:
            for v in node.outputs:
                names[v] = f"v{count}"
                count += 1
        return names

    def function(self) -> Callable[..., tuple[Any, ...]]:
        """The graph as a Python function of arrays: what its text says, compiled."""
        text, scope = self._text()
        exec(compile(text, f"<graph of {self.name}>", "exec"), scope)
        function: Callable[..., tuple[Any, ...]] = scope[self.name]
        return function

    def __str__(self) -> str:
        return self._text()[0]

    def _text(self) -> tuple[str, dict[str, Any]]:
        """The text, and the names that it uses: ``ops``, and constants that are too large to be written out."""
        names, scope = self.names(), _scope()

        def name(v: Value) -> str:
            if v in names:
                return names[v]
            return _literal(v, scope)

        lines = [f"def {self.name}({', '.join(names[v] for v in self.inputs)}):"]
        lines += [f"    # {names[v]}: {described(v)}" for v in self.inputs]
        for node in self.nodes:
            arguments = [name(v) for v in node.inputs]
            arguments += [f"{key}={_written(value, scope)}" for key, value in node.params.items()]
            arguments += [f"{key}={name(v)}" for key, v in node.lifted.items()]
            targets = ", ".join(names[v] for v in node.outputs) + (
                "," if node.several and len(node.outputs) == 1 else ""
            )
            what = ", ".join(described(v) for v in node.outputs)
            call = f"{_operator(node, scope)}({', '.join(arguments)})"
            aval = node.outputs[0].aval
            if aval is not None and aval.shape == () and aval.device == CPU and not node.several:
                call = f"np.asarray({call})"  # NumPy gives scalars
            lines.append(f"    {targets} = {call}  # {what}")
        results = [name(v) for v in self.outputs]
        lines.append(f"    return ({', '.join(results)}{',' if len(results) == 1 else ''})")
        return "\n".join(lines), scope


def _operator(node: Node, scope: dict[str, Any]) -> str:
    """The name that the text calls an operator by; fused ones are not among those that all graphs share."""
    op, device = node.op, node.device
    if op.name.startswith("fused"):
        scope[op.name] = op.run
        return op.name
    if device == CPU or op.kind == "host":
        return f"ops.{op.name}"
    name = str(device).replace(":", "")
    if name not in scope:
        from torchlite.compiler.operators import Operators

        scope[name] = Operators(device)
    return f"{name}.{op.name}"


def described(v: Value) -> str:
    """Shape and dtype, as in ``float32[64, 128]``."""
    if v.aval is None:
        return "number"
    place = "" if v.aval.device == CPU else f" on {v.aval.device}"
    return f"{v.aval.dtype}[{', '.join(map(str, v.aval.shape))}]{place}"


def _scope() -> dict[str, Any]:
    from torchlite.compiler.operators import operators

    return {"ops": operators, "np": np, "Device": Device, "inf": np.inf, "nan": np.nan}


def _literal(v: Value, scope: dict[str, Any]) -> str:
    if v.aval is None:
        plain = v.constant is None or type(v.constant) in (bool, int, float)
        return repr(v.constant) if plain else _kept(type(v.constant).__name__.lower(), v.constant, scope)
    if v.aval.shape == () and v.aval.device == CPU and v.aval.dtype.kind in "biuf" and v.aval.dtype.isbuiltin:
        return f'np.array({v.constant.item()!r}, "{v.aval.dtype}")'
    return _kept("constant", v.constant, scope)


def _written(value: Any, scope: dict[str, Any]) -> str:
    """A parameter as Python text; a name where it has no text that could be read back."""
    if value is None or value is Ellipsis or type(value) in (bool, int, float, str):
        return repr(value)
    if type(value) is tuple:
        parts = [_written(part, scope) for part in value]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if type(value) is slice and all(type(e) in (int, type(None)) for e in (value.start, value.stop, value.step)):
        return repr(value)
    if isinstance(value, np.dtype) and value.isbuiltin:
        return f'np.dtype("{value}")'
    if isinstance(value, Device):
        return f'Device("{value}")'
    return _kept("parameter", value, scope)


def _kept(kind: str, value: Any, scope: dict[str, Any]) -> str:
    name = f"{kind}{sum(key.startswith(kind) for key in scope)}"
    scope[name] = value
    return name


def users(nodes: Sequence[Node]) -> dict[Value, list[Node]]:
    """For every value the operations that read it."""
    found: dict[Value, list[Node]] = {}
    for node in nodes:
        for v in node.reads():
            found.setdefault(v, []).append(node)
    return found
