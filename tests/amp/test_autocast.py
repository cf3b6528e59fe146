"""`autocast`: where it holds, what it keeps, and what it leaves alone."""

import gc
import threading
import warnings
import weakref

import pytest

import torchlite as torch
from torchlite import autocasting
from torchlite.backends import native
from torchlite.utils.checkpoint import checkpoint


@pytest.fixture(autouse=True)
def nothing_left_on():
    yield
    assert autocasting.threads == 0
    assert not autocasting.autocast_mode.enabled
    assert not autocasting.autocast_mode.cache


def product_dtype():
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_blocks_nest_and_end():
    assert product_dtype() is torch.float32
    with torch.autocast("cpu"):
        assert product_dtype() is torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert product_dtype() is torch.float32
            with torch.autocast("cpu", dtype=torch.float16):
                assert product_dtype() is torch.float16
        assert product_dtype() is torch.bfloat16
    assert product_dtype() is torch.float32
    assert torch.get_autocast_dtype("cpu") is torch.bfloat16


def test_an_error_ends_the_block():
    with pytest.raises(ZeroDivisionError), torch.autocast("cpu"):
        _ = 1 // 0
    assert product_dtype() is torch.float32


def test_it_is_a_decorator_and_can_be_entered_again():
    context = torch.amp.autocast("cpu")

    @context
    def of_half(depth):
        return product_dtype() if depth == 0 else of_half(depth - 1)

    assert of_half(2) is torch.bfloat16
    assert product_dtype() is torch.float32


def test_it_holds_for_its_thread():
    found = []
    with torch.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append(product_dtype()))
        thread.start()
        thread.join()
    assert found == [torch.float32]


def test_a_parameter_is_converted_once_and_gathers_its_gradient_in_float32():
    weight = torch.nn.Parameter(torch.full((2, 2), 1 / 3))
    x = torch.ones(1, 2)
    with torch.autocast("cpu"):
        first, second = x @ weight, x @ weight
        (kept,) = autocasting.autocast_mode.cache.values()
        assert first._node.edges[1] is second._node.edges[1] is kept[3]._node
    assert not autocasting.autocast_mode.cache
    first.float().sum().backward()
    second.float().sum().backward()  # through the same conversion again
    assert weight.grad.dtype is torch.float32
    assert weight.grad.tolist() == [[2, 2], [2, 2]]


def test_a_converted_parameter_follows_writes():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with torch.autocast("cpu"):
        assert (torch.ones(1, 2) @ weight).tolist() == [[2, 2]]
        with torch.no_grad():
            weight.mul_(3)
        assert (torch.ones(1, 2) @ weight).tolist() == [[6, 6]]


def test_what_was_converted_without_a_gradient_does_not_hide_it_later():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with torch.autocast("cpu"):
        with torch.no_grad():
            assert not (torch.ones(1, 2) @ weight).requires_grad
        assert (torch.ones(1, 2) @ weight).requires_grad


def test_activations_are_not_kept():
    with torch.autocast("cpu"):
        x = torch.ones(2, 2, requires_grad=True) * 2
        alive = weakref.ref(x)
        x @ x
        del x
        gc.collect()
        assert alive() is None


