"""Which tensors share memory, and what is written into it."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from eager_and_compiled import both, captured

import torchlite as torch


def test_outputs_of_one_call_do_not_change_with_the_next():
    def program(compile_):
        f = compile_(lambda x: (x + 1, x * 2))
        return [f(torch.full((3,), float(i))) for i in range(5)]

    (f,) = both(program)
    assert captured(f)


def test_constant_outputs_are_new_at_every_call():
    def program(compile_):
        f = compile_(lambda _x: torch.zeros(3) + 1)
        results = []
        for _ in range(4):
            y = f(torch.ones(2))
            y.mul_(5)
            results.append(y)
        return results

    (f,) = both(program)
    assert captured(f)


def test_writing_into_an_input():
    def program(compile_):
        def f(x):
            x.mul_(2)
            x[0] = 7.0
            return x.sum()

        f = compile_(f)
        x = torch.ones(3)
        return [[f(x), x.clone(), x._version] for _ in range(4)]

    (f,) = both(program)
    assert captured(f)


def test_writing_into_a_view_of_an_input():
    def program(compile_):
        def f(x):
            x[:, 1:].t().add_(torch.arange(4.0).reshape(2, 2))
            x.view(-1)[0] = -1.0
            return x * 1

        f = compile_(f)
        x = torch.ones(2, 3)
        return [[f(x), x.clone()] for _ in range(4)]

    (f,) = both(program)
    assert captured(f)


def test_exchanging_two_inputs():
    def program(compile_):
        def swap(a, b):
            old = a.clone()
            a.copy_(b)
            b.copy_(old)

        swap = compile_(swap)
        a, b = torch.zeros(2), torch.ones(2)
        results = []
        for _ in range(3):
            swap(a, b)
            results.append([a.clone(), b.clone()])
        return results

    (f,) = both(program)
    assert captured(f)


def test_results_that_are_inputs_or_views_of_them():
    def program(compile_):
        f = compile_(lambda x: (x, x.t(), x[0]))
        results = []
        for _ in range(4):
            x = torch.ones(2, 2)
            whole, transposed, row = f(x)
            assert whole is x
            transposed[0, 1] = 5.0
            row[0] = 9.0
            results.append([x, whole, transposed, row])
        return results

    (f,) = both(program)
    assert captured(f)


def test_results_that_share_memory_with_each_other():
    def program(compile_):
        def f(x):
            y = x * 2
            return y, y[0], y.view(-1)

        f = compile_(f)
        results = []
        for _ in range(4):
            y, row, flat = f(torch.ones(2, 2))
            y.add_(1)
            row[1] = 8.0
            results.append([y, row, flat])
        return results

    (f,) = both(program)
    assert captured(f)


WITHOUT_HISTORY = {
    "behind it": lambda y, _: (y, y.detach()),
    "before it": lambda y, _: (y.detach(), y),
    "a part of it": lambda y, _: (y, y.detach()[:2]),
    "what is appended": lambda y, kept: kept.append(y.detach()) or y,
    "twice": lambda y, kept: kept.append(y.detach()) or (y.detach(), y),
    "of what backward has gone through": lambda y, kept: y.sum().backward() or kept.append(y.detach()) or y,
}


@pytest.mark.parametrize("how", WITHOUT_HISTORY)
@pytest.mark.parametrize("compute", [lambda x: x.exp(), lambda x: x * 3], ids=["reads its result", "reads its inputs"])
def test_a_result_and_itself_without_its_history(how, compute):
    """They share memory, so that a write into one is seen in the other, and by backward."""

    def program(compile_):
        w, kept = torch.ones(3, requires_grad=True), []
        f = compile_(lambda x: WITHOUT_HISTORY[how](compute(x * w), kept))
        results = []
        for i in range(5):
            w.grad = None
            found = f(torch.full((3,), i / 3))
            found = [*(found if isinstance(found, tuple) else (found,)), *kept[i:]]
            (with_history,) = [x for x in found if x.requires_grad]
            next(x for x in found if not x.requires_grad).mul_(2)
            try:
                with_history.sum().backward()
            except RuntimeError as error:
                results.append(str(error)[:40])
            results += [[x.detach().clone() for x in found], w.grad]
        return results

    (f,) = both(program)
    assert captured(f)


def test_a_parameter_as_the_result():
    w = torch.ones(3, requires_grad=True)
    f = torch.compile(lambda x: (w, w + x))
    for _ in range(3):
        assert f(torch.ones(3))[0] is w


def test_arguments_that_share_memory():
    def program(compile_):
        def f(a, b):
            a.add_(1)
            return a + b

        f = compile_(f)
        results = []
        for i in range(6):
            a = torch.zeros(3)
            b = torch.zeros(3) if i < 3 else a if i == 3 else a[:] if i == 4 else a.detach()
            results.append(f(a, b))
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_an_argument_that_is_also_a_closure():
    def program(compile_):
        state = torch.zeros(2)

        def f(x):
            state.add_(1)
            return x + state

        f = compile_(f)
        return [f(torch.ones(2)) if i % 2 else f(state) for i in range(6)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_results_that_lie_transposed():
    def program(compile_):
        f = compile_(lambda x: (x.t() * 2 + 1, (x.t() * 2).reshape(-1), (x.t() + 1).contiguous()))
        results = []
        for _ in range(4):
            a, b, c = f(torch.arange(6.0).reshape(2, 3))
            b[0], c[0, 0] = -1.0, -2.0
            results.append([a, b, c])
        return results

    (f,) = both(program)
    assert captured(f)


def test_writes_into_what_may_be_a_copy_or_not():
    def program(compile_):
        def f(x):
            y = x.t() * 2
            z = y.contiguous()
            z.add_(1)
            flat = y.reshape(-1)
            flat.mul_(3)
            return y, z

        f = compile_(f)
        return [f(torch.arange(6.0).reshape(2, 3)) for _ in range(4)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_the_graph_is_python_that_runs():
    f = torch.compile(lambda x: (x * 2).exp().sum())
    x = torch.ones(3)
    for _ in range(2):
        expected = f(x)
    (got,) = f.graph.function()(x.numpy())
    np.testing.assert_array_equal(got, expected.numpy())
    assert "float32[3]" in str(f.graph)


def test_arguments_in_the_memory_of_one_array_of_numpy():
    def program(compile_):
        @compile_
        def step(a, b):
            a.add_(1)
            b.mul_(2)
            return a.sum()

        results = []
        for shared in (False, False, False, True, True):
            memory = np.ones(6, np.float32)
            a, b = torch.from_numpy(memory), torch.from_numpy(memory[2:4] if shared else np.ones(2, np.float32))
            results += [step(a, b), a, b]
        return results

    with pytest.warns(UserWarning, match="several tensors from outside share"):
        both(program)


@pytest.mark.parametrize("of_numpy", [False, True])
def test_tensors_around_that_share_memory_later(of_numpy):
    def program(compile_):
        state = SimpleNamespace(a=torch.ones(6), b=torch.ones(2))

        @compile_
        def step(x):
            state.a.add_(x)
            state.b.mul_(2)
            return state.a.sum()

        results = []
        for i in range(6):
            if i == 3:
                memory = np.ones(6, np.float32)
                state.a = torch.from_numpy(memory)
                state.b = torch.from_numpy(memory[2:4]) if of_numpy else state.a[2:4]
            results += [step(torch.ones(6)), state.a.clone(), state.b.clone()]
        return results

    with pytest.warns(UserWarning, match="several tensors from outside share"):
        both(program)
