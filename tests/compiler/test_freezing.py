"""Functions that freeze parameters and let them be trained again, as adversarial training does."""

import pytest
from eager_and_compiled import both, falls_back

import torchlite as torch
from torchlite import nn

DATA = [torch.linspace(-1, 1 + i, 12).reshape(3, 4) for i in range(8)]


def by_module(module, wanted):
    module.requires_grad_(wanted)


def by_parameter(module, wanted):
    for p in module.parameters():
        p.requires_grad = wanted


def frozen(module):
    return [not p.requires_grad for p in module.parameters()]


@pytest.mark.parametrize("freeze", [by_module, by_parameter])
def test_a_discriminator_is_frozen_within_a_step(freeze):
    def program(compile_):
        torch.manual_seed(0)
        critic, maker = nn.Linear(4, 1), nn.Linear(4, 4)
        of_critic = torch.optim.SGD(critic.parameters(), 0.01)
        of_maker = torch.optim.Adam(maker.parameters(), 0.01)

        def step(x):
            freeze(critic, True)
            of_critic.zero_grad()
            made = maker(x)
            loss = critic(made.detach()).mean() - critic(x).mean()
            loss.backward()
            of_critic.step()
            freeze(critic, False)
            of_maker.zero_grad()
            other = critic(made).square().mean()
            other.backward()
            of_maker.step()
            return loss.detach(), other.detach()

        step = compile_(step)
        results = []
        for i, x in enumerate(DATA):
            if i == 5:
                freeze(critic, True)  # as it is not after a step
            results += [step(x), frozen(critic), [p.grad for p in critic.parameters()]]
        return results, [p.detach() for p in (*critic.parameters(), *maker.parameters())]

    (step,) = both(program)
    assert len(step.variants) == 2


def test_two_steps_that_take_turns():
    def program(compile_):
        torch.manual_seed(0)
        critic, maker = nn.Linear(4, 1), nn.Linear(4, 4)
        of_critic = torch.optim.Adam(critic.parameters(), 0.01)
        of_maker = torch.optim.Adam(maker.parameters(), 0.01)

        def learn(x):
            by_module(critic, True)
            of_critic.zero_grad()
            loss = critic(maker(x).detach()).mean() - critic(x).mean()
            loss.backward()
            of_critic.step()
            return loss.detach()

        def make(x):
            by_module(critic, False)
            of_maker.zero_grad()
            loss = critic(maker(x)).square().mean()
            loss.backward()
            of_maker.step()
            return loss.detach()

        learn, make = compile_(learn), compile_(make)
        results = []
        for x in DATA:
            results += [learn(x), frozen(critic), make(x), frozen(critic)]
        return results, [p.detach() for p in (*critic.parameters(), *maker.parameters())]

    learn, make = both(program)
    assert len(learn.variants) == 1
    assert len(make.variants) == 1


def test_layers_that_are_thawed_later():
    def program(compile_):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def step(x, thaw):
            model[0].requires_grad_(thaw)
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = compile_(step)
        results = []
        for i, x in enumerate(DATA):
            results += [step(x, i >= 4), frozen(model), [p.grad for p in model.parameters()]]
        return results

    (step,) = both(program)
    assert step.graph is not None


@pytest.mark.parametrize("again", [False, True])
def test_a_result_with_a_history_of_what_was_frozen_behind_it(again):
    """Where gradients go is that of the moment at which it was computed."""

    def program(compile_):
        torch.manual_seed(0)
        layer = nn.Linear(4, 1)

        def f(x):
            y = layer(x)
            layer.requires_grad_(False)
            z = layer(x)
            if again:
                layer.requires_grad_(True)
            return y, z

        f = compile_(f)
        results = []
        for x in DATA[:5]:
            layer.requires_grad_(True)
            y, z = f(x)
            y.sum().backward()
            results += [y.detach(), z, layer.weight.grad.clone(), frozen(layer)]
        return results

    falls_back(program, "history")


def test_freezing_an_argument():
    def program(compile_):
        def f(x):
            before = x.requires_grad
            x.requires_grad_(not before)
            return (x * 2).detach()

        f = compile_(f)
        results = []
        for i in range(6):
            x = torch.ones(2, requires_grad=i >= 3)
            results += [f(x), x.requires_grad]
        return results

    both(program)