def test_kernels_compute_a_step_of_a_small_network(monkeypatch):
    if native.kernel("bfloat16.matmul") is None:
        pytest.skip("kernels are switched off or can't be compiled")
    used, kernel = set(), native.kernel
    monkeypatch.setattr(native, "kernel", lambda name: used.add(name) or kernel(name))
    model = torch.nn.Sequential(torch.nn.Linear(16, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    with torch.autocast("cpu"):
        loss = torch.nn.functional.cross_entropy(model(torch.ones(64, 16)), torch.zeros(64, dtype=torch.int64))
    loss.backward()
    assert used >= {f"bfloat16.{name}" for name in ("linear", "matmul", "relu", "relu_grad", "cast")}
    assert used >= {"cross_entropy.cross_entropy", "cross_entropy.cross_entropy_grad"}


def test_without_the_cache_nothing_is_kept():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with torch.autocast("cpu", cache_enabled=False):
        torch.ones(1, 2) @ weight
        assert not torch.is_autocast_cache_enabled()
        assert not autocasting.autocast_mode.cache
    assert torch.is_autocast_cache_enabled()


def test_float64_and_integers_stay():
    with torch.autocast("cpu"):
        assert (torch.ones(2, 2, dtype=torch.float64) @ torch.ones(2, 2, dtype=torch.float64)).dtype is torch.float64
        assert (torch.ones(2, 2, dtype=torch.int64) @ torch.ones(2, 2, dtype=torch.int64)).dtype is torch.int64
        with pytest.raises(RuntimeError, match="dtype"):
            torch.ones(2, 2, dtype=torch.float64) @ torch.ones(2, 2)


def test_out_and_in_place_keep_their_dtype():
    x, out = torch.ones(2, 2), torch.empty(2, 2)
    with torch.autocast("cpu"):
        assert torch.mm(x, x, out=out) is out
        assert x.addmm_(out, out).dtype is torch.float32
    assert out.tolist() == [[2, 2], [2, 2]]


def test_the_other_half_type_is_refused_where_the_widest_counts():
    x = torch.ones(2, dtype=torch.float16)
    with torch.autocast("cpu"), pytest.raises(RuntimeError, match="Unexpected floating ScalarType"):
        torch.index_copy(x, 0, torch.tensor([0]), torch.ones(1, dtype=torch.float16))


def test_a_named_dtype_decides():
    with torch.autocast("cpu"):
        assert torch.ones(2).prod(dtype=torch.float16).dtype is torch.float16


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_checkpointed_segment_is_computed_again_as_at_first(use_reentrant):
    weight = torch.nn.Parameter(torch.full((3, 3), 1 / 3))
    x = torch.ones(2, 3, requires_grad=True)
    seen = []

    def segment(x):
        y = x @ weight
        seen.append(y.dtype)
        return y.relu()

    with torch.autocast("cpu"):
        y = checkpoint(segment, x, use_reentrant=use_reentrant)
    y.float().sum().backward()
    assert seen == [torch.bfloat16, torch.bfloat16]
    assert weight.grad.dtype is torch.float32


class _Product(torch.autograd.Function):
    seen: list = []  # noqa: RUF012

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x @ y

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        _Product.seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return g.float() @ y.mT, x.mT @ g.float()


class _InFloat32(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, x):
        assert not torch.is_autocast_enabled("cpu")
        return x * 2

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        assert not torch.is_autocast_enabled("cpu")
        return g * 2


def test_functions_of_users_obey():
    x = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.float16):
        y = _Product.apply(x, x)
        z = _InFloat32.apply(y)
    assert (y.dtype, z.dtype) == (torch.float16, torch.float32)
    z.sum().backward()
    assert _Product.seen == [(True, torch.float16)]
    assert x.grad.dtype is torch.float32


def test_what_programs_ask():
    assert torch.amp.is_autocast_available("cpu")
    assert not torch.amp.is_autocast_available("meta")
    assert torch.get_autocast_dtype("cuda") is torch.float16
    torch.set_autocast_enabled("cpu", True)
    torch.set_autocast_dtype("cpu", torch.float16)
    try:
        assert torch.is_autocast_cpu_enabled()
        assert product_dtype() is torch.float16
    finally:
        torch.set_autocast_dtype("cpu", torch.bfloat16)
        torch.set_autocast_enabled("cpu", False)


def test_misuse():
    with pytest.raises(ValueError, match="type `str`"):
        torch.autocast(torch.device("cpu"))
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'abacus'"):
        torch.autocast("abacus")
    with pytest.warns(UserWarning, match="only bfloat16 and float16"):
        context = torch.autocast("cpu", dtype=torch.float64)
    with context:
        assert product_dtype() is torch.float32


def test_cuda_is_disabled_with_a_warning_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.backends, "cuda_device_count", lambda: 0)
    with pytest.warns(UserWarning, match="CUDA is not available"), torch.autocast("cuda"):
        assert not torch.is_autocast_enabled("cuda")


@pytest.mark.gpu
def test_on_cuda():
    x = torch.ones(2, 2, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        half = x @ x
        assert half.dtype is torch.bfloat16
        assert half.exp().dtype is half.sum().dtype is half.softmax(0).dtype is torch.float32
        assert half.sum(dtype=torch.bfloat16).dtype is half.softmax(0, dtype=torch.bfloat16).dtype is torch.bfloat16
        assert product_dtype() is torch.float32  # of tensors on the CPU
        with pytest.raises(RuntimeError, match="binary_cross_entropy_with_logits"):
            torch.nn.functional.binary_cross_entropy(half.float() / 4, half.float() / 4)


def test_the_deprecated_names_work():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with torch.cpu.amp.autocast():
            assert product_dtype() is torch.bfloat16
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.cpu.amp.autocast(enabled=False)
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.cuda.amp.autocast(enabled=False)
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.cuda.amp.GradScaler(enabled=False)
