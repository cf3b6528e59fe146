"""Tensors that a function reads and replaces: averages, hidden states, buffers."""

import warnings

import pytest
from eager_and_compiled import both, falls_back
from places import PLACES, in_an_attribute

import torchlite as torch
from torchlite import nn


class Kept:
    def __init__(self):
        self.average = torch.zeros(2)
        self.other = torch.ones(2)
        self.state = (torch.zeros(2), torch.ones(2))
        self.several = [torch.zeros(2), torch.zeros(2)]


def in_a(place):
    def make():
        get, put = place(torch.zeros(2))

        def f(x):
            put(0.9 * get() + 0.1 * x)
            return x - get()

        return f, get, put

    return make


def in_a_buffer():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("average", torch.zeros(2))

        def forward(self, x):
            self.average = 0.9 * self.average + 0.1 * x
            return x - self.average

    module = Module()
    return module.forward, lambda: module.average, lambda x: setattr(module, "average", x)


def in_a_buffer_that_is_also_written_into():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("average", torch.zeros(2))

        def forward(self, x):
            before = self.average
            before.mul_(0.9)
            self.average = before + 0.1 * x
            return before.clone(), self.average

    module = Module()
    return module.forward, lambda: module.average, lambda x: setattr(module, "average", x)


def in_a_tuple():
    kept = Kept()

    def f(x):
        h, c = kept.state
        kept.state = (h * 0.5 + x, c + h)
        return kept.state

    return f, lambda: kept.state, lambda x: setattr(kept, "state", (x, x + 1))


def as_a_list():
    kept = Kept()

    def f(x):
        kept.several = [h + x for h in kept.several]
        return sum(kept.several)

    return f, lambda: kept.several, lambda x: setattr(kept, "several", [x, x + 1])


EVERYWHERE = [
    *map(in_a, PLACES),
    in_a_buffer,
    in_a_buffer_that_is_also_written_into,
    in_a_tuple,
    as_a_list,
]


@pytest.mark.parametrize("place", EVERYWHERE)
def test_a_tensor_that_is_replaced(place):
    """Also by the program between the calls; what was there before stays what it was."""

    def program(compile_):
        f, get, put = place()
        f = compile_(f)
        results = []
        for i in range(9):
            if i == 5:
                put(torch.full((2,), 7.0))
            results += [f(torch.ones(2) * i), get()]
        return results

    (f,) = both(program)
    assert len(f.variants) == 1


def test_it_is_the_tensor_that_is_returned():
    kept = Kept()

    def f(x):
        kept.average = kept.average + x
        return kept.average

    f = torch.compile(f)
    for i in range(5):
        assert f(torch.ones(2)) is kept.average
        assert kept.average.tolist() == [i + 1.0, i + 1.0]


def test_its_shape_and_dtype_may_be_others():
    def program(compile_):
        f, get, put = in_a(in_an_attribute)()
        f = compile_(f)
        results = []
        for i in range(12):
            if i in (4, 8):
                put(torch.zeros(3, 2) if i == 4 else torch.zeros(2, dtype=torch.float64))
            results += [f(torch.ones(2) * i), get()]
        return results

    (f,) = both(program)
    assert len(f.variants) == 3


def test_it_is_missing_at_the_beginning_of_each_epoch():
    def program(compile_):
        kept = Kept()

        def f(x):
            kept.average = x if kept.average is None else 0.9 * kept.average + x
            if kept.state is None:
                kept.state = (x * 0, x * 1)
            kept.state = (kept.state[0] + 1, kept.state[1] + kept.state[0])
            return kept.average * 2

        f = compile_(f)
        results = []
        for i in range(20):
            if i % 4 == 0:
                kept.average = kept.state = None
            results += [f(torch.ones(2) * i + 1), kept.average, kept.state]
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (f,) = both(program)
    assert f.gave_up is None


