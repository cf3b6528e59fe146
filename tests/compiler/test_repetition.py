"""Calls that find everything as the last one has left it, and what may have been done in between."""

import gc
import types
import weakref
from collections import OrderedDict, defaultdict
from operator import attrgetter

import numpy as np
import pytest
from eager_and_compiled import batches, both, captured, net

import torchlite as torch
from torchlite import nn
from torchlite.compiler import identities
from torchlite.compiler.identities import Identities


def trained(compile_, between, steps=12):
    """Losses and parameters of some steps; ``between(i, model, optimizer)`` is called before each."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = compile_(step)
    losses, kept = [], []
    for i, (x, y) in enumerate(batches(steps)):
        kept.append(between(i, model, optimizer))
        losses.append(step(x, y))
    return [losses, kept, list(model.parameters()), [p.grad for p in model.parameters()]]


def repeats(step):
    """Whether the next call would be a repetition."""
    (variant,) = step.variants
    return bool(variant._repetitions) and variant._repetitions[0][1].holds()


def first(model):
    return model[0].weight


def doubled(_i, model, _optimizer):
    if first(model).grad is not None:
        first(model).grad.mul_(2)
        return first(model).grad._version
    return None


def read_by_a_graph(i, model, _optimizer):
    if i % 4 == 3:
        w = torch.ones(8, 6, requires_grad=True)
        return (first(model).grad * w).sum()
    return None


BETWEEN = {
    "nothing": lambda _i, _model, _optimizer: None,
    "the gradient is kept": lambda _i, model, _optimizer: first(model).grad,
    "its array is kept": lambda i, model, _optimizer: (i > 3 and i % 2 and first(model).grad.numpy()) is not None,
    "a view is kept": lambda i, model, _optimizer: first(model).grad[1:, 0] if i > 3 and i % 2 else None,
    "it is kept, detached": lambda i, model, _optimizer: first(model).grad.detach() if i > 3 and i % 2 else None,
    "it is written into": doubled,
    "a graph has saved it": read_by_a_graph,
    "there is none": lambda _i, model, _optimizer: model.zero_grad(),
    "it is another": lambda i, model, _optimizer: i % 3 or setattr(first(model), "grad", torch.ones(8, 6)),
    "the learning rate changes": lambda i, _model, optimizer: optimizer.param_groups[0].update(lr=0.1 / (i + 1)),
    "weights are exchanged": lambda i, model, _optimizer: i % 3 or setattr(first(model), "data", torch.ones(8, 6)),
}


@pytest.mark.parametrize("what", BETWEEN)
def test_between_two_calls(what):
    (step,) = both(lambda compile_: trained(compile_, BETWEEN[what]))
    assert captured(step)


def test_a_step_is_repeated():
    (step,) = both(lambda compile_: trained(compile_, BETWEEN["nothing"]))
    assert repeats(step)


def test_the_tensor_of_a_gradient_stays_where_nobody_could_tell():
    model = net()
    seen = []

    def between(_i, model_, _optimizer):
        nonlocal model
        model = model_
        seen.append(id(first(model).grad))

    trained(torch.compile, between)
    assert len(set(seen[4:])) == 1


def test_an_array_of_a_gradient_that_is_kept_is_not_written_into():
    kept = []

    def between(_i, model, _optimizer):
        gradient = first(model).grad
        if gradient is not None:
            kept.append((gradient.numpy(), gradient.numpy().copy()))

    trained(torch.compile, between)
    for now, before in kept:
        np.testing.assert_array_equal(now, before)


def test_a_gradient_with_a_weak_reference_is_replaced():
    dead = []

    def between(_i, model, _optimizer):
        gradient = first(model).grad
        if gradient is not None:
            dead.append(weakref.ref(gradient))

    trained(torch.compile, between)
    gc.collect()
    assert all(reference() is None for reference in dead)


def test_arguments_of_calls_that_are_no_repetitions_in_between():
    def program(compile_):
        w = torch.ones(3, requires_grad=True)

        def step(x):
            w.grad = None
            loss = (w * x).sum()
            loss.backward()
            return loss

        step = compile_(step)
        a, b = torch.full((3,), 2.0), torch.full((3,), 3.0)
        results, kept = [], []
        for x in (a, a, a, b, b, a, b, a):
            results.append((step(x), w.grad.clone()))
            kept.append(w.grad if x is b else None)
        return results

    both(program)


def test_a_check_that_fails_in_a_repetition():
    def program(compile_):
        model = net()

        def step(x, y):
            model.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        step = compile_(step)
        seen = []
        for i, (x, y) in enumerate(batches(8)):
            if i == 5:
                with pytest.raises(IndexError):
                    step(x, y + 3)
            seen.append((step(x, y), first(model).grad.clone()))
        return seen

    both(program)


def test_results_of_repetitions_are_their_own():
    f = torch.compile(lambda x: x + 1)
    results = [f(torch.full((2,), float(i))) for i in range(6)]
    assert [r.tolist() for r in results] == [[i + 1.0] * 2 for i in range(6)]
    assert repeats(f)


@pytest.fixture(params=["C", "Python"])
def by(request, monkeypatch):
    """What compares containers."""
    if request.param == "Python":
        monkeypatch.setattr(identities, "kernel", lambda _: None)


@pytest.mark.usefixtures("by")
def test_identities():
    class Holder:
        def __init__(self, value):
            self.value = value

    one, other, mapping, numbers, empty = Holder("a"), Holder("b"), {"x": 1.5, "y": None}, [1.0, 2.0], {}
    attributes, some, ordered, none = {"a": 1.5, "b": mapping}, {"a": 1.5}, OrderedDict(a=one, b=one), OrderedDict()

    def function(x, y=1, *, z=2):
        return x, y, z

    class Another(Holder):
        pass

    code, defaults, kwdefaults, third = function.__code__, function.__defaults__, function.__kwdefaults__, Holder("c")
    held = vars(third)
    all_ = Identities(
        [mapping, numbers, empty],
        [(lambda h: h.value, [one])],
        [attributes, ordered, none],
        [(some, ("a", "c"))],
        [(other, ["value"])],
        [(one, Holder, None), (third, Holder, held)],
        [function],
    )
    assert all_.hold()
    before, own, first = mapping["x"], attributes["a"], some["a"]
    for change, back in (
        (lambda: mapping.update(x=2.5), lambda: mapping.update(x=before)),
        (lambda: mapping.update(z=None), lambda: mapping.pop("z")),
        (lambda: numbers.append(3.0), numbers.pop),
        (numbers.reverse, numbers.reverse),
        (lambda: empty.update(z=1), empty.clear),
        (lambda: setattr(one, "value", "b"), lambda: setattr(one, "value", "a")),
        (lambda: setattr(other, "value", "b2"), lambda: setattr(other, "value", "b")),
        (lambda: setattr(other, "__dict__", {"value": "b2"}), lambda: setattr(other, "__dict__", {"value": "b"})),
        (lambda: attributes.update(a=2.5), lambda: attributes.update(a=own)),
        (lambda: attributes.update(c=attributes.pop("b")), lambda: attributes.update(b=attributes.pop("c"))),
        (lambda: attributes.update(a=attributes.pop("a")), lambda: attributes.update(b=attributes.pop("b"))),
        (lambda: ordered.move_to_end("a"), lambda: ordered.move_to_end("b")),
        (lambda: none.update(a=1), none.clear),
        (lambda: some.update(a=2.5), lambda: some.update(a=first)),
        (lambda: some.pop("a"), lambda: some.update(a=first)),
        (lambda: some.update(c=1), lambda: some.pop("c")),
        (lambda: setattr(one, "__class__", Another), lambda: setattr(one, "__class__", Holder)),
        (lambda: setattr(third, "__dict__", dict(held)), lambda: setattr(third, "__dict__", held)),
        (lambda: setattr(function, "__code__", (lambda: 0).__code__), lambda: setattr(function, "__code__", code)),
        (lambda: setattr(function, "__defaults__", (2,)), lambda: setattr(function, "__defaults__", defaults)),
        (lambda: setattr(function, "__kwdefaults__", None), lambda: setattr(function, "__kwdefaults__", kwdefaults)),
    ):
        change()
        assert not all_.hold()
        back()
        assert all_.hold()
    some["b"] = 1
    assert all_.hold()


@pytest.mark.usefixtures("by")
def test_identities_of_what_is_no_list_or_dict():
    class Slots:
        __slots__ = ("hooks",)

    class Attribute:
        kept = 1.5

    of_slot, of_cell = Slots(), types.CellType("a")
    of_slot.hooks = none = {}
    keys, values, made, empty = {"a": 1.5, "b": 2.5}, {"a": "b"}, defaultdict(dict, a=none), set()
    found = [(attrgetter("hooks"), [of_slot, of_slot]), (attrgetter("cell_contents"), [of_cell])]
    all_ = Identities(
        [keys.keys(), values.values(), made.values(), made, empty, vars(Attribute)], found, chosen=[(made, ["b"])]
    )
    assert all_.hold()
    before = Attribute.kept
    for change, back in (
        (lambda: setattr(of_slot, "hooks", {}), lambda: setattr(of_slot, "hooks", none)),
        (lambda: delattr(of_slot, "hooks"), lambda: setattr(of_slot, "hooks", none)),
        (lambda: setattr(of_cell, "cell_contents", "b"), lambda: setattr(of_cell, "cell_contents", "a")),
        (lambda: delattr(of_cell, "cell_contents"), lambda: setattr(of_cell, "cell_contents", "a")),
        (lambda: keys.update(c=keys.pop("b")), lambda: keys.update(b=keys.pop("c"))),
        (lambda: keys.update(c=1.5), lambda: keys.pop("c")),
        (lambda: values.update(a="c"), lambda: values.update(a="b")),
        (lambda: made["b"], lambda: made.pop("b")),
        (lambda: empty.add(1), empty.clear),
        (lambda: setattr(Attribute, "kept", 2.5), lambda: setattr(Attribute, "kept", before)),
    ):
        change()
        try:
            assert not all_.hold()
        finally:
            back()
        assert all_.hold()
    keys["a"] = 3.5
    assert all_.hold()


def test_equal_objects_are_not_asked_whether_they_are():
    class Equal:
        def __eq__(self, other):
            raise AssertionError

        __hash__ = object.__hash__

    held = [Equal()]
    all_ = Identities([held], keyed=[{"a": held[0]}])
    held[0] = Equal()
    assert not all_.hold()


def test_identities_of_more_objects_than_one_array_takes(monkeypatch):
    monkeypatch.setattr(identities, "kernel", lambda _: None)
    containers = [{i: object() for i in range(300)} for _ in range(5)]
    all_ = Identities(containers)
    assert len(all_._parts) == 5
    assert all_.hold()
    containers[3][7] = object()
    assert not all_.hold()


def test_an_object_that_takes_the_place_of_one_that_is_gone_is_another():
    for _ in range(100):
        holder = {"x": [object()]}
        all_ = Identities([holder])
        holder["x"] = None
        holder["x"] = [object()]
        assert not all_.hold()


def test_writes_into_many_tensors_are_counted():
    tensors = [torch.zeros(3) for _ in range(20)]

    def step():
        for i, x in enumerate(tensors):
            x.add_(1)
            if i % 2:
                x.mul_(2)

    compiled = torch.compile(step, fullgraph=True)
    for _ in range(5):
        compiled()
    assert repeats(compiled)
    assert [x._version for x in tensors] == [5, 10] * 10


def test_a_key_that_can_not_be_compared_is_another():
    class Key:
        raises = False

        def __hash__(self):
            return hash("a")

        def __eq__(self, other):
            if self.raises:
                raise ValueError
            return False

    held = {"a": 1, Key(): 2}
    all_ = Identities([], chosen=[(held, ("a",))])
    del held["a"]
    Key.raises = True
    assert not all_.hold()
