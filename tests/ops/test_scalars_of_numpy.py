"""Scalars of NumPy as parameters mean what numbers of Python mean: they widen no result."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite.nn import functional as F

X = np.random.default_rng(0).uniform(-2, 2, (4, 6)).astype(np.float32)

# Of a tensor and a number between 0 and 2.
FLOATS = {
    "elu": lambda x, n: F.elu(x, n),
    "elu, in place": lambda x, n: F.elu(x, n, True),
    "celu": lambda x, n: F.celu(x, n),
    "leaky_relu": lambda x, n: F.leaky_relu(x, n),
    "leaky_relu, below 0": lambda x, n: F.leaky_relu(x, -n),
    "rrelu": lambda x, n: F.rrelu(x, n, n),
    "softplus": lambda x, n: F.softplus(x, n),
    "softplus, threshold": lambda x, n: F.softplus(x, 1, n),
    "softshrink": lambda x, n: F.softshrink(x, n),
    "hardshrink": lambda x, n: F.hardshrink(x, n),
    "hardtanh": lambda x, n: F.hardtanh(x, -n, n),
    "threshold": lambda x, n: F.threshold(x, n, n),
    "module": lambda x, n: torch.nn.Sequential(torch.nn.LeakyReLU(n), torch.nn.ELU(n), torch.nn.Softplus(n))(x),
    "clamp": lambda x, n: x.clamp(-n, n),
    "arithmetic": lambda x, n: (x * n + n) / n - n * x // n % n,
    "powers": lambda x, n: x.abs() ** n + n**x,
    "alpha": lambda x, n: torch.add(x, x, alpha=n).sub_(x, alpha=n),
    "addcmul": lambda x, n: torch.addcmul(x, x, x, value=n) + torch.addcdiv(x, x, x, value=n) + torch.lerp(x, x, n),
    "normalize": lambda x, n: F.normalize(x, n, 1, n),
    "normalizations": lambda x, n: F.layer_norm(x, (6,), eps=n) + F.rms_norm(x, (6,), eps=n),
    "batch_norm": lambda x, n: F.batch_norm(x, None, None, training=True, eps=n),
    "losses": lambda x, n: F.huber_loss(x, -x, delta=n) + F.smooth_l1_loss(x, -x, beta=n),
    "attention": lambda x, n: F.scaled_dot_product_attention(x[None], x[None], x[None], scale=n),
    "dropout": lambda x, n: F.dropout(x, n / 2),
    "where": lambda x, n: torch.where(x > 0, x, n) + x.masked_fill(x > n, n),
    "full": lambda x, n: torch.full((2,), n) + x.new_full((2,), n),
    "arange": lambda x, n: torch.arange(0, 3 * n, n),
    "nan_to_num": lambda x, n: torch.nan_to_num(x / 0, n, n, n),
    "norms": lambda x, n: torch.linalg.vector_norm(x, n) + x.renorm(n, 0, n).sum() + torch.cdist(x, -x, n).sum(),
}
# Of a tensor and the number 1.
INTEGERS = {
    "reductions": lambda x, n: x.sum(n) + x.amax(n) + x.max(n)[0] + x.median(n)[0] + x.norm(2, n) + x.any(n) + x.all(n),
    "dimensions": lambda x, n: x.unsqueeze(n).squeeze(n).softmax(n).cumsum(n).roll(n, n).flip(n).tile(n).repeat(n, n),
    "parts": lambda x, n: torch.cat([*x.split(n, n), *x.chunk(n, n), *x.tensor_split(n, n)], n),
    "spectrum": lambda x, n: torch.fft.fftshift(torch.fft.fftn(x, dim=n), n).real,
    "pooling": lambda x, n: F.max_pool1d(x[None], 2, n) + F.avg_pool1d(x[None], 2, n),
    "linspace": lambda x, n: torch.linspace(0, 1, n),
    "elu": lambda x, n: F.elu(x, n),
    "softplus": lambda x, n: F.softplus(x, n),
}


def same(a: Any, b: Any) -> None:
    assert a.dtype is b.dtype
    np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", FLOATS)
def test_floats(name: str) -> None:
    for number in (np.float64(1.5), np.float32(1.5)):
        torch.manual_seed(0)
        result = FLOATS[name](torch.tensor(X), number)
        torch.manual_seed(0)
        same(result, FLOATS[name](torch.tensor(X), 1.5))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name: str) -> None:
    for number in (np.int64(1), np.int32(1)):
        same(INTEGERS[name](torch.tensor(X), number), INTEGERS[name](torch.tensor(X), 1))


def test_truth_values() -> None:
    x = torch.tensor(X)
    same(x.masked_fill(x > 0, np.bool_(True)), x.masked_fill(x > 0, True))
    same(F.elu(x, np.bool_(True)), F.elu(x, True))


def test_tensors_without_dimensions() -> None:
    same(F.leaky_relu(torch.tensor(X), torch.tensor(0.5)), F.leaky_relu(torch.tensor(X), 0.5))


def test_compiled() -> None:
    def functions(x: Any, n: Any) -> list[Any]:
        return [F.elu(x, n), F.leaky_relu(x, n), F.softplus(x, n), F.hardtanh(x, -n, n), torch.add(x, x, alpha=n)]

    compiled = torch.compile(functions, fullgraph=True)
    for number in (1.5, np.float64(1.5), np.float32(0.5), np.int64(1)):
        for a, b in zip(compiled(torch.tensor(X), number), functions(torch.tensor(X), number), strict=True):
            assert a.dtype is b.dtype is torch.float32
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "value", [Fraction(3, 2), np.array(1.5), "1.5", None], ids=["fraction", "array", "text", "none"]
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    for function in (F.elu, F.leaky_relu, F.softplus):
        with pytest.raises(TypeError):
            function(torch.tensor(X), value)


def test_fractions_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a number of Python or NumPy, got Fraction"):
        torch.tensor(X) * Fraction(1, 2)
    with pytest.raises(TypeError):
        torch.tensor(X).clamp(Fraction(1, 2))


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam"])
def test_hyperparameters(name: str) -> None:
    def trained(kind: Any) -> Any:
        p = torch.nn.Parameter(torch.tensor(X))
        optimizer = getattr(torch.optim, name)([p], lr=kind(0.25), weight_decay=kind(0.125))
        for _ in range(2):
            p.grad = torch.tensor(X)
            optimizer.step()
        assert p.dtype is torch.float32
        assert all(v.dtype is torch.float32 for s in optimizer.state.values() for v in s.values() if v is not None)
        return p.detach()

    same(trained(np.float64), trained(float))
    np.testing.assert_allclose(trained(np.float32).numpy(), trained(float).numpy(), rtol=1e-5)
