"""Python numbers that are others from call to call: arguments, attributes, globals and closures."""

import math
import warnings

import numpy as np
import pytest
from eager_and_compiled import both, captured, same
from places import PLACES

import torchlite as torch
from torchlite import nn
from torchlite.compiler.arguments import flatten


def as_an_argument(f):
    return f


def by_name(f):
    return lambda x, n: f(x, n=n)


def in_a_tuple(f):
    return lambda x, n: f((x, (n,)))


class Kept:
    def __init__(self):
        self.n = 0


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize(
    ("function", "call"),
    [(lambda x, n: x * n, as_an_argument), (lambda x, n: x * n, by_name), (lambda b: b[0] * b[1][0], in_a_tuple)],
)
def test_an_argument(function, call, kind):
    def program(compile_):
        f = call(compile_(function))
        return [f(torch.ones(2), kind(n // 2)) for n in range(24)]

    (f,) = both(program)
    assert len(f.variants) == 2


@pytest.mark.parametrize("place", PLACES)
def test_around_the_function(place):
    def program(compile_):
        get, put = place(0)
        f = compile_(lambda x: x * get())
        results = []
        for n in range(20):
            put(n // 2)
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    assert len(f.variants) <= 3


def test_of_several_objects():
    """Each of two that take turns as an argument has its own number."""

    def program(compile_):
        f = compile_(lambda kept, x: x * kept.n)
        kept, results = [Kept(), Kept()], []
        for n in range(20):
            kept[n % 3 % 2].n = n
            results += [f(one, torch.ones(2)) for one in kept]
        return results

    (f,) = both(program)
    assert len(f.variants) <= 5


def test_a_step_of_training():
    """Warm-up, a decay and an average by the number of the step: an integer that goes on and one that changes now and then."""

    def program(compile_):
        weight = nn.Parameter(torch.ones(3))
        optimizer = torch.optim.SGD([weight], 0.1)
        shadow = torch.zeros(3)

        def step(x, epoch, i):
            optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, (i + 1) / 5) * 0.5**epoch
            optimizer.zero_grad()
            loss = (weight * x).square().sum() / (epoch + 1)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                decay = (1 + i) / (10 + i)
                shadow.mul_(decay).add_(weight, alpha=1 - decay)
            return loss.detach(), loss.item() * i, i // 2, epoch

        step = compile_(step)
        results = [step(torch.full((3,), 1.0 + i), i // 4, i) for i in range(16)]
        return results, weight.detach(), shadow, optimizer.param_groups[0]["lr"]

    (step,) = both(program)
    assert len(step.variants) <= 4


DECIDING = {
    "an index": lambda x, n: x[n % 3] * n,
    "a branch": lambda x, n: x * n if n > 4 else x - n,
    "a length": lambda x, n: x[:n],
    "a text": lambda x, n: {f"{n % 3}": x * n},
    "a comparison of tuples": lambda x, n: x * n if (n, 1) < (4, 0) else x,
    "a number of times": lambda x, n: sum((x for _ in range(n % 3)), x),
    "truth": lambda x, n: x * 2 if n % 3 else x * n,
    "what it is": lambda x, n: x * 2 if type(n) is int else x,
    "what else it is": lambda x, n: x * 2 if isinstance(n, int) and not isinstance(n, bool) else x,
    "a power": lambda x, n: x * 2**-n + x * 2 ** (3 - n) + x**n,
    "another dtype": lambda x, n: x.long() * n,
    "a dimension": lambda x, n: x.reshape(3, 2).sum(n % 2),
    "a parameter": lambda x, n: nn.functional.dropout(x, n / 100, True),
}


@pytest.mark.parametrize("what", DECIDING)
@pytest.mark.parametrize("kind", [int, float])
def test_what_decides_stays_a_condition(what, kind):
    def program(compile_):
        f = compile_(DECIDING[what])
        results = []
        for n in (0, 1, 2, 3, 5, 4, 3, 1, 6):
            try:
                results.append(f(torch.arange(6.0), kind(n)))
            except (TypeError, IndexError) as error:
                results.append(type(error).__name__)
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


@pytest.mark.parametrize(
    "which",
    [lambda n: n // 8, lambda n: math.floor(n / 8), lambda n: round(n / 8), lambda n: n % 2, lambda n: int(n // 8)],
)
def test_what_has_few_values_may_be_asked_for(which):
    """A number of an epoch that is computed of that of a step has a capture for each value, and the step has not."""

    def program(compile_):
        f = compile_(lambda x, n: x[which(n)] * n)
        return [f(torch.arange(4.0), n) for n in range(20)]

    (f,) = both(program)
    assert len(f.variants) <= 5


def test_what_only_a_number_can_be_given_to():
    """What raises an error for all but numbers: such a number has a capture for each value, as constants have."""

    def program(compile_):
        f = compile_(lambda x, n: x * np.float32(n).item() + int.__add__(n, 1))
        return [f(torch.ones(2), n // 3) for n in range(12)]

    (f,) = both(program)
    assert len(f.variants) == 4


def test_integers_of_any_size():
    def program(compile_):
        f = compile_(lambda x, n: (x * n, x.double() * (n + 1), n * n, 1 / n))
        return [f(torch.ones(2), n) for n in (1, 2, 2**53 + 1, -(2**62), 10**40, 0.5, -0.0 + 3, 7)]

    (f,) = both(program)
    assert captured(f)


def test_an_error_of_the_arithmetic():
    f = torch.compile(lambda x, n: x * (1 / n))
    for n in (1, 2, 3):
        same(f(torch.ones(2), n), torch.full((2,), 1.0) / n)
    with pytest.raises(ZeroDivisionError):
        f(torch.ones(2), 0)
    same(f(torch.ones(2), 4), torch.full((2,), 0.25))
    assert len(f.variants) == 2


@pytest.mark.parametrize("function", [lambda x, n: x * n**2, lambda x, n: x * (n * 10**400 if n > 2 else n)])
def test_what_is_too_large_for_a_float(function):
    """Python says so, where C would go on with infinity."""

    def program(compile_):
        f = compile_(function)
        results = []
        for n in (0.5, 1.5, 1e300, 2.5, 1.0):
            try:
                results.append(f(torch.ones(2), n))
            except OverflowError:
                results.append("too large")
        return results

    (f,) = both(program)
    assert captured(f)


def test_infinity_as_a_constant():
    def program(compile_):
        f = compile_(lambda x, n: x * (1 + n / float("inf")))
        return [f(torch.ones(2), n) for n in (0.5, 1.5, 2.5)]

    (f,) = both(program)
    assert "mul" in f.source


@pytest.mark.parametrize("kind", [int, float])
def test_the_norm_to_which_gradients_are_clipped(kind):
    def program(compile_):
        weight = nn.Parameter(torch.ones(3))

        def step(x, limit):
            weight.grad = None
            (weight * x).sum().backward()
            return nn.utils.clip_grad_norm_([weight], limit), weight.grad

        f = compile_(step)
        return [f(torch.arange(3.0), kind(n // 2 + 1)) for n in range(10)]

    (f,) = both(program)
    assert len(f.variants) == 2


def test_bounds_that_are_scalars_of_numpy():
    def program(compile_):
        f = compile_(lambda x, n: x.clamp(min=-n, max=n))
        return [f(torch.arange(3.0), n) for n in (1, np.float64(1.5), np.int64(1), np.float32(0.5), 2.5)]

    both(program)
    assert torch.arange(3.0).clamp(max=np.float64(1.5)).dtype is torch.float32


@pytest.mark.parametrize("steps", [3, 20])
@pytest.mark.filterwarnings("ignore:torchlite.compile")
def test_a_number_that_is_asked_for_in_the_first_steps_only(steps):
    """A warm-up that looks its rate up: what comes behind it is captured once, whether or not it is longer than captures are made."""

    def program(compile_):
        rates = [0.1 * i for i in range(steps + 1)]

        def f(x, i):
            return x * rates[i] if i <= steps else x * i

        f = compile_(f)
        return [f(torch.ones(2), i) for i in range(steps + 30)]

    (f,) = both(program)
    replayed = f.variants[0]
    assert replayed.fits(*call_of(torch.ones(2), 1000))[0] is None


def call_of(*args):
    leaves = []
    return ([flatten(x, leaves) for x in args], {}), leaves
