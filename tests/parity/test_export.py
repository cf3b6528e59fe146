"""Exported weights load in PyTorch and compute the same."""

import numpy as np
import pytest
from oracle import torch
from safetensors.torch import load_file
from small_runs import CONFIG, train

from torchlite import datasets
from torchlite.autograd import no_grad
from torchlite.ops.exchange import from_numpy
from torchlite.train.exporting import export
from torchlite.train.trained import load_trained


def torch_model():
    """The model of `CONFIG`, written in PyTorch."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, 10)
    )  # fmt: skip


@pytest.mark.parametrize("format", ["pt", "safetensors", "npz"])
def test_logits_are_the_same(tmp_path, format):
    assert "Conv2d" in CONFIG
    trained = load_trained(train(tmp_path).path)
    target = tmp_path / f"model.{format}"
    export(trained, target, format)
    if format == "pt":
        state = torch.load(target, weights_only=True)
    elif format == "safetensors":
        state = load_file(target)
    else:
        with np.load(target, allow_pickle=False) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    theirs = torch_model()
    theirs.load_state_dict(state)
    theirs.eval()
    images = datasets.load("digits", "test").inputs.astype(np.float32) / 16
    with no_grad():
        ours = trained.model(from_numpy(images)).numpy()
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    assert (ours.argmax(1) == expected.argmax(1)).all()
