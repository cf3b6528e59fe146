"""Writing operations out as several: rules that are given the inputs and call operators, as ``steps.exp(x)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torchlite import backends
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.rewriting import Replacement, rewritten
from torchlite.ir import REGISTRY, Aval

Rule = Callable[..., Any]
"""``rule(steps, *inputs, **params)`` gives what the results become, one or a tuple; None where the operation stays."""


def written_out(
    graph: Graph, rules: Mapping[str, Rule], wanted: Callable[[Node], bool], make: type[Steps] | None = None
) -> Graph:
    """The graph with those operations written out that are ``wanted`` and have a rule, which is given a ``make``."""
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        written = rules.get(node.op.name)
        if written is None or node.lifted or not wanted(node):
            return None
        steps = (make or Steps)(node, inserted)
        found = written(steps, *node.inputs, **node.params)
        return found if found is None or isinstance(found, tuple) else (found,)

    return rewritten(graph, rule, inserted)


class Steps:
    """Appends operations on one device: ``steps.exp(x)``.

    Args:
        node: the operation that is written out.
        nodes: what is appended to.
    """

    def __init__(self, node: Node, nodes: list[Node]) -> None:
        self.node = node
        self.nodes = nodes

    def __getattr__(self, name: str) -> Callable[..., Value]:
        op = REGISTRY[name]

        def append(*operands: Any, **params: Any) -> Value:
            like = next(v for v in operands if isinstance(v, Value))
            inputs = tuple(v if isinstance(v, Value) else self.number(v, like) for v in operands)
            inferred = op.infer(*(v.aval for v in inputs), **params)
            several = type(inferred) is tuple
            step = Node(op, inputs, params, several=several, line=self.node.line)
            step.outputs = tuple(
                Value(Aval(tuple(aval.shape), np.dtype(aval.dtype), self.node.device), step)
                for aval in (inferred if several else (inferred,))
            )
            self.nodes.append(step)
            return step.outputs[0]

        return append

    def number(self, number: Any, like: Value) -> Value:
        """A constant of the dtype of ``like``."""
        return self.array(np.array(number, aval_of(like).dtype))

    def array(self, array: Any) -> Value:
        """A constant."""
        constant = backends.to_device(array, self.node.device)
        return Value(Aval(array.shape, array.dtype, self.node.device), constant=constant)

    def rounded(self, v: Value, i: int = 0) -> Value:
        """``v`` in the dtype and shape of the operation's i-th result."""
        wanted = aval_of(self.node.outputs[i])
        if aval_of(v).shape != wanted.shape:
            v = self.view(v, shape=wanted.shape)
        return v if aval_of(v).dtype == wanted.dtype else self.cast(v, dtype=wanted.dtype)

    def total(self, v: Value, dims: tuple[int, ...]) -> Value:
        """The sum over ``dims``, which stay as length 1."""
        return self.sum(v, dims=dims, keepdim=True)


def aval_of(v: Value) -> Aval:
    """Shape, dtype and device of an array."""
    assert v.aval is not None
    return v.aval
