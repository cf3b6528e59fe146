"""Recurrent layers and single steps of them, with the arguments that they have in PyTorch's main namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autocasting import autocasts
from torchlite.ir import LOWER, Autocast
from torchlite.nn.functional.activation import relu
from torchlite.nn.functional.dropout import dropout as dropped
from torchlite.nn.functional.linear import linear
from torchlite.nn.utils.rnn import packed_steps, padded_steps
from torchlite.ops import recurrent
from torchlite.ops.joining import cat, stack
from torchlite.ops.pointwise import sigmoid, tanh

Weights = Sequence[Tensor | None]
"""W_ih, W_hh, b_ih, b_hh and W_hr of one layer in one direction, None where there is none."""


def run_layers(
    mode: str,
    steps: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Sequence[Weights]],
    dropout: float = 0.0,
    batch_sizes: tuple[int, ...] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """(T, N, features) through layers on top of each other; the results of the last, and the states at the end.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "GRU" or "LSTM".
        steps: the input.
        states: h₀, and c₀ of an LSTM, (layers · directions, N, size) each.
        weights: for each layer and direction its `Weights`.
        dropout: the share of results that is dropped between layers.
        batch_sizes: how many of the sequences, sorted by length, each step has.
    """
    run = _layers_of_gru if mode == "GRU" else _layers_of_others
    return run(mode, steps, states, weights, dropout, batch_sizes)


def _on_top_of_each_other(
    mode: str,
    steps: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Sequence[Weights]],
    dropout: float,
    batch_sizes: tuple[int, ...] | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    last: list[tuple[Tensor, ...]] = []
    for layer, directions in enumerate(weights):
        outs = []
        for direction, own in enumerate(directions):
            first = tuple(x[layer * len(directions) + direction] for x in states)
            results = _run_direction(mode, steps, first, own, direction == 1, batch_sizes)
            outs.append(results[0])
            last.append(tuple(x[0 if direction else -1] for x in results))
        steps = outs[0] if len(outs) == 1 else cat(outs, 2)
        if dropout and layer < len(weights) - 1:
            steps = dropped(steps, dropout)
    return steps, tuple(stack(x) for x in zip(*last, strict=True))


# In PyTorch a GRU on the CPU is no operator of its own, and its states stay in float32.
_layers_of_gru = autocasts(Autocast("widest", "lower"))(_on_top_of_each_other)
_layers_of_others = autocasts(LOWER)(_on_top_of_each_other)


def _run_direction(
    mode: str,
    steps: Tensor,
    states: tuple[Tensor, ...],
    weights: Weights,
    reverse: bool,
    batch_sizes: tuple[int, ...] | None,
) -> tuple[Tensor, ...]:
    """The states after each step, (T, N, size) each."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    if w_ih is None or w_hh is None:
        raise RuntimeError(f"{mode}: a layer has no weights")
    if mode == "GRU":
        return (recurrent.gru(linear(steps, w_ih, b_ih), states[0], w_hh, b_hh, batch_sizes, reverse),)
    gates = linear(steps, w_ih, b_ih if b_ih is None or b_hh is None else b_ih + b_hh)
    if mode == "LSTM":
        return recurrent.lstm(gates, states[0], states[1], w_hh, w_hr, batch_sizes, reverse)
    return (recurrent.rnn(gates, states[0], w_hh, mode.removeprefix("RNN_").lower(), batch_sizes, reverse),)


def _layers(
    mode: str,
    arguments: tuple[Any, ...],
) -> tuple[Tensor, ...]:
    """One of PyTorch's two lists of arguments: (input, hx, …, batch_first), or (data, batch_sizes, hx, …) of packed data."""
    packed = isinstance(arguments[1], Tensor) and arguments[1]._data.dtype.kind == "i"
    if packed:
        data, sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional = arguments
        steps, present = padded_steps(data, sizes)
    else:
        steps, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first = arguments
        steps = steps.transpose(0, 1) if batch_first else steps
    directions = 2 if bidirectional else 1
    out, last = run_layers(
        mode,
        steps,
        hx if mode == "LSTM" else (hx,),
        _by_layer(params, has_biases, num_layers, directions),
        dropout if train else 0.0,
        tuple(sizes.tolist()) if packed else None,
    )
    if packed:
        return packed_steps(out, present), *last
    return (out.transpose(0, 1) if batch_first else out), *last


def _by_layer(params: Sequence[Tensor], has_biases: bool, layers: int, directions: int) -> list[list[Weights]]:
    count = len(params) // (layers * directions)
    groups: list[Weights] = []
    for i in range(0, len(params), count):
        group: list[Tensor | None] = list(params[i : i + count])
        if not has_biases:
            group[2:2] = [None, None]
        groups.append((*group, None)[:5])
    return [groups[i : i + directions] for i in range(0, len(groups), directions)]


def rnn_tanh(*arguments: Any) -> tuple[Tensor, ...]:
    """Layers of hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh): results and last states.

    ``rnn_tanh(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``, or
    ``rnn_tanh(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)`` of packed data.
    """
    return _layers("RNN_TANH", arguments)


def rnn_relu(*arguments: Any) -> tuple[Tensor, ...]:
    """`rnn_tanh` with max(·, 0) in the place of tanh."""
    return _layers("RNN_RELU", arguments)


def gru(*arguments: Any) -> tuple[Tensor, ...]:
    """Layers of gated recurrent units; arguments as for `rnn_tanh`."""
    return _layers("GRU", arguments)


def lstm(*arguments: Any) -> tuple[Tensor, ...]:
    """Layers of long short-term memory: results, hidden and cell states; as `rnn_tanh`, with ``hx`` (h₀, c₀)."""
    return _layers("LSTM", arguments)


@autocasts(Autocast(cuda="lower"))
def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    return tanh(linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh))


@autocasts(Autocast(cuda="lower"))
def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """max(W_ih x + b_ih + W_hh h + b_hh, 0)."""
    return relu(linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh))


@autocasts(Autocast(cuda="lower"))
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of long short-term memory from ``hx`` (h, c): the next ones."""
    h, c = hx
    i, f, g, o = (linear(input, w_ih, b_ih) + linear(h, w_hh, b_hh)).chunk(4, 1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


@autocasts(Autocast(cuda="lower"))
def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of a gated recurrent unit."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = linear(input, w_ih, b_ih).chunk(3, 1), linear(hx, w_hh, b_hh).chunk(3, 1)
    r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
    n = tanh(n_x + r * n_h)
    return n + z * (hx - n)
