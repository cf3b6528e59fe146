"""Attributes that a function does not read may change; those that it reads in whatever way may not."""

import copy
import dataclasses
import functools
import inspect
import operator
import threading
import typing

import numpy as np
import pytest
from eager_and_compiled import both, captured, falls_back, net

import torchlite as torch
from torchlite import nn


class Trainer:
    def __init__(self, compile_, lr=0.1):
        self.model = net()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr)
        self.steps = 0
        self.losses = []
        self.best = {"loss": None}
        self.batches = iter([torch.full((2, 6), float(i)) for i in range(20)])
        self.seen = np.zeros(5000)
        self.step = compile_(self._step)

    def _step(self, x):
        self.optimizer.zero_grad()
        loss = self.model(x).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def fit(self, steps):
        for _ in range(steps):
            self.last = next(self.batches)
            loss = self.step(self.last)
            self.steps += 1
            self.losses.append(loss)
            self.best["loss"] = min(self.losses)
            self.seen[self.steps] = float(loss)


def test_what_a_trainer_keeps_beside_its_step():
    def program(compile_):
        trainer = Trainer(compile_)
        trainer.fit(12)
        return trainer.losses, trainer.steps

    (step,) = both(program)
    assert len(step.variants) == 1


class Settings:
    """Objects in objects."""

    def __init__(self):
        self.inner = Settings.Inner()

    class Inner:
        scale = 1.0
        other = 0.0


@dataclasses.dataclass
class Fields:
    scale: float = 1.0
    other: float = 0.0


class Kept:
    """One of whose attributes is read in the way that a test says."""

    def __init__(self, read):
        self.scale = 1.0
        self.other = 0.0
        self.read = read

    def call(self, x):
        return x * self.read(self)


class WithProperty(Kept):
    @property
    def doubled(self):
        return self.scale * 2


class WithFallback(Kept):
    def __getattr__(self, name):
        if name.startswith("any_"):
            return self.scale
        raise AttributeError(name)


class WithBase(Kept):
    def get(self):
        return self.scale


class WithSuper(WithBase):
    def get(self):
        return super().get() + 1


def _by_attrs(x):
    return sum(getattr(x, name) for name in ("scale", "other"))


def _in_a_pattern(x):
    match x:
        case Kept(scale=scale):
            return scale


def _by_copy(x):
    return copy.copy(x).scale


WAYS = {
    "attribute": lambda x: x.scale,
    "getattr": lambda x: getattr(x, "sca" + "le"),
    "getattr_or": lambda x: getattr(x, "scale", 3.0),
    "attrgetter": operator.attrgetter("scale"),
    "vars": lambda x: vars(x)["scale"],
    "dict": lambda x: x.__dict__["scale"],
    "items": lambda x: sum(value for value in vars(x).values() if isinstance(value, float)),
    "format": lambda x: float(f"{x.scale}"),
    "str.format": lambda x: float("{.scale}".format(x)),  # noqa: UP032 - it is another way
    "copy": _by_copy,
    "reduce": lambda x: x.__reduce_ex__(2)[2]["scale"],
    "getmembers": lambda x: dict(inspect.getmembers(x))["scale"],
    "getattr_static": lambda x: inspect.getattr_static(x, "scale"),
    "object": lambda x: object.__getattribute__(x, "scale"),
    "closure": lambda x: (lambda: x.scale)(),
    "pattern": _in_a_pattern,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Kept, WithProperty, WithFallback, WithSuper])
