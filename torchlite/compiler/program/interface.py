"""What a program has to know of its caller."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torchlite.compiler.graph import Value


@dataclass(frozen=True, eq=False)
class Interface:
    """How the inputs of a graph come, and what becomes of its outputs.

    Attributes:
        arrays: for inputs that are arrays one that lies as they will, or None where that is not known.
        floats: inputs that are Python floats.
        writes: for outputs that overwrite an input, that input.
        leaving: how many of the first outputs get memory of their own; others may be inputs, or views of them.
        results: how many of these are results of the function; behind them are gradients.
        saved: whether the last outputs are kept for a backward pass.
        cuda_graphs: whether programs on a GPU are recorded as CUDA graphs.
    """

    arrays: Mapping[Value, Any]
    floats: Collection[Value] = ()
    writes: Mapping[int, Value] = field(default_factory=dict)
    leaving: int = 0
    results: int = 0
    saved: bool = False
    cuda_graphs: bool = False
