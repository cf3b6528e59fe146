"""Capturing what a model computes of its arguments, for other programs to compute: weights are constants of the graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.compiler.attributes import tracing
from torchlite.compiler.graph import Graph, Value
from torchlite.compiler.passes import cancel_copies, cancel_views, fold_constants, without_dead_code, without_duplicates
from torchlite.compiler.symbols import Symbol
from torchlite.compiler.tracer import Tracer
from torchlite.tracing import Uncapturable

Pass = Callable[[Graph], Graph]
_ANY_SIZE = 1 << 62


def without_checks(graph: Graph) -> Graph:
    """Without the checks of what arguments hold, such as indices within bounds."""
    return graph.with_nodes(node for node in graph.nodes if node.op.name != "check")


ONE_EACH: tuple[Pass, ...] = (
    without_checks,
    without_dead_code,
    partial(fold_constants, largest=_ANY_SIZE),
    cancel_views,
    cancel_copies,
    without_duplicates,
    without_dead_code,
)
"""Passes that keep one operation for each that the model asked for, whatever the lengths of its arguments are."""


@dataclass(frozen=True)
class Inference:
    """What a model computes.

    Attributes:
        graph: from the tensors among the arguments to those of the result; all other tensors are constants in it, labelled by
            the names of parameters and buffers.
        single: whether the result is one tensor, and not several.
    """

    graph: Graph
    single: bool


def captured_inference(model: Any, args: Sequence[Any], passes: Sequence[Pass] = ONE_EACH) -> Inference:
    """The graph of ``model(*args)``.

    Args:
        model: a module in evaluation mode, or a function.
        args: tensors, which become the inputs of the graph, and other values, which stay what they are.
        passes: that the graph goes through.

    Raises:
        Uncapturable: where the numbers in tensors decide what is computed, or tensors are written into that stay.
    """
    tracer = Tracer(set())
    with warnings.catch_warnings(), tracer.state, no_grad(), tracing(tracer):
        warnings.simplefilter("ignore")
        given = [tracer.external(x).input for x in args if isinstance(x, Tensor)]
        result = model(*args)
        if tracer.refusal is not None:
            raise tracer.refusal
        outputs = [_value(tracer, x) for x in _tensors(result)]
        externals = list(tracer.externals.values())
        if any(e.written for e in externals):
            raise Uncapturable("the model changes its own tensors, as in training mode; call model.eval() first")
        if tracer.generators:
            raise Uncapturable("the model draws random numbers; call model.eval() first")
    names = _names(model)
    for e in externals:
        if e.input not in given:
            e.input.constant, e.input.label = e.tensor._data, names.get(id(e.tensor), "")
    graph = Graph("predict", tuple(given), tuple(tracer.nodes), tuple(outputs))
    for one in passes:
        graph = one(graph)
    return Inference(graph, isinstance(result, Tensor))


def _value(tracer: Tracer, x: Tensor) -> Value:
    symbol = x._data
    if not isinstance(symbol, Symbol):
        raise Uncapturable("a tensor on the device meta is returned")
    return tracer.read(symbol)


def _tensors(result: Any) -> list[Tensor]:
    """The tensors of a result, in order."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        return [x for part in result for x in _tensors(part)]
    if result is None:
        return []
    raise Uncapturable(
        f"the model returns a {type(result).__name__}; tensors, tuples, lists and dicts of them can be exported"
    )


def _names(model: Any) -> dict[int, str]:
    """The names of parameters and buffers by the id of the tensor."""
    if not hasattr(model, "named_parameters"):
        return {}
    return {id(x): name for name, x in (*model.named_parameters(), *model.named_buffers())}
