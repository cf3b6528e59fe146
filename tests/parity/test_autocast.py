"""`autocast` beside PyTorch's: the dtypes of every operator, and models trained with it."""

import numpy as np
import pytest
from oracle import BOTH, numbers, torch
from parity.autocast_dtypes import concerned, differences, listed
from parity.op_db import OPERATORS, not_public

# Why the dtypes of an entry are others, or can't be compared.
DIFFERENT = {
    "cov": "half types are no weights here",
    "linalg.pinv": "one operator here, several products in PyTorch",
    "linalg.pinv.hermitian": "one operator here, several products in PyTorch",
    "linalg.solve_triangular": "PyTorch's takes two dtypes by accident",
    "native_layer_norm": "the statistics of half types are float32 here",
    "pca_lowrank": "computed in float32 here, PyTorch's has products among its steps",
    "svd_lowrank": "computed in float32 here, PyTorch's has products among its steps",
}
# LAPACK has no half types, and PyTorch only lets them pass where autocasting hides that.
NO_HALVES = {
    *("linalg.det", "linalg.ldl_factor", "linalg.ldl_factor_ex", "linalg.ldl_solve", "linalg.lu_solve"),
    *("linalg.matrix_power", "linalg.solve_ex"),
}
NAMES = [n for n in OPERATORS if n not in DIFFERENT and not_public(n) is None and concerned(n)]
# Fake tensors accept calls that a GPU refuses: half types in LAPACK and FFT, two dtypes where there may be one.
REFUSED_ON_A_GPU = (
    "32 bits",
    "Float or Double",
    "half, float and double",
    "expected to have the same dtype",
    "same dtype",
)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in NO_HALVES])
def test_dtypes_on_the_cpu(name):
    assert not list(differences(name, "cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_on_cuda(name):
    if name == "nn.functional.rms_norm" and "rms_norm" not in listed():
        pytest.skip("autocasting computes it in float32 in later versions of PyTorch")
    found = [d for d in differences(name, "cuda") if not any(words in d for words in REFUSED_ON_A_GPU)]
    assert not found


def _model(library):
    nn = library.nn
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 8), nn.GELU(),
        nn.LayerNorm(8), nn.Linear(8, 3),
    )  # fmt: skip


def test_a_model_trains_as_in_pytorch():
    """Half types round at other places in the two libraries, so losses agree to their precision only."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(16, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 16)
    torch.manual_seed(0)
    start = {name: value.numpy().copy() for name, value in _model(torch).state_dict().items()}
    losses = []
    for library in BOTH:
        model = _model(library)
        model.load_state_dict({name: library.tensor(value) for name, value in start.items()})
        optimizer = library.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses.append([])
        for _ in range(8):
            optimizer.zero_grad()
            with library.autocast("cpu", dtype=library.bfloat16):
                logits = model(library.tensor(x))
                loss = library.nn.functional.cross_entropy(logits, library.tensor(y))
            assert (logits.dtype, loss.dtype) == (library.bfloat16, library.float32)
            loss.backward()
            assert all(p.grad.dtype is library.float32 for p in model.parameters())
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(*losses, rtol=0.03)
    assert losses[0][-1] < 0.75 * losses[0][0]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_recurrent_networks(kind):
    x = np.random.default_rng(0).normal(size=(2, 4) if kind.endswith("Cell") else (5, 2, 4)).astype(np.float32)
    results = []
    for library in BOTH:
        torch.manual_seed(0)
        state = getattr(torch.nn, kind)(4, 3).state_dict()
        module = getattr(library.nn, kind)(4, 3)
        module.load_state_dict({name: library.tensor(value.numpy()) for name, value in state.items()})
        with library.autocast("cpu"):
            results.append(module(library.tensor(x)))
    _close(*results)


def _close(ours, theirs):
    if isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            _close(a, b)
        return
    assert str(ours.dtype) == str(theirs.dtype)
    np.testing.assert_allclose(numbers(ours), numbers(theirs), atol=0.01)
