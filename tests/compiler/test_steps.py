"""Whole training steps, compiled, give what they give uncompiled."""

import numpy as np
import pytest
from eager_and_compiled import OPTIMIZERS, batches, both, captured, falls_back, net, train

import torchlite as torch
from torchlite import nn


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_is_captured_and_equal_to_the_last_bit(name):
    (step,) = both(lambda c: train(c, OPTIMIZERS[name], clip=1.0))
    assert captured(step)
    assert len(step.variants) == 1


def test_what_the_number_of_steps_decides_is_decided_anew_at_every_step():
    # From the third step on 1 / √t limits the rate.
    (step,) = both(lambda c: train(c, lambda p: torch.optim.Adafactor(p, 0.6), steps=4))
    assert captured(step)
    (step,) = both(lambda c: train(c, lambda p: torch.optim.RAdam(p, 1e-2, (0.9, 0.9)), steps=12))
    assert captured(step)


def test_dropout_draws_new_numbers_at_every_step_and_those_of_eager():
    (step,) = both(lambda c: train(c, OPTIMIZERS["Adam"], dropout=0.5, steps=8))
    assert captured(step)


def test_gradients_accumulate_across_calls():
    def program(compile_):
        model = net()

        def accumulate(x, y):
            nn.functional.cross_entropy(model(x), y).backward()

        accumulate = compile_(accumulate)
        seen = []
        for i, (x, y) in enumerate(batches(9)):
            accumulate(x, y)
            seen.append([p.grad.clone() for p in model.parameters()])
            if i % 3 == 2:
                model.zero_grad()
        return seen

    (f,) = both(program)
    assert len(f.variants) == 2  # with and without gradients from before


def test_a_gradient_that_was_kept_is_not_overwritten():
    def program(compile_):
        model = net()

        def step(x, y):
            model.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()

        step = compile_(step)
        kept = []
        for x, y in batches(4):
            step(x, y)
            kept.append(model[0].weight.grad)
        return kept

    both(program)


def test_the_gradient_as_a_result_is_the_one_in_the_slot():
    w = torch.ones(3, requires_grad=True)

    def step(x):
        w.grad = None
        (w * x).sum().backward()
        return w.grad

    step = torch.compile(step)
    for _ in range(4):
        assert step(torch.ones(3)) is w.grad
    assert captured(step)


def test_hooks_of_parameters_take_part():
    def program(compile_):
        w = torch.ones(3, requires_grad=True)

        def step(x):
            w.grad = None
            (w * x).sum().backward()

        step = compile_(step)
        results = []
        for i in range(6):
            if i == 3:
                w.register_hook(lambda g: g * 10)
            step(torch.ones(3))
            results.append(w.grad)
        return results

    both(program)


def test_hooks_registered_inside():
    def program(compile_):
        w = torch.ones(3, requires_grad=True)

        def step(x):
            w.grad = None
            w.register_hook(lambda g: g * 2)
            (w * x).sum().backward()

        step = compile_(step)
        results = []
        for _ in range(4):
            step(torch.ones(3))
            results.append(w.grad)
        return results

    falls_back(program, "hook")


def test_a_method():
    class Trainer:
        def __init__(self):
            self.model = net()
            self.opt = torch.optim.SGD(self.model.parameters(), 0.1)

        def step(self, x, y):
            self.opt.zero_grad()
            loss = nn.functional.cross_entropy(self.model(x), y)
            loss.backward()
            self.opt.step()
            return loss.item()

    def program(compile_):
        trainer = Trainer()
        step = compile_(trainer.step)
        return [step(x, y) for x, y in batches(5)]

    (step,) = both(program)
    assert captured(step)


def test_autocast_inside_and_around():
    def program(compile_):
        model = net()

        def step(x, y):
            model.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss.detach()

        step, around = compile_(step), compile_(lambda x: model(x).detach())
        results = []
        for i, (x, y) in enumerate(batches(6)):
            results.append(step(x, y))
            with torch.no_grad():
                model[0].weight.mul_(0.5)
            with torch.autocast("cpu", torch.bfloat16, enabled=i % 3 > 0):
                results += [model(x).detach(), around(x), step(x, y)]
        return results

    for f in both(program):
        assert captured(f)


def test_a_decorated_function_finds_itself_among_its_globals():
    scope = {"torch": torch, "w": torch.ones(2, requires_grad=True)}
    exec("def step(x):\n    w.grad = None\n    (w * x).sum().backward()\n    return optimizer.step()", scope)
    scope["optimizer"] = torch.optim.SGD([scope["w"]], 0.1)
    scope["step"] = torch.compile(scope["step"])
    for _ in range(4):
        scope["step"](torch.ones(2))
    assert captured(scope["step"])
    np.testing.assert_allclose(scope["w"].detach().numpy(), [0.6, 0.6], rtol=1e-6)


def test_wrong_targets_are_the_same_error():
    model = net()
    f = torch.compile(lambda x, y: nn.functional.cross_entropy(model(x), y))
    x, y = batches(1)[0]
    for _ in range(3):
        f(x, y)
    with pytest.raises(IndexError, match="out of bounds"):
        f(x, y + 3)
    f(x, y)


def test_ignored_targets():
    def program(compile_):
        model = net()
        f = compile_(lambda x, y: nn.functional.cross_entropy(model(x), y).detach())
        results = []
        for i, (x, y) in enumerate(batches(8)):
            if i > 2:
                y[0] = -100
            results.append(f(x, y))
        return results

    expected = program(lambda f: f)
    for a, b in zip(expected, program(torch.compile), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
