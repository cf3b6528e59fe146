"""Recurrent layers in one direction.

ONNX multiplies the inputs itself, where a graph has the sums of that for all steps; the linear layer that they come from is
found and handed over, and where there is none, the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.compiler.graph import Node, Value
from torchlite.onnx.writer import Rule, Writer

_LSTM = (0, 3, 1, 2)  # i, f, g, o here are i, o, f, g there
_GRU = (1, 0, 2)  # r, z, n are z, r, n


def _recurrent(
    writer: Writer, node: Node, kind: str, order: tuple[int, ...], states: list[str], own_bias: Any = None, **more: Any
) -> Any:
    """The node; ``states`` are the first states, ``own_bias`` that of the state's product."""
    if node.params["batch_sizes"] is not None:
        raise writer.unsupported("of packed sequences")
    matrix = node.inputs[2 if kind != "LSTM" else 3]
    if matrix.constant is None:
        raise writer.unsupported("whose weights are computed")
    hidden = matrix.shape[1]
    x, weight, bias = _input(writer, node)
    both = np.concatenate(
        [_ordered(bias, order), _ordered(np.zeros_like(bias) if own_bias is None else own_bias, order)]
    )
    return writer.add(
        kind,
        x,
        *(writer.constant(np.ascontiguousarray(a)[None]) for a in (_ordered(weight, order), _ordered(matrix.constant, order), both)),
        "",  # the lengths of the sequences
        *(writer.add("Unsqueeze", state, writer.integers([0])) for state in states),
        hidden_size=hidden,
        direction="reverse" if node.params["reverse"] else "forward",
        **more,
    )  # fmt: skip


def _ordered(array: Any, order: tuple[int, ...]) -> Any:
    """Rows by gates in another order."""
    parts = np.split(array, len(order))
    return np.concatenate([parts[i] for i in order])


def _input(writer: Writer, node: Node) -> tuple[str, Any, Any]:
    """The inputs (T, N, I), the matrix and the bias of the linear layer that made the gates; the gates and the identity otherwise."""
    gates = node.inputs[0]
    assert gates.aval is not None
    view = gates.node
    linear = view.inputs[0].node if view is not None and view.op.name == "view" else None
    if linear is not None and linear.op.name == "linear" and all(v.constant is not None for v in linear.inputs[1:]):
        x, weight, *bias = linear.inputs
        shape = (*writer.shape(gates)[:2], x.shape[-1])
        zeros = np.zeros(len(weight.constant), gates.aval.dtype)
        return writer.reshape(writer.of(x), shape), weight.constant, bias[0].constant if bias else zeros
    width = gates.shape[-1]
    return writer.of(gates), np.eye(width, dtype=gates.aval.dtype), np.zeros(width, gates.aval.dtype)


def _all_steps(writer: Writer, y: str) -> str:
    """(T, 1, N, H) without the dimension of directions."""
    return writer.add("Squeeze", y, writer.integers([1]))


def _lstm(writer: Writer, node: Node) -> list[str | None]:
    if len(node.inputs) > 4:
        raise writer.unsupported("with a projection")
    states = [writer.of(v) for v in node.inputs[1:3]]
    y, _, last = _recurrent(writer, node, "LSTM", _LSTM, states, outputs=3)
    return [_all_steps(writer, y), _last_cells(writer, node, node.outputs[1], last), None]


def _last_cells(writer: Writer, node: Node, cells: Value, last: str) -> str | None:
    """ONNX gives the cells behind the last step alone: for all steps where nothing but the last one is looked at."""
    if cells not in writer.users and cells not in writer.graph.outputs:
        return None
    steps = cells.shape[0]
    first = node.params["reverse"]
    wanted = [(0,), (-steps,)] if first else [(-1,), (steps - 1,)]
    if cells in writer.graph.outputs or any(
        user.op.name != "select" or user.params["index"] not in wanted for user in writer.users[cells]
    ):
        return None
    return writer.add("Expand", last, writer.lengths(writer.shape(cells)))


def _gru(writer: Writer, node: Node) -> list[str | None]:
    own = node.inputs[3].constant if len(node.inputs) > 3 else None
    if len(node.inputs) > 3 and own is None:
        raise writer.unsupported("whose weights are computed")
    y, _ = _recurrent(writer, node, "GRU", _GRU, [writer.of(node.inputs[1])], own, linear_before_reset=1, outputs=2)
    return [_all_steps(writer, y), None]


def _rnn(writer: Writer, node: Node) -> str:
    activation = "Tanh" if node.params["nonlinearity"] == "tanh" else "Relu"
    y, _ = _recurrent(writer, node, "RNN", (0,), [writer.of(node.inputs[1])], activations=[activation], outputs=2)
    return _all_steps(writer, y)


RULES: dict[str, Rule] = {"gru": _gru, "lstm": _lstm, "rnn": _rnn}
