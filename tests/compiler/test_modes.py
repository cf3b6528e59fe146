"""Modes, shapes and dtypes decide what is captured."""

import threading

import pytest
from eager_and_compiled import both, captured, net, same

import torchlite as torch
from torchlite import nn


def test_ragged_last_batch_is_compiled_once():
    def program(compile_):
        model = net()
        f = compile_(lambda x: model(x))
        x = torch.ones(4, 6)
        return [f(x[:n]) for _ in range(3) for n in (4, 4, 3)]

    (f,) = both(program)
    assert len(f.variants) == 2


def test_train_and_eval():
    def program(compile_):
        model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        f = compile_(model)
        x = torch.randn(5, 6)
        results = []
        for i in range(9):
            f.train(i % 3 != 2)
            results.append(f(x).detach())
        return [results, dict(model.state_dict())]

    torch.manual_seed(0)
    (f,) = both(program)
    assert len(f._call.variants) == 2


def test_no_grad_toggles():
    def program(compile_):
        model = net()
        f = compile_(model)
        x = torch.ones(2, 6)
        results = []
        for i in range(6):
            with torch.set_grad_enabled(i % 2 == 0):
                results.append(f(x))
        return results

    both(program)


def test_dtypes_and_default_dtype():
    def program(compile_):
        f = compile_(lambda x: x * 2 + torch.ones(2))
        results = [f(torch.ones(2)), f(torch.ones(2)), f(torch.ones(2, dtype=torch.float64))]
        torch.set_default_dtype(torch.float64)
        try:
            results += [f(torch.ones(2, dtype=torch.float32)), f(torch.ones(2))]
        finally:
            torch.set_default_dtype(torch.float32)
        return results

    both(program)


def test_the_number_of_compilations_is_limited():
    f = torch.compile(lambda x, n: x * int(n))
    with pytest.warns(UserWarning, match="compiled 8 times"):
        for n in range(20):
            same(f(torch.ones(2), n), torch.full((2,), float(n)))


def test_reasons_of_recompilation_are_printed(monkeypatch, capsys):
    monkeypatch.setenv("TORCHLITE_LOG", "recompiles")
    f = torch.compile(lambda x: x * 2)
    for n in (2, 2, 3):
        f(torch.ones(n))
    assert "float32[2]" in capsys.readouterr().err


def test_full_graphs_are_demanded():
    f = torch.compile(lambda x: x.tolist(), fullgraph=True)
    f(torch.ones(1))
    with pytest.raises(RuntimeError, match="can't be captured"):
        f(torch.ones(1))


def test_disabled_functions_are_not_captured():
    calls = []

    @torch.compiler.disable
    def noted(x):
        calls.append(1)
        return x

    f = torch.compile(lambda x: noted(x) * 2)
    with pytest.warns(UserWarning, match="must not be captured"):
        for _ in range(3):
            f(torch.ones(1))
    assert len(calls) == 3


def test_compiled_inside_of_compiled():
    def program(compile_):
        inner = compile_(lambda x: x.exp() + torch.rand(2))
        outer = compile_(lambda x: inner(x) * 2)
        return [outer(torch.ones(2)) for _ in range(4)]

    _, outer = both(program)
    assert captured(outer)


def test_threads():
    model = net(0.0)
    f = torch.compile(model)
    x = torch.randn(4, 6)
    for _ in range(3):
        expected = f(x).detach()
    same(expected, model(x).detach())
    wrong = []

    def work():
        for _ in range(30):
            got = f(x).detach()
            if not torch.equal(got, expected):
                wrong.append(got)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