def test_what_is_read_is_seen(way, kind):
    def program(compile_):
        kept = kind(WAYS[way])
        f = compile_(kept.call)
        results = []
        for i in range(8):
            kept.scale = float(i // 4)
            kept.unread = i if way not in ("vars", "dict", "items", "copy", "reduce", "getmembers") else 0
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    if way not in ("getattr_static", "object"):
        assert len(f.variants) == 2


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        (WithProperty, lambda x: x.doubled),
        (WithFallback, lambda x: x.any_thing),
        (WithSuper, lambda x: x.get()),
        (Kept, lambda x: 1.0 if hasattr(x, "scale") and x.scale else 2.0),
        (Kept, lambda x: dataclasses.replace(Fields(x.scale), other=1.0).scale),
    ],
)
def test_what_is_read_behind_a_method_is_seen(kind, read):
    def program(compile_):
        kept = kind(read)
        f = compile_(kept.call)
        results = []
        for i in range(8):
            kept.scale = float(i // 4)
            kept.other += 1
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    assert len(f.variants) == 2


def test_attributes_of_attributes():
    def program(compile_):
        settings, fields = Settings(), Fields()
        f = compile_(lambda x: x * settings.inner.scale + fields.scale)
        results = []
        for i in range(9):
            settings.inner.other += 1
            fields.other += 1
            settings.note = [i]
            if i == 3:
                settings.inner.scale = 5.0
            if i == 6:
                fields.scale = 7.0
            results.append(f(torch.ones(2)))
        settings.inner = Settings.Inner()
        return [*results, f(torch.ones(2))]

    (f,) = both(program)
    assert len(f.variants) == 4


def test_an_attribute_that_comes_and_goes():
    """One that is missing is not one that is None."""

    def program(compile_):
        kept = Kept(lambda x: 1.0 if hasattr(x, "extra") else 2.0)
        f = compile_(kept.call)
        results = []
        for i in range(12):
            kept.other += 1
            if i in (4, 8):
                kept.extra = None
            if i in (6, 10):
                del kept.extra
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    assert len(f.variants) == 2


def test_a_method_that_is_replaced_in_its_object():
    def program(compile_):
        kept = WithBase(lambda x: x.get())
        f = compile_(kept.call)
        results = []
        for i in range(8):
            kept.other += 1
            if i == 4:
                kept.get = lambda: 9.0
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    assert len(f.variants) == 2


def test_a_class_that_is_changed():
    def program(compile_):
        class Mine(Kept):
            factor = 2.0

        kept = Mine(lambda x: x.factor * x.scale)
        f = compile_(kept.call)
        results = []
        for i in range(8):
            kept.other += 1
            if i == 4:
                Mine.factor = 3.0
            if i == 6:
                kept.factor = 4.0
            results.append(f(torch.ones(2)))
        return results

    (f,) = both(program)
    assert len(f.variants) == 3


def _by_type(x):
    return type(x).common


def _by_the_object(x):
    return x.common


def _by_text(x):
    return getattr(type(x), "com" + "mon")


class Registered(Kept):
    total, last, losses, scale_of_all = 0, None, [], 1.0
    common = 1.0

    def add(self, loss):
        Registered.total += 1
        Registered.last = loss
        self.losses.append(loss)


@pytest.mark.parametrize("read", [_by_the_object, _by_type, lambda _: Registered.common, _by_text])
def test_attributes_of_a_class_that_are_not_read(read):
    def program(compile_):
        Registered.total, Registered.common = 0, 1.0
        Registered.losses.clear()
        kept = Registered(read)
        f = compile_(kept.call)
        results = []
        for i in range(12):
            results.append(f(torch.ones(2)))
            kept.add(results[-1])
            if i == 6:
                Registered.common = 5.0
            if i == 8:
                Registered.call = lambda self, x: x * 7 * self.common
        del Registered.call
        return results, Registered.total, len(Registered.losses)

    if read is _by_text:
        with pytest.warns(UserWarning, match="compiled 8 times"):
            both(program)
    else:
        (f,) = both(program)
        assert len(f.variants) <= 4


def test_what_is_set_to_the_value_that_it_has_is_set_again():
    def program(compile_):
        kept = Kept(lambda _: 1.0)
        kept.flag = True

        def f(x):
            kept.flag = True
            return x * 2

        f = compile_(f)
        results = []
        for i in range(8):
            kept.other += 1
            kept.flag = i % 2 == 0
            results += [f(torch.ones(2)), kept.flag]
        return results

    (f,) = both(program)
    assert len(f.variants) == 1


@pytest.mark.parametrize("past", [False, True])
def test_what_is_set_past_the_class_is_set_again(past):
    class Guarded(Kept):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)

    def program(compile_):
        kept = (Kept if past else Guarded)(lambda _: 1.0)
        kept.flag = True

        def f(x):
            if past:
                object.__setattr__(kept, "flag", True)
            else:
                kept.flag = True
            return x * 2

        f = compile_(f)
        results = []
        for i in range(8):
            kept.flag = i % 2 == 0
            results += [f(torch.ones(2)), kept.flag]
        return results

    (f,) = both(program)
    assert len(f.variants) == 2


