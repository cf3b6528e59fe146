"""Which runs are compiled."""

import pytest

from torchlite import nn, optim
from torchlite.devices import CPU, Device
from torchlite.train import updating
from torchlite.train.footprint import Footprint


@pytest.mark.parametrize(
    ("wish", "steps", "flops", "expected"),
    [
        ("auto", 1_999, 10, False),
        ("auto", 2_000, 10, True),
        ("auto", 99, 10**12, False),
        ("auto", 100, 10**12 // 6_400, True),
        (True, 1, 10, True),
        ("no-cudagraphs", 1, 10, True),
        (False, 10**6, 10**12, False),
    ],
)
def test_long_runs_are_compiled(wish, steps, flops, expected, monkeypatch):
    monkeypatch.setattr("torchlite.train.updating.toolchain.available", lambda: True)
    optimizer = optim.SGD(nn.Linear(1, 1).parameters())
    assert updating.pays(wish, CPU, optimizer, Footprint(1, flops, 1), 64, steps) is expected


@pytest.mark.parametrize(("steps", "expected"), [(499, False), (500, True)])
def test_long_runs_on_a_gpu_are_compiled_without_a_c_compiler(steps, expected, monkeypatch):
    monkeypatch.setattr("torchlite.train.updating.toolchain.available", lambda: False)
    optimizer = optim.SGD(nn.Linear(1, 1).parameters())
    assert updating.pays("auto", Device("cuda", 0), optimizer, Footprint(1, 10, 1), 64, steps) is expected


@pytest.mark.parametrize("reason", ["no compiler", "optimizer"])
def test_auto_compiles_only_where_it_can_help(reason, monkeypatch):
    monkeypatch.setattr("torchlite.train.updating.toolchain.available", lambda: reason != "no compiler")
    kind = optim.LBFGS if reason == "optimizer" else optim.SGD
    optimizer = kind(nn.Linear(1, 1).parameters())
    assert not updating.pays("auto", CPU, optimizer, Footprint(1, 10, 1), 64, 10**6)
