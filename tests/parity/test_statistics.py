"""Statistics against PyTorch's, with gradients, over dimensions, dtypes, 0-d tensors and NaN."""

from typing import Any

import numpy as np
import pytest
from oracle import same

rng = np.random.default_rng(51)
X, Y, CUBE = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 4))
INTS = rng.integers(0, 4, (3, 5))
HOLES = np.where(rng.random((3, 5)) < 0.3, np.nan, rng.normal(size=(3, 5)))
ZEROS = np.array([[1.0, 0.0, 3.0, 2.0], [0.0, 2.0, 0.0, 1.0], [2.0, 3.0, -1.0, 0.5]])

FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "prod": (lambda T, x: (T.prod(x), x.prod(0), x.prod(-1, keepdim=True)), (X, ZEROS, CUBE, INTS, INTS > 0)),
    "prod_0d": (lambda T, x: (x.prod(), x.prod(0)), (np.array(2.0), np.zeros((0, 3)))),
    "cumprod": (lambda T, x: (T.cumprod(x, 0), x.cumprod(-1)), (X, ZEROS, CUBE, INTS, np.array(2.0))),
    "logcumsumexp": (lambda T, x: (T.logcumsumexp(x, 0), x.logcumsumexp(-1)), (X, CUBE * 50, np.array(2.0))),
    "cummax": (lambda T, x: T.cummax(x, 0), (X, INTS, HOLES, np.array(2.0))),
    "cummin": (lambda T, x: x.cummin(-1), (X, INTS, HOLES)),
    "var_mean": (lambda T, x: (*T.var_mean(x), *T.var_mean(x, 0, keepdim=True), *T.std_mean(x, -1)), (X, CUBE)),
    "var_mean_biased": (lambda T, x: (*T.var_mean(x, 1, correction=0), *T.std_mean(x, 1, unbiased=False)), (X,)),
    "median": (lambda T, x: (T.median(x), *x.median(0), *T.median(x, -1, keepdim=True)), (X, CUBE, HOLES)),
    "median_values": (lambda T, x: (T.median(x), x.median(0)[0]), (INTS, np.array(2.0))),
    "nanmedian": (lambda T, x: (T.nanmedian(x), *x.nanmedian(0), *T.nanmedian(x, -1, True)), (X, HOLES)),
    "mode": (lambda T, x: (T.mode(x)[0], x.mode(0)[0], x.mode(0, True)[0]), (X, INTS, np.array(2.0))),
    "quantile": (lambda T, x: (T.quantile(x, 0.3), x.quantile(0.6, 0), T.quantile(x, 0.5, -1, True)), (X, CUBE, HOLES)),
    "quantiles": (lambda T, x: T.quantile(x, T.tensor([0.0, 0.3, 1.0], dtype=T.float64), 1, True), (X, HOLES)),
    "nanquantile": (lambda T, x: (T.nanquantile(x, 0.3), x.nanquantile(0.6, 0)), (X, HOLES)),
    "nansum": (lambda T, x: (T.nansum(x), x.nansum(0), T.nansum(x, 1, True)), (X, HOLES)),
    "nanmean": (lambda T, x: (T.nanmean(x), x.nanmean(0), T.nanmean(x, 1, True)), (X, HOLES)),
    "count_nonzero": (lambda T, x: (T.count_nonzero(x), x.count_nonzero(0)), (ZEROS, INTS)),
    "aminmax": (lambda T, x: (*T.aminmax(x), *x.aminmax(dim=0, keepdim=True)), (X, INTS)),
    "diff": (lambda T, x: (T.diff(x), x.diff(2, 0), T.diff(x, prepend=x, append=x)), (X, INTS, INTS > 1)),
    "diff_0d": (lambda T, x: x.diff(), (np.array(1.0), np.zeros((0,)))),
    "trapezoid": (lambda T, x: (T.trapezoid(x), T.trapz(x, dx=0.5, dim=0), T.cumulative_trapezoid(x)), (X, CUBE)),
    "cov": (lambda T, x: (T.cov(x), T.corrcoef(x), x[0].cov(), T.cov(x, correction=0)), (X,)),
    "cov_weights": (
        lambda T, x: (T.cov(x, fweights=T.tensor([1, 2, 1, 3])), T.cov(x, aweights=T.tensor([0.5, 1.0, 2.0, 1.0]).double())),
        (X,),
    ),
    "renorm": (lambda T, x: (T.renorm(x, 2, 0, 0.5), x.renorm(1, 1, 1.0)), (X,)),
    "logsumexp": (lambda T, x: (T.logsumexp(x, 0), x.logsumexp((0, 1), True)), (X,)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    function, arrays = FUNCTIONS[name]
    for array in arrays:
        same(function, array)


@pytest.mark.parametrize("mode", ["linear", "lower", "higher", "midpoint", "nearest", "other"])
def test_interpolation_of_quantiles(mode: str) -> None:
    same(lambda T, x: T.quantile(x, 0.4, 1, interpolation=mode), X)


def test_distances() -> None:
    for p in (1, 2, 3, float("inf")):
        same(lambda T, x, y, p=p: (T.dist(x, y, p), T.cdist(x, y, p)), X, Y)
    same(lambda T, x, y: T.trapezoid(x, y), X, Y)
    same(lambda T, x, y: T.trapezoid(x, y[0]), X, np.sort(Y))
    same(lambda T, x: T.quantile(x, 1.5), X)
