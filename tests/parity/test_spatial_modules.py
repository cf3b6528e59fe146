"""Modules of images and volumes beside PyTorch's: results, gradients, names, printing, lazy shapes."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from oracle import assert_same, dtype_name, same, tensors, torch

import torchlite

RNG = np.random.default_rng(12)
LINES, IMAGES, VOLUMES = RNG.normal(size=(2, 4, 9)), RNG.normal(size=(2, 4, 8, 6)), RNG.normal(size=(2, 4, 5, 4, 3))
SHAPES = {1: LINES, 2: IMAGES, 3: VOLUMES}

WITHOUT_PARAMETERS = {
    "Upsample size": (lambda nn: nn.Upsample((5, 7), mode="bilinear", align_corners=True), IMAGES),
    "Upsample factor": (lambda nn: nn.Upsample(scale_factor=(1.5, 2), mode="bicubic"), IMAGES),
    "Upsample nearest": (lambda nn: nn.Upsample(scale_factor=2), LINES),
    "UpsamplingNearest2d": (lambda nn: nn.UpsamplingNearest2d(scale_factor=1.5), IMAGES),
    "UpsamplingBilinear2d": (lambda nn: nn.UpsamplingBilinear2d((3, 9)), IMAGES),
    "Unfold": (lambda nn: nn.Unfold((3, 2), padding=1, stride=(2, 1)), IMAGES),
    "Fold": (lambda nn: nn.Fold((5, 4), 2), RNG.normal(size=(2, 8, 12))),
    "PixelShuffle": (lambda nn: nn.PixelShuffle(2), IMAGES),
    "PixelUnshuffle": (lambda nn: nn.PixelUnshuffle(2), IMAGES),
    "ChannelShuffle": (lambda nn: nn.ChannelShuffle(2), IMAGES),
    "LPPool2d": (lambda nn: nn.LPPool2d(3, (2, 3), stride=(2, 1)), np.abs(IMAGES)),
    "AvgPool1d": (lambda nn: nn.AvgPool1d(3, 2, 1, ceil_mode=True), LINES),
    "MaxPool3d": (lambda nn: nn.MaxPool3d(2, return_indices=True), VOLUMES),
    "AdaptiveMaxPool2d": (lambda nn: nn.AdaptiveMaxPool2d((None, 4), return_indices=True), IMAGES),
    "FractionalMaxPool2d": (
        lambda nn: nn.FractionalMaxPool2d(2, output_ratio=(0.5, 0.6), _random_samples=_samples(nn, 2)), IMAGES,
    ),
    "FractionalMaxPool3d": (
        lambda nn: nn.FractionalMaxPool3d(2, output_size=(3, 2, 1), _random_samples=_samples(nn, 3)), VOLUMES,
    ),
    "CircularPad2d": (lambda nn: nn.CircularPad2d((1, 2, 0, 3)), IMAGES),
    "ConstantPad3d": (lambda nn: nn.ConstantPad3d((1, 0, -1, 1, 2, 0), 1.5), VOLUMES),
    "ZeroPad1d": (lambda nn: nn.ZeroPad1d(2), LINES),
}  # fmt: skip


def library(nn: Any) -> Any:
    return torchlite if nn is torchlite.nn else torch


def _samples(nn: Any, n: int) -> Any:
    return library(nn).tensor(np.random.default_rng(1).random((2, 4, n)))


@pytest.mark.parametrize("case", WITHOUT_PARAMETERS)
def test_modules_without_parameters(case: str) -> None:
    make, x = WITHOUT_PARAMETERS[case]
    assert repr(make(torchlite.nn)) == repr(make(torch.nn))
    same(lambda T, x: make(T.nn)(x), x)


def test_unpooling_undoes_pooling() -> None:
    for n, x in SHAPES.items():
        for geometry in ((2,), (3, 2), (3, 2, 1)):

            def both(T: Any, x: Any, n: int = n, geometry: Any = geometry) -> Any:
                pool = getattr(T.nn, f"MaxPool{n}d")(*geometry, return_indices=True)
                unpool = getattr(T.nn, f"MaxUnpool{n}d")(*geometry)
                return unpool(*pool(x), output_size=x.size()), repr(unpool)

            same(both, x)


FILTERS = {
    "Conv1d reflect": (1, lambda nn: nn.Conv1d(4, 6, 3, padding=2, padding_mode="reflect", groups=2)),
    "Conv2d circular same": (2, lambda nn: nn.Conv2d(4, 3, (2, 3), padding="same", padding_mode="circular")),
    "Conv2d replicate valid": (2, lambda nn: nn.Conv2d(4, 3, 3, padding="valid", padding_mode="replicate")),
    "Conv3d": (3, lambda nn: nn.Conv3d(4, 2, (2, 1, 3), stride=(2, 1, 1), dilation=(1, 2, 1), bias=False)),
    "ConvTranspose1d": (1, lambda nn: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2)),
    "ConvTranspose2d": (2, lambda nn: nn.ConvTranspose2d(4, 2, (3, 2), (2, 3), dilation=(2, 1), bias=False)),
    "ConvTranspose3d": (3, lambda nn: nn.ConvTranspose3d(4, 2, 2, stride=(1, 2, 1), output_padding=(0, 1, 0))),
}


@pytest.mark.parametrize("case", FILTERS)
def test_convolutions(case: str) -> None:
    n, make = FILTERS[case]
    ours, theirs = pair(make)
    assert repr(ours) == repr(theirs)
    compare_calls(ours, theirs, SHAPES[n])


def pair(make: Any) -> tuple[Any, Any]:
    """The module of each library with the same parameters, in float64."""
    ours, theirs = make(torchlite.nn).double(), make(torch.nn).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    load(theirs, ours)
    return ours, theirs


def load(source: Any, target: Any) -> None:
    target.load_state_dict({name: torchlite.from_numpy(x.numpy().copy()) for name, x in source.state_dict().items()})


def compare_calls(ours: Any, theirs: Any, x: Any, **arguments: Any) -> None:
    a, b = tensors(x, requires_grad=True)
    got, expected = ours(a, **arguments), theirs(b, **arguments)
    assert_same(got, expected)
    g, h = tensors(RNG.normal(size=tuple(expected.shape)))
    got.backward(g)
    expected.backward(h)
    assert_same(a.grad, b.grad)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_same(p.grad, q.grad, what=name)


def test_output_sizes_of_transposed_convolutions() -> None:
    ours, theirs = pair(lambda nn: nn.ConvTranspose2d(4, 2, 3, stride=3, padding=1))
    for size in ((22, 17), (23, 18), (2, 2, 24, 18)):
        compare_calls(ours, theirs, IMAGES, output_size=size)
        ours.zero_grad()
        theirs.zero_grad()
    for size in ((25, 16), (22,), (21, 16)):
        same(lambda T, x, size=size: T.nn.ConvTranspose2d(4, 2, 3, 3, 1).double()(x, output_size=size), IMAGES)


LAZY = [(n, f"Lazy{kind}{n}d") for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)]


@pytest.mark.parametrize(("n", "name"), LAZY)
def test_lazy_convolutions_take_their_channels_from_the_first_input(n: int, name: str) -> None:
    ours, theirs = (getattr(T.nn, name)(6, 2, groups=2, padding=1, dtype=T.float64) for T in (torchlite, torch))
    assert repr(ours) == repr(theirs)
    assert ours.has_uninitialized_params()
    assert repr(ours.state_dict()["weight"]) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="shape of an uninitialized"):
        _ = ours.weight.shape
    ours(torchlite.tensor(SHAPES[n])), theirs(torch.tensor(SHAPES[n]))
    assert type(ours).__name__ == type(theirs).__name__ == name.removeprefix("Lazy")
    assert type(ours.weight) is torchlite.nn.Parameter
    assert repr(ours) == repr(theirs)
    load(theirs, ours)
    compare_calls(ours, theirs, SHAPES[n])


def test_lazy_modules_take_their_shapes_from_a_state() -> None:
    full, lazy = torchlite.nn.Conv2d(4, 6, 3), torchlite.nn.LazyConv2d(6, 3)
    lazy.load_state_dict(full.state_dict())
    x = torchlite.tensor(IMAGES).float()
    assert torchlite.equal(lazy(x), full(x))
    assert type(lazy) is torchlite.nn.Conv2d


def test_lazy_modules_are_converted_copied_and_pickled_before_their_first_input() -> None:
    lazy = torchlite.nn.LazyConv2d(6, 3).double().requires_grad_(False)
    for one in (lazy, copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        out = one(torchlite.tensor(IMAGES))
        assert dtype_name(out) == "float64" and not out.requires_grad and one.in_channels == 4
    with pytest.raises(RuntimeError, match="3D \\(unbatched\\) or 4D"):
        torchlite.nn.LazyConv2d(6, 3)(torchlite.ones(2, 2))


MISUSE = {
    "padding mode": lambda T: T.nn.Conv2d(1, 1, 1, padding_mode="mirror"),
    "transposed padding mode": lambda T: T.nn.ConvTranspose2d(1, 1, 1, padding_mode="reflect"),
    "groups": lambda T: T.nn.Conv1d(3, 2, 1, groups=2),
    "strided same": lambda T: T.nn.Conv3d(1, 1, 1, stride=(1, 2, 1), padding="same"),
    "circular dimensions": lambda T: T.nn.CircularPad1d(1)(T.ones(2, 2, 2, 4)),
    "fractional without size": lambda T: T.nn.FractionalMaxPool2d(2),
    "fractional with both": lambda T: T.nn.FractionalMaxPool2d(2, 2, 0.5),
    "fractional ratio": lambda T: T.nn.FractionalMaxPool3d(2, output_ratio=1.5),
    "lazy groups": lambda T: T.nn.LazyConv2d(4, 1, groups=2)(T.ones(1, 3, 2, 2)),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_raises_the_same_type_of_error(case: str) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        MISUSE[case](torch)
    same(MISUSE[case])


def test_relu_lets_the_gradient_of_nan_pass() -> None:
    same(lambda T, x: T.relu(x), np.array([-1.0, 0.0, 2.0, np.nan]))
