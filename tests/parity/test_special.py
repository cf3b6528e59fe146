"""torchlite.special against torch.special."""

import math

import numpy as np
import pytest
from oracle import assert_same, same, torch

import torchlite
from torchlite.ops.gamma import _standard_gamma_grad

rng = np.random.default_rng(71)
X = rng.uniform(0.05, 0.95, (3, 4))
WIDE = np.concatenate([rng.uniform(-3, 3, 30), rng.uniform(-30, 30, 30), 10 ** rng.uniform(-12, -1, 5)])
EDGES = np.array([0.0, -0.0, 1, -1, 2, -2, -3, 0.5, -0.5, -1.5, 1e-300, -1e-300, np.inf, -np.inf, np.nan])

SMOOTH = ["digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1",
          "i1e", "log1p", "log_ndtr", "logit", "ndtr", "ndtri", "psi", "sinc"]  # fmt: skip
BESSEL = ["airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_i0", "modified_bessel_i1",
          "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
          "spherical_bessel_j0"]  # fmt: skip
POLYNOMIALS = [name for name in torch.special.__all__ if "polynomial" in name]


def test_every_name_of_torch_special_is_there() -> None:
    assert set(torchlite.special.__all__) == set(torch.special.__all__)
    assert [name for name in torchlite.special.__all__ if not callable(getattr(torchlite.special, name))] == []


@pytest.mark.parametrize(
    "name", ["lgamma", "digamma", "mvlgamma", "polygamma", "igamma", "igammac", "erfc", "erfinv", "i0"]
)
def test_functions_that_are_methods_too(name: str) -> None:
    arguments = {
        "mvlgamma": (2,),
        "polygamma": (1,),
        "igamma": (torchlite.tensor(1.5),),
        "igammac": (torchlite.tensor(1.5),),
    }
    given = arguments.get(name, ())
    x = torchlite.tensor([0.6, 0.9])
    result = getattr(x, name)(*given)
    in_order = (1, x) if name == "polygamma" else (x, *given)
    np.testing.assert_array_equal(result.numpy(), getattr(torchlite, name)(*in_order).numpy())
    assert getattr(x, f"{name}_")(*given) is x
    np.testing.assert_array_equal(x.numpy(), result.numpy())


@pytest.mark.parametrize("name", SMOOTH)
def test_functions_of_one_tensor(name: str) -> None:
    for array in (X, X.T, np.array(0.4), np.zeros((0, 3))):
        same(lambda T, x: getattr(T.special, name)(x), array, tolerance=1e-9)  # PyTorch's trigamma is as exact
    same(lambda T, x: getattr(T.special, name)(x), X.astype(np.float32), tolerance=2e-6)
    same(lambda T, x: getattr(T.special, name)(x), np.array([0, 1]), tolerance=2e-6)


@pytest.mark.parametrize("name", [*SMOOTH, *BESSEL])
def test_wide_ranges(name: str) -> None:
    # Some of PyTorch's Bessel functions have six digits; `tests/backends/test_special_functions.py` asks for more.
    same(lambda T, x: getattr(T.special, name)(x.detach()), WIDE, tolerance=3e-6 if name in BESSEL else 1e-12)


@pytest.mark.parametrize("name", [*SMOOTH, *BESSEL])
def test_edges(name: str) -> None:
    same(lambda T, x: getattr(T.special, name)(x.detach()), EDGES, tolerance=3e-8 if name in BESSEL else 1e-12)


@pytest.mark.parametrize("name", ["i0e", "i1", "i1e", "entr", "sinc", "erfcx", "gammaln"])
def test_gradients_at_zero(name: str) -> None:
    same(lambda T, x: getattr(T.special, name)(x), np.array([0.0, -0.0]))


@pytest.mark.parametrize("n", range(5))
def test_polygamma(n: int) -> None:
    same(lambda T, x: T.polygamma(n, x), np.concatenate([WIDE, np.abs(WIDE)]), tolerance=1e-6)
    same(lambda T, x: x.polygamma(n), np.array([1, 3]), tolerance=2e-6)


def test_second_derivatives_of_the_gamma_functions() -> None:
    def twice(T, x):
        (slope,) = T.autograd.grad(T.lgamma(x).sum() + T.polygamma(2, x).sum(), x, create_graph=True)
        return slope

    same(twice, rng.uniform(0.3, 9, 12), tolerance=1e-9)


