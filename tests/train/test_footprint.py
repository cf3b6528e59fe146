"""Operations counted from a trace on shapes."""

from pathlib import Path

import pytest
from small_runs import write_config

import torchlite as torch
from torchlite import nn
from torchlite.devices import CPU
from torchlite.train.check import size_of, traces_of
from torchlite.train.config.load import require_config
from torchlite.train.footprint import copies_kept, footprint
from torchlite.train.model import build_models
from torchlite.train.precision import mixed

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


@pytest.mark.parametrize(
    "layers",
    ["[Flatten, {Linear: 256}, ReLU, {Linear: 10}]", "[{Conv2d: [8, 3]}, BatchNorm2d, ReLU, Flatten, {Linear: 10}]"],
)
def test_peak_memory_follows_the_precision_as_it_does_with_data(tmp_path: Path, layers: str) -> None:
    sizes = {}
    for precision in ("fp32", "bf16"):
        config = require_config(write_config(tmp_path), [f"model={{layers: {layers}}}", f"train.precision={precision}"])
        traces = traces_of(config)
        model = build_models(config, traces, CPU)
        with mixed(precision, CPU):
            loss = config.loss.build()(model(torch.rand(16, 1, 8, 8)), torch.zeros(16, dtype=torch.int64))
        real = footprint([model], loss, 16, copies_kept(config.optim))
        sizes[precision] = size_of(config, traces).peak_bytes
        assert sizes[precision] == real.peak_bytes
    assert sizes["bf16"] != sizes["fp32"]  # smaller activations, and a copy of each weight
