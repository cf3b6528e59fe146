"""Initial values against PyTorch's: exact where nothing is random, by their distribution where it is."""

import inspect
import itertools
import math
from typing import Any

import numpy as np
import pytest
from oracle import BOTH, attempt, torch

import torchlite
from torchlite.nn import init

EXACT: dict[str, Any] = {
    "eye": lambda T: T.nn.init.eye_(T.empty(4, 3)),
    "eye of a wide one": lambda T: T.nn.init.eye_(T.ones(2, 5, requires_grad=True)),
    **{
        f"dirac {shape} {groups}": lambda T, shape=shape, groups=groups: T.nn.init.dirac_(T.ones(shape), groups)
        for shape, groups in itertools.product([(4, 3, 3), (3, 5, 2, 3), (6, 2, 3, 3), (2, 2, 1, 2, 3)], (1, 2))
        if shape[0] % groups == 0
    },
    "dirac of a parameter": lambda T: T.nn.init.dirac_(T.nn.Parameter(T.ones(2, 2, 3))),
    "no elements": lambda T: T.nn.init.orthogonal_(T.empty(0, 3)),
    "gain": lambda T: [
        T.nn.init.calculate_gain(name)
        for name in ("linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu")
    ],
    "gain of a slope": lambda T: [T.nn.init.calculate_gain("leaky_relu", slope) for slope in (0, 1, 0.3, -2.0)],
    "fans": lambda T: [
        T.nn.init._calculate_fan_in_and_fan_out(T.empty(shape)) for shape in ((2, 3), (4, 5, 6), (2, 3, 4, 5, 6))
    ],
    "fans of a vector": lambda T: T.nn.init.xavier_normal_(T.empty(3)),
    "fans of nothing": lambda T: T.nn.init.kaiming_normal_(T.empty(())),
    "eye of a vector": lambda T: T.nn.init.eye_(T.empty(3)),
    "dirac of a matrix": lambda T: T.nn.init.dirac_(T.empty(3, 3)),
    "dirac of groups that do not fit": lambda T: T.nn.init.dirac_(T.empty(3, 3, 3), 2),
    "orthogonal vector": lambda T: T.nn.init.orthogonal_(T.empty(3)),
    "sparse vector": lambda T: T.nn.init.sparse_(T.empty(3), 0.5),
    "mode": lambda T: T.nn.init.kaiming_normal_(T.empty(3, 3), mode="fan"),
    "unknown gain": lambda T: T.nn.init.calculate_gain("gelu"),
    "gain of True": lambda T: T.nn.init.calculate_gain("leaky_relu", True),
    "gain of text": lambda T: T.nn.init.calculate_gain("leaky_relu", "0.1"),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact(name: str) -> None:
    (ours, our_error), (theirs, their_error) = (attempt(EXACT[name], T) for T in BOTH)
    assert type(our_error) is type(their_error), our_error or their_error
    if hasattr(theirs, "tolist"):
        assert ours.tolist() == theirs.tolist()
        assert ours.requires_grad == theirs.requires_grad
        assert ours.grad_fn is None
    else:
        assert ours == theirs


SHAPE = (60, 40, 5)
RANDOM: dict[str, Any] = {
    "uniform": lambda i, w, g: i.uniform_(w, -3, 1, generator=g),
    "normal": lambda i, w, g: i.normal_(w, 2, 0.5, generator=g),
    "trunc_normal": lambda i, w, g: i.trunc_normal_(w, generator=g),
    "trunc_normal narrow": lambda i, w, g: i.trunc_normal_(w, 0.5, 2.0, -0.1, 0.2, generator=g),
    "trunc_normal of one side": lambda i, w, g: i.trunc_normal_(w, 0.0, 1.0, 1.0, 50.0, generator=g),
    "trunc_normal of the other": lambda i, w, g: i.trunc_normal_(w, 0.0, 0.02, -1.0, -0.03, generator=g),
    "xavier_uniform": lambda i, w, g: i.xavier_uniform_(w, 2.0, generator=g),
    "xavier_normal": lambda i, w, g: i.xavier_normal_(w, 0.5, generator=g),
    "kaiming_uniform": lambda i, w, g: i.kaiming_uniform_(w, 0.2, "fan_out", generator=g),
    "kaiming_uniform of tanh": lambda i, w, g: i.kaiming_uniform_(w, nonlinearity="tanh", generator=g),
    "kaiming_normal": lambda i, w, g: i.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "kaiming_normal upper case": lambda i, w, g: i.kaiming_normal_(w, mode="FAN_IN", generator=g),
}


def generator(T: Any, seed: int = 3) -> Any:
    return T.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", RANDOM)
def test_distribution(name: str) -> None:
    """Two samples of 12,000: their distribution functions differ by no more than chance allows (1 in a million)."""
    samples = []
    for T in BOTH:
        weight = T.empty(SHAPE, dtype=T.float64, requires_grad=True)
        assert RANDOM[name](T.nn.init, weight, generator(T)) is weight
        samples.append(np.sort(weight.detach().numpy().ravel()))
    everything = np.concatenate(samples)
    a, b = (np.searchsorted(s, everything, side="right") / len(s) for s in samples)
    assert np.abs(a - b).max() < math.sqrt(-math.log(1e-6 / 2) / len(samples[0]))


@pytest.mark.parametrize("name", [*RANDOM, "orthogonal", "sparse"])
def test_a_generator_decides(name: str) -> None:
    def values(seed: int) -> list[float]:
        weight = torchlite.empty(6, 5)
        if name == "orthogonal":
            init.orthogonal_(weight, generator=generator(torchlite, seed))
        elif name == "sparse":
            init.sparse_(weight, 0.3, generator=generator(torchlite, seed))
        else:
            RANDOM[name](init, weight, generator(torchlite, seed))
        result: list[float] = weight.flatten().tolist()
        return result

    torchlite.manual_seed(1)
    first = values(5)
    torchlite.manual_seed(2)
    assert values(5) == first
    assert values(6) != first


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_truncated_values_keep_to_their_limits(dtype: str) -> None:
    weight = torchlite.empty(5000, dtype=getattr(torchlite, dtype))
    low, high = torchlite.tensor([-0.3, 1.7], dtype=weight.dtype).tolist()
    init.trunc_normal_(weight, 0.5, 1.0, -0.3, 1.7, generator=generator(torchlite))
    assert low <= weight.min().item() <= weight.max().item() <= high


def test_truncated_values_far_in_a_tail() -> None:
    weight = torchlite.empty(4000, dtype=torchlite.float64)
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(weight, 0.0, 1.0, 8.0, 30.0, generator=generator(torchlite))
    assert weight.min().item() >= 8.0
    # E[x | x > a] = φ(a) / (1 - Φ(a)), about a + 1/a - 2/a³
    assert weight.mean().item() == pytest.approx(8 + 1 / 8 - 2 / 8**3, abs=0.01)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 4, 2), (8, 2, 2), (5, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    weight = torchlite.empty(shape, dtype=torchlite.float64, requires_grad=True)
    assert init.orthogonal_(weight, gain=3) is weight
    matrix = weight.detach().numpy().reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 9 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_matrices_are_spread_evenly() -> None:
    """The mean of rotations distributed uniformly is 0, which without the signs of R's diagonal it is not."""
    matrices = np.array([init.orthogonal_(torchlite.empty(3, 3)).numpy() for _ in range(400)])
    assert np.abs(matrices.mean(0)).max() < 5 * math.sqrt(1 / 3 / 400)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.55, 1.0])