def test_orders_below_zero_and_dimensions_below_one_are_refused() -> None:
    same(lambda T, x: T.polygamma(-1, x), X)
    same(lambda T, x: T.mvlgamma(x, 0), X)


@pytest.mark.parametrize("p", [1, 2, 5])
def test_mvlgamma(p: int) -> None:
    same(lambda T, x: (T.mvlgamma(x, p), T.special.multigammaln(x, p=p)), X + 3)


A, V = np.meshgrid(
    [0, 0.2, 1, 3.5, 19, 21, 40, 300, 1e4], [0, 0.01, 0.9, 1.2, 3, 18, 30, 45, 310, 1e4, np.inf], indexing="ij"
)


@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_incomplete_gamma_functions(name: str) -> None:
    same(lambda T, a, x: getattr(T, name)(a.detach(), x.detach()), A, V, tolerance=1e-8)
    same(lambda T, a, x: getattr(T, name)(a.detach(), x), A[1:-2, 1:-2], V[1:-2, 1:-2], tolerance=1e-8)
    negative = np.array([-1.0, 2.0, np.nan, np.inf])
    same(lambda T, a, x: getattr(T, name)(a.detach(), x.detach()), negative, np.array([1.0, -2.0, 1.0, np.inf]))
    same(lambda T, a, x: getattr(T, name)(a, x), np.array([1, 2]), np.array([1, 2]))


@pytest.mark.parametrize("name", ["igamma", "igammac"])
def test_the_gradient_of_the_shape_is_refused(name: str) -> None:
    same(lambda T, a, x: getattr(T, name)(a, x).sum().backward(), X, X)


def test_zeta() -> None:
    s, q = np.meshgrid([-1, 0.5, 1, 1.2, 2, 3, 7, 60], [-40.3, -3, -1.5, 0, 0.1, 1, 9, 1e9], indexing="ij")
    same(lambda T, s, q: T.special.zeta(s.detach(), q.detach()), s, q, tolerance=1e-11)
    same(lambda T, q: (T.special.zeta(2.5, q), T.special.zeta(q.detach() + 1, 3.0)), X + 1)
    same(lambda T, s: T.special.zeta(s, s).sum().backward(), X + 2)


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name: str) -> None:
    x = np.concatenate([WIDE[:20], [0, 1, -1, 0.5, 0.999]])[:, None]
    for n in (np.array([-1, 0, 1, 2, 3, 4.7, 5, 7, 8, 9, 12]), np.arange(-1, 6)):
        same(lambda T, x, n: getattr(T.special, name)(x.detach(), n.detach()), x, n, tolerance=1e-7)
    same(lambda T, x: getattr(T.special, name)(x.detach(), 3), x)
    same(lambda T, n: getattr(T.special, name)(x=0.3, n=n), np.arange(5), tolerance=2e-6)
    same(lambda T: getattr(T.special, name)(0.3, 2))


@pytest.mark.parametrize("name", ["xlogy", "xlog1py"])
def test_products_with_logarithms(name: str) -> None:
    same(lambda T, x, y: getattr(T.special, name)(x, y), X, X[::-1].copy())
    x, y = np.meshgrid([0, 0.5, -2, np.inf, np.nan], [0, -1, -3, 2, np.inf, np.nan], indexing="ij")
    same(lambda T, x, y: getattr(T.special, name)(x, y), x, y)
    same(lambda T, y: (getattr(T.special, name)(2, y), getattr(T.special, name)(y, 0.5)), X)


def test_the_inverse_error_function_keeps_its_digits_near_one() -> None:
    # PyTorch's has four of them here.
    y = 1 - 1e-15
    x = torchlite.special.erfinv(torchlite.tensor(y, dtype=torchlite.float64)).item()
    assert abs(math.erfc(x) / (1 - y) - 1) < 1e-12


def test_slopes_of_gamma_samples() -> None:
    # PyTorch's are rational approximations of three digits for the shapes below 8.
    a, x = rng.uniform(0.1, 12, 60), rng.uniform(0.1, 12, 60)
    ours = _standard_gamma_grad(torchlite.tensor(a), torchlite.tensor(x))
    theirs = torch._standard_gamma_grad(torch.tensor(a), torch.tensor(x))
    assert_same(ours, theirs, tolerance=2e-3)
