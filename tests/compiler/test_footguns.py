"""Ways in which compilers of this kind give wrong results: each is named, and must not happen here.

Every test runs the same program twice, as it is and compiled, and compares the two to the last bit.
"""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn


def same(a, b):
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor)
        assert a.dtype is b.dtype
        assert a.requires_grad == b.requires_grad
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, dict):
        same(list(a.items()), list(b.items()))
    else:
        assert type(a) is type(b)
        assert a == b


def both(program):
    """``program(compile)`` with the identity and with torchlite.compile: the results are equal."""
    torch.manual_seed(0)
    expected = program(lambda f: f)
    torch.manual_seed(0)
    made = []

    def compile_(f):
        made.append(torch.compile(f))
        return made[-1]

    got = program(compile_)
    same(expected, got)
    return made


def captured(f):
    return f.graph is not None


def net(dropout=0.0):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3))


def batches(n, size=4):
    g = torch.Generator().manual_seed(5)
    return [(torch.randn(size, 6, generator=g), torch.randint(0, 3, (size,), generator=g)) for _ in range(n)]


def train(compile_, optimizer, *, steps=6, dropout=0.0, size=4, change=None, clip=None):
    model = net(dropout)
    opt = optimizer(model.parameters())

    def step(x, y):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        opt.step()
        return loss.detach()

    step = compile_(step)
    losses = []
    for i, (x, y) in enumerate(batches(steps, size)):
        if change:
            change(i, model, opt)
        losses.append(step(x, y))
    return [losses, [p.detach() for p in model.parameters()], [p.grad for p in model.parameters()]]


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "Adam": lambda p: torch.optim.Adam(p, 1e-2),
    "AdamW": lambda p: torch.optim.AdamW(p, 1e-2, amsgrad=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.5, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 1e-2),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "Adamax": lambda p: torch.optim.Adamax(p, 1e-2),
    "NAdam": lambda p: torch.optim.NAdam(p, 1e-2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_is_captured_and_equal_to_the_last_bit(name):
    (step,) = both(lambda c: train(c, OPTIMIZERS[name], clip=1.0))
    assert captured(step)
    assert len(step.variants) == 1


def test_dropout_draws_new_numbers_at_every_step_and_those_of_eager():
    (step,) = both(lambda c: train(c, OPTIMIZERS["Adam"], dropout=0.5, steps=8))
    assert captured(step)


def test_a_changed_learning_rate_is_seen_without_compiling_again():
    def change(i, _model, opt):
        opt.param_groups[0]["lr"] = 0.1 / (i + 1)

    (step,) = both(lambda c: train(c, OPTIMIZERS["Adam"], change=change))
    assert len(step.variants) == 1


def test_other_hyper_parameters_are_guarded():
    def change(i, _model, opt):
        opt.param_groups[0]["weight_decay"] = 0.1 * (i // 3)

    both(lambda c: train(c, OPTIMIZERS["AdamW"], change=change))


def test_a_scheduler_outside_of_the_step():
    def program(compile_):
        model = net()
        opt = torch.optim.SGD(model.parameters(), 0.5)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 10)

        def step(x, y):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            return loss.detach()

        step = compile_(step)
        losses = []
        for x, y in batches(6):
            losses.append(step(x, y))
            schedule.step()
        return losses

    (step,) = both(program)
    assert len(step.variants) == 1


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


def test_outputs_of_one_call_do_not_change_with_the_next():
    def program(compile_):
        f = compile_(lambda x: (x + 1, x * 2))
        return [f(torch.full((3,), float(i))) for i in range(5)]

    (f,) = both(program)
    assert captured(f)


def test_constant_outputs_are_new_at_every_call():
    def program(compile_):
        f = compile_(lambda _x: torch.zeros(3) + 1)
        results = []
        for _ in range(4):
            y = f(torch.ones(2))
            y.mul_(5)
            results.append(y)
        return results

    (f,) = both(program)
    assert captured(f)


def test_ragged_last_batch_is_compiled_once():
    def program(compile_):
        model = net()
        f = compile_(lambda x: model(x))
        x = torch.ones(4, 6)
        return [f(x[:n]) for _ in range(3) for n in (4, 4, 3)]

    (f,) = both(program)
    assert len(f.variants) == 2


def test_a_changed_number_in_a_closure_is_seen():
    def program(compile_):
        scale = 1.0

        def f(x):
            return x * scale

        f = compile_(f)
        results = []
        for i in range(5):
            results.append(f(torch.ones(2)))
            scale = 1.0 + i
        return results

    both(program)


SCALE = 1.0


def test_a_changed_global_number_is_seen():
    def program(compile_):
        global SCALE
        SCALE = 1.0
        f = compile_(lambda x: x * SCALE)
        results = []
        for i in range(5):
            results.append(f(torch.ones(2)))
            SCALE = float(i // 2)
        return results

    both(program)


def test_a_changed_attribute_is_seen():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 2
            self.options = {"shift": [1.0]}

        def forward(self, x):
            return x * self.scale + self.options["shift"][0]

    def program(compile_):
        module = Scaled()
        f = compile_(module)
        results = []
        for i in range(6):
            if i == 3:
                module.scale = 5
            if i == 4:
                module.options["shift"][0] = -1.0
            results.append(f(torch.ones(2)))
        return results

    both(program)


def test_python_arguments_decide():
    def program(compile_):
        f = compile_(lambda x, n, mode="a": x * n if mode == "a" else x - n)
        x = torch.ones(2)
        return [f(x, n, mode=m) for _ in range(2) for n in (1, 2, 2.5) for m in "ab"]

    both(program)


def test_train_and_eval():
    def program(compile_):
        model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        f = compile_(model)
        x = torch.randn(5, 6)
        results = []
        for i in range(9):
            f.train(i % 3 != 2)
            results.append(f(x).detach())
        return [results, dict(model.state_dict())]

    torch.manual_seed(0)
    (f,) = both(program)
    assert len(f._call.variants) == 2


def test_no_grad_toggles():
    def program(compile_):
        model = net()
        f = compile_(model)
        x = torch.ones(2, 6)
        results = []
        for i in range(6):
            with torch.set_grad_enabled(i % 2 == 0):
                results.append(f(x))
        return results

    both(program)


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


def test_writing_into_an_input():
    def program(compile_):
        def f(x):
            x.mul_(2)
            x[0] = 7.0
            return x.sum()

        f = compile_(f)
        x = torch.ones(3)
        return [[f(x), x.clone(), x._version] for _ in range(4)]

    (f,) = both(program)
    assert captured(f)


def test_writing_into_a_view_of_an_input():
    def program(compile_):
        def f(x):
            x[:, 1:].t().add_(torch.arange(4.0).reshape(2, 2))
            x.view(-1)[0] = -1.0
            return x * 1

        f = compile_(f)
        x = torch.ones(2, 3)
        return [[f(x), x.clone()] for _ in range(4)]

    (f,) = both(program)
    assert captured(f)


def test_exchanging_two_inputs():
    def program(compile_):
        def swap(a, b):
            old = a.clone()
            a.copy_(b)
            b.copy_(old)

        swap = compile_(swap)
        a, b = torch.zeros(2), torch.ones(2)
        results = []
        for _ in range(3):
            swap(a, b)
            results.append([a.clone(), b.clone()])
        return results

    (f,) = both(program)
    assert captured(f)


def test_results_that_are_inputs_or_views_of_them():
    def program(compile_):
        f = compile_(lambda x: (x, x.t(), x[0]))
        results = []
        for _ in range(4):
            x = torch.ones(2, 2)
            whole, transposed, row = f(x)
            assert whole is x
            transposed[0, 1] = 5.0
            row[0] = 9.0
            results.append([x, whole, transposed, row])
        return results

    (f,) = both(program)
    assert captured(f)


def test_results_that_share_memory_with_each_other():
    def program(compile_):
        def f(x):
            y = x * 2
            return y, y[0], y.view(-1)

        f = compile_(f)
        results = []
        for _ in range(4):
            y, row, flat = f(torch.ones(2, 2))
            y.add_(1)
            row[1] = 8.0
            results.append([y, row, flat])
        return results

    (f,) = both(program)
    assert captured(f)


def test_a_parameter_as_the_result():
    w = torch.ones(3, requires_grad=True)
    f = torch.compile(lambda x: (w, w + x))
    for _ in range(3):
        assert f(torch.ones(3))[0] is w


def test_arguments_that_share_memory():
    def program(compile_):
        def f(a, b):
            a.add_(1)
            return a + b

        f = compile_(f)
        results = []
        for i in range(6):
            a = torch.zeros(3)
            b = torch.zeros(3) if i < 3 else a if i == 3 else a[:] if i == 4 else a.detach()
            results.append(f(a, b))
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_an_argument_that_is_also_a_closure():
    def program(compile_):
        state = torch.zeros(2)

        def f(x):
            state.add_(1)
            return x + state

        f = compile_(f)
        return [f(torch.ones(2)) if i % 2 else f(state) for i in range(6)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


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


def test_random_numbers_of_every_kind():
    def program(compile_):
        def f(x):
            return x + torch.rand(3) + torch.randn(3), torch.bernoulli(torch.full((3,), 0.5)), torch.randn_like(x)

        f = compile_(f)
        return [f(torch.ones(3)) for _ in range(5)] + [torch.rand(2)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_reseeding_repeats_the_numbers():
    f = torch.compile(lambda x: nn.functional.dropout(x, 0.5))
    x = torch.ones(50)
    results = []
    for _ in range(4):
        torch.manual_seed(7)
        results.append(f(x))
    for r in results[1:]:
        same(results[0], r)


def test_seeding_inside():
    def program(compile_):
        def f(x):
            torch.manual_seed(7)
            return nn.functional.dropout(x, 0.5)

        f = compile_(f)
        return [f(torch.ones(20)) for _ in range(4)] + [torch.rand(2)]

    falls_back(program, "seed of a generator")


def test_numbers_that_are_read_through_numpy():
    def program(compile_):
        f = compile_(lambda x: x * len(x.numpy()) + sum(float(v) for v in x.numpy()))
        return [f(torch.arange(float(n))) for n in (4, 4, 4, 4)]

    falls_back(program, "runs uncompiled")


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


def test_a_generator_of_ones_own():
    def program(compile_):
        g = torch.Generator().manual_seed(2)
        f = compile_(lambda x: x + torch.rand(3, generator=g))
        return [f(torch.ones(3)) for _ in range(4)]

    (f,) = both(program)
    assert captured(f)
    assert len(f.variants) == 1


def falls_back(program, reason):
    with pytest.warns(UserWarning, match=reason) as caught:
        made = both(program)
    ours = [w for w in caught if "torchlite.compile" in str(w.message)]
    assert len(ours) == 1
    return made


def test_a_branch_on_the_numbers_of_a_tensor():
    def program(compile_):
        def f(x):
            if x.sum() > 2:
                return x * 2
            return x - 1

        f = compile_(f)
        return [f(torch.full((2,), float(i))) for i in range(4)]

    falls_back(program, r"test_footguns\.py:\d+")


def test_item_as_a_result_is_no_reason_to_fall_back():
    def program(compile_):
        f = compile_(lambda x: (x.sum().item() * 2, 1))
        return [f(torch.full((2,), float(i))) for i in range(4)]

    (f,) = both(program)
    assert captured(f)


def test_shapes_that_depend_on_numbers():
    def program(compile_):
        f = compile_(lambda x: x[x > 0] * 2)
        return [f(torch.tensor([1.0, -1.0, float(i) - 1])) for i in range(4)]

    falls_back(program, "runs uncompiled")


def test_a_list_that_grows():
    def program(compile_):
        seen = []

        def f(x):
            seen.append(x * 2)
            return x + len(seen)

        f = compile_(f)
        return [[f(torch.ones(1)) for _ in range(4)], seen]

    falls_back(program, "changes Python values")


def test_a_counter_that_is_an_attribute():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    def program(compile_):
        module = Counting()
        f = compile_(module)
        return [[f(torch.ones(1)) for _ in range(4)], module.calls]

    falls_back(program, "changes Python values")


def test_an_iterator_inside():
    def program(compile_):
        data = iter([torch.full((2,), float(i)) for i in range(6)])

        def f():
            return next(data) * 2

        f = compile_(f)
        return [f() for _ in range(6)]

    falls_back(program, "iterator")


def test_random_numbers_of_numpy():
    def program(compile_):
        np.random.seed(0)
        f = compile_(lambda x: x * float(np.random.rand()))
        return [f(torch.ones(2)) for _ in range(4)]

    falls_back(program, "random")


def test_an_array_of_numpy_inside():
    def program(compile_):
        array = np.zeros(2, np.float32)
        f = compile_(lambda x: x + torch.from_numpy(array))
        results = []
        for _ in range(4):
            results.append(f(torch.ones(2)))
            array += 1
        return results

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_an_exception_of_the_function():
    def f(x):
        if x.shape[0] == 3:
            raise ValueError("three")
        return x * 2

    f = torch.compile(f)
    for n in (2, 2, 2):
        f(torch.ones(n))
    with pytest.raises(ValueError, match="three"):
        f(torch.ones(3))
    same(f(torch.ones(2)), torch.full((2,), 2.0))


def test_an_exception_while_tracing_leaves_everything_as_it_was():
    w = torch.ones(2, requires_grad=True)
    state = torch.zeros(2)

    def f(x):
        state.add_(1)
        (w * x).sum().backward()
        if x.shape[0] == 2 and torch.compiler.is_compiling():
            raise ValueError("while tracing")
        return x * state

    f = torch.compile(f)
    with pytest.warns(UserWarning, match="while tracing"):
        results = [f(torch.ones(2)) for _ in range(3)]
    same([r[0].item() for r in results], [1.0, 2.0, 3.0])
    same(w.grad, torch.full((2,), 3.0))
    assert state._version == 3


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


def test_compiled_inside_of_compiled():
    def program(compile_):
        inner = compile_(lambda x: x.exp() + torch.rand(2))
        outer = compile_(lambda x: inner(x) * 2)
        return [outer(torch.ones(2)) for _ in range(4)]

    _, outer = both(program)
    assert captured(outer)


def test_threads():
    model = net(0.0)
    f = torch.compile(model)
    x = torch.randn(4, 6)
    expected = model(x).detach()
    wrong = []

    def work():
        for _ in range(30):
            got = f(x).detach()
            if not torch.equal(got, expected):
                wrong.append(got)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


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


def test_the_number_of_compilations_is_limited():
    f = torch.compile(lambda x, n: x * n)
    with pytest.warns(UserWarning, match="compiled 8 times"):
        for n in range(20):
            same(f(torch.ones(2), n), torch.full((2,), float(n)))


def test_reasons_of_recompilation_are_printed(monkeypatch, capsys):
    monkeypatch.setenv("TORCHLITE_LOG", "recompiles")
    f = torch.compile(lambda x: x * 2)
    for n in (2, 2, 3):
        f(torch.ones(n))
    assert "float32[2]" in capsys.readouterr().err


def test_dtypes_and_default_dtype():
    def program(compile_):
        f = compile_(lambda x: x * 2 + torch.ones(2))
        results = [f(torch.ones(2)), f(torch.ones(2)), f(torch.ones(2, dtype=torch.float64))]
        torch.set_default_dtype(torch.float64)
        try:
            results += [f(torch.ones(2, dtype=torch.float32)), f(torch.ones(2))]
        finally:
            torch.set_default_dtype(torch.float32)
        return results

    both(program)


def test_full_graphs_are_demanded():
    f = torch.compile(lambda x: x.tolist(), fullgraph=True)
    f(torch.ones(1))
    with pytest.raises(RuntimeError, match="can't be captured"):
        f(torch.ones(1))


def test_disabled_functions_are_not_captured():
    calls = []

    @torch.compiler.disable
    def noted(x):
        calls.append(1)
        return x

    f = torch.compile(lambda x: noted(x) * 2)
    with pytest.warns(UserWarning, match="must not be captured"):
        for _ in range(3):
            f(torch.ones(1))
    assert len(calls) == 3


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


def test_the_graph_is_python_that_runs():
    f = torch.compile(lambda x: (x * 2).exp().sum())
    x = torch.ones(3)
    for _ in range(2):
        expected = f(x)
    (got,) = f.graph.function()(x.numpy())
    np.testing.assert_array_equal(got, expected.numpy())
    assert "float32[3]" in str(f.graph)


def test_results_that_lie_transposed():
    def program(compile_):
        f = compile_(lambda x: (x.t() * 2 + 1, (x.t() * 2).reshape(-1), (x.t() + 1).contiguous()))
        results = []
        for _ in range(4):
            a, b, c = f(torch.arange(6.0).reshape(2, 3))
            b[0], c[0, 0] = -1.0, -2.0
            results.append([a, b, c])
        return results

    (f,) = both(program)
    assert captured(f)


def test_writes_into_what_may_be_a_copy_or_not():
    def program(compile_):
        def f(x):
            y = x.t() * 2
            z = y.contiguous()
            z.add_(1)
            flat = y.reshape(-1)
            flat.mul_(3)
            return y, z

        f = compile_(f)
        return [f(torch.arange(6.0).reshape(2, 3)) for _ in range(4)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)
