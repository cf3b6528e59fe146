"""Lists to which a function appends at every call."""

import warnings
from collections import deque

import pytest
from eager_and_compiled import both, falls_back
from places import PLACES

import torchlite as torch
from torchlite import nn


class Trainer:
    def __init__(self):
        self.weight = nn.Parameter(torch.ones(2))
        self.optimizer = torch.optim.SGD([self.weight], 0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)
        self.losses, self.rates, self.last = [], [], deque(maxlen=3)
        self.logs = {"loss": [], "pairs": []}
        self.window = [1.0]

    def step(self, x, epoch=0):
        self.optimizer.zero_grad()
        loss = (self.weight * x).square().sum()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.losses.append(loss.item())
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.last.append(loss.detach())
        self.logs["loss"] += [loss.detach() * 2, epoch]
        self.logs["pairs"].append({"loss": loss.item(), "of": ("text", [x.sum()])})
        return loss.detach()

    def told(self):
        return [list(self.losses), list(self.rates), list(self.last), {k: list(v) for k, v in self.logs.items()}]


def test_losses_rates_and_logs_of_a_step():
    """The lists are made anew every four calls, as for an epoch; once by another trainer."""

    def program(compile_):
        kept = Trainer()
        step = compile_(lambda x, epoch: kept.step(x, epoch))
        results = []
        for i in range(14):
            if i in (4, 8):
                kept.losses, kept.logs["loss"] = [], []
            if i == 11:
                kept = Trainer()
            results += [step(torch.ones(2) * i, i), kept.told()]
        return results

    (step,) = both(program)
    assert len(step.variants) <= 3


def in_a(place):
    def make():
        get, _ = place([])

        def f(x):
            get().append(x.sum().item())
            return x * 2

        return f, lambda: list(get())

    return make


def that_is_added_to():
    history = []

    def f(x):
        nonlocal history
        history += [x.sum()]
        history.extend([x * 2, None, 3])

    return f, lambda: list(history)


def in_a_module():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.kept = []

        def forward(self, x):
            y = x * self.weight
            self.kept.append(y)
            return y

    module = Module()

    def told():
        sum(y.sum() for y in module.kept).backward()  # the history of each is there
        module.kept.clear()
        return module.weight.grad.clone()

    return module.forward, told


def with_its_own_results():
    history = deque()

    def f(x):
        y = x * 2
        history.appendleft(y)
        history.extendleft((y, x))
        return y

    def told():
        return [list(history), history[1] is history[2], len({id(y) for y in history})]

    return f, told


@pytest.mark.parametrize("kept", [*map(in_a, PLACES), that_is_added_to, in_a_module, with_its_own_results])
def test_a_list_that_is_not_looked_at(kept):
    def program(compile_):
        f, told = kept()
        f = compile_(f)
        return [[f(torch.ones(2) * i), told()] for i in range(6)]

    (f,) = both(program)
    assert len(f.variants) == 1


LOOKS = {
    "its length": lambda x, h: x * len(h),
    "its last": lambda x, h: x + h[-1],
    "its sum": lambda x, h: x + sum(h),
    "whether there is one": lambda x, h: x * 2 if h else x,
    "a copy": lambda x, h: (x, list(h)),
    "itself": lambda x, h: (x, h),
    "a slice that goes": lambda x, h: h.__delitem__(slice(None, -2)) or x,
    "an end that goes": lambda x, h: h.pop() + x,
    "a concatenation": lambda x, h: (x, [x, *h]),
    "another concatenation": lambda x, h: (x, [x] + h),  # noqa: RUF005
    "all its parts": lambda x, h: torch.stack(h).sum() + x,
    "equality": lambda x, h: x * (h == [1.0]),
    "a heap": lambda x, h: __import__("heapq").heappush(h, 3.0) or x,
    "another type": lambda x, h: x * 2 if type(h) is list else x,
}


@pytest.mark.parametrize("what", LOOKS)
def test_a_list_that_is_looked_at(what):
    def program(compile_):
        history = [torch.zeros(2)]

        def f(x):
            history.append(x * 2)
            return LOOKS[what](x, history)

        f = compile_(f)
        results = []
        for i in range(6):
            try:
                results.append(f(torch.ones(2) * i))
            except (TypeError, RuntimeError) as error:
                results.append(type(error).__name__)
            results.append(list(history))
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_a_list_with_two_names():
    def program(compile_):
        kept = Trainer()
        kept.window = kept.losses

        def f(x):
            kept.losses.append(x.sum().item())
            return x * len(kept.window)

        f = compile_(f)
        return [f(torch.ones(2)) for _ in range(5)] + kept.losses

    falls_back(program, "changes Python values")


def test_a_list_that_gets_a_second_name_between_calls():
    def program(compile_):
        kept = Trainer()

        def f(x):
            kept.losses.append(x.sum().item())
            return x * kept.window[0]

        f = compile_(f)
        results = []
        for i in range(8):
            if i == 4:
                kept.losses = kept.window
            results += [f(torch.ones(2) * i), list(kept.losses), list(kept.window)]
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_what_is_appended_and_also_kept_elsewhere():
    def program(compile_):
        kept = Trainer()

        def f(x):
            row = [x.sum().item()]
            kept.losses.append(row)
            return row

        f = compile_(f)
        for i in range(5):
            f(torch.ones(2) * i).append(i)
        return kept.losses

    falls_back(program, "changes Python values")


def test_two_functions_with_one_list():
    def program(compile_):
        kept = Trainer()

        def f(x):
            kept.losses.append(x.sum().item())
            return x * 2

        def g(x):
            kept.losses.append(x * 3)

        f, g = compile_(f), compile_(g)
        return [[f(torch.ones(2) * i), g(torch.ones(2)), list(kept.losses)] for i in range(5)]

    f, g = both(program)
    assert len(f.variants) == len(g.variants) == 1


def test_an_error_behind_what_is_appended():
    def program(compile_):
        kept = Trainer()

        def f(x, y):
            kept.losses.append(x.sum().item())
            loss = nn.functional.cross_entropy(x[None], y)
            kept.losses.append(loss.item())
            return loss

        f = compile_(f)
        results = []
        for i in range(7):
            try:
                results.append(f(torch.ones(2), torch.tensor([7 if i in (4, 5) else 1])))
            except IndexError:
                results.append("out of range")
            results.append(list(kept.losses))
        return results

    (f,) = both(program)
    assert len(f.variants) == 1