def test_a_counter_that_is_increased_inside():
    def program(compile_):
        kept = Kept(lambda x: 2.0)

        def f(x):
            kept.other += 1
            return kept.call(x)

        f = compile_(f)
        return [f(torch.ones(2)) for _ in range(5)], kept.other

    (f,) = both(program)
    assert len(f.variants) == 1


def test_an_attribute_that_is_made_inside():
    def program(compile_):
        kept = Kept(lambda x: 2.0)

        def f(x):
            if not hasattr(kept, "mask"):
                kept.mask = torch.ones(2)
            return x * kept.mask

        f = compile_(f)
        results = [f(torch.ones(2)) for _ in range(4)]
        del kept.mask
        kept.other = 5
        return [*results, f(torch.ones(2)), kept.mask]

    both(program)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("shift", torch.ones(2))
        self.batches = 0
        self.history = []
        self.drop = False

    def forward(self, x):
        x = self.layer(x) + self.shift
        return x * 0 if self.drop and self.training else x


def test_a_module_with_a_counter():
    def program(compile_):
        torch.manual_seed(0)
        model = Net()
        f = compile_(model)
        results = []
        for i in range(16):
            model.batches += 1
            model.history.append(i)
            if i == 4:
                model.drop = True
            if i == 6:
                model.eval()
            if i == 8:
                model.shift = torch.zeros(2)
            if i == 10:
                model.layer = nn.Linear(3, 2)
            if i == 12:
                model.forward = lambda x: x * 2
            if i == 14:
                model.register_forward_hook(lambda _module, _args, out: out + 1)
            results.append(f(torch.ones(1, 3)))
        return results

    (f,) = both(program)
    assert f.graph is not None


def test_a_module_with_a_counter_is_captured_once():
    def program(compile_):
        torch.manual_seed(0)
        model = Net()
        model.trainer = Trainer(lambda f: f)
        model.trainer.model = model
        f = compile_(model)
        results = []
        for i in range(12):
            model.batches += 1
            model.trainer.steps += 1
            model.history.append(i)
            results.append(f(torch.ones(1, 3)))
        return results

    torch.manual_seed(0)
    made = both(program)
    assert len(made[0]._call.variants) == 1


def test_modules_that_are_walked_through():
    """Names of parameters, modules and buffers are read where a function goes through them."""

    def program(compile_):
        torch.manual_seed(0)
        model = Net()

        def penalty(x):
            return sum(p.square().sum() for p in model.parameters()) + len(list(model.modules())) * x

        f = compile_(penalty)
        results = []
        for i in range(10):
            model.batches += 1
            if i == 4:
                model.more = nn.Parameter(torch.ones(2))
            if i == 7:
                model.other = nn.ReLU()
            results.append(f(torch.ones(1)))
        return results

    (f,) = both(program)
    assert len(f.variants) == 3


def test_an_iterator_among_attributes_that_is_read():
    def program(compile_):
        trainer = Trainer(lambda f: f)

        def f():
            return next(trainer.batches) * 2

        f = compile_(f)
        return [f() for _ in range(6)]

    falls_back(program, "iterator")


