"""Recurrent networks on sequences of different lengths, beyond what PyTorch's module database asks."""

import numpy as np
import pytest
from oracle import same, torch

import torchlite
import torchlite.nn.utils.rnn as own_rnn

RNG = np.random.default_rng(3)
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {}), ("LSTM", {"proj_size": 2})]
LENGTHS = [3, 6, 1, 4]


def rnn_of(library):
    return library.nn.utils.rnn if library is torch else own_rnn


def run(library, kind, settings, x, state, *, packed, batch_first=False):
    """The network with its parameters from a fixed stream of numbers, on padded or packed sequences."""
    rnn = rnn_of(library)
    module = getattr(library.nn, kind)(5, 3, num_layers=2, bidirectional=True, batch_first=batch_first, **settings)
    module = module.double()
    numbers = np.random.default_rng(7)
    parameters = {n: library.tensor(numbers.normal(size=tuple(p.shape)) * 0.4) for n, p in module.state_dict().items()}
    module.load_state_dict(parameters)
    hx = (state[:, :, : settings.get("proj_size", 3)], state) if kind == "LSTM" else state
    if packed:
        x = rnn.pack_padded_sequence(x, LENGTHS, batch_first=batch_first, enforce_sorted=False)
    out, last = module(x, hx)
    if packed:
        out = rnn.pad_packed_sequence(out, batch_first=batch_first, padding_value=-1.0, total_length=7)[0]
    return out, last, *library.autograd.grad(out.sum(), list(module.parameters()), retain_graph=True)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_two_layers_in_both_directions(kind, settings, packed):
    x, state = RNG.normal(size=(6, 4, 5)), RNG.normal(size=(4, 4, 3))
    same(lambda library, x, h: run(library, kind, settings, x, h, packed=packed), x, state)


def test_packed_sequences_with_the_batch_first():
    x, state = RNG.normal(size=(4, 6, 5)), RNG.normal(size=(4, 4, 3))
    same(lambda library, x, h: run(library, "GRU", {}, x, h, packed=True, batch_first=True), x, state)


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_second_derivatives(kind, settings):
    def twice(library, x):
        out, *_ = run(library, kind, settings, x, x.new_zeros((4, 4, 3)), packed=True)
        (g,) = library.autograd.grad((out * out).sum(), x, create_graph=True)
        return g

    same(twice, RNG.normal(size=(6, 4, 5)), tolerance=1e-9)


def test_packing_and_padding():
    def everything(library, x):
        rnn = rnn_of(library)
        packed = rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        padded, lengths = rnn.pad_packed_sequence(packed)
        rows = rnn.unpad_sequence(padded.clone(), lengths)  # PyTorch transposes it in place
        again = rnn.pack_sequence(rows, enforce_sorted=False)
        left = rnn.pad_sequence(rows, batch_first=True, padding_value=2.0, padding_side="left")
        return tuple(packed), padded, lengths, rows, tuple(again), left, rnn.unpack_sequence(again)

    same(everything, RNG.normal(size=(6, 4, 2)))


@pytest.mark.parametrize("call", [
    lambda rnn, x: rnn.pack_padded_sequence(x, [1, 2, 3, 4]),
    lambda rnn, x: rnn.pack_padded_sequence(x, [4, 3, 2]),
    lambda rnn, x: rnn.pack_padded_sequence(x, [4, 3, 2, 0]),
    lambda rnn, x: rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [4, 3, 2, 1]), total_length=2),
    lambda rnn, x: rnn.pad_sequence(3),
    lambda rnn, x: rnn.pad_sequence([x], padding_side="up"),
])  # fmt: skip
def test_what_packing_refuses(call):
    same(lambda library, x: call(rnn_of(library), x), RNG.normal(size=(6, 4, 2)))


@pytest.mark.parametrize("call", [
    lambda nn, x: nn.LSTM(5, 3, proj_size=3),
    lambda nn, x: nn.GRU(5, 3, proj_size=2),
    lambda nn, x: nn.LSTM(5, 3, dropout=1.5),
    lambda nn, x: nn.RNN(5, 3, nonlinearity="sin"),
    lambda nn, x: nn.LSTM(4, 3).double()(x),
    lambda nn, x: nn.LSTM(5, 3).double()(x[None]),
    lambda nn, x: nn.GRU(5, 3).double()(x, x[0]),
    lambda nn, x: nn.GRU(5, 3).double()(x, x[:1, :2, :3]),
    lambda nn, x: nn.GRUCell(4, 3).double()(x[0]),
    lambda nn, x: nn.RNNCell(5, 3).double()(x),
])  # fmt: skip
def test_what_networks_refuse(call):
    same(lambda library, x: call(library.nn, x), RNG.normal(size=(6, 4, 5)))


def test_dropout_between_layers_in_training_only():
    module = torchlite.nn.GRU(5, 8, num_layers=2, dropout=0.5)
    x = torchlite.randn(3, 2, 5)
    assert not torchlite.equal(module(x)[0], module(x)[0])
    module.eval()
    assert torchlite.equal(module(x)[0], module(x)[0])


def test_packed_sequences_move_and_convert():
    packed = own_rnn.pack_padded_sequence(torchlite.randn(6, 4, 2), LENGTHS, enforce_sorted=False)
    assert packed.double().data.dtype is torchlite.float64
    assert packed.to("cpu") is packed and not packed.is_cuda
    assert torchlite.equal(packed.unsorted_indices[packed.sorted_indices], torchlite.arange(4))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_state_dict_of_pytorch_loads_and_gives_the_same():
    theirs = torch.nn.LSTM(5, 3, num_layers=2, bidirectional=True, proj_size=2)
    ours = torchlite.nn.LSTM(5, 3, num_layers=2, bidirectional=True, proj_size=2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: torchlite.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = RNG.normal(size=(6, 4, 5)).astype(np.float32)
    out = theirs(torch.tensor(x))[0].detach().numpy()
    np.testing.assert_allclose(ours(torchlite.tensor(x))[0].detach().numpy(), out, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("kind", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
def test_functions_of_the_main_namespace(kind, biases):
    parts = {"gru": 3, "lstm": 4}.get(kind, 1) * 3
    shapes = [s for width in (5, 6) for _ in range(2) for s in ((parts, width), (parts, 3), *([(parts,)] * 2 * biases))]
    params = [RNG.normal(size=s) * 0.5 for s in shapes]

    def call(torch, x, h, *params):
        hx = (h, h * 2) if kind == "lstm" else h
        function = getattr(torch, kind)
        packed = rnn_of(torch).pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        return (
            function(x, hx, params, biases, 2, 0.0, True, True, False),
            function(packed.data, packed.batch_sizes, hx, params, biases, 2, 0.0, False, True),
        )

    same(call, RNG.normal(size=(6, 4, 5)), RNG.normal(size=(4, 4, 3)), *params)


@pytest.mark.parametrize("kind", ["rnn_tanh_cell", "rnn_relu_cell", "gru_cell", "lstm_cell"])
def test_cells_of_the_main_namespace(kind):
    parts = {"gru_cell": 3, "lstm_cell": 4}.get(kind, 1) * 3

    def call(torch, x, h, *params):
        return getattr(torch, kind)(x, (h, h * 2) if kind == "lstm_cell" else h, *params)

    params = [RNG.normal(size=s) for s in ((parts, 5), (parts, 3), (parts,), (parts,))]
    same(call, RNG.normal(size=(4, 5)), RNG.normal(size=(4, 3)), *params)
    same(call, RNG.normal(size=(4, 5)), RNG.normal(size=(4, 3)), *params[:2])
