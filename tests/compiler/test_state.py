"""State around a compiled function is read anew at each call and written where the function writes it."""

import copy

import pytest
from eager_and_compiled import OPTIMIZERS, batches, both, captured, net, train

import torchlite as torch
from torchlite import nn


def test_weights_loaded_between_calls_are_seen():
    def change(i, model, _opt):
        if i == 3:
            model.load_state_dict({k: v * 0 + 0.1 for k, v in model.state_dict().items()})

    (step,) = both(lambda c: train(c, OPTIMIZERS["Adam"], change=change))
    assert len(step.variants) == 1


@pytest.mark.parametrize("name", ["Adam", "momentum"])
def test_a_state_of_the_optimizer_loaded_between_calls_is_seen(name):
    saved = {}

    def change(i, _model, opt):
        if i == 2:
            saved["state"] = copy.deepcopy(opt.state_dict())
        if i in (4, 6):
            opt.load_state_dict(saved["state"])

    (step,) = both(lambda c: train(c, OPTIMIZERS[name], change=change, steps=8))
    assert len(step.variants) == 1


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


def test_a_model_in_the_place_of_another_like_it():
    def program(compile_):
        models = [net(), net()]
        with torch.no_grad():
            models[1][0].weight.mul_(2)
        model = models[0]

        def f(x):
            return model(x)

        f = compile_(f)
        results = []
        for i in range(8):
            model = models[i // 2 % 2]
            results.append(f(torch.ones(2, 6)).detach())
        return results

    (f,) = both(program)
    assert len(f.variants) == 1


def test_a_model_in_the_place_of_another_whose_layers_are_one():
    def program(compile_):
        layer = nn.Linear(6, 6)
        models = [nn.Sequential(layer, nn.Linear(6, 6)), nn.Sequential(layer, layer)]
        model = models[0]

        def step(x):
            model.zero_grad()
            model(x).sum().backward()
            return layer.weight.grad

        step = compile_(step)
        results = []
        for i in range(8):
            model = models[i // 2 % 2]
            results.append(step(torch.ones(2, 6)))
        return results

    (step,) = both(program)
    assert len(step.variants) == 2


def test_everything_around_a_step_is_replaced():
    def program(compile_):
        class Trainer:
            def __init__(self, lr):
                self.model = net()
                self.optimizer = torch.optim.AdamW(self.model.parameters(), lr)

        trainers = [Trainer(1e-2), Trainer(1e-2)]
        now = trainers[0]

        def step(x, y):
            now.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(now.model(x), y)
            loss.backward()
            now.optimizer.step()
            return loss.detach()

        trainers[1].optimizer.param_groups[0]["lr"] = 1e-3
        for trainer in trainers:  # the states of the optimizers are there
            now = trainer
            step(*batches(1)[0])
        step = compile_(step)
        results = []
        for i, batch in enumerate(batches(12)):
            now = trainers[i // 3 % 2]
            results.append(step(*batch))
        return [results, [p.detach() for t in trainers for p in t.model.parameters()]]

    (step,) = both(program)
    assert len(step.variants) == 1


def test_a_list_of_the_object_that_has_the_step_grows_outside():
    """It is around the function, which can't be moved to what is there now: there is more."""

    def program(compile_):
        class Training:
            def __init__(self):
                self.model = net()
                self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)
                self.losses = []

            @compile_
            def step(self, x, y):
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                return loss.detach()

        training = Training()
        for x, y in batches(5):
            training.losses.append(training.step(x, y))
        return training.losses

    (step,) = both(program)
    assert captured(step)
