"""What programs set in `torch.backends`: kept, and the precision of products handed on to CuPy."""

import os
import sys
import types

import pytest

import torchlite as torch


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setenv("CUPY_TF32", "0")
    yield
    torch.set_float32_matmul_precision("highest")


def test_the_precision_of_products_reaches_cupy(monkeypatch):
    chosen = {}
    products = types.SimpleNamespace(
        COMPUTE_TYPE_TF32="tf32", COMPUTE_TYPE_DEFAULT="full", set_compute_type=chosen.__setitem__
    )
    monkeypatch.setitem(sys.modules, "cupy._core._routines_linalg", products)
    assert torch.get_float32_matmul_precision() == "highest"
    torch.set_float32_matmul_precision("medium")
    assert (chosen, os.environ["CUPY_TF32"]) == ({"f": "tf32", "F": "tf32"}, "1")
    assert torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    assert (chosen, os.environ["CUPY_TF32"]) == ({"f": "full", "F": "full"}, "0")
    assert torch.get_float32_matmul_precision() == "highest"


def test_another_word_warns_and_changes_nothing():
    torch.set_float32_matmul_precision("high")
    with pytest.warns(UserWarning, match="has no effect"):
        torch.set_float32_matmul_precision("low")
    assert torch.get_float32_matmul_precision() == "high"


def test_what_is_set_is_kept():
    cudnn = torch.backends.cudnn
    assert cudnn.is_available() == (cudnn.version() is not None)
    with cudnn.flags(enabled=False, benchmark=True):
        assert (cudnn.enabled, cudnn.benchmark) == (False, True)
    assert (cudnn.enabled, cudnn.benchmark) == (True, False)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not torch.backends.mkldnn.enabled
    assert torch.backends.mkldnn.enabled
    torch.backends.cuda.enable_flash_sdp(False)
    assert not torch.backends.cuda.flash_sdp_enabled()
    torch.backends.cuda.enable_flash_sdp(True)


@pytest.mark.parametrize(("kind", "other"), [("matmul", "conv"), ("conv", "matmul")])
def test_the_precision_of_products_on_a_cpu(kind, other):
    kind, other = (getattr(torch.backends.mkldnn, name) for name in (kind, other))
    assert kind.fp32_precision == "none"
    kind.fp32_precision = "ieee"
    try:
        with pytest.raises(RuntimeError, match="unknown precision 'exact': expected one of 'none'"):
            kind.fp32_precision = "exact"
        assert kind.fp32_precision == "ieee"
        assert other.fp32_precision == "none"
    finally:
        kind.fp32_precision = "none"


def test_libraries_that_are_not_used_say_so():
    for name in ("mkldnn", "mkl", "openmp", "mps"):
        assert not getattr(torch.backends, name).is_available()
    with pytest.raises(AttributeError, match="nonsense"):
        torch.backends.nonsense  # noqa: B018
