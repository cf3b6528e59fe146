"""How large a model is, from a trace on shapes: parameters, floating-point operations and peak memory."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torchlite import nn
from torchlite._tensor import Tensor
from torchlite.autograd.graph import Node, Selected
from torchlite.train.config.schema import Optim

OPTIMIZER_COPIES = {"sgd": 1, "adafactor": 0, "adagrad": 1, "asgd": 1, "muon": 1, "rmsprop": 3}
"""Tensors of the size of the parameters that an optimizer keeps at most, where they are not two."""

_RECURRENT = {"rnn": 2, "gru": 2, "lstm": 3}
"""Operators of recurrent layers, with the place of the first matrix among their inputs."""


@dataclass(frozen=True)
class Footprint:
    """Sizes of one training step.

    Attributes:
        params: trained numbers.
        flops: floating-point operations of the forward pass for one sample (a multiply-add counts 2).
        peak_bytes: parameters, gradients, optimizer state and what backward keeps of one batch.
    """

    params: int
    flops: int
    peak_bytes: int


def copies_kept(optimizer: Optim) -> int:
    """How many tensors of the size of the parameters an optimizer keeps, at most; of several the one that keeps most."""
    if optimizer.by_model:
        return max(map(copies_kept, optimizer.by_model.values()))
    if optimizer.name == "lbfgs":  # two for each pair of its history, the direction and the gradient before
        return 2 * int(optimizer.arguments.get("history_size", 100)) + 2
    return OPTIMIZER_COPIES.get(optimizer.name, 2) + bool(optimizer.arguments.get("amsgrad"))


def footprint(modules: Iterable[nn.Module], loss: Tensor, batch: int, copies: int) -> Footprint:
    """The footprint of a step whose ``loss`` was computed on shapes with a batch of ``batch`` samples.

    The optimizer keeps ``copies`` tensors for each parameter.
    """
    parameters = {id(p): p for module in modules for p in module.parameters()}
    params = sum(p.numel() for p in parameters.values())
    weights = sum(p.nbytes for p in parameters.values())
    flops = 0
    kept: dict[int, int] = {}
    for node in new_nodes(loss, set()):
        flops += operations(node)
        kept |= kept_by(node, parameters)
    return Footprint(params, flops // max(batch, 1), weights * (2 + copies) + sum(kept.values()))


def kept_by(node: Node, parameters: Container[int]) -> dict[int, int]:
    """The bytes that backward keeps of an operation, by storage; parameters are there anyway."""
    kept = {id(x._storage): x.nbytes for x in node.saved if isinstance(x, Tensor) and id(x) not in parameters}
    if node.out is not None:
        outs = node.out if isinstance(node.shape, list) else (node.out,)
        read = [out for out in outs if out is not None]
        kept |= {id(storage): math.prod(aval.shape) * aval.dtype.itemsize for aval, storage in read}
    return kept


def new_nodes(root: Tensor, seen: set[int]) -> Iterator[Node]:
    """The operations that lead to a tensor, without those in ``seen``, by id, which gets them all."""
    stack = [root._node]
    while stack:
        node = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Selected):
            stack.append(node.parent)
        elif isinstance(node, Node):
            stack.extend(node.edges)
            yield node


def operations(node: Node) -> int:
    """Multiply-adds count 2; other operators one for each element of their result."""
    name, shape = node.op.name, node.shape
    out: int = sum(math.prod(s) for s in shape) if isinstance(shape, list) else math.prod(shape)
    if name in ("linear", "matmul"):
        return 2 * out * int(_shape_of(node, 1)[-1 if name == "linear" else -2])
    if name in ("convolution", "convolution_input_grad"):  # the latter is the transposed convolution
        positions = out if name == "convolution" else math.prod(_shape_of(node, 0))
        return 2 * positions * math.prod(_shape_of(node, 1)[1:])
    if name == "attention":  # queries times keys, and their weights times values
        return 2 * (math.prod(_shape_of(node, 0)) + out) * int(_shape_of(node, 1)[-2])
    if name in _RECURRENT:  # gates (steps, samples, width), states, matrices
        matrices = range(_RECURRENT[name], len(node.edges))
        return 2 * math.prod(_shape_of(node, 0)[:-1]) * sum(math.prod(_shape_of(node, i)) for i in matrices)
    return 0 if node.op.kind in ("view", "copy") else out


def _shape_of(node: Node, i: int) -> Any:
    return node.saved[i].shape if node.saved[i] is not None else node.edges[i].shape
