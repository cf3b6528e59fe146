"""Computing only once what is written twice (common subexpressions)."""

from __future__ import annotations

from typing import Any

from torchlite.backends import device_of, is_array, to_numpy
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.dead_code import has_effect
from torchlite.compiler.passes.rewriting import Replacement, rewritten


def without_duplicates(graph: Graph) -> Graph:
    """One operation for all that have the same operator, inputs and parameters; draws of random numbers stay apart."""
    first: dict[Any, Node] = {}

    def rule(node: Node) -> Replacement:
        if node.op.kind == "random" or has_effect(node):
            return None
        key = (node.op, tuple(map(_identity, node.inputs)), _hashable(node.params), tuple(node.lifted.items()))
        try:
            found = first.setdefault(key, node)
        except TypeError:  # a parameter that can't be compared
            return None
        return None if found is node else found.outputs

    return rewritten(graph, rule)


def _identity(v: Value) -> Any:
    """What makes two values the same: being one object, or equal small constants."""
    c = v.constant
    if c is None:
        return v
    if is_array(c) and c.size <= 1:
        return (c.shape, c.dtype, device_of(c), to_numpy(c).tobytes())
    return (type(c), repr(c)) if v.aval is None and isinstance(c, (int, float)) else v


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((k, _hashable(v)) for k, v in value.items())
    if isinstance(value, (tuple, list)):
        return (type(value), *map(_hashable, value))
    if isinstance(value, slice):
        return (slice, value.start, value.stop, value.step)
    return (type(value), repr(value)) if isinstance(value, (int, float)) else value
