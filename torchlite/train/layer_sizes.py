"""How much each layer of a model has, computes and keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torchlite._tensor import Tensor
from torchlite.train.footprint import kept_by, new_nodes, operations
from torchlite.train.model import Trace, TracedLayer


@dataclass
class LayerSize:
    """Sizes of one layer.

    Attributes:
        params: numbers that are trained in it.
        flops: floating-point operations of its forward pass for one sample (a multiply-add counts 2).
        kept_bytes: what backward keeps of one batch, without parameters.
    """

    params: int
    flops: int
    kept_bytes: int


def layer_sizes(trace: Trace) -> dict[int, LayerSize]:
    """The sizes of all layers of a model by the id of each, also of those inside others."""
    found: dict[int, LayerSize] = {}
    _measure(trace.layers, [trace.input], trace.input.shape[0], found)
    return found


def _measure(layers: Sequence[TracedLayer], known: Sequence[Tensor], batch: int, found: dict[int, LayerSize]) -> None:
    """Measure layers in their order; what leads to ``known`` values belongs to none of them."""
    seen: set[int] = set()
    for value in known:
        for _ in new_nodes(value, seen):
            pass
    values = list(known)
    for layer in layers:
        for _, inner in layer.parts():  # they were followed by themselves, on the values that the layer takes
            _measure(inner, values, batch, found)
        parameters = {id(p) for p in layer.module.parameters()}
        flops = 0
        kept: dict[int, int] = {}
        for node in new_nodes(layer.output, seen):
            flops += operations(node)
            kept |= kept_by(node, parameters)
        params = sum(p.numel() for p in layer.module.parameters())
        found[id(layer)] = LayerSize(params, flops // max(batch, 1), sum(kept.values()))
        values.append(layer.output)
