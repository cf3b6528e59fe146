"""Products through cuBLASLt: results for every way in which matrices lie, what it is asked for, and failures."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import nvidia_on_host
import pytest
import simulated_gpu

import torchlite as torch
import torchlite.nn.functional as F
from torchlite.backends.nvidia import cublaslt, products

pytestmark = pytest.mark.gpu
by_stand_in = pytest.mark.skipif(
    not simulated_gpu.installed() or nvidia_on_host.built() is None, reason="needs the stand-in of a simulated GPU"
)
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.fixture(autouse=True)
def plans_anew() -> Iterator[None]:
    products._way.cache_clear()
    if simulated_gpu.installed() and nvidia_on_host.built() is not None:
        nvidia_on_host.library().fake_clear()
    yield
    torch.set_float32_matmul_precision("highest")


def multiplied() -> list[str]:
    return [line.partition(" ")[2] for line in nvidia_on_host.calls() if line.startswith("cublasLtMatmul ")]


def normal(*shape: int, dtype: Any, seed: int = 0) -> Any:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape)).to("cuda", dtype)


def agrees(got: Any, expected: Any) -> None:
    tolerance = TOLERANCES[got.dtype]
    np.testing.assert_allclose(
        got.cpu().double().numpy(),
        expected.numpy(),
        rtol=tolerance,
        atol=tolerance * (expected.abs().max().item() or 1),
    )


# How rows lie: side by side, transposed, in part of a larger matrix, and with gaps in both directions.
LYING = {
    "dense": lambda x: x, "transposed": lambda x: x.t().contiguous().t(), "within": lambda x: F.pad(x, (2, 3, 1, 0))[1:, 2:-3],
    "with gaps": lambda x: x.repeat_interleave(2, 1)[:, ::2],
}  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("beside", LYING)
@pytest.mark.parametrize("lying", LYING)
def test_a_bias_is_added_in_the_store(lying: str, beside: str, dtype: Any) -> None:
    for rows, inner, columns in ((5, 7, 3), (1, 4, 6), (4, 1, 2), (3, 5, 1)):
        x, weight = normal(rows, inner, dtype=dtype), normal(columns, inner, dtype=dtype, seed=1)
        bias = normal(2 * columns, dtype=dtype, seed=2)[::2]
        expected = F.linear(*(t.cpu().double() for t in (x, weight, bias)))
        agrees(F.linear(LYING[lying](x), LYING[beside](weight), bias), expected)
    if simulated_gpu.installed() and nvidia_on_host.built() is not None:
        kind = "epilogue=1 compute=70" if dtype is torch.float64 else "epilogue=4 compute=68"  # no bias of float64
        assert multiplied() == [f"{kind} batch=1 stream={simulated_gpu.STREAM}"] * 4


SHAPES = [
    ((3, 4, 5), (3, 5, 2)),
    ((3, 4, 5), (5, 2)),
    ((4, 5), (3, 5, 2)),
    ((2, 3, 4, 5), (2, 3, 5, 1)),
    ((2, 1, 4, 5), (3, 5, 2)),
]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_batches(left: tuple[int, ...], right: tuple[int, ...], dtype: Any) -> None:
    x, y = normal(*left, dtype=dtype), normal(*right, dtype=dtype, seed=1)
    expected = np.matmul(x.cpu().double().numpy(), y.cpu().double().numpy())
    agrees(torch.matmul(x, y), torch.tensor(expected))
    agrees(torch.matmul(y.mT, x.mT), torch.tensor(expected).mT)


@by_stand_in
def test_batches_are_one_call_and_nothing_is_copied_for_a_shared_matrix() -> None:
    x, y = normal(6, 4, 5, dtype=torch.bfloat16), normal(1, 5, 2, dtype=torch.bfloat16)
    assert (x @ y).shape == (6, 4, 2)
    assert multiplied() == [f"epilogue=1 compute=68 batch=6 stream={simulated_gpu.STREAM}"]


@by_stand_in
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_products_can_be_recorded(dtype: Any) -> None:
    x, y = normal(4, 5, dtype=dtype), normal(5, 3, dtype=dtype)
    result, stream = x @ y, simulated_gpu.graphs_on_host.Stream(non_blocking=True)
    with simulated_gpu.graphs_on_host.using_allocator(object()), stream:
        stream.begin_capture()
        recorded = x @ y
        graph = stream.end_capture()
    x.mul_(2)
    graph.launch()
    agrees(recorded, result.cpu().double() * 2)


@by_stand_in
def test_tf32_is_what_programs_allow() -> None:
    x, weight, bias = (
        normal(4, 5, dtype=torch.float32),
        normal(3, 5, dtype=torch.float32),
        normal(3, dtype=torch.float32),
    )
    for precision, compute in (("highest", 68), ("high", 77), ("highest", 68)):
        torch.set_float32_matmul_precision(precision)
        F.linear(x, weight, bias)
        assert f"compute={compute} " in multiplied()[-1]
    torch.set_float32_matmul_precision("high")
    F.linear(x.half(), weight.half(), bias.half())
    assert "compute=68 " in multiplied()[-1]


@by_stand_in
def test_heuristics_are_asked_once_for_each_problem_and_descriptors_freed() -> None:
    x, weight = normal(4, 8, dtype=torch.float32), normal(8, 8, dtype=torch.float32)
    before = nvidia_on_host.library().fake_live()
    for bias in (torch.zeros(8, device="cuda"), torch.ones(8, device="cuda")):
        agrees(F.linear(x, weight, bias), F.linear(*(t.cpu().double() for t in (x, weight, bias))))
    assert sum("GetHeuristic" in line for line in nvidia_on_host.calls()) == 1
    assert nvidia_on_host.library().fake_live() == before + 4
    products._way.cache_clear()
    assert nvidia_on_host.library().fake_live() == before


@by_stand_in
@pytest.mark.parametrize("function", ["cublasLtMatrixLayoutCreate", "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"])
def test_failures_are_told_in_the_library_s_words(function: str) -> None:
    arrays = normal(4, 5, dtype=torch.float32), normal(3, 5, dtype=torch.float32), normal(3, dtype=torch.float32)
    nvidia_on_host.library().fake_fail(function.encode(), 7)
    with pytest.raises(RuntimeError, match=rf"cuBLASLt: {function} failed: CUBLAS_STATUS_INVALID_VALUE \(7\)"):
        F.linear(*arrays)
    nvidia_on_host.library().fake_clear()
    assert F.linear(*arrays).shape == (4, 3)


@by_stand_in
def test_without_the_library_products_are_cupy_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublaslt, "_handles", {})
    arrays = normal(4, 5, dtype=torch.float32), normal(3, 5, dtype=torch.float32), normal(3, dtype=torch.float32)
    expected = F.linear(*(t.cpu().double() for t in arrays))
    nvidia_on_host.library().fake_fail(b"cublasLtCreate", 1)
    with pytest.warns(RuntimeWarning, match=r"cublasLtCreate failed.*products on cuda:0 are CuPy's"):
        agrees(F.linear(*arrays), expected)
    agrees(F.linear(*arrays), expected)
    monkeypatch.setattr(cublaslt.LIBRARY, "loaded", None)
    agrees(F.linear(*arrays), expected)
    assert multiplied() == []


def test_mistakes_are_those_of_the_operator() -> None:
    x, weight = torch.ones(4, 5, device="cuda"), torch.ones(3, 5, device="cuda")
    with pytest.raises(RuntimeError, match="bias of shape"):
        F.linear(x, weight, torch.ones(4, device="cuda"))
    with pytest.raises(RuntimeError, match="has 4 features"):
        F.linear(x[:, :4], weight, torch.ones(3, device="cuda"))
    assert F.linear(x[:0], weight, torch.ones(3, device="cuda")).shape == (0, 3)
