"""Modules that PyTorch's module database does not have."""

import copy
import pickle

import numpy as np
import pytest
from oracle import assert_same, same, tensors, torch

import torchlite
from torchlite import nn

RNG = np.random.default_rng(13)
ROWS, IMAGES, INDICES = RNG.normal(size=(5, 6)), RNG.normal(size=(2, 6, 4, 4)), RNG.integers(0, 9, (4, 3))

MODULES = {
    "Hardsigmoid": (lambda nn: nn.Hardsigmoid(), ROWS),
    "RReLU evaluating": (lambda nn: nn.RReLU(0.1, 0.3).eval(), ROWS),
    "Unflatten": (lambda nn: nn.Unflatten(1, (2, 3)), ROWS),
    "Flatten": (lambda nn: nn.Flatten(1, 2), IMAGES),
    "EmbeddingBag": (lambda nn: nn.EmbeddingBag(9, 4, mode="sum", padding_idx=2), INDICES),
    "EmbeddingBag of maxima": (lambda nn: nn.EmbeddingBag(9, 4, mode="max"), INDICES),
    "Embedding by frequency": (lambda nn: nn.Embedding(9, 4, -1, scale_grad_by_freq=True), INDICES),
    "Dropout": (lambda nn: nn.Dropout(0.4).eval(), ROWS),
    "Dropout1d": (lambda nn: nn.Dropout1d(0.4).eval(), ROWS),
    "Dropout2d": (lambda nn: nn.Dropout2d(0.4).eval(), IMAGES),
    "Dropout3d": (lambda nn: nn.Dropout3d(0.4).eval(), IMAGES),
    "AlphaDropout": (lambda nn: nn.AlphaDropout(0.4).eval(), ROWS),
    "FeatureAlphaDropout": (lambda nn: nn.FeatureAlphaDropout(0.4).eval(), IMAGES),
    "LazyLinear": (lambda nn: nn.LazyLinear(3), ROWS),
    "LazyLinear without bias": (lambda nn: nn.LazyLinear(3, bias=False), ROWS),
    "LazyBatchNorm1d": (lambda nn: nn.LazyBatchNorm1d(), ROWS),
    "LazyBatchNorm2d": (lambda nn: nn.LazyBatchNorm2d(affine=False), IMAGES),
    "LazyInstanceNorm2d": (lambda nn: nn.LazyInstanceNorm2d(track_running_stats=False), IMAGES),
}


def twins(make, x):
    """The module of each library with the same parameters, and the input."""
    ours, theirs = make(nn).double(), make(torch.nn).double()
    xs = tensors(x, requires_grad=x.dtype == np.float64)
    if "Lazy" in type(ours).__name__:
        ours(xs[0].detach()), theirs(xs[1].detach())
    ours.load_state_dict({k: torchlite.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs, *xs


@pytest.mark.parametrize("name", MODULES)
def test_results_gradients_and_text(name):
    ours, theirs, x, y = twins(*MODULES[name])
    assert repr(ours) == repr(theirs)
    out, expected = ours(x), theirs(y)
    assert_same(out, expected)
    out.sum().backward()
    expected.sum().backward()
    leaves = [(x, y)] if y.requires_grad else []
    tolerance = 1e-8 if name == "Hardsigmoid" else None  # PyTorch rounds 1/6 to float32
    for a, b in [*leaves, *zip(ours.parameters(), theirs.parameters(), strict=True)]:
        assert_same(a.grad, b.grad, tolerance=tolerance)
    assert_same(dict(ours.state_dict()), dict(theirs.state_dict()))
    assert type(pickle.loads(pickle.dumps(ours))) is type(ours)
    assert_same(copy.deepcopy(ours)(x), expected)


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_normalisation_across_maps(size):
    # Results only: PyTorch's own gradient is not that of its results.
    same(lambda torch, x: torch.nn.CrossMapLRN2d(size, 0.1, 0.7)(x), IMAGES.astype(np.float32))


@pytest.mark.parametrize("make", [lambda nn: nn.CosineSimilarity(), lambda nn: nn.PairwiseDistance(3.0, keepdim=True)])
def test_distances(make):
    same(lambda torch, x, y: make(torch.nn)(x, y), ROWS, RNG.normal(size=(5, 6)))


@pytest.mark.parametrize("make", [
    lambda nn: nn.TripletMarginLoss(0.5, swap=True), lambda nn: nn.TripletMarginWithDistanceLoss(margin=0.5),
    lambda nn: nn.TripletMarginWithDistanceLoss(distance_function=lambda x, y: (x - y).abs().sum(-1), reduction="sum"),
])  # fmt: skip
def test_losses_of_triplets(make):
    same(lambda torch, a, p, n: make(torch.nn)(a, p, n), ROWS, *RNG.normal(size=(2, 5, 6)))


def test_the_adaptive_softmax():
    ours, theirs, x, y = twins(lambda nn: nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 7], 2.0, head_bias=True), ROWS)
    for target in (np.array([0, 11, 5, 3, 7]), np.array([0, 1, 2, 0, 1])):
        t, u = tensors(target)
        out, expected = ours(x, t), theirs(y, u)
        assert_same(tuple(out), tuple(expected))
        out.loss.backward()
        expected.loss.backward()
        assert_same(x.grad, y.grad)
    assert_same(ours.log_prob(x), theirs.log_prob(y))
    assert_same(ours.predict(x), theirs.predict(y))
    assert_same(tuple(ours(x[0], t[0])), tuple(theirs(y[0], u[0])))
    for target in (np.array([0, 12, 5, 3, 7]), np.array([[1]]), np.array([1, 2])):
        same(
            lambda torch, t: (ours if torch is torchlite else theirs)((x if torch is torchlite else y).detach(), t),
            target,
        )