def test_sparse(sparsity: float) -> None:
    weight = torchlite.empty(20, 300)
    assert init.sparse_(weight, sparsity, std=2.0) is weight
    zero = weight.numpy() == 0
    assert (zero.sum(0) == math.ceil(sparsity * 20)).all()
    if 0 < sparsity < 1:
        assert zero.any(1).all(), "at random places, not the same in every column"
    if sparsity < 1:
        assert weight.numpy()[~zero].std() == pytest.approx(2.0, rel=0.1)


def test_old_names() -> None:
    for name in ("uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform",
                 "kaiming_normal", "orthogonal", "sparse"):  # fmt: skip
        assert getattr(init, name).__name__ == getattr(torch.nn.init, name).__name__ == name
    weight = torchlite.empty(2, 2)
    with pytest.warns(FutureWarning, match=r"`nn.init.constant` is now deprecated in favor of `nn.init.constant_`"):
        assert init.constant(weight, 2.5) is weight
    assert weight.tolist() == [[2.5, 2.5]] * 2


def test_empty_tensors() -> None:
    for function in (init.kaiming_normal_, init.kaiming_uniform_):
        with pytest.warns(UserWarning, match="no-op"):
            function(torchlite.empty(0, 3))


def test_signatures() -> None:
    for name, theirs in inspect.getmembers(torch.nn.init, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(getattr(init, name)).parameters.values()
            if name.endswith("_") or name == "calculate_gain":
                assert [(p.name, p.default) for p in ours] == [
                    (p.name, p.default) for p in inspect.signature(theirs).parameters.values()
                ], name


def test_meta() -> None:
    for function in (init.trunc_normal_, init.orthogonal_, init.eye_, lambda w: init.sparse_(w, 0.1)):
        assert function(torchlite.empty(3, 4, device="meta")).shape == (3, 4)
    assert init.dirac_(torchlite.empty(4, 2, 3, device="meta"), 2).shape == (4, 2, 3)