def test_what_it_is_given_is_kept():
    """A batch that is remembered for the next call, by a name or instead of the one before."""

    def program(compile_):
        kept = Kept()

        def f(x):
            difference = x - kept.average
            kept.average, kept.other = x, kept.average
            kept.last = x
            return difference + kept.other

        f = compile_(f)
        results, same_one = [], torch.ones(2)
        for i in range(9):
            x = same_one if i in (4, 5) else torch.ones(2) * i
            results += [f(x), kept.average is x, kept.last is x, kept.other]
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_an_average_of_a_step_of_training():
    """Its history goes on where it is not detached; hidden states are carried from step to step."""

    def program(compile_):
        weight = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], 0.1)
        kept = Kept()

        def step(x):
            optimizer.zero_grad()
            hidden = torch.tanh(kept.state[0] + x * weight)
            loss = (hidden - kept.average).square().sum()
            loss.backward()
            optimizer.step()
            kept.state = (hidden.detach(), kept.state[1] + 1)
            kept.average = 0.5 * kept.average + 0.5 * hidden.detach()
            return loss.detach()

        step = compile_(step)
        return [[step(torch.ones(2) * i), kept.state, kept.average, weight.detach()] for i in range(8)]

    (step,) = both(program)
    assert len(step.variants) == 1


def test_a_history_that_goes_on():
    def program(compile_):
        weight = nn.Parameter(torch.ones(2))
        kept = Kept()

        def f(x):
            kept.average = 0.5 * kept.average + weight * x
            return kept.average.sum()

        f = compile_(f)
        results = [f(torch.ones(2) * i).detach() for i in range(5)]
        f(torch.ones(2)).backward()
        return results, weight.grad

    both(program)


def test_two_objects():
    def program(compile_):
        f = compile_(lambda kept, x: one(kept, x))

        def one(kept, x):
            kept.average = kept.average + x
            return kept.average * 2

        both_of_them, results = [Kept(), Kept()], []
        for i in range(14):
            kept = both_of_them[i // 2 % 2]
            results += [f(kept, torch.ones(2) * i), *(k.average for k in both_of_them)]
        return results

    both(program)


def test_two_functions():
    def program(compile_):
        kept = Kept()

        def f(x):
            kept.average = kept.average + x
            return kept.average * 2

        def g(x):
            kept.average = kept.average * x
            return kept.average + 1

        f, g = compile_(f), compile_(g)
        return [[f(torch.ones(2) * i), g(torch.ones(2)), kept.average] for i in range(6)]

    f, g = both(program)
    assert len(f.variants) == len(g.variants) == 1


def also_an_argument(kept, f):
    return f(kept.average)


def also_another_attribute(kept, f):
    kept.other = kept.average
    return f(torch.ones(2))


def a_part_of_another(kept, f):
    kept.other = torch.arange(6.0)
    kept.average = kept.other[2:4]
    return f(torch.ones(2))


def the_other(kept, f):
    kept.average = kept.other
    return f(torch.ones(2))


@pytest.mark.parametrize("change", [also_an_argument, also_another_attribute, a_part_of_another, the_other])
@pytest.mark.parametrize("at", [1, 5])
def test_it_becomes_also(change, at):
    """What else the function reads or writes into."""

    def program(compile_):
        kept = Kept()

        def f(x):
            kept.average.add_(x)
            kept.other.mul_(2)
            kept.average = kept.average * 0.5 + kept.other.sum() + x
            return kept.average + kept.other.sum()

        f = compile_(f)
        results = []
        for i in range(9):
            results += [change(kept, f) if i == at else f(torch.ones(2)), kept.average.clone(), kept.other.clone()]
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_one_with_a_gradient():
    def program(compile_):
        kept = Kept()
        kept.average.requires_grad_()

        def f(x):
            (kept.average * x).square().sum().backward()
            kept.average = (kept.average - 0.1 * kept.average.grad).detach().requires_grad_()
            return kept.average * 1

        f = compile_(f)
        return [f(torch.ones(2) * i).detach() for i in range(6)]

    falls_back(program, "changes Python values")


def test_an_error_before_it_is_replaced():
    def program(compile_):
        kept = Kept()

        def f(x, y):
            kept.average = kept.average + x
            loss = nn.functional.cross_entropy(kept.average[None], y)
            kept.average = kept.average * 2
            return loss

        f = compile_(f)
        results = []
        for i in range(8):
            try:
                results.append(f(torch.ones(2), torch.tensor([7 if i in (4, 5) else 1])))
            except IndexError:
                results.append("out of range")
            results.append(kept.average)
        return results

    (f,) = both(program)
    assert len(f.variants) == 1


def test_its_identity_is_asked_for():
    def program(compile_):
        kept = Kept()

        def f(x):
            even = id(kept.average) % 2
            kept.average = kept.average + x
            return kept.average * (even + 2)

        f = compile_(f)
        return [f(torch.ones(2)) for _ in range(4)]

    falls_back(program, "changes Python values")
