"""What is asked about the memory of tensors, on the CPU and on a GPU."""

import contextlib
import gc
import tracemalloc
import types

import pytest

import torchlite as torch
from torchlite import backends
from torchlite.cuda import memory as cuda_memory


def test_memory_of_tensors_on_the_cpu_is_found_when_asked():
    gc.collect()
    before = torch.cpu.memory_allocated()
    x = torch.zeros(1000, dtype=torch.float64)
    views = x[:10], x.view(10, 100), x.detach()
    assert torch.cpu.memory_allocated() - before == 8000
    y = torch.zeros(500, requires_grad=True).exp()  # the leaf is gone, its result is kept for backward
    assert torch.cpu.memory_allocated() - before == 8000 + 2000
    z = -y
    del y  # which only the graph keeps now
    assert torch.cpu.memory_allocated() - before == 8000 + 2000 + 2000
    del x, z
    gc.collect()
    assert torch.cpu.memory_allocated() - before == 8000
    assert "float64" in torch.cpu.memory_summary()
    del views
    assert torch.cpu.memory_allocated() == before


def test_the_peak_on_the_cpu_is_counted_from_when_it_is_asked_for():
    assert not tracemalloc.is_tracing()
    with pytest.raises(RuntimeError, match="reset_peak_memory_stats"):
        torch.cpu.max_memory_allocated()
    try:
        torch.cpu.reset_peak_memory_stats()
        torch.zeros(1 << 20)
        assert torch.cpu.max_memory_allocated() >= 4 << 20
        assert "peak" in torch.cpu.memory_summary()
        torch.cpu.reset_peak_memory_stats()
        assert torch.cpu.max_memory_allocated() < 4 << 20
    finally:
        tracemalloc.stop()


def test_checkpointing_lowers_the_peak():
    def step(use):
        layers = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh()) for _ in range(12)])
        x = torch.zeros(20000, 8)
        out = torch.utils.checkpoint.checkpoint_sequential(layers, 4, x, use_reentrant=False) if use else layers(x)
        out.sum().backward()

    def peak(use):
        torch.cpu.reset_peak_memory_stats()
        step(use)
        return torch.cpu.max_memory_allocated()

    for use in (True, False):  # what the first use imports is not counted
        step(use)
    try:
        assert peak(True) < 0.7 * peak(False)
    finally:
        tracemalloc.stop()


def test_free_memory_of_the_machine():
    free, total = torch.cpu.mem_get_info()
    assert 0 < free <= total


def test_without_a_gpu_nothing_is_allocated_on_one(monkeypatch):
    monkeypatch.setattr(backends, "cuda_device_count", lambda: 0)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for figure in ("memory_allocated", "max_memory_allocated", "memory_reserved"):
        assert getattr(torch.cuda, figure)() == 0
    assert torch.cuda.memory_stats() == {}
    assert "no GPU" in torch.cuda.memory_summary()


class _Hook:
    active: list = []  # noqa: RUF012

    def __enter__(self):
        self.active.append(self)


@pytest.fixture
def pool(monkeypatch):
    """A CuPy with a memory pool of one GPU whose arrays are bytes counted here."""
    held = types.SimpleNamespace(used=1000, freed=False)

    def allocate(size):
        held.used += size
        for hook in _Hook.active:
            event = hook.malloc_postprocess if size > 0 else hook.free_postprocess
            event(device_id=0, size=abs(size), mem_size=abs(size), mem_ptr=0, pmem_id=0)

    held.allocate = allocate

    class Device(contextlib.nullcontext):
        id = 0

        def __init__(self, index=None):
            super().__init__()

    runtime = types.SimpleNamespace(memGetInfo=lambda: (300, 5000), getDeviceCount=lambda: 1)
    blocks = types.SimpleNamespace(
        used_bytes=lambda: held.used,
        total_bytes=lambda: held.used + 24,
        free_all_blocks=lambda: setattr(held, "freed", True),
    )
    cupy = types.SimpleNamespace(
        cuda=types.SimpleNamespace(Device=Device, MemoryHook=_Hook, runtime=runtime),
        get_default_memory_pool=lambda: blocks,
    )
    monkeypatch.setattr(backends, "cupy", lambda: cupy)
    monkeypatch.setattr(backends, "cuda_device_count", lambda: 1)
    cuda_memory._peak.cache_clear()
    yield held
    cuda_memory._peak.cache_clear()
    _Hook.active.clear()


def test_memory_on_a_gpu_is_that_of_the_pool(pool):
    assert torch.cuda.memory_allocated() == 1000
    assert torch.cuda.memory_reserved("cuda:0") == 1024
    assert torch.cuda.mem_get_info() == (300, 5000)
    torch.cuda.empty_cache()
    assert pool.freed
    assert not _Hook.active  # nothing is counted as long as nobody asks for a peak


def test_the_peak_on_a_gpu(pool):
    torch.cuda.reset_peak_memory_stats()
    pool.allocate(500)
    pool.allocate(-400)
    pool.allocate(100)
    assert (torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()) == (1200, 1500)
    torch.cuda.reset_peak_memory_stats(0)
    assert torch.cuda.max_memory_allocated(torch.device("cuda", 0)) == 1200
    assert torch.cuda.memory_stats()["allocated_bytes.all.peak"] == 1200
    assert "held by the pool" in torch.cuda.memory_summary()