def test_an_iterator_that_is_also_elsewhere():
    def program(compile_):
        trainer = Trainer(lambda f: f)
        batches = trainer.batches

        def f():
            return next(batches) * 2 + trainer.steps

        f = compile_(f)
        return [f() for _ in range(6)]

    falls_back(program, "iterator")


def test_a_list_behind_which_there_is_an_iterator():
    def program(compile_):
        trainer = Trainer(lambda f: f)
        trainer.all = both_ways = [trainer.batches]

        def f():
            return next(both_ways[0]) * 2 + len(trainer.all)

        f = compile_(f)
        return [f() for _ in range(6)]

    falls_back(program, "iterator")


def test_a_cache_of_what_was_computed_of_attributes():
    """What it has kept does not say which attributes it was computed of."""

    def program(compile_):
        kept = Kept(lambda x: scale(x))

        @functools.lru_cache
        def scale(x):
            return x.scale

        f = compile_(kept.call)
        results = [f(torch.ones(2)) for _ in range(4)]
        kept.scale = 5.0
        scale.cache_clear()
        return [*results, f(torch.ones(2)), f(torch.ones(2))]

    both(program)


def test_a_protocol_looks_whether_attributes_are_there():
    @typing.runtime_checkable
    class Scaled(typing.Protocol):
        extra: float

    def program(compile_):
        kept = Kept(lambda x: 2.0 if isinstance(x, Scaled) else 1.0)
        f = compile_(kept.call)
        results = [f(torch.ones(2)) for _ in range(4)]
        kept.extra = 1.0
        return [*results, f(torch.ones(2))]

    both(program)


def test_a_batch_that_is_kept_as_an_attribute():
    def program(compile_):
        kept = Kept(lambda x: x.scale)
        f = compile_(kept.call)
        results = []
        for i in range(6):
            kept.batch = torch.full((2,), float(i))
            results.append(f(kept.batch))
        return results

    (f,) = both(program)
    assert len(f.variants) == 1


def test_a_state_that_is_loaded_beside_a_counter():
    def program(compile_):
        trainer = Trainer(compile_)
        trainer.fit(4)
        state = copy.deepcopy(trainer.optimizer.state_dict())
        trainer.fit(2)
        trainer.optimizer.load_state_dict(state)
        trainer.fit(4)
        return trainer.losses

    (step,) = both(program)
    assert len(step.variants) == 1


def test_a_returned_dataclass_is_read():
    def program(compile_):
        kept = Fields()
        f = compile_(lambda x: (x * 2, kept))
        results = []
        for i in range(6):
            kept.other = float(i // 3)
            y, fields = f(torch.ones(2))
            results += [y, fields.scale, fields.other]
        return results

    (f,) = both(program)
    assert captured(f)


def test_another_thread_that_reads_meanwhile():
    """What it reads is not what the captured function reads, and captures of other functions hold."""
    kept = Kept(lambda x: x.scale)
    first, second = torch.compile(kept.call), torch.compile(lambda x: kept.call(x) + 1)
    for _ in range(3):
        first(torch.ones(2))
    ended, wrong = threading.Event(), []

    def go_on():
        while not ended.is_set():
            if first(torch.ones(2)).tolist() != [1, 1] or vars(kept)["other"] < 0:
                wrong.append(True)

    thread = threading.Thread(target=go_on)
    thread.start()
    for n in range(1, 8):
        second(torch.ones(n))
        second(torch.ones(n))
    ended.set()
    thread.join()
    assert not wrong
    assert len(first.variants) == 1
    assert "__getattribute__" not in vars(Kept)
    assert "__setattr__" not in vars(Kept)


def test_classes_are_as_before_after_a_failure():
    kept = Kept(lambda x: x.missing)
    f = torch.compile(lambda x: kept.call(x) if x.shape[0] > 1 else x)
    f(torch.ones(1))
    with pytest.raises(AttributeError, match="missing"):
        f(torch.ones(2))
    assert not {"__getattribute__", "__setattr__", "__delattr__"} & set(vars(Kept))
