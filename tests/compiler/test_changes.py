"""What a function changes around it: numbers that it counts with, and what it keeps for others to look at."""

import pytest
from eager_and_compiled import both, captured, falls_back
from places import PLACES

import torchlite as torch
from torchlite import nn


class Counting:
    """One that counts its steps and keeps its last loss."""

    def __init__(self, parameter=1.0):
        self.parameter = nn.Parameter(torch.full((2,), parameter))
        self.optimizer = torch.optim.SGD([self.parameter], 0.1)
        self.steps = 0
        self.seen = 0.0
        self.loss = None
        self.mode = "new"

    def step(self, x):
        self.loss = (self.parameter * x).square().sum()
        self.loss.backward()
        self.steps += 1
        self.seen = self.seen + self.loss.item()
        if self.steps % 2 == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.mode = "trained"
        return self.loss.detach()


def told(x):
    return [x.steps, x.seen, x.loss.detach(), x.mode, x.parameter.detach(), x.parameter.grad]


def test_counters_sums_and_what_is_kept_of_a_step():
    def program(compile_):
        kept = Counting()
        step = compile_(kept.step)
        results = []
        for i in range(12):
            results += [step(torch.ones(2) * i), told(kept)]
            if i == 8:
                kept.steps, kept.seen, kept.loss, kept.mode = 101, 0.5, None, "old"
        return results

    (step,) = both(program)
    assert len(step.variants) <= 4


