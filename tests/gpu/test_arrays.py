"""Where CuPy's arrays differ from NumPy's: how they lie in memory, and what they have operations of."""

from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite.nn import functional as F

pytestmark = pytest.mark.gpu
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def both(program: Any) -> None:
    """``program(device)`` gives on a GPU what it gives on the CPU, exactly."""
    for a, b in zip(program("cuda"), program("cpu"), strict=True):
        assert (a.dtype, a.stride()) == (b.dtype, b.stride())
        np.testing.assert_array_equal(a.cpu().double().numpy(), b.double().numpy())


def test_views_by_strides_remember_their_memory() -> None:
    def program(device: str) -> Any:
        x = torch.arange(12.0, device=device)
        seen = x.as_strided((2, 2), (3, 2), 1)
        again = seen.as_strided((3,), (0,), 2)
        again[1:].as_strided((2,), (5,)).mul_(10)
        return x, seen, again, torch.tensor([seen.storage_offset(), again[1:].storage_offset()])

    both(program)


@pytest.mark.parametrize(
    "function", [torch.relu, lambda x: x * 2, F.gelu, lambda x: x + x.new_ones(3, 1, 1), torch.frexp]
)
def test_results_lie_as_what_they_are_computed_from(function: Any) -> None:
    x = torch.randn(2, 3, 4, 5, device="cuda").contiguous(memory_format=torch.channels_last)
    for result in function(x) if function is torch.frexp else [function(x)]:
        assert result.stride() == x.stride()
    both(lambda device: [torch.arange(6.0, device=device).view(2, 3).t() + torch.tensor([1.0, 2.0], device=device)])


@pytest.mark.parametrize("dtype", [*DTYPES, torch.int64, torch.uint8])
@pytest.mark.parametrize("reduce", ["amax", "amin", "sum", "prod"])
def test_what_falls_together_is_reduced_in_full(reduce: str, dtype: Any) -> None:
    """Numbers that float32 can't tell apart, both zeros, infinities and NaN among them."""
    numbers = [0.1, 0.1 + 1e-12, -0.0, 0.0, -3.0, float("inf"), float("-inf"), float("nan"), 2.0, 1.0]
    numbers = numbers if dtype.is_floating_point else [1, 2, 3, 0, 0, 5, 7, 200, 2, 1]
    places = [0, 0, 1, 1, 2, 3, 4, 5, 5, 6]

    def program(device: str) -> Any:
        x = (
            torch.tensor([-1.0] * 8, device=device).to(dtype)
            if dtype.is_floating_point
            else torch.ones(8, device=device).to(dtype)
        )
        source = torch.tensor(numbers, dtype=torch.float64, device=device).to(dtype)
        return [x.scatter_reduce(0, torch.tensor(places, device=device), source, reduce)]

    both(program)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.int16, torch.int64, torch.complex64])
def test_what_falls_together_is_added(dtype: Any) -> None:
    def program(device: str) -> Any:
        places = torch.tensor([0, 2, 2, 2, 0], device=device)
        added = (
            torch.zeros(3, 2, device=device).to(dtype).index_add(0, places, torch.ones(5, 2, device=device).to(dtype))
        )
        return [added.real] if dtype.is_complex else [added]

    both(program)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_keep_the_dtype(dtype: Any) -> None:
    x = torch.linspace(-3, 3, 7, device="cuda").to(dtype).requires_grad_()
    for function in (F.gelu, torch.erf, torch.special.erfc, torch.lgamma, torch.digamma):
        y = function(x)
        assert y.dtype is dtype
        assert torch.autograd.grad(y.sum(), x)[0].dtype is dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_choosing_and_sorting_keep_half_types(dtype: Any) -> None:
    numbers = [3.0, -1.0, 2.0, float("inf"), 3.0, -0.0, 0.5, 1.0]

    def program(device: str) -> Any:
        x = torch.tensor(numbers, device=device).to(dtype)
        chosen = [torch.where(x > 1, x, 0.0), torch.where(x > 1, x.new_ones(()), x), x.clamp(-0.5, 2), x.round()]
        return [*chosen, *x.sort(), *x.sort(descending=True), *x.topk(3), *x.unique(return_counts=True), x.sign()]

    both(program)


def test_attention_of_bfloat16_on_the_device_has_its_dtype() -> None:
    """By array operations too, where a mask is given for each key."""
    q, k, v = (torch.randn(2, 3, 5, 4, device="cuda").bfloat16().requires_grad_() for _ in range(3))
    mask = torch.ones(5, 5, device="cuda").tril().bool()
    results = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True),
        F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
    ]
    for out in results:
        assert out.dtype is torch.bfloat16
    np.testing.assert_allclose(*(out.detach().cpu().float() for out in results), rtol=0.02, atol=0.02)
    sum(results).sum().backward()
    assert q.grad.dtype is torch.bfloat16


def test_a_number_stays_what_it_is_whatever_is_written_into_results() -> None:
    x = torch.tensor([1.0, float("nan")], device="cuda")
    for _ in range(2):
        for number in (0.0, -0.0, 2.0):
            result = torch.where(x == 1, x, number) * number
            result += 1
            x.clone()[0] = number
        assert torch.where(x == 1, 2.0, -0.0).signbit().tolist() == [False, True]
    for zeros in (torch.full((2, 2), -0.0, device="cuda"), x.clone().fill_(-0.0), F.pad(x, (1, 0), value=-0.0)[:1]):
        assert zeros.signbit().all()
    assert (torch.ones((), device="cuda") + 2).add_(1).item() == 4 and (x + 2)[0].item() == 3
