"""Convolutions through cuDNN: results, algorithms, settings, and what happens when it fails. Without a GPU by a stand-in."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import nvidia_on_host
import pytest
import simulated_gpu

import torchlite as torch
import torchlite.nn.functional as F
from torchlite.backends import cudnn as settings
from torchlite.backends.nvidia import convolution, cudnn

pytestmark = pytest.mark.gpu
by_stand_in = pytest.mark.skipif(
    not simulated_gpu.installed() or nvidia_on_host.built() is None, reason="needs the stand-in of a simulated GPU"
)
FORWARD, DATA, FILTER = "cudnnConvolutionForward", "cudnnConvolutionBackwardData", "cudnnConvolutionBackwardFilter"


@pytest.fixture(autouse=True)
def plans_anew() -> Iterator[None]:
    convolution._way.cache_clear()
    if simulated_gpu.installed() and nvidia_on_host.built() is not None:
        nvidia_on_host.library().fake_clear()
    with settings.flags(enabled=True, allow_tf32=False):
        yield


def arrays(*shapes: tuple[int, ...], seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def results(convolve: Any, given: list[Any], dtype: Any, device: str, layout: Any = None) -> list[Any]:
    """The convolution of rounded numbers and its gradients, as float64 arrays of the host."""
    tensors = [torch.tensor(a).to(dtype) for a in given]
    if device == "cpu":  # in float64, of the same numbers
        tensors = [t.double() for t in tensors]
    else:
        tensors = [t.to(device) for t in tensors]
    if layout is not None:
        tensors = [t.contiguous(memory_format=layout) if t.ndim == 4 else t for t in tensors]
    tensors = [t.requires_grad_() for t in tensors]
    out = convolve(*tensors)
    cotangent = torch.tensor(np.random.default_rng(1).normal(size=tuple(out.shape))).to(dtype).to(out.dtype).to(device)
    out.backward(cotangent)
    return [x.detach().cpu().double().numpy() for x in (out, *(t.grad for t in tensors))]


def agree(convolve: Any, given: list[Any], dtype: Any, layout: Any = None) -> None:
    """What a GPU gives is what float64 on the host gives, to the precision of ``dtype``."""
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    for got, expected in zip(
        results(convolve, given, dtype, "cuda", layout), results(convolve, given, dtype, "cpu"), strict=True
    ):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


GEOMETRIES: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": (F.conv2d, (2, 3, 8, 9), (4, 3, 3, 3), {}),
    "padded and strided": (F.conv2d, (2, 3, 8, 9), (4, 3, 3, 2), {"padding": (1, 0), "stride": (2, 1)}),
    "dilated": (F.conv2d, (1, 2, 9, 9), (2, 2, 3, 3), {"dilation": (2, 3), "padding": 2}),
    "groups": (F.conv2d, (2, 6, 5, 5), (4, 3, 3, 3), {"groups": 2}),
    "depthwise": (F.conv2d, (2, 3, 5, 5), (6, 1, 3, 3), {"groups": 3, "padding": 1}),
    "one by one": (F.conv2d, (2, 5, 4, 3), (3, 5, 1, 1), {}),
    "one dimension": (F.conv1d, (2, 3, 11), (4, 3, 3), {"padding": 1, "stride": 2}),
    "three dimensions": (F.conv3d, (1, 2, 4, 5, 6), (3, 2, 2, 3, 2), {"padding": (0, 1, 1), "stride": (1, 2, 1)}),
    "transposed": (F.conv_transpose2d, (2, 3, 4, 5), (3, 4, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "transposed groups": (F.conv_transpose1d, (2, 4, 6), (4, 3, 3), {"groups": 2, "dilation": 2}),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolutions_and_their_gradients(name: str, dtype: Any) -> None:
    function, x, weight, params = GEOMETRIES[name]
    transposed = "transposed" in name
    bias = weight[1] * params.get("groups", 1) if transposed else weight[0]
    agree(lambda *tensors: function(*tensors, **params), arrays(x, weight, (bias,)), dtype)
    if simulated_gpu.installed() and nvidia_on_host.built() is not None:
        ran = [line.split()[0] for line in nvidia_on_host.calls() if line.split()[0] in (FORWARD, DATA, FILTER)]
        assert ran == ([DATA, FORWARD, FILTER] if transposed else [FORWARD, DATA, FILTER])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_channels_stay_last(dtype: Any) -> None:
    """Where an operand lies so, the result does, and nothing is transposed on the way."""
    given = arrays((2, 8, 6, 5), (4, 8, 3, 3), (4,))
    agree(lambda *t: F.conv2d(*t, padding=1), given, dtype, torch.channels_last)
    x = torch.tensor(given[0]).to("cuda", dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.tensor(given[1]).to("cuda", dtype).requires_grad_()
    out = F.conv2d(x, weight)
    assert out.is_contiguous(memory_format=torch.channels_last) and not out.is_contiguous()
    assert F.conv2d(x.contiguous(), weight).is_contiguous()
    out.square().sum().backward()
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_operands_with_gaps_and_repeated_gradients() -> None:
    given = arrays((2, 3, 8, 16), (4, 3, 3, 6))
    agree(lambda x, weight: F.conv2d(x[..., ::2], weight.flip(-1)[..., 1:5:2]), given, torch.float32)
    agree(lambda x, weight: F.conv2d(x, weight).sum((2, 3)), given, torch.float32)


def test_gradients_of_second_order() -> None:
    x, weight = (torch.tensor(a, device="cuda", requires_grad=True) for a in arrays((1, 2, 5, 4), (3, 2, 2, 2)))
    assert torch.autograd.gradgradcheck(lambda x, weight: F.conv2d(x, weight, stride=2, padding=1), (x, weight))


def test_what_cudnn_does_not_compute_is_computed_without() -> None:
    for shape, weight in (((0, 3, 5, 5), (4, 3, 3, 3)), ((2, 0, 5, 5), (4, 0, 3, 3))):
        x, w = (torch.ones(s, device="cuda") for s in (shape, weight))
        assert F.conv2d(x, w).shape == (shape[0], 4, 3, 3)
    z = torch.ones(1, 1, 3, 3, dtype=torch.complex64, device="cuda")
    assert F.conv2d(z * 1j, z).item() == 9j
    with pytest.raises(RuntimeError, match="to have 2 channels, but got 3"):
        F.conv2d(torch.ones(1, 3, 4, 4, device="cuda"), torch.ones(1, 2, 2, 2, device="cuda"))
    with pytest.raises(RuntimeError, match=r"input is torch\.float32 and weight is torch\.float64"):
        F.conv2d(torch.ones(1, 2, 4, 4, device="cuda"), torch.ones(1, 2, 2, 2, device="cuda", dtype=torch.float64))


def run(**params: Any) -> list[str]:
    """The calls of one small convolution, the result of which is right whatever happens."""
    nvidia_on_host.library().fake_clear()
    x, weight = arrays((1, 2, 5, 5), (3, 2, 3, 3))
    dtype = params.pop("dtype", torch.float32)
    with settings.flags(**{"enabled": True, "allow_tf32": False, **params}):
        got = F.conv2d(torch.tensor(x).to("cuda", dtype), torch.tensor(weight).to("cuda", dtype))
    expected = F.conv2d(torch.tensor(x), torch.tensor(weight))
    np.testing.assert_allclose(got.cpu().double().numpy(), expected.numpy(), atol=0.1 if got.itemsize == 2 else 1e-4)
    return [line for line in nvidia_on_host.calls() if line.startswith(FORWARD)]


@by_stand_in
def test_settings_choose_the_algorithm_and_the_arithmetic() -> None:
    stream = simulated_gpu.STREAM
    assert run() == [f"{FORWARD} algo=1 math=3 stream={stream}"]  # the fastest; no TF32
    assert run(allow_tf32=True) == [f"{FORWARD} algo=1 math=0 stream={stream}"]
    assert run(deterministic=True) == [f"{FORWARD} algo=0 math=3 stream={stream}"]
    assert run(dtype=torch.float16) == [f"{FORWARD} algo=1 math=1 stream={stream}"]
    assert run(dtype=torch.float64) == [f"{FORWARD} algo=1 math=0 stream={stream}"]
    assert run(enabled=False) == []
    torch.use_deterministic_algorithms(True)
    try:
        assert run() == [f"{FORWARD} algo=0 math=3 stream={stream}"]
    finally:
        torch.use_deterministic_algorithms(False)


@by_stand_in
def test_heuristics_are_asked_once_for_each_problem() -> None:
    for size in (5, 5, 6, 5):
        F.conv2d(torch.ones(1, 2, size, size, device="cuda"), torch.ones(3, 2, 3, 3, device="cuda"))
    assert sum("Algorithm_v7" in line for line in nvidia_on_host.calls()) == 2
    before = nvidia_on_host.library().fake_live()
    assert before >= 8
    convolution._way.cache_clear()
    assert nvidia_on_host.library().fake_live() <= before - 8  # descriptors are freed


@by_stand_in
def test_a_benchmark_times_as_many_algorithms_as_allowed() -> None:
    ran = run(benchmark=True, benchmark_limit=2)
    assert [line.split()[1] for line in ran] == ["algo=1", "algo=1", "algo=0", "algo=0", "algo=1"]
    assert [line.split()[1] for line in run(benchmark=True)] == ["algo=1"]  # once for each problem
    convolution._way.cache_clear()
    assert len(run(benchmark=True, benchmark_limit=0)) == 7


@by_stand_in
def test_an_algorithm_that_is_not_supported_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    library = nvidia_on_host.library()
    monkeypatch.setattr(library, "fake_clear", lambda: None)
    library.fake_support(2)
    x, weight = torch.ones(1, 2, 5, 5, device="cuda"), torch.ones(3, 2, 3, 3, device="cuda")
    assert F.conv2d(x, weight).unique().tolist() == [18]
    assert [line.split()[1] for line in nvidia_on_host.calls() if line.startswith(FORWARD)] == [
        "algo=1",
        "algo=0",
        "algo=2",
    ]
    library.fake_support(3)  # none: as a product of matrices
    assert F.conv2d(x, weight).unique().tolist() == [18]


@by_stand_in
def test_a_workspace_that_is_not_there_gives_way_to_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy  # type: ignore[import-not-found]

    make = cupy.cuda.alloc

    def alloc(size: int) -> Any:
        if size > 1000:
            raise MemoryError
        return make(size)

    monkeypatch.setattr(cupy.cuda, "alloc", alloc)
    assert [line.split()[1] for line in run()] == ["algo=0"]


@by_stand_in
@pytest.mark.parametrize(
    "function", ["cudnnSetStream", "cudnnSetTensorNdDescriptor", "cudnnGetConvolutionForwardAlgorithm_v7", FORWARD]
)
def test_failures_are_told_in_cudnn_s_words(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "_handles", cudnn._Handles())
    nvidia_on_host.library().fake_fail(function.encode(), 2000)
    with pytest.raises(RuntimeError, match=rf"cuDNN: {function} failed: CUDNN_STATUS_BAD_PARAM: as asked \(2000\)"):
        F.conv2d(torch.ones(1, 2, 5, 5, device="cuda"), torch.ones(3, 2, 3, 3, device="cuda"))
    assert len(run()) == 1  # nothing is left over


@by_stand_in
def test_a_gpu_that_cudnn_refuses_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "_handles", cudnn._Handles())
    monkeypatch.setattr(cudnn, "_refused", set())
    nvidia_on_host.library().fake_fail(b"cudnnCreate", 1001)
    x, weight = torch.ones(1, 2, 5, 5, device="cuda"), torch.ones(3, 2, 3, 3, device="cuda")
    with pytest.warns(RuntimeWarning, match=r"cudnnCreate failed.*convolutions on cuda:0 run as matrix products"):
        assert F.conv2d(x, weight).unique().tolist() == [18]
    assert F.conv2d(x, weight).unique().tolist() == [18]
    assert not any(call.startswith("cudnn") for call in nvidia_on_host.calls())


@by_stand_in
def test_without_the_library_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn.LIBRARY, "loaded", None)
    assert run() == []
    assert settings.version() is None and not settings.is_available()


@by_stand_in
def test_what_programs_ask() -> None:
    assert settings.is_available() and settings.version() == 90100
    x = torch.ones(1, device="cuda")
    assert settings.is_acceptable(x) and settings.is_acceptable(x.bfloat16())
    assert not settings.is_acceptable(x.int()) and not settings.is_acceptable(x.cpu())
    with settings.flags(enabled=False):
        assert not settings.is_acceptable(x)
