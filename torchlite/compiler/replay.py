"""Replaying a graph: as a program in C where that can be, and otherwise operator by operator, on a GPU with fused kernels."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Protocol

import numpy as np

from torchlite.backends import is_array
from torchlite.compiler import cuda
from torchlite.compiler.graph import Graph
from torchlite.compiler.ownership import owner, owners_of_constants, taken
from torchlite.compiler.program import Interface, program
from torchlite.devices import CPU


class Replay(Protocol):
    """A graph that can be called."""

    @property
    def source(self) -> str:
        """The C of it, as far as there is any."""

    def __call__(self, given: Sequence[Any], idle: Container[int] = ()) -> Sequence[Any]:
        """The outputs for these inputs, arrays and numbers.

        The first of them, which leave the program, have memory of their own. None stands for what is already written
        into an input.

        Args:
            given: the inputs.
            idle: ids of arrays that an earlier call gave away, which may be overwritten though one tensor has them.

        Raises:
            Exception: of an operator, or because a condition does not hold; no input has been changed then.
        """

    def lying(self, outputs: Sequence[int]) -> list[Any]:
        """For each of these outputs an array that lies as it will; None where that is not known."""


def replay(graph: Graph, interface: Interface) -> Replay:
    """How an optimized graph is replayed."""
    if all(v.aval is None or v.aval.device == CPU for v in graph.values()):
        compiled = program(graph, interface)
        if compiled is not None:
            return compiled
        return Interpreted(graph, interface.leaving)
    on_gpu, source = cuda.fused(graph, interface.writes)
    return cuda.in_parts(on_gpu, interface, source) or Interpreted(on_gpu, interface.leaving, source)


class Interpreted:
    """The graph as a Python function that calls one operator after the other."""

    def __init__(self, graph: Graph, leaving: int, source: str = "") -> None:
        self.source = source
        self._function = graph.function()
        self._leaving = leaving
        self._constants = owners_of_constants(graph)

    def __call__(self, given: Sequence[Any], idle: Container[int] = ()) -> Sequence[Any]:  # noqa: ARG002
        """The outputs."""
        with np.errstate(all="ignore"):
            results = self._function(*given)
        owners = {id(owner(a)) for a in given if is_array(a)} | self._constants
        return [*(taken(a, owners) for a in results[: self._leaving]), *results[self._leaving :]]

    def lying(self, outputs: Sequence[int]) -> list[Any]:
        """Nothing is known."""
        return [None for _ in outputs]
