"""Recurrent networks: layers that carry a state from each step of a sequence to the next."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.nn import init
from torchlite.nn.functional.recurrent import run_layers
from torchlite.nn.module import Module
from torchlite.nn.utils.rnn import PackedSequence, packed_steps, padded_steps
from torchlite.ops.creation import empty
from torchlite.parameter import Parameter

_PARTS = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` have in common.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input_size: features of each step.
        hidden_size: H, features of the state.
        num_layers: layers on top of each other, each on the results of the one below.
        bias: whether there are b_ih and b_hh.
        batch_first: the input is (N, T, input_size) and not (T, N, input_size).
        dropout: the share of results that is dropped between layers in training.
        bidirectional: a second set of layers runs from the end; results of both stand side by side.
        proj_size: LSTM only: states are projected to this size where it is not 0.
        device, dtype: of the parameters, which start uniform in ±1/√hidden_size.
    """

    inferred: ClassVar[Mapping[str, int]] = {"input_size": -1}

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings(dropout)
        rows, out = _PARTS[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else out * self._directions
            for direction in range(self._directions):
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, out)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}  # type: ignore[dict-item]
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    parameter = Parameter(empty(*shape, device=device, dtype=dtype))
                    self.register_parameter(_name(name, layer, direction), parameter)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _check_settings(self, dropout: Any) -> None:
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed, "
                f"got {dropout!r}"
            )
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                f"greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=4,
            )
        types = {"bias": bool, "batch_first": bool, "input_size": int, "hidden_size": int}
        for name, kind in types.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(getattr(self, name)).__name__}")
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero, got {getattr(self, name)}")
        if self.proj_size and self.mode != "LSTM":
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: for PyTorch's sake, which lays parameters out for cuDNN here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [
            [p for p in self._weights(layer, direction) if p is not None]
            for layer in range(self.num_layers)
            for direction in range(self._directions)
        ]

    def _weights(self, layer: int, direction: int) -> list[Any]:
        """W_ih, W_hh, b_ih, b_hh and W_hr, None where there is none."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        return [self._parameters.get(_name(name, layer, direction)) for name in names]

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The results of the last layer at all steps, and the states of all layers at the end."""
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.ndim not in (2, 3):
            raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        batched = input.ndim == 3
        steps = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            steps = steps.transpose(0, 1)
        states = self._first_states(hx, steps, batched)
        out, last = self._run(steps, states, None)
        if not batched:
            return out.squeeze(1), self._as_given(tuple(x.squeeze(1) for x in last))
        return (out.transpose(0, 1) if self.batch_first else out), self._as_given(last)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> Any:
        steps, present = padded_steps(input.data, input.batch_sizes)
        states = self._first_states(hx, steps, True)
        if hx is not None and input.sorted_indices is not None:
            states = tuple(x[:, input.sorted_indices] for x in states)
        out, last = self._run(steps, states, tuple(input.batch_sizes.tolist()))
        if input.unsorted_indices is not None:
            last = tuple(x[:, input.unsorted_indices] for x in last)
        packed = PackedSequence(
            packed_steps(out, present), input.batch_sizes, input.sorted_indices, input.unsorted_indices
        )
        return packed, self._as_given(last)

    def _as_given(self, states: tuple[Tensor, ...]) -> Any:
        return states if self.mode == "LSTM" else states[0]

    def _first_states(self, hx: Any, steps: Tensor, batched: bool) -> tuple[Tensor, ...]:
        """h₀ (and c₀), each (layers · directions, N, size); zeros where none are given."""
        if steps.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {steps.shape[-1]}"
            )
        weight = self._parameters["weight_ih_l0"]
        if weight is not None and steps.dtype is not weight.dtype:
            raise ValueError(
                f"RNN input dtype ({steps.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({steps.dtype})"
            )
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        shapes = [(self.num_layers * self._directions, steps.shape[1], width) for width in widths]
        if hx is None:
            return tuple(steps.new_zeros(shape) for shape in shapes)
        given = hx if self.mode == "LSTM" else (hx,)
        for x in given:
            if x.ndim != (3 if batched else 2):
                kind, ndim = ("batched 3-D", 3) if batched else ("unbatched 2-D", 2)
                raise RuntimeError(f"For {kind} input, hx should also be {ndim}-D but got {x.ndim}-D tensor")
        if not batched:
            given = tuple(x.unsqueeze(1) for x in given)
        for name, x, shape in zip(("hidden[0]", "hidden[1]"), given, shapes, strict=False):
            if tuple(x.shape) != shape:
                raise RuntimeError(f"Expected {name} size {shape}, got {list(x.shape)}")
        return tuple(given)

    def _run(
        self, steps: Tensor, states: tuple[Tensor, ...], batch_sizes: tuple[int, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        weights = [
            [self._weights(layer, direction) for direction in range(self._directions)]
            for layer in range(self.num_layers)
        ]
        return run_layers(self.mode, steps, states, weights, self.dropout if self.training else 0.0, batch_sizes)

    def extra_repr(self) -> str:
        """The settings that are not the usual ones."""
        shown = f"{self.input_size}, {self.hidden_size}"
        usual = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        return shown + "".join(f", {k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v)


def _name(name: str, layer: int, direction: int) -> str:
    return f"{name}_l{layer}{'_reverse' if direction else ''}"


class RNN(RNNBase):
    """hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), in several layers (Elman, 1990).

    Args:
        input_size, hidden_size, num_layers: as in `RNNBase`.
        nonlinearity: "tanh" or "relu".
        bias, batch_first, dropout, bidirectional, device, dtype: as in `RNNBase`.

    Shape:
        input (T, N, input_size), (N, T, input_size) where ``batch_first``, (T, input_size), or a PackedSequence, and
        h₀ (num_layers · directions, N, H) → results (T, N, directions · H) and hₙ like h₀
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        *,
        proj_size: int = 0,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, proj_size, device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory, in several layers (Hochreiter & Schmidhuber, 1997).

    i, f, o = σ(·), g = tanh(·) of the parts of W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh (in the order i, f, g, o);
    cₜ = f cₜ₋₁ + i g and hₜ = o tanh(cₜ), projected by W_hr where ``proj_size`` is given.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as in `RNNBase`.
        proj_size, device, dtype: as in `RNNBase`.

    Shape:
        input as in `RNN` and (h₀, c₀) → results and (hₙ, cₙ); h has proj_size features where that is given
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device,
            dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent units, in several layers (Cho et al., 2014).

    r, z = σ(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), n = tanh(W_ih xₜ + b_ih + r (W_hh hₜ₋₁ + b_hh)), by parts in the order
    r, z, n; hₜ = (1 - z) n + z hₜ₋₁.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as in `RNNBase`.

    Shape:
        as in `RNN`
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        *,
        proj_size: int = 0,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device,
            dtype,
        )  # fmt: skip
