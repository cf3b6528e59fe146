"""Schedules that programs write by hand: functions of `math` and NumPy of numbers that change or are computed."""

import math
import os
import types
from math import cos, log

import numpy as np
import pytest
from eager_and_compiled import both, captured, gains

import torchlite as torch
from torchlite import nn
from torchlite.compiler.mathematics import stand_ins

SCHEDULES = {
    "cosine": lambda i: 0.05 * (1 + math.cos(math.pi * i / 20)),
    "cosine of NumPy": lambda i: 0.05 * (1 + np.cos(np.pi * i / 20)),
    "imported by name": lambda i: 0.1 * cos(i / 20) / log(i + 2),
    "inverse root": lambda i: 0.1 / math.sqrt(i + 1),
    "exponential": lambda i: np.float64(0.1) * math.exp(-i / 10) + np.exp(-i) / 10,
    "steps": lambda i: 0.1 * 0.5 ** math.floor(i / 3),
    "rounded": lambda i: round(0.1 / (i + 1), 4) * round(i / 10 + 1) + math.ceil(i / 4) / 100,
    "a power": lambda i: 0.1 * math.pow(1 - i / 20, 0.9),
}


def train(compile_, schedule, *, optimizer, inside):
    model = gains()
    opt = optimizer(model.parameters())
    kept = types.SimpleNamespace(steps=0)

    def change(i):
        for group in opt.param_groups:
            group["lr"] = schedule(i)

    def step(x, y):
        if inside:
            change(kept.steps)
            kept.steps += 1
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        return loss.detach(), opt.param_groups[0]["lr"]

    step = compile_(step)
    results = []
    for i in range(12):
        if not inside:
            change(i)
        results.append(step(torch.ones(2, 6) * i, torch.tensor([0, 2])))
    return results, [p.detach() for p in model.parameters()], kept.steps


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule(schedule, inside):
    def program(compile_):
        optimizer = torch.optim.SGD if schedule != "cosine of NumPy" else torch.optim.AdamW
        return train(compile_, SCHEDULES[schedule], optimizer=lambda p: optimizer(p, 0.1), inside=inside)

    (step,) = both(program)
    assert len(step.variants) == 1
    assert step.variants[0].captured.run.repeats


ARGUMENTS = {"comb": (5, 2), "copysign": (1.0, -2.0), "fmod": (7.0, 3.0), "gcd": (12, 18), "hypot": (3.0, 4.0)}
ARGUMENTS |= {"isclose": (1.0, 1.5), "lcm": (4, 6), "perm": (5, 2), "pow": (2.0, 3), "remainder": (7.0, 3.0)}
ARGUMENTS |= {"atan2": (1.0, 2.0), "factorial": (5,), "isqrt": (17,), "acosh": (1.5,), "fma": (1.0, 2.0, 3.0)}


def test_every_function_of_math():
    """Of a number that changes, in every place where it can be."""
    for function in stand_ins():
        given = ARGUMENTS.get(function.__name__, (0.5,))
        for place, number in enumerate(given):
            changing = [number, number + 1, number + 2] if type(number) is int else [number, number * 0.75, number / 2]
            if function.__name__ == "acosh":
                changing = [1.5, 1.25, 2.0]

            def f(x, n, function=function, given=given, place=place):
                return x, getattr(math, function.__name__)(*given[:place], n, *given[place + 1 :])

            f = torch.compile(f)
            for n in changing[:2] * 2 + changing:
                _, found = f(torch.ones(1), n)
                expected = function(*given[:place], n, *given[place + 1 :])
                assert type(found) is type(expected)
                assert found == expected
            if type(expected) is not bool:
                assert len(f.variants) == 2


def test_of_numbers_of_tensors():
    def program(compile_):
        def f(x):
            n = x.sum().item()
            results = math.exp(n), np.sqrt(n), round(n), round(n, 1), math.floor(n), np.float64(2) * n + 1, abs(-n) ** 2
            return *results, torch.tensor(n), torch.tensor(n * 2, dtype=torch.float64)

        f = compile_(f)
        return [f(torch.full((2,), 0.3 + i)) for i in range(4)]

    (f,) = both(program)
    assert len(f.variants) == 1


def test_an_error_of_what_is_computed():
    def program(compile_):
        kept = types.SimpleNamespace(steps=0)

        def f(x):
            kept.steps += 1
            return x * math.log(x.sum().item()), math.sqrt(3 - kept.steps)

        f = compile_(f)
        results = []
        for i in range(6):
            try:
                results.append(f(torch.full((2,), float(i != 2))))
            except ValueError as error:
                results.append(str(error))
            results.append(kept.steps)
        return results

    (f,) = both(program)
    assert captured(f)


def with_a_gradient(w, x):
    (w * x).sum().backward()
    return w.grad


@pytest.mark.parametrize(
    "function",
    [
        lambda x, n: torch.tensor(n) * x,
        lambda x, n: torch.tensor(n, dtype=torch.float64) + x,
        lambda x, n: with_a_gradient(torch.tensor(n / 2, requires_grad=True), x),
        lambda x, n: torch.full((2,), n) * x,
        lambda x, n: (x.long() * np.sqrt(n), x * (n * np.float64(2)), np.float64(2) > n, np.isnan(n)),
    ],
)
@pytest.mark.parametrize("kind", [int, float, np.float64])
def test_numbers_as_tensors(function, kind):
    def program(compile_):
        f = compile_(function)
        return [f(torch.ones(2), kind(n + 3)) for n in range(6)]

    (f,) = both(program)
    assert len(f.variants) == 2


def test_other_threads_have_functions_of_their_own():
    """What stands for them computes what they do of all that is no number of a trace."""
    for function, stand_in in stand_ins().items():
        given = ARGUMENTS.get(function.__name__, (0.5,))
        assert stand_in(*given) == function(*given)


def test_a_module_among_the_values_around():
    """Nothing is known of how the function will look into it."""
    holding = types.ModuleType("holding")
    holding.os, holding.n = os, 2.0

    def program(compile_):
        modules = [holding]
        f = compile_(lambda x: x * modules[0].n)
        return [f(torch.ones(2)) for _ in range(4)]

    (f,) = both(program)
    assert captured(f)
