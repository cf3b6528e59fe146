"""Operations counted from a trace on shapes."""

import pytest

import torchlite as torch
from torchlite import nn
from torchlite.train.footprint import footprint

# Each multiply-add counts 2.
CASES = {
    "Conv2d": (lambda: nn.Conv2d(3, 8, 3, bias=False), (3, 6, 6), 2 * 8 * 4 * 4 * 27, 8 * 4 * 4),
    "Conv1d in groups": (lambda: nn.Conv1d(4, 8, 3, groups=2, bias=False), (4, 10), 2 * 8 * 8 * 6, 8 * 8),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(3, 8, 2, stride=2, bias=False), (3, 6, 6), 2 * 3 * 36 * 8 * 4, 8 * 12 * 12,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operations_of_convolutions(name: str) -> None:
    make, shape, multiply_adds, elements = CASES[name]
    batch = 5
    module = make().to("meta")
    out = module(torch.empty(batch, *shape, device="meta"))
    assert out.numel() == batch * elements
    assert footprint([module], out.sum(), batch, 1).flops == multiply_adds