@pytest.mark.parametrize("cutoffs", [[], [3, 3], [7, 3], [0, 3], [12]])
def test_cutoffs_that_are_none(cutoffs):
    same(lambda torch: torch.nn.AdaptiveLogSoftmaxWithLoss(6, 12, cutoffs))


def parameter_list(torch):
    nn = torch.nn
    values = nn.ParameterList([torch.ones(2), nn.Parameter(torch.zeros(1, 3))])
    values.append(torch.full((2,), 3.0))
    values += [5]
    values[0] = torch.full((2,), 7.0)
    part = values[1:3]
    return (
        list(values.state_dict()),
        repr(values),
        len(values),
        [type(v).__name__ for v in values],
        len(part),
        values[-1],
    )


def parameter_dict(torch):
    nn = torch.nn
    values = nn.ParameterDict({"b": torch.ones(2), "a": nn.Parameter(torch.zeros(1, 3))})
    values.update([("c", torch.ones(1)), ("d", 4)])
    values |= {"e": torch.ones(3)}
    popped = values.pop("c")
    both = values | {"z": torch.ones(1)}
    return (
        list(values.state_dict()), list(values), list(reversed(values)), popped.tolist(), "a" in values, values.get("q", 3),
        values.setdefault("s", 2), list(both), [k for k, _ in values.items()], len(list(values.values())), values.popitem(),
    )  # fmt: skip


def test_lists_and_dicts_of_parameters():
    assert parameter_list(torchlite) == tuple(parameter_list(torch))
    assert parameter_dict(torchlite) == parameter_dict(torch)
    for make in (
        lambda nn: nn.ParameterList(3),
        lambda nn: nn.ParameterList([1])[4],
        lambda nn: nn.ParameterList([1])(),
        lambda nn: nn.ParameterDict({})(1),
        lambda nn: nn.ParameterDict(3),
    ):
        same(lambda torch, make=make: make(torch.nn))


def test_synchronised_batch_norm_in_one_process():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm1d(4, affine=False)))
    weight = model[1].weight
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert [type(m).__name__ for m in converted] == ["Linear", "SyncBatchNorm", "Sequential"]
    assert converted[1].weight is weight and type(converted[2][0]) is nn.SyncBatchNorm
    x = torchlite.randn(8, 6)
    assert converted(x).shape == (8, 4)


def test_pretrained_tables():
    table = torchlite.randn(5, 3)
    for cls in (nn.Embedding, nn.EmbeddingBag):
        module = cls.from_pretrained(table)
        assert not module.weight.requires_grad and module.weight.data_ptr() == table.data_ptr()
        assert cls.from_pretrained(table, freeze=False).weight.requires_grad
        with pytest.raises(AssertionError, match="2-dimensional"):
            cls.from_pretrained(table[0])


def test_masks_of_transformers():
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.tolist() == torch.nn.Transformer.generate_square_subsequent_mask(3).tolist()
    with pytest.raises(RuntimeError, match="relu/gelu"):
        nn.TransformerEncoderLayer(4, 2, activation="sine")
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True, activation=nn.GELU())
    x = torchlite.randn(2, 3, 4)
    causal = layer(x, src_mask=mask, is_causal=True)
    changed = x.clone()
    changed[:, 2] += 1
    assert torchlite.allclose(causal[:, :2], layer(changed, src_mask=mask, is_causal=True)[:, :2])
