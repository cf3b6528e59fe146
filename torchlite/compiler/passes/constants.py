"""Computing at compile time what depends on constants only."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from torchlite.backends import device_of, is_array
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.operators import on_arrays
from torchlite.compiler.passes.rewriting import Replacement, rewritten
from torchlite.devices import CPU
from torchlite.ir import Aval

_LARGEST = 1 << 16


def fold_constants(graph: Graph, largest: int = _LARGEST) -> Graph:
    """Operations on constants replaced by their results, unless those have more than ``largest`` elements."""
    return rewritten(graph, partial(_folded, largest=largest))


def _folded(node: Node, largest: int) -> Replacement:
    if node.op.kind in ("random", "host") or node.lifted or not node.inputs:
        return None
    if any(v.constant is None for v in node.inputs):
        return None
    if any(v.aval is None or v.aval.size > largest for v in node.outputs):
        return None
    if node.device != CPU:
        return None
    with np.errstate(all="ignore"):
        result = on_arrays(node.op)(*(v.constant for v in node.inputs), **node.params)
    arrays = result if node.several else (result,)
    return [_constant(a if is_array(a) else np.asarray(a)) for a in arrays]


def _constant(array: Any) -> Value:
    return Value(Aval(array.shape, array.dtype, device_of(array)), constant=array.copy())