def test_two_that_count():
    """Each counts for itself, whichever was captured."""

    def program(compile_):
        step = compile_(Counting.step)
        kept = [Counting(1.0), Counting(2.0)]
        results = []
        for i in range(12):
            results.append(step(kept[i // 3 % 2], torch.ones(2)))
            results += [told(x) for x in kept if x.loss is not None]
        return results

    (step,) = both(program)
    assert captured(step)


def test_an_error_after_the_count():
    """What comes before it has happened, what comes after it has not."""

    def program(compile_):
        kept = Counting()

        def step(y):
            kept.steps += 1
            loss = nn.functional.cross_entropy(kept.parameter[None], y)
            kept.seen += 1.0
            return loss

        step = compile_(step)
        results = []
        for i in range(9):
            try:
                results.append(step(torch.tensor([7 if i in (5, 7) else 1])).detach())
            except IndexError:
                results.append("out of range")
            results += [kept.steps, kept.seen]
        return results

    (step,) = both(program)
    assert len(step.variants) == 1


def test_what_is_kept_is_what_is_returned():
    kept, before = Counting(), None

    def f(x):
        kept.loss = x * 2
        return kept.loss

    f = torch.compile(f)
    for i in range(5):
        result = f(torch.full((2,), float(i)))
        assert result is kept.loss
        assert result.tolist() == [2 * i, 2 * i]
        assert before is None or before.tolist() == [2 * i - 2, 2 * i - 2]
        before = result


def test_what_a_module_keeps_has_its_history():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
            self.features = None

        def forward(self, x):
            self.features = self.first(x).tanh()
            return self.second(self.features)

    def program(compile_):
        torch.manual_seed(0)
        model = Module()
        f = compile_(model)
        results = []
        for i in range(5):
            loss = f(torch.ones(2, 3) * i).square().sum() + model.features.sum()
            loss.backward()
            results += [loss.detach(), model.features.detach()]
        return [*results, [p.grad for p in model.parameters()]]

    (f,) = both(program)
    assert len(f._call.variants) == 1


def in_a(place):
    def make():
        get, put = place(0)

        def f(x):
            put(get() + 2)
            return x * get()

        return f, get

    return make


def behind_a_property():
    class Kept:
        _n = 0

        @property
        def n(self):
            return self._n

        @n.setter
        def n(self, value):
            self._n = value

    kept = Kept()

    def f(x):
        kept.n += 2
        return x * kept.n

    return f, lambda: kept.n


def from_an_integer_to_a_float():
    kept = Counting()

    def f(x):
        kept.steps = kept.steps + 0.5
        return x * kept.steps

    return f, lambda: kept.steps


def with_a_setter_that_does_more():
    class Kept:
        def __init__(self):
            self.__dict__.update(n=0, log=[])

        def __setattr__(self, name, value):
            self.log.append(name)
            super().__setattr__(name, value)

    kept = Kept()

    def f(x):
        kept.n += 1
        return x * kept.n

    return f, lambda: [kept.n, list(kept.log)]


@pytest.mark.parametrize(
    "kept",
    [
        *map(in_a, PLACES),
        behind_a_property,
        from_an_integer_to_a_float,
        with_a_setter_that_does_more,
    ],
)
def test_a_counter(kept):
    def program(compile_):
        f, look = kept()
        f = compile_(f)
        return [[f(torch.ones(2)), look()] for _ in range(6)]

    (f,) = both(program)
    assert len(f.variants) == 1


def in_a_text():
    kept = Counting()

    def f(x):
        kept.steps += 1
        return x, f"step {kept.steps}"

    return f, lambda: kept.steps


def in_a_set():
    kept, seen = Counting(), set()

    def f(x):
        kept.steps += 1
        seen.add("one" if len(seen) % 2 == 0 else "two")
        seen.add(f"{len(seen)}")
        return x * len(seen)

    return f, lambda: sorted(seen)


@pytest.mark.parametrize("kept", [in_a_text, in_a_set])
def test_what_a_replay_can_not_change(kept):
    def program(compile_):
        f, look = kept()
        f = compile_(f)
        return [[f(torch.full((2,), float(i))), look()] for i in range(6)]

    falls_back(program, "changes Python values")


def that_is_looked_at_before_it_is_set():
    kept = Counting()

    def f(x):
        before = kept.loss
        kept.loss = x * 2
        return x if before is None else before + x

    return f, lambda: kept.loss


def that_is_looked_for_before_it_is_set():
    kept = Counting()

    def f(x):
        found = vars(kept)["loss"] is None
        kept.loss = x * 2
        return x * (2 if found else 3)

    return f, lambda: kept.loss


@pytest.mark.parametrize("kept", [that_is_looked_at_before_it_is_set, that_is_looked_for_before_it_is_set])
def test_what_is_kept_in_the_place_of_another(kept):
    def program(compile_):
        f, look = kept()
        f = compile_(f)
        return [[f(torch.full((2,), float(i))), look()] for i in range(6)]

    (f,) = both(program)
    assert len(f.variants) == 1


def test_a_flag_that_is_set_once_for_all():
    def program(compile_):
        kept = Counting()

        def f(x):
            if kept.mode == "new":
                kept.mode = "old"
                return x * 2
            return x * 3

        f = compile_(f)
        results = []
        for i in range(10):
            results += [f(torch.ones(2)), kept.mode]
            if i % 4 == 3:
                kept.mode = "new"
        return results

    both(program)


def test_a_counter_of_a_class():
    """What a class keeps is counted once a call, also where it can't be repeated."""

    def program(compile_):
        class Kept:
            steps = 0
            last = None

        def f(x):
            Kept.steps += 1
            Kept.last = Kept.new = x * Kept.steps
            return Kept.last

        f = compile_(f)
        return [[f(torch.ones(2)), Kept.steps, Kept.last] for _ in range(5)]

    falls_back(program, "changes Python values")


def test_fullgraph_takes_counters():
    kept = Counting()

    def f(x):
        kept.steps += 1
        return x * 2

    f = torch.compile(f, fullgraph=True)
    for i in range(4):
        f(torch.ones(2))
        assert kept.steps == i + 1
        assert type(kept.steps) is int


class DoublingInDict(dict):
    def __setitem__(self, key, value):
        super().__setitem__(key, 2 * value)


class DoublingInList(list):
    def extend(self, values):
        super().extend(2 * x for x in values)


class DoublingOut(dict):
    def __getitem__(self, key):
        return 2 * super().__getitem__(key)


class Telling(dict):
    """Tells by all methods but one that it always holds the same."""

    def get(self, _key, _otherwise=None):
        return 3

    def __iter__(self):
        return iter(["a"])

    keys = __iter__

    def values(self):
        return [3]

    def items(self):
        return [("a", 3)]


@pytest.mark.parametrize("kind", [DoublingInDict, DoublingInList, DoublingOut, Telling])
def test_containers_that_are_not_what_they_seem(kind):
    """What a trace has changed is put back as it was, past the methods of the program."""
    key = 0 if issubclass(kind, list) else "a"

    def program(compile_):
        kept = kind({key: 1} if key else [1])

        def f(x):
            kept[key] += 1
            return x * kept[key]

        f = compile_(f)
        return [(f(torch.ones(2)), kept[key]) for _ in range(5)]

    falls_back(program, "it changes Python values|tell what it holds")


def test_an_argument_that_is_not_what_it_seems():
    def program(compile_):
        f = compile_(lambda x, kept: x * kept["a"])
        return [f(torch.ones(2), Telling(a=i)) for i in range(5)]

    falls_back(program, "tell what it holds")


def test_code_that_asks_for_types():
    """`type` is told what something stands for; that the function names it costs no capture."""

    def program(compile_):
        class Kept:
            steps = 0

        kept, losses, kinds = Kept(), [], []

        def f(x, rate):
            xs = x if type(x) in (tuple, list) else (x,)
            kept.steps += 1
            losses.append(xs[0].sum().item())
            kinds.append(type(losses) is list and type(kept.steps) is int and type(rate) in (float,))
            of_types = isinstance(type(kept), type), type(type(kept)) is type, issubclass(type, object)
            named = type("Named", (), {"factor": 2})
            return xs[0] * rate * named.factor, type(kept).__name__, type(kept.steps)(3), of_types

        f = compile_(f)
        results = [f(torch.full((2,), float(i)), i / 4) for i in range(6)]
        return results, kept.steps, losses, kinds

    (f,) = both(program)
    assert len(f.variants) == 2 and f.refused is None
