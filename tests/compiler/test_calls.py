"""How compiled functions are called, and what goes on in them besides tensors."""

import gc
import sys
from collections import namedtuple
from contextlib import nullcontext

import pytest
from eager_and_compiled import both, captured, same

import torchlite as torch
from torchlite.compiler.trace import Trace

Pair = namedtuple("Pair", ["left", "right"])


def test_results_are_given_back_as_arguments():
    def program(compile_):
        f = compile_(lambda x: x * 2 + 1)
        x, seen = torch.ones(3), []
        for _ in range(6):
            x = f(x)
            seen.append(x)
        return seen

    (f,) = both(program)
    assert captured(f)
    assert len(f.variants) == 1


def test_tensors_in_containers():
    def program(compile_):
        f = compile_(lambda parts: {"sum": parts["a"][0] + parts["b"], "pair": Pair(parts["a"][1], parts["b"] * 2)})
        return [f({"a": [torch.full((2,), 1.0 + i), torch.ones(2)], "b": torch.ones(2)}) for i in range(4)]

    (f,) = both(program)
    assert captured(f)


def test_views_with_other_offsets():
    def program(compile_):
        f = compile_(lambda x: x.mul_(2).sum())
        whole = torch.arange(12.0)
        return [[f(whole[i : i + 3]), whole.clone()] for i in (0, 0, 3, 1, 9)]

    (f,) = both(program)
    assert len(f.variants) == 1


def test_expanded_arguments():
    def program(compile_):
        f = compile_(lambda x: x * 2 + x.sum())
        return [f(torch.full((1,), float(i)).expand(3)) for i in range(4)] + [f(torch.ones(3))]

    (f,) = both(program)
    assert len(f.variants) == 2


def test_arguments_by_position_and_by_name():
    def program(compile_):
        f = compile_(lambda x, y, scale=2: x - y * scale)
        x, y = torch.ones(2), torch.full((2,), 3.0)
        calls = [((x, y), {}), ((x,), {"y": y}), ((), {"x": x, "y": y}), ((), {"y": y, "x": x}), ((x, y), {"scale": 2})]
        return [f(*args, **kwargs) for _ in range(2) for args, kwargs in calls]

    both(program)


def test_a_compiled_method_of_two_instances():
    def program(compile_):
        class Layer:
            def __init__(self, scale):
                self.weight = torch.full((2,), scale)

            forward = compile_(lambda self, x: self.weight * x)

        one, two = Layer(1.0), Layer(2.0)
        return [layer.forward(torch.full((2,), float(i))) for i in range(4) for layer in (one, two)]

    both(program)


def test_strings_that_are_equal_but_not_the_same():
    def program(compile_):
        f = compile_(lambda x, how: x * 2 if how == "double" else x)
        return [f(torch.ones(2), b"double".decode()) for _ in range(5)]

    (f,) = both(program)
    assert len(f.variants) == 1


def test_state_that_is_made_at_the_first_call():
    def program(compile_):
        cache = None

        def f(x):
            nonlocal cache
            if cache is None:
                cache = torch.zeros(2)
            cache.add_(x)
            return cache * 2

        f = compile_(f)
        return [f(torch.ones(2)) for _ in range(5)]

    (f,) = both(program)
    assert captured(f)


def test_a_state_that_is_rebound_at_every_call():
    def program(compile_):
        total = torch.zeros(2)

        def f(x):
            nonlocal total
            total = total + x
            return total

        f = compile_(f)
        return [f(torch.ones(2)) for _ in range(5)]

    (f,) = both(program)
    assert len(f.variants) == 1


def test_many_operations():
    def program(compile_):
        def f(x):
            for i in range(300):
                x = x * 1.01 + i % 3
            return x

        f = compile_(f)
        return [f(torch.ones(3)) for _ in range(3)]

    (f,) = both(program)
    assert captured(f)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_the_collector_of_garbage_waits_while_a_function_is_captured(enabled, fails, monkeypatch):
    collecting = []
    traced = Trace.variant

    def watched(trace):
        collecting.append(gc.isenabled())
        return traced(trace)

    monkeypatch.setattr(Trace, "variant", watched)
    f = torch.compile(lambda x: x.tolist() if fails else x + 1)
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.warns(UserWarning, match="uncompiled") if fails else nullcontext():
            for _ in range(2):
                f(torch.ones(3))
        assert collecting == [False]
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_functions_without_tensors():
    def program(compile_):
        nothing, constant = compile_(lambda: None), compile_(lambda n: n + 1)
        return [[nothing(), constant(i // 2)] for i in range(4)]

    both(program)


@pytest.mark.parametrize("stream", ["out", "err"])
def test_what_is_printed_is_printed_at_every_call(stream, capsys):
    def f(x):
        print("called", file=getattr(sys, f"std{stream}"))
        return x * 2

    f = torch.compile(f)
    with pytest.warns(UserWarning, match="prints"):
        for _ in range(4):
            f(torch.ones(2))
    assert getattr(capsys.readouterr(), stream).count("called") == 4


def test_a_failure_at_the_first_capture_leaves_nothing_behind():
    fails = True

    def f(x):
        if fails and torch.compiler.is_compiling():
            raise ValueError("not now")
        return x * 2

    f = torch.compile(f)
    with pytest.warns(UserWarning, match="not now"):
        results = [f(torch.full((2,), float(i))).sum().item() for i in range(4)]
    assert results == [0.0, 4.0, 8.0, 12.0]
    assert not f.variants
    fails = False
    f.reset()
    assert [f(torch.full((2,), float(i))).sum().item() for i in range(4)] == results
    assert captured(f)


def printing_now_and_then(x, i):
    if i % 4 == 3:
        print("step", i)
    return x * i


def raising_now_and_then(x, i):
    if i % 4 == 3 and torch.compiler.is_compiling():
        raise ValueError("not now")
    return x * i


@pytest.mark.parametrize("function", [printing_now_and_then, raising_now_and_then])
def test_what_can_not_be_captured_now_and_then(function, capsys):
    """The other calls are replayed all the same, however often that happens."""
    f = torch.compile(function)
    with pytest.warns(UserWarning, match=r"prints|not now") as caught:
        for i in range(40):
            same(f(torch.ones(2), i), torch.full((2,), float(i)))
    assert len(caught) == 1
    assert f.gave_up is None
    assert f.complete
    assert captured(f)
    assert capsys.readouterr().out.count("step") in (0, 10)
