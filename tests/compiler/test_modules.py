"""A compiled module among other modules, and its history."""

import copy
import pickle
import sys
import types

import pytest
from eager_and_compiled import batches, both, captured, net, same

import torchlite as torch
from torchlite import nn


def test_a_module_alone_is_differentiable_in_an_ordinary_loop():
    def program(compile_):
        model = net(0.3)
        f = compile_(model)
        opt = torch.optim.Adam(model.parameters(), 1e-2)
        losses = []
        for x, y in batches(6):
            x = (x * 1).requires_grad_()
            opt.zero_grad()
            loss = nn.functional.cross_entropy(f(x), y)
            loss.backward()
            opt.step()
            losses += [loss.detach(), x.grad]
        return [losses, [p.detach() for p in model.parameters()]]

    (f,) = both(program)
    assert captured(f)
    assert f._call.variants[0].captured.backward is not None


def test_a_module_between_others_passes_gradients_through():
    def program(compile_):
        first, last = nn.Linear(6, 6), nn.Linear(3, 1)
        model = net()
        f = compile_(model)
        x = torch.ones(2, 6)
        results = []
        for _ in range(3):
            for m in (first, last, model):
                m.zero_grad()
            last(f(first(x))).sum().backward()
            results.append([p.grad for m in (first, model, last) for p in m.parameters()])
        return results

    both(program)


def test_several_results_of_which_only_one_is_differentiated():
    def program(compile_):
        w = torch.ones(3, requires_grad=True)
        f = compile_(lambda x: (x * w, (x + w).exp(), x.argmax()))
        results = []
        for _ in range(3):
            w.grad = None
            a, b, c = f(torch.tensor([1.0, 3.0, 2.0]))
            b.sum().backward()
            results.append([a.detach(), b.detach(), c, w.grad])
        return results

    both(program)


def test_what_backward_needs_is_overwritten_before_it():
    w = torch.ones(3, requires_grad=True)
    x = torch.ones(3)
    f = torch.compile(lambda x: ((x * w).exp(), x * w * 2))
    for _ in range(3):
        y, _z = f(x)
        y.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
        _y, z = f(x)
        x.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.sum().backward()
    assert captured(f)


def test_a_view_of_what_backward_needs_is_overwritten():
    def program(compile_):
        w = torch.ones(3, requires_grad=True)
        f = compile_(lambda x: ((x * w).exp().sum(), (x * w).exp().detach()[1:]))
        results = []
        for _ in range(3):
            w.grad = None
            total, part = f(torch.ones(3))
            part.zero_()
            total.backward()
            results += [part, w.grad]
        return results

    both(program)


def test_backward_twice_through_a_captured_function_is_the_same_error():
    w = torch.ones(3, requires_grad=True)
    f = torch.compile(lambda x: (x * w).exp())
    for _ in range(3):
        y = f(torch.ones(3)).sum()
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()


def test_a_loss_whose_backward_is_done_keeps_its_history_but_not_its_graph():
    w = torch.ones(3, requires_grad=True)

    def step(x):
        loss = (x * w).exp().sum()
        loss.backward()
        return loss

    step = torch.compile(step)
    for _ in range(3):
        loss = step(torch.ones(3))
        assert loss.requires_grad
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_copies_and_pickles_of_compiled_modules():
    model = torch.compile(net())
    x = torch.ones(2, 6)
    for _ in range(3):
        expected = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same(expected, twin(x))
        with torch.no_grad():
            twin._orig_mod[0].weight.zero_()
        for _ in range(3):
            assert not torch.equal(twin(x), expected)
    same(expected, model(x))


def test_names_of_parameters_are_those_of_pytorch():
    model = net()
    compiled = torch.compile(model)
    assert list(compiled.state_dict()) == [f"_orig_mod.{name}" for name in model.state_dict()]
    assert isinstance(compiled, nn.Module)


def test_a_decorated_function_is_pickled_under_its_name(monkeypatch):
    """As functions are, so that it can be given to another process."""
    module = types.ModuleType("some_program")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(
        "import torchlite as torch\n@torch.compile\ndef decorated(x):\n    return x * 2\ndef plain(x): return x + 1",
        vars(module),
    )
    assert pickle.loads(pickle.dumps(module.decorated)) is module.decorated
    twin = pickle.loads(pickle.dumps(torch.compile(module.plain)))
    for _ in range(3):
        same(twin(torch.zeros(2)), torch.ones(2))
    assert captured(twin)


def test_attributes_of_a_compiled_module_are_those_of_the_module():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 1.0
            self.register_buffer("shift", torch.zeros(1))

        def forward(self, x):
            return x * self.scale + self.shift

        def __len__(self):
            return 5

    model = Scaled()
    compiled = torch.compile(model)
    x = torch.ones(2)
    for _ in range(3):
        same(compiled(x), x)
    compiled.scale, compiled.shift = 3.0, torch.ones(1)
    assert (model.scale, model.shift.item()) == (3.0, 1.0)
    same(compiled(x), x * 4)
    model.eval()
    assert not compiled.training
    compiled.train()
    assert model.training
    assert len(compiled) == 5
    assert "scale" in dir(compiled)
    del compiled.scale
    assert not hasattr(model, "scale")


@pytest.mark.parametrize("tail", [nn.Flatten, nn.Identity])
def test_a_module_that_ends_in_pooling(tail):
    """Its backward knows where the largest elements are, and not which."""

    def program(compile_):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d((2, 1)), tail())
        f = compile_(model)
        results = []
        for i in range(4):
            x = torch.linspace(-1.0, 1.0 + i, 60).sin().reshape(1, 1, 6, 10).requires_grad_()
            y = f(x)
            y.square().sum().backward()
            results += [y, x.grad, *(p.grad.clone() for p in model.parameters())]
        return results

    (f,) = both(program)
    assert captured(f)
