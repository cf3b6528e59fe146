"""Programs that run twice, as they are and compiled: both give the same.

The tests in ``compiler/`` name the ways in which compilers of this kind give wrong results.
"""

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn

# Arithmetic is eager's to the last bit; exponentials and sums are rounded differently in compiled loops.
TOLERANCE = {torch.float32: (1e-5, 1e-7), torch.float64: (1e-10, 1e-14)}


def same(a, b):
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert a.dtype is b.dtype
        assert a.requires_grad == b.requires_grad
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), *TOLERANCE.get(a.dtype, (0, 0)))
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, dict):
        same(list(a.items()), list(b.items()))
    else:
        assert type(a) is type(b)
        assert a == (pytest.approx(b, *TOLERANCE[torch.float32]) if isinstance(b, float) else b)


def both(program):
    """``program(compile)`` with the identity and with torchlite.compile: the results are equal."""
    torch.manual_seed(0)
    expected = program(lambda f: f)
    torch.manual_seed(0)
    made = []

    def compile_(f):
        made.append(torch.compile(f))
        return made[-1]

    got = program(compile_)
    same(expected, got)
    return made


def captured(f):
    return f.graph is not None


def falls_back(program, reason):
    with pytest.warns(UserWarning, match=reason) as caught:
        made = both(program)
    ours = [w for w in caught if "torchlite.compile" in str(w.message)]
    assert len(ours) == 1
    return made


def net(dropout=0.0):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3))


class Gains(nn.Module):
    """A network of the same sizes without products, which C compiles in a tenth of the time."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(6)) for _ in range(2))

    def forward(self, x):
        return (torch.tanh(x * self.first) * self.second).unflatten(1, (3, 2)).sum(2)


def gains(dropout=0.0):
    torch.manual_seed(3)
    return nn.Sequential(Gains(), nn.Dropout(dropout))


def batches(n, size=4):
    g = torch.Generator().manual_seed(5)
    return [(torch.randn(size, 6, generator=g), torch.randint(0, 3, (size,), generator=g)) for _ in range(n)]


def train(compile_, optimizer, *, network=net, schedule=None, steps=6, dropout=0.0, size=4, change=None, clip=None):
    model = network(dropout)
    opt = optimizer(model.parameters())
    scheduler = schedule and schedule(opt)

    def step(x, y):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        opt.step()
        if scheduler:
            scheduler.step()
        return loss.detach()

    step = compile_(step)
    losses = []
    for i, (x, y) in enumerate(batches(steps, size)):
        if change:
            change(i, model, opt)
        losses.append(step(x, y))
    rates = [[v for v in group.values() if isinstance(v, (float, tuple))] for group in opt.param_groups]
    return [losses, rates, [p.detach() for p in model.parameters()], [p.grad for p in model.parameters()]]


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "Adam": lambda p: torch.optim.Adam(p, 1e-2),
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-2, amsgrad=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 1e-2),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "Adamax": lambda p: torch.optim.Adamax(p, 1e-2),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-2),
    "RAdam": lambda p: torch.optim.RAdam(p, 1e-2),
    "Rprop": lambda p: torch.optim.Rprop(p, 1e-2),
    "ASGD": lambda p: torch.optim.ASGD(p, 1e-2, t0=3),
    "Adafactor": lambda p: torch.optim.Adafactor(p, 1e-2, weight_decay=0.1),
    "Muon": lambda p: torch.optim.Muon([x for x in p if x.ndim == 2], 1e-2),
}
