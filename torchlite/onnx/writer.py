"""Writing a captured graph as one of ONNX: names, constants and nodes; what an operator becomes is said in `operators`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torchlite.compiler.graph import Graph, Node, Value
from torchlite.extras import extra
from torchlite.onnx.errors import UnsupportedOperatorError
from torchlite.onnx.lengths import Dim, Length, Varying, concrete

_SMALL = 64  # elements of constants that are shared where they are equal

Rule = Callable[["Writer", Node], "str | Sequence[str | None]"]


class Writer:
    """Writes the nodes of one graph; the rules of operators are given it.

    Args:
        graph: what is written.
        varying: which lengths in it vary.
        inputs, outputs: the names of its inputs and outputs.
        length_of: input and dimension whose length is the one that varies.
        opset: the version of ONNX's operators.
        rules: what operators become.
    """

    def __init__(
        self,
        graph: Graph,
        varying: Varying,
        *,
        inputs: Sequence[str],
        outputs: Sequence[str],
        length_of: tuple[int, int] | None,
        opset: int,
        rules: dict[str, Rule],
    ) -> None:
        onnx = extra("onnx", "exporting to ONNX")
        self.helper, self.to_array = onnx.helper, onnx.numpy_helper
        self.graph, self.varying, self.opset, self.rules = graph, varying, opset, rules
        self.input_names, self.output_names, self.length_of = inputs, outputs, length_of
        self.names: dict[Value, str] = dict(zip(graph.inputs, inputs, strict=True))
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.taken = {*inputs, *outputs}
        self.shared: dict[Any, str] = {}
        self.users: dict[Value, list[Node]] = {}
        for node in graph.nodes:
            for v in node.reads():
                self.users.setdefault(v, []).append(node)

    def model_graph(self) -> Any:
        """The whole graph."""
        for node in self.graph.nodes:
            rule = self.rules.get(node.op.name)
            if rule is None:
                raise UnsupportedOperatorError(node.op.name, node.line)
            self.current = node
            made = rule(self, node)
            for v, name in zip(node.outputs, [made] if isinstance(made, str) else made, strict=True):
                if name is None and (v in self.users or v in self.graph.outputs):
                    raise UnsupportedOperatorError(f"{node.op.name} with all of its results", node.line)
                if name is not None:
                    self.names[v] = name
        for v, name in zip(self.graph.outputs, self.output_names, strict=True):
            self.nodes.append(self.helper.make_node("Identity", [self.of(v)], [name]))
        return self.helper.make_graph(
            self.nodes,
            self.graph.name,
            [self._described(v, name) for v, name in zip(self.graph.inputs, self.input_names, strict=True)],
            [self._described(v, name) for v, name in zip(self.graph.outputs, self.output_names, strict=True)],
            self.initializers,
        )

    def _described(self, v: Value, name: str) -> Any:
        assert v.aval is not None
        shape = [_text(n) if isinstance(n, Length) else n for n in self.shape(v)]
        return self.helper.make_tensor_value_info(name, self.element_type(v.aval.dtype), shape)

    # What rules use

    def of(self, v: Value) -> str:
        """The name of a value."""
        if v in self.names:
            return self.names[v]
        array = self.varying.constants.get(v, v.constant)
        name = self.constant(np.asarray(array), v.label)
        if v in self.varying.constants:
            name = self.add("Expand", name, self.lengths(self.varying.shapes[v]))
        self.names[v] = name
        return name

    def given(self, node: Node) -> list[str]:
        """The names of what an operation reads."""
        return [self.of(v) for v in node.inputs]

    def params(self, node: Node) -> dict[str, Any]:
        """The parameters of an operation; varying lengths in them are a `Length`."""
        return self.varying.params.get(node, node.params)

    def shape(self, v: Value) -> tuple[Dim, ...]:
        """The shape of a value, in which varying lengths are a `Length`."""
        return self.varying.shapes.get(v, v.shape)

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; the name of its result, or of all where there are several."""
        made = [self._unused(kind.lower()) for _ in range(outputs)]
        self.nodes.append(self.helper.make_node(kind, inputs, made, name=made[0], **attributes))
        return made[0] if outputs == 1 else made

    def constant(self, array: Any, label: str = "") -> str:
        """The name of a constant array."""
        key = (array.shape, array.dtype.str, array.tobytes()) if array.size <= _SMALL and not label else None
        if key in self.shared:
            return self.shared[key]
        name = self._unused(label or "constant")
        self.initializers.append(self.to_array.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        if key is not None:
            self.shared[key] = name
        return name

    def number(self, value: Any, v: Value) -> str:
        """A number in the dtype of a value."""
        assert v.aval is not None
        return self.constant(np.asarray(value, v.aval.dtype))

    def integers(self, values: Sequence[int]) -> str:
        """A vector of int64."""
        return self.constant(np.asarray(values, np.int64).reshape(-1))

    def lengths(self, dims: Sequence[Dim]) -> str:
        """A shape as a tensor."""
        if concrete(dims):
            return self.integers([n for n in dims if isinstance(n, int)])
        return self.add("Concat", *(self._length(n) for n in dims), axis=0)

    def _length(self, n: Dim) -> str:
        if not isinstance(n, Length):
            return self.integers([n])
        if n in self.shared:
            return self.shared[n]
        assert self.length_of is not None
        i, axis = self.length_of
        name = self.add("Shape", self.input_names[i], start=axis, end=axis + 1)
        if n.factor != 1:
            name = self.add("Mul", name, self.integers([n.factor]))
        if n.rest:
            name = self.add("Add", name, self.integers([n.rest]))
        self.shared[n] = name
        return name

    def reshape(self, name: str, dims: Sequence[Dim]) -> str:
        """Another shape; a single varying length follows from the number of elements."""
        varying = [d for d, n in enumerate(dims) if isinstance(n, Length)]
        if len(varying) == 1 and 0 not in dims:
            shape = self.integers([-1 if isinstance(n, Length) else n for n in dims])
        else:
            shape = self.lengths(dims)
        return self.add("Reshape", name, shape, allowzero=1 if 0 in dims else 0)

    def cast(self, name: str, before: Any, dtype: Any) -> str:
        """The numbers in another dtype."""
        if np.dtype(before) == np.dtype(dtype):
            return name
        return self.add("Cast", name, to=self.element_type(dtype))

    def element_type(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        try:
            found: int = self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        except (KeyError, ValueError):
            raise UnsupportedOperatorError(f"numbers of {dtype}", self.current.line) from None
        return found

    def unsupported(self, what: str) -> UnsupportedOperatorError:
        """The error that the current operation has no form in ONNX."""
        return UnsupportedOperatorError(f"{self.current.op.name} {what}", self.current.line)

    def _unused(self, name: str) -> str:
        found, count = name, 1
        while found in self.taken:
            count += 1
            found = f"{name}_{count}"
        self.taken.add(found)
        return found


def _text(n: Length) -> str:
    """A varying length as ONNX shows it."""
    times = "batch" if n.factor == 1 else f"{n.factor}*batch"
    return f"{times}+{n.rest}" if n.rest else times
