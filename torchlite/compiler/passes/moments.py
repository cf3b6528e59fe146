"""Batch normalisation as sums and operations on elements, each of which can be done where the numbers are at hand."""

from __future__ import annotations

import numpy as np

from torchlite.compiler.graph import Graph, Node
from torchlite.compiler.passes.rewriting import Replacement, computed, made, rewritten

CHANNELS = (0, 2, 3)
"""The dimensions of an array (N, C, H, W) over which channels are summed up."""


def take_moments(graph: Graph) -> Graph:
    """Means and scales of channels, and (x - mean) · scale, in place of ``standardize``."""
    inserted: list[Node] = []

    def rule(node: Node) -> Replacement:
        if node.op.name != "standardize" or node.params["dims"] != CHANNELS:
            return None
        (x,) = node.inputs
        if x.aval is None or x.aval.ndim != 4 or x.aval.dtype != np.float32:
            return None
        mean, scale = made(inserted, "moments", x, **node.params).outputs
        centered = computed(inserted, "sub", x, mean)
        return computed(inserted, "mul", centered, scale), mean, scale

    return rewritten(graph, rule, inserted)
