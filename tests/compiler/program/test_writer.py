"""The texts of programs."""

import pytest

import torchlite as torch
from torchlite import nn
from torchlite.backends.native import toolchain
from torchlite.compiler.program import writer

pytestmark = pytest.mark.skipif(not toolchain.available(), reason="there is no C compiler")


def losses(steps=4):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    x, y = torch.randn(5, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0])

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = torch.compile(step, fullgraph=True)
    return [step().item() for _ in range(steps)], step.variants[0].captured.run.program


def test_a_long_program_is_two_texts_that_compute_the_same(monkeypatch):
    monkeypatch.setattr(writer, "_LONG", 1 << 30)
    expected, whole = losses()
    monkeypatch.setattr(writer, "_LONG", 0)
    got, divided = losses()
    assert len(whole.texts) == 1
    assert len(divided.texts) == 2
    assert [segment.text for segment in divided.segments] == [0, 1]
    assert got == expected


def test_a_text_has_only_the_functions_that_it_calls(monkeypatch):
    monkeypatch.setattr(writer, "_LONG", 0)
    _, program = losses()
    first, second = (text.source for text in program.texts)
    assert first.count("CONVOLUTION(") == 1
    assert "WEIGHT_GRADIENT(" not in first
    assert "WEIGHT_GRADIENT(" in second
    assert "cross_entropy.h" in {name for text in program.texts for name in text.headers}
