"""Streams and events order work and measure it."""

import pytest

import torchlite as torch

pytestmark = pytest.mark.gpu(simulated=False)


def test_events_measure_and_streams_wait() -> None:
    torch.cuda.set_device(0)
    assert torch.cuda.get_device_capability() >= (5, 0)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    side = torch.cuda.Stream()
    x = torch.ones(1000, 1000, device="cuda")
    start.record()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        assert torch.cuda.current_stream() == side
        y = x @ x
    torch.cuda.current_stream().wait_stream(side)
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) > 0 and end.query() and side.query()
    assert y[0, 0].item() == 1000.0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
