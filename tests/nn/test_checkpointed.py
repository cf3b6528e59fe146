"""`Checkpointed` layers compute what plain ones do, and keep less for backward."""

import gc

import pytest

import torchlite as torch
from torchlite import nn


def _layers():
    return nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Tanh()


@pytest.mark.parametrize("autocast", [False, True])
def test_it_computes_what_sequential_does(autocast):
    torch.manual_seed(0)
    plain = nn.Sequential(*_layers())
    kept = nn.Checkpointed(*_layers())
    kept.load_state_dict(plain.state_dict())
    x = torch.randn(8, 4)
    for model in (plain, kept):
        torch.manual_seed(1)
        with torch.autocast("cpu", enabled=autocast):
            y = model(x)
        y.float().square().sum().backward()
    for a, b in zip(plain.parameters(), kept.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    for name, value in plain.state_dict().items():  # running statistics moved once only
        assert torch.equal(kept.state_dict()[name], value), name


def test_only_the_input_is_kept_between_forward_and_backward():
    def held(kind):
        model = kind(*[nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(6)])
        gc.collect()  # tensors that other tests have left in cycles
        before = torch.cpu.memory_allocated()
        out = model(torch.zeros(1000, 8))
        return torch.cpu.memory_allocated() - before, out

    plain, _ = held(nn.Sequential)
    kept, _ = held(nn.Checkpointed)
    assert kept == 2 * 1000 * 8 * 4  # input and result
    assert plain > 3 * kept
