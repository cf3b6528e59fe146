"""Names are found where PyTorch's programs look for them."""

import importlib

import pytest

import torchlite as torch

PLACES = {
    "nn.modules.batchnorm": ("BatchNorm2d", "SyncBatchNorm", "_BatchNorm"),
    "nn.modules.activation": ("MultiheadAttention", "ReLU"),
    "nn.modules.container": ("ModuleList", "Sequential"),
    "nn.modules.conv": ("Conv2d", "_ConvNd"),
    "nn.modules.rnn": ("LSTM", "GRU"),
    "nn.modules.sparse": ("Embedding",),
    "nn.modules.transformer": ("TransformerEncoder",),
    "nn.parameter": ("Parameter",),
    "nn.attention": ("SDPBackend", "sdpa_kernel"),
}


@pytest.mark.parametrize("place", PLACES)
def test_places_hold_the_classes_of_nn(place: str) -> None:
    module = importlib.import_module(f"torchlite.{place}")
    for name in PLACES[place]:
        assert getattr(module, name) is getattr(torch.nn, name, getattr(module, name))
    reached = torch
    for part in place.split("."):
        reached = getattr(reached, part)
    assert reached is module


def test_bases_are_those_of_the_modules() -> None:
    assert isinstance(torch.nn.BatchNorm1d(2), torch.nn.modules.batchnorm._BatchNorm)
    assert isinstance(torch.nn.Conv1d(1, 1, 1), torch.nn.modules.conv._ConvNd)
    assert isinstance(torch.nn.Dropout(), torch.nn.modules.dropout._DropoutNd)


def test_a_choice_of_attention_changes_nothing() -> None:
    from torchlite.nn.attention import SDPBackend, sdpa_kernel

    x = torch.ones(1, 2, 3, 4)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        chosen = torch.nn.functional.scaled_dot_product_attention(x, x, x)
    assert torch.equal(chosen, torch.nn.functional.scaled_dot_product_attention(x, x, x))
    with pytest.raises(TypeError, match="expected an SDPBackend"), sdpa_kernel(["math"]):
        pass
