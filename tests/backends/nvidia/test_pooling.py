"""Pooling on a GPU by kernels of our own: beside NumPy in float64, on a simulated GPU too."""

from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite.backends.nvidia import pooling
from torchlite.nn import functional as F

pytestmark = pytest.mark.gpu
LIMITS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that ran."""
    ran: list[str] = []
    launch = pooling._launch

    def noted(name: str, *args: Any, **kwargs: Any) -> bool:
        ran.append(name)
        return launch(name, *args, **kwargs)

    monkeypatch.setattr(pooling, "_launch", noted)
    return ran


def run(function: Any, x: Any, device: str, dtype: Any, last: bool = False) -> list[Any]:
    """Results and the gradient."""
    x = torch.tensor(x).to(device, dtype)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    out = function(x)
    g = torch.arange(out.numel(), device=device).reshape(out.shape).to(out.dtype).remainder(7)
    out.backward(g.contiguous(memory_format=torch.channels_last) if last else g)
    return [out.detach(), x.grad]


GEOMETRIES = {
    "max of 2": (lambda x: F.max_pool2d(x, 2), (2, 3, 6, 8)),
    "max of 3 by 2": (lambda x: F.max_pool2d(x, 3, 2, 1), (2, 3, 7, 6)),
    "dilated": (lambda x: F.max_pool2d(x, (3, 2), (2, 1), dilation=(2, 3)), (1, 2, 9, 8)),
    "ceil": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), (2, 2, 8, 6)),
    "one dimension": (lambda x: F.max_pool1d(x, 3, 1, 1), (2, 3, 9)),
    "three dimensions": (lambda x: F.max_pool3d(x, 2, padding=1), (1, 2, 4, 3, 5)),
    "mean of 2": (lambda x: F.avg_pool2d(x, 2), (2, 3, 6, 8)),
    "mean of 3 by 2": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), (2, 3, 7, 6)),
    "mean in three dimensions": (lambda x: F.avg_pool3d(x, (1, 2, 3), (1, 2, 1)), (1, 2, 2, 4, 5)),
}


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_results_and_gradients(name: str, dtype: Any, launched: list[str]) -> None:
    function, shape = GEOMETRIES[name]
    # Small whole numbers, of which there are equals in every window.
    x = np.random.default_rng(1).integers(-3, 4, shape).astype(np.float64)
    for got, expected in zip(run(function, x, "cuda", dtype), run(function, x, "cpu", torch.float64), strict=True):
        assert (got.dtype, got.is_cuda) == (dtype, True)
        np.testing.assert_allclose(got.cpu().double(), expected, rtol=LIMITS[dtype], atol=LIMITS[dtype])
    assert set(launched) == ({"max_pool", "spread"} if "mean" not in name else {"sum_windows", "share"})


@pytest.mark.parametrize("name", ["max of 3 by 2", "mean of 3 by 2"])
def test_channels_stay_last(name: str, launched: list[str]) -> None:
    function, shape = GEOMETRIES[name]
    x = np.random.default_rng(1).normal(size=shape)
    plain = run(function, x, "cuda", torch.float32)
    for got, expected in zip(run(function, x, "cuda", torch.float32, last=True), plain, strict=True):
        assert got.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(got.cpu(), expected.cpu())
    assert launched


def test_nan_wins_and_infinities_count(launched: list[str]) -> None:
    x = torch.tensor([[[1.0, float("nan"), 2.0, -float("inf"), -float("inf"), -float("inf"), 3.0, float("inf")]]])
    for kernel, padding in ((2, 0), (3, 1)):
        ours = F.max_pool1d(x.to("cuda"), kernel, kernel, padding, return_indices=True)
        for got, expected in zip(ours, F.max_pool1d(x, kernel, kernel, padding, return_indices=True), strict=True):
            np.testing.assert_array_equal(got.cpu(), expected)
    assert launched == ["max_pool", "max_pool"]


def test_views_are_read_where_they_lie(launched: list[str]) -> None:
    x = torch.arange(2.0 * 8 * 9 * 3, device="cuda").reshape(2, 8, 9, 3).transpose(1, 3)[:, :, ::2]
    np.testing.assert_array_equal(F.max_pool2d(x, 2).cpu(), F.max_pool2d(x.cpu(), 2))
    np.testing.assert_array_equal(F.avg_pool2d(x, 2).cpu(), F.avg_pool2d(x.cpu(), 2))
    assert launched == ["max_pool", "sum_windows"]


def test_a_sample_alone_has_no_samples_beside_its_channels(launched: list[str]) -> None:
    x = torch.arange(2.0 * 4 * 3 * 5, device="cuda").reshape(2, 3, 5, 4).permute(0, 3, 1, 2)
    assert x.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(F.max_pool3d(x, 2).cpu(), F.max_pool3d(x.cpu(), 2))
    assert launched == ["max_pool"]


def test_what_the_kernels_do_not_do_runs_as_array_operations(launched: list[str]) -> None:
    x = torch.arange(40, device="cuda").reshape(1, 1, 5, 8)
    np.testing.assert_array_equal(F.max_pool2d(x, 2).cpu(), F.max_pool2d(x.cpu(), 2))
    assert not launched
