"""Attention's kernels: what they compute for every shape of tiles, and that they store no scores. Without a GPU on the host."""

import math
from typing import Any

import cuda_on_host
import numpy as np
import pytest
import simulated_gpu

import torchlite as torch
from torchlite.backends.nvidia import attention as kernels
from torchlite.ops.attention import attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda_on_host.COMPILER is None and simulated_gpu.installed(), reason="needs a C++ compiler"),
]
TOLERANCES = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def normal(*shape: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def computed(given: list[Any], mask: Any, causal: bool, scale: float, dtype: Any, device: str) -> list[Any]:
    """The result and the gradients, of rounded numbers, as float64 arrays of the host."""
    q, k, v, *masks = (torch.tensor(a).to(dtype) for a in (*given, *(() if mask is None else (mask,))))
    tensors = [t.double() if device == "cpu" else t.to(device) for t in (q, k, v, *masks)]
    for t in tensors[:3]:
        t.requires_grad_()
    out = attention(*tensors[:3], tensors[3] if masks else None, causal, scale)
    cotangent = torch.tensor(normal(*out.shape, seed=9)).to(dtype).to(out.dtype).to(device)
    out.backward(cotangent)
    return [x.detach().cpu().double().numpy() for x in (out, *(t.grad for t in tensors[:3]))]


def agree(given: list[Any], mask: Any = None, causal: bool = False, dtype: Any = torch.float32) -> None:
    scale = 1 / math.sqrt(given[0].shape[-1])
    tolerance = TOLERANCES[dtype]
    for got, expected in zip(
        computed(given, mask, causal, scale, dtype, "cuda"),
        computed(given, mask, causal, scale, dtype, "cpu"),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(np.abs(expected).max(), 1))


@pytest.fixture(autouse=True)
def by_kernels(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Attention that is written with array operations would not be tested here."""
    launched: list[str] = []
    launch = kernels._Attention.launch
    monkeypatch.setattr(kernels._Attention, "launch", lambda *a: (launched.append(a[1]), launch(*a))[1])
    return launched


# (leading dimensions), queries, keys, width of keys, width of values: within a tile, full tiles, and beyond.
SHAPES = [
    ((), 1, 1, 1, 1), ((3,), 5, 7, 4, 3), ((2, 2), 64, 64, 32, 16), ((1, 2), 65, 70, 33, 17), ((2, 1), 30, 130, 16, 64),
    ((1, 1), 130, 20, 8, 128), ((2, 1, 2), 9, 66, 128, 5),
]  # fmt: skip


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_results_and_gradients(shape: Any, causal: bool, by_kernels: list[str]) -> None:
    lead, queries, keys, e, v = shape
    given = [normal(*lead, n, w, seed=i) for i, (n, w) in enumerate(((queries, e), (keys, e), (keys, v)))]
    agree(given, causal=causal)
    assert by_kernels == ["attention", "attention_rows", "attention_grad_q", "attention_grad_kv"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cores", [False, True])
def test_half_precision_adds_up_in_float32(dtype: Any, cores: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tensor cores and without."""
    if not cores:
        monkeypatch.setattr(kernels, "_CORES", {})
    assert (
        "TENSOR_CORES" in kernels.source(90, str(dtype)[6:], 8, 8, False, False).partition("// softmax")[0]
    ) == cores
    assert "#define TENSOR_CORES" not in kernels.source(75, str(dtype)[6:], 8, 8, False, False)
    kernels._kernels.cache_clear()
    given = [normal(2, n, 24, seed=n) for n in (40, 90, 90)]
    agree(given, normal(2, 40, 90, seed=3), dtype=dtype)
    agree([normal(1, n, width, seed=n) for n, width in ((70, 40), (70, 40), (70, 88))], causal=True, dtype=dtype)
    kernels._kernels.cache_clear()


def test_masks() -> None:
    given = [normal(2, 2, n, 8, seed=n) for n in (20, 75, 75)]
    mask = np.where(np.random.default_rng(0).random((2, 2, 20, 75)) < 0.3, -np.inf, normal(2, 2, 20, 75, seed=4))
    mask[0, 1, 3] = -np.inf  # a query that sees nothing
    mask[1, 0, 5, :64] = -np.inf  # and one that sees nothing in its first tile
    agree(given, mask)
    agree(given, mask, causal=True)
    agree(given, np.broadcast_to(mask[:, :1, :1, :], mask.shape))


def test_arrays_are_read_where_they_lie() -> None:
    rng = np.random.default_rng(0)
    packed = rng.normal(size=(2, 10, 3, 4, 8)).astype(np.float32)  # (batch, time, q/k/v, heads, width)
    there = torch.tensor(packed, device="cuda")
    q, k, v = (there[:, :, i].transpose(1, 2) for i in range(3))
    got = attention(q, k, v, None, True, 0.3)
    expected = attention(*(t.cpu().contiguous() for t in (q, k, v)), None, True, 0.3)
    np.testing.assert_allclose(got.cpu().numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    flipped = attention(q.mT.contiguous().mT, k, v, None, True, 0.3)
    assert torch.equal(flipped, got)


def test_not_a_number_and_infinities_are_those_of_the_scores() -> None:
    q = np.ones((1, 4, 2), np.float32)
    q[0, 0, 0], q[0, 1, 0], q[0, 2, 0] = np.nan, np.inf, -np.inf
    for given in ([q, np.ones((1, 3, 2)), normal(1, 3, 2, seed=0)], [np.ones((1, 3, 2)), q, normal(1, 4, 2, seed=0)]):
        tensors = [torch.tensor(np.asarray(a, np.float32)) for a in given]
        expected = attention(*tensors, None, False, 1.0)
        got = attention(*(t.to("cuda") for t in tensors), None, False, 1.0)
        np.testing.assert_array_equal(np.isnan(got.cpu().numpy()), np.isnan(expected.numpy()))
        np.testing.assert_allclose(got.cpu().numpy(), expected.numpy(), rtol=1e-5)


def test_what_there_are_no_kernels_for_is_computed_without(by_kernels: list[str]) -> None:
    for arrays in ([normal(1, 3, 129, seed=0)] * 3, [normal(0, 3, 4, seed=0)] * 3):
        there = [torch.tensor(a, dtype=torch.float32, device="cuda") for a in arrays]
        assert attention(*there, None, False, 0.1).shape == there[0].shape
    x = torch.tensor(normal(1, 3, 4, seed=0), device="cuda")
    assert attention(x, x, x, None, False, 0.1).dtype is torch.float64
    assert by_kernels == []


def test_equal_calls_give_equal_bits() -> None:
    given = [torch.tensor(normal(2, n, 16, seed=n), dtype=torch.float32, device="cuda") for n in (70, 90, 90)]
    first, second = (attention(*given, None, False, 0.25) for _ in range(2))
    assert torch.equal(first, second)


def test_gradients_of_second_order_are_those_of_the_definition() -> None:
    q, k, v = (
        torch.tensor(normal(1, n, 3, seed=n), dtype=torch.float32, device="cuda").requires_grad_() for n in (4, 5, 5)
    )
    (slope,) = torch.autograd.grad(attention(q, k, v, None, False, 0.5).square().sum(), q, create_graph=True)
    slope.square().sum().backward()
    assert k.grad is not None and k.grad.isfinite().all()


def test_a_text_that_cannot_be_compiled_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "source", lambda *_: 'extern "C" __global__ void attention(int x) { no; }')
    kernels._kernels.cache_clear()
    x = torch.tensor(normal(1, 3, 2, seed=0), dtype=torch.float32, device="cuda")
    with pytest.warns(RuntimeWarning, match="kernels of attention can't be compiled, so array operations run instead"):
        first = attention(x, x, x, None, False, 1.0)
    assert torch.equal(attention(x, x, x, None, False, 1.0), first)
    kernels._kernels.cache_clear()


def test_scaled_dot_product_attention_goes_there(by_kernels: list[str]) -> None:
    q, k, v = (torch.tensor(normal(2, 3, n, 8, seed=n), dtype=torch.float32, device="cuda") for n in (5, 6, 6))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    expected = torch.nn.functional.scaled_dot_product_attention(q.cpu(), k.cpu(), v.cpu())
    np.testing.assert_allclose(out.cpu().numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert by_kernels == ["attention"]
