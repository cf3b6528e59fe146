"""Recurrent layers on a GPU by kernels of our own: beside NumPy in float64, on a simulated GPU too."""

import functools
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn
from torchlite.backends.nvidia import recurrent

pytestmark = pytest.mark.gpu
LIMITS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 0.15}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The kernels that ran, compiled anew."""
    ran: list[Any] = []
    bound = functools.cache(recurrent._bound.__wrapped__)

    def noted(device: int, kernel: Any) -> Any:
        ran.append(kernel)
        return bound(device, kernel)

    monkeypatch.setattr(recurrent, "_bound", noted)
    return ran


def run(
    make: Any, device: str, dtype: Any, lengths: Any = None, samples: int = 3, steps: int = 5, width: int = 4
) -> list[Any]:
    """Results, last states and gradients of a module, as float64."""
    rng = np.random.default_rng(3)
    torch.manual_seed(0)
    module = make(width).to(device, dtype)
    x = torch.tensor(rng.normal(size=(steps, samples, width))).to(device, dtype).requires_grad_()
    given = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False) if lengths else x
    out, last = module(given)
    out = out.data if lengths else out
    states = last if isinstance(last, tuple) else (last,)
    loss = sum((r * torch.tensor(rng.normal(size=tuple(r.shape))).to(device, dtype)).sum() for r in (out, *states))
    loss.backward()
    return [r.detach().cpu().double().numpy() for r in (out, *states, x.grad, *(p.grad for p in module.parameters()))]


def agree(make: Any, dtype: Any, **sizes: Any) -> None:
    for got, expected in zip(run(make, "cuda", dtype, **sizes), run(make, "cpu", torch.float64, **sizes), strict=True):
        np.testing.assert_allclose(got, expected, rtol=LIMITS[dtype], atol=LIMITS[dtype])


MODULES = {
    "LSTM": lambda width: nn.LSTM(width, 6, num_layers=2, bidirectional=True),
    "GRU": lambda width: nn.GRU(width, 6, num_layers=2, bidirectional=True),
    "GRU without bias": lambda width: nn.GRU(width, 6, bias=False),
    "tanh": lambda width: nn.RNN(width, 6, bidirectional=True),
    "relu": lambda width: nn.RNN(width, 6, nonlinearity="relu"),
}


@pytest.mark.parametrize("lengths", [None, [3, 5, 1]])
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", MODULES)
def test_results_and_gradients(name: str, dtype: Any, lengths: Any, launched: list[Any]) -> None:
    agree(MODULES[name], dtype, lengths=lengths)
    kinds = {(kernel.kind, kernel.gradient) for kernel in launched}
    kind = name.split()[0]
    assert kinds == ({(kind, False), (kind, True)} if kind in ("LSTM", "GRU") else {(kind.upper(), False)})


@pytest.mark.parametrize(("dtype", "shared"), [(torch.float64, 8000), (torch.float32, 3000), (torch.bfloat16, 2500)])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_weights_in_registers_shared_memory_and_neither(
    kind: str, dtype: Any, shared: int, launched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few numbers each, of units that do not come in fours, and several samples to a block, of which the last has fewer."""
    monkeypatch.setattr(recurrent, "_OTHER_REGISTERS", 240 if dtype is not torch.float64 else 120)
    monkeypatch.setattr(recurrent, "_shared_memory", lambda _device: shared)
    monkeypatch.setattr(recurrent, "_AT_ONCE", 2)
    agree(lambda width: getattr(nn, kind)(width, 19), dtype, samples=5)
    placed = [kernel.placed(shared) for kernel in launched]
    assert all(kernel.samples == 3 for kernel in launched)
    assert any(0 < rows < 20 - held for _, held, rows, _ in placed)


def test_more_units_than_a_block_has_threads_run_as_array_operations(launched: list[Any]) -> None:
    agree(lambda width: nn.LSTM(width, 300), torch.float32, steps=2)
    assert not launched


@pytest.mark.parametrize("units", [16, 128, 256])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_what_a_kernel_takes_is_there(kind: str, dtype: str, units: int) -> None:
    """All registers and all shared memory that a block can have are enough, on small GPUs too."""
    for shared in (64 << 10, 99 << 10, 227 << 10):
        for gradient in (False, True):
            kernel = recurrent._Kernel(kind, dtype, units, recurrent._GATES[kind], False, (True, True), gradient)
            registers, held, rows, needed = kernel.placed(shared)
            assert registers * kernel.threads <= 1 << 16 and held + rows <= -(-units // 4) * 4
            assert needed <= shared or not rows  # then there is no kernel


def test_a_text_that_does_not_compile_is_told_about(monkeypatch: pytest.MonkeyPatch) -> None:
    recurrent._bound.cache_clear()
    monkeypatch.setattr(recurrent, "_CONSTANTS", "nonsense")
    with pytest.warns(RuntimeWarning, match="recurrent layers can't be compiled"):
        run(MODULES["GRU without bias"], "cuda", torch.float32)
    recurrent._bound.cache_clear()
