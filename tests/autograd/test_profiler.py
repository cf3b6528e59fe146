import json
from pathlib import Path

import pytest

import torchlite as torch
from torchlite import ir
from torchlite.autograd.profiler import profile, record_function


def test_forward_backward_and_in_place_operators_are_counted() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    with profile(record_shapes=True) as prof:
        (x * 2).exp().sum().backward()
        torch.zeros(2).add_(1)
    counts = {row.key: row.count for row in prof.key_averages()}
    assert counts["exp"] == 1
    assert counts["mul"] >= 3  # forward, and a factor in each of two gradients
    assert counts["add_"] == 1
    shapes = {row.key: row.input_shapes for row in prof.key_averages(group_by_input_shape=True)}
    assert shapes["exp"] == [[3, 4]]


def test_outside_of_a_profile_operators_are_what_they_were() -> None:
    before = {op: (op.run, op.ufunc, op.inplace) for op in ir.REGISTRY.values()}
    with pytest.raises(ZeroDivisionError), profile(), profile():
        1 / 0  # noqa: B018
    assert {op: (op.run, op.ufunc, op.inplace) for op in ir.REGISTRY.values()} == before
    with profile(enabled=False) as prof:
        torch.ones(2).exp()
    assert prof.function_events == []


def test_a_label_has_what_its_operators_do_not_take() -> None:
    @record_function("work")
    def work() -> None:
        for _ in range(5):
            torch.ones(100, 100).exp()

    with profile() as prof:
        work()
    label = next(event for event in prof.function_events if event.name == "work")
    inner = sum(event.cpu_time_total for event in prof.function_events if event.name == "exp")
    assert label.cpu_time_total > inner > 0
    everything = sum(event.cpu_time_total for event in prof.function_events if event.name != "work")
    assert label.self_cpu_time_total == pytest.approx(label.cpu_time_total - everything)
    assert prof.total_average().count == len(prof.function_events)
    assert prof.self_cpu_time_total == pytest.approx(label.cpu_time_total)


def test_tables_and_traces(tmp_path: Path) -> None:
    with profile() as prof:
        torch.ones(3).exp().log()
    table = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=1)
    assert "# of Calls" in table and table.count("\n") == 2
    with pytest.raises(ValueError, match="can't sort by 'colour'"):
        prof.key_averages().table(sort_by="colour")
    prof.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {"exp", "log"} <= {event["name"] for event in events}
