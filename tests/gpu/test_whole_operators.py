"""Uncompiled operators of several steps: kernels for the whole of them give what array operations give."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite import backends
from torchlite.autograd import watching
from torchlite.compiler.cuda import texts
from torchlite.compiler.cuda import whole as whole_module
from torchlite.compiler.cuda.decomposition import RULES
from torchlite.compiler.cuda.whole import whole
from torchlite.devices import Device
from torchlite.dispatch import run_elsewhere
from torchlite.ir import REGISTRY, Aval
from torchlite.nn import functional as F

pytestmark = pytest.mark.gpu
GPU = Device("cuda", 0)
NAMES = sorted(RULES.keys() - whole_module._NOT_HERE)


@pytest.fixture
def kernels(monkeypatch: Any) -> Iterator[dict[Any, Any]]:
    """Small arrays have kernels, too; the modules that are made."""
    monkeypatch.setattr(whole_module, "FEWEST", 1)
    monkeypatch.setattr(whole_module, "_functions", {})
    monkeypatch.setattr(texts, "_modules", {})
    return texts._modules


def both(op: Any, arrays: Any, params: Any) -> tuple[Any, Any]:
    """What kernels give, None where there are none, and NumPy's results in float64."""
    there = [backends.to_device(x, GPU) for x in arrays]
    wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays]
    found, wanted = whole(op, there, params, GPU), op.run(np, *wide, **params)
    if found is None:
        return None, None
    found, wanted = (x if isinstance(x, tuple) else (x,) for x in (found, wanted))
    return [backends.to_numpy(x) for x in found], wanted


@pytest.mark.parametrize("name", NAMES)
def test_each_gives_what_the_host_gives(name: str, kernels: dict[Any, Any]) -> None:
    op, computed = REGISTRY[name], 0
    assert op.samples is not None
    for arrays, params in op.samples(np.random.default_rng(0))[:3]:
        given = [np.asarray(x, np.float32) if x.dtype == np.float64 else np.asarray(x) for x in arrays]
        avals = op.infer(*(Aval(x.shape, x.dtype) for x in given), **params)
        found, wanted = both(op, given, params)
        if found is None:
            continue
        computed += 1
        for one, other, aval in zip(found, wanted, avals if type(avals) is tuple else (avals,), strict=True):
            assert one.dtype == aval.dtype
            assert one.shape == aval.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
    assert computed
    assert kernels


def test_other_shapes_have_the_same_text(kernels: dict[Any, Any]) -> None:
    rng = np.random.default_rng(0)
    op = REGISTRY["layer_norm"]
    for rows, columns in ((6, 20), (4, 33), (9, 7)):
        arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((rows, columns), (columns,), (columns,))]
        found, wanted = both(op, arrays, {"dims": 1, "eps": 1e-5})
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert len(kernels) == 1


def test_what_has_gaps_or_another_order_is_left_to_array_operations(kernels: dict[Any, Any]) -> None:
    x = torch.randn(4, 6, 5, 5, device="cuda")
    last = x.to(memory_format=torch.channels_last)
    assert F.gelu(last).is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(F.gelu(last).cpu(), F.gelu(x).cpu(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(F.softmax(x[:, ::2], 1).cpu(), F.softmax(x.cpu()[:, ::2], 1), rtol=1e-5)
    np.testing.assert_allclose(F.silu(x.view(-1)[1:]).cpu(), F.silu(x.cpu().view(-1)[1:]), rtol=1e-5, atol=1e-6)


def test_small_arrays_compile_nothing() -> None:
    known = len(texts._modules)
    F.softmax(torch.ones(3, 3, device="cuda"), 1)
    assert len(texts._modules) == known


def test_results_are_new_arrays(kernels: dict[Any, Any]) -> None:
    x = torch.randn(40, 5, device="cuda")
    out = x.clamp(min=0)
    out.zero_()
    assert x.abs().sum() > 0


def test_wrong_shapes_are_named() -> None:
    x, target = torch.randn(40, 50, device="cuda"), torch.zeros(30, dtype=torch.int64, device="cuda")
    with pytest.raises((ValueError, RuntimeError), match=r"40.*30|30.*40"):
        F.cross_entropy(x, target)


def test_without_a_compiler(kernels: dict[Any, Any], monkeypatch: Any) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("no NVRTC")

    texts.warn_once.cache_clear()
    monkeypatch.setattr(texts.Texts, "module", refuse)
    x = torch.randn(4, 5, device="cuda")
    with pytest.warns(RuntimeWarning, match="more launches: no NVRTC"):
        found = F.softmax(x, 1)
    np.testing.assert_allclose(found.cpu(), F.softmax(x.cpu(), 1), rtol=1e-5)
    assert run_elsewhere(REGISTRY["softmax"], [x._data], {"dim": 1}) is not None


def test_who_watches_operators_is_told_of_them(kernels: dict[Any, Any]) -> None:
    x = torch.randn(4, 5, device="cuda")
    with torch.autograd.profiler.profile() as profile:
        F.softmax(x, 1)
    assert kernels
    assert "softmax" in [event.name.removeprefix("aten::") for event in profile.function_events]
    assert not watching._whole
    F.softmax(x, 1)
