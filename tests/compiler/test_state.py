"""State around a compiled function is read anew at each call and written where the function writes it."""

import copy

from eager_and_compiled import OPTIMIZERS, both, captured, train

import torchlite as torch
from torchlite import nn


def test_weights_loaded_between_calls_are_seen():
    def change(i, model, _opt):
        if i == 3:
            model.load_state_dict({k: v * 0 + 0.1 for k, v in model.state_dict().items()})

    (step,) = both(lambda c: train(c, OPTIMIZERS["Adam"], change=change))
    assert len(step.variants) == 1


def test_a_state_of_the_optimizer_loaded_between_calls_is_seen():
    saved = {}

    def change(i, _model, opt):
        if i == 2:
            saved["state"] = copy.deepcopy(opt.state_dict())
        if i == 4:
            opt.load_state_dict(saved["state"])

    both(lambda c: train(c, OPTIMIZERS["Adam"], change=change))


def test_parameters_replaced_or_rebound_are_seen():
    def change(i, model, _opt):
        if i == 3:
            model[0].bias.data = torch.full((8,), 0.5)
        if i == 4:
            model[1] = nn.ReLU()

    both(lambda c: train(c, OPTIMIZERS["SGD"], change=change))


def test_parameters_written_into_between_calls_are_seen():
    def change(_i, model, _opt):
        with torch.no_grad():
            model[0].weight.mul_(0.9)

    (step,) = both(lambda c: train(c, OPTIMIZERS["SGD"], change=change))
    assert len(step.variants) == 1


def test_freezing_a_parameter_is_seen():
    def change(i, model, _opt):
        if i == 3:
            model[0].weight.requires_grad = False

    both(lambda c: train(c, OPTIMIZERS["SGD"], change=change))


def test_state_kept_in_a_tensor():
    def program(compile_):
        count = torch.zeros(())

        def f(x):
            count.add_(1)
            return x * count

        f = compile_(f)
        return [f(torch.ones(2)) for _ in range(5)]

    (f,) = both(program)
    assert captured(f)
