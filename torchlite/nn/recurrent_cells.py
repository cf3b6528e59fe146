"""One step of a recurrent network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.integers import takes_integers
from torchlite.nn import init
from torchlite.nn.functional.recurrent import gru_cell, lstm_cell, rnn_relu_cell, rnn_tanh_cell
from torchlite.nn.module import Module
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter


class RNNCellBase(Module):
    """What the cells have in common.

    Args:
        input_size, hidden_size: features of the input and of the state.
        bias: whether there are b_ih and b_hh.
        num_chunks: how many parts of hidden_size rows the weights have.
        device, dtype: of the parameters, which start uniform in ±1/√hidden_size.
    """

    inferred: ClassVar[Mapping[str, int]] = {"input_size": -1}

    @takes_integers
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(empty(rows, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(rows, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """The settings that are not the usual ones."""
        shown = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            shown += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return shown if nonlinearity == "tanh" else f"{shown}, nonlinearity={nonlinearity}"

    def _batch(self, input: Tensor, states: tuple[Tensor, ...] | None, count: int) -> tuple[Tensor, ...]:
        """Input and states with a batch dimension, zeros in the place of states that are not given."""
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        for x in states or ():
            if x.ndim not in (1, 2):
                raise ValueError(f"{name}: Expected hidden to be 1D or 2D, got {x.ndim}D instead")
        row = input if input.ndim == 2 else input.unsqueeze(0)
        if row.shape[1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {row.shape[1]} expected {self.input_size}")
        if states is None:
            return (row, *(row.new_zeros((row.shape[0], self.hidden_size)) for _ in range(count)))
        rows = tuple(x if x.ndim == 2 else x.unsqueeze(0) for x in states)
        for x in rows:
            if tuple(x.shape) != (row.shape[0], self.hidden_size):
                raise RuntimeError(
                    f"{name}: hidden state of shape {list(x.shape)} does not fit a batch of {row.shape[0]} and hidden_size "
                    f"{self.hidden_size}"
                )
        return (row, *rows)

    def _parameters_of_step(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        input_size, hidden_size, bias, device, dtype: as in `RNNCellBase`.
        nonlinearity: "tanh" or "relu".

    Shape:
        x (N, input_size) or (input_size,), h (N, hidden_size) or (hidden_size,) → h'
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        x, h = self._batch(input, None if hx is None else (hx,), 1)
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        step = rnn_tanh_cell if self.nonlinearity == "tanh" else rnn_relu_cell
        out = step(x, h, *self._parameters_of_step())
        return out if input.ndim == 2 else out.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`.

    Args:
        input_size, hidden_size, bias, device, dtype: as in `RNNCellBase`.

    Shape:
        x (N, input_size), (h, c) (N, hidden_size) each → (h', c'); all without N where x has none
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next states."""
        x, h, c = self._batch(input, hx, 2)
        h, c = lstm_cell(x, (h, c), *self._parameters_of_step())
        return (h, c) if input.ndim == 2 else (h.squeeze(0), c.squeeze(0))


class GRUCell(RNNCellBase):
    """One step of a `GRU`.

    Args:
        input_size, hidden_size, bias, device, dtype: as in `RNNCellBase`.

    Shape:
        as in `RNNCell`
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        x, h = self._batch(input, None if hx is None else (hx,), 1)
        out = gru_cell(x, h, *self._parameters_of_step())
        return out if input.ndim == 2 else out.squeeze(0)
