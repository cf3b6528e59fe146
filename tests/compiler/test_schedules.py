"""Numbers that change from step to step: learning rates, schedulers, the scaler of losses."""

import copy

import pytest
from eager_and_compiled import OPTIMIZERS, batches, both, captured, falls_back, gains, net, train

import torchlite as torch
from torchlite import nn
from torchlite.optim import lr_scheduler as rates


def test_a_changed_learning_rate_is_seen_without_compiling_again():
    def change(i, _model, opt):
        opt.param_groups[0]["lr"] = 0.1 / (i + 1)

    (step,) = both(lambda c: train(c, OPTIMIZERS["Adam"], change=change))
    assert len(step.variants) == 1


def test_a_decay_that_changes_is_seen():
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


SCHEDULES = {
    "StepLR": lambda o: rates.StepLR(o, 3),
    "MultiStepLR": lambda o: rates.MultiStepLR(o, [2, 5]),
    "ConstantLR": lambda o: rates.ConstantLR(o, total_iters=4),
    "LinearLR": lambda o: rates.LinearLR(o, total_iters=4),
    "ExponentialLR": lambda o: rates.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: rates.PolynomialLR(o, 5, 2.0),
    "CosineAnnealingLR": lambda o: rates.CosineAnnealingLR(o, 4),
    "CosineAnnealingWarmRestarts": lambda o: rates.CosineAnnealingWarmRestarts(o, 3, 2),
    "LambdaLR": lambda o: rates.LambdaLR(o, lambda t: 1 / (t + 1)),
    "MultiplicativeLR": lambda o: rates.MultiplicativeLR(o, lambda t: 0.9 if t % 2 else 1.0),
    "OneCycleLR": lambda o: rates.OneCycleLR(o, 0.1, total_steps=20),
    "CyclicLR": lambda o: rates.CyclicLR(o, 0.01, 0.1, 3),
    "SequentialLR": lambda o: rates.SequentialLR(
        o, [rates.LinearLR(o, total_iters=3), rates.ExponentialLR(o, 0.8)], [4]
    ),
    "ChainedScheduler": lambda o: rates.ChainedScheduler([rates.LinearLR(o), rates.ExponentialLR(o, 0.9)]),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, 0.05, 4),
}


@pytest.mark.parametrize("optimizer", ["momentum", "AdamW"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_scheduler_steps_inside(name, optimizer):
    (step,) = both(lambda c: train(c, OPTIMIZERS[optimizer], network=gains, schedule=SCHEDULES[name], steps=9))
    assert captured(step)
    assert len(step.variants) == 1


@pytest.mark.parametrize("optimizer", ["momentum", "AdamW"])
def test_a_scheduler_steps_where_products_store_gradients(optimizer):
    (step,) = both(lambda c: train(c, OPTIMIZERS[optimizer], schedule=SCHEDULES["CosineAnnealingLR"], steps=9))
    assert captured(step)


def test_every_scheduler_is_among_those_tested():
    public = {n for n in dir(rates) if n.endswith("LR") or "Scheduler" in n or "Restarts" in n}
    assert public - {"LRScheduler", "_LRScheduler", "ReduceLROnPlateau"} <= set(SCHEDULES)


def test_a_measured_loss_decides_on_the_rate():
    def program(compile_):
        w = torch.ones(2, requires_grad=True)
        opt = torch.optim.SGD([w], 0.5)
        scheduler = rates.ReduceLROnPlateau(opt, patience=0)

        def step(x):
            opt.zero_grad()
            loss = (w * x).square().sum()
            loss.backward()
            opt.step()
            scheduler.step(loss)
            return loss.detach()

        step = compile_(step)
        return [[step(torch.full((2,), 1.0 + i % 3)), opt.param_groups[0]["lr"], scheduler.best] for i in range(9)]

    (step,) = both(program)
    assert captured(step)
    assert len(step.variants) == 1


def test_what_a_scheduler_has_set_can_be_returned_and_read():
    def program(compile_):
        w = torch.ones(2, requires_grad=True)
        opt = torch.optim.SGD([w], 0.5)
        scheduler = rates.ExponentialLR(opt, 0.5)

        def step(x):
            before, epoch = opt.param_groups[0]["lr"], scheduler.last_epoch
            opt.zero_grad()
            (w * x * before).sum().backward()
            opt.step()
            scheduler.step()
            return before, epoch, before * 2, scheduler.get_last_lr(), opt.param_groups[0]["lr"], x + epoch

        step = compile_(step)
        return [step(torch.ones(2)) for _ in range(5)]

    (step,) = both(program)
    assert captured(step)
    assert len(step.variants) == 1


def test_a_branch_on_a_number_that_changes_is_compiled_once_for_each_side():
    def program(compile_):
        w = torch.ones(2, requires_grad=True)
        opt = torch.optim.SGD([w], 0.5)
        scheduler = rates.StepLR(opt, 100)

        def step(x):
            opt.zero_grad()
            loss = (w * x).sum() * (2 if scheduler.last_epoch < 4 else 3)
            loss.backward()
            opt.step()
            scheduler.step()
            return loss.detach()

        step = compile_(step)
        return [step(torch.ones(2)) for _ in range(9)]

    (step,) = both(program)
    assert captured(step)
    assert len(step.variants) == 2


def test_a_rate_that_is_used_after_it_was_changed():
    def program(compile_):
        w = torch.ones(2, requires_grad=True)
        opt = torch.optim.SGD([w], 0.5)
        scheduler = rates.ExponentialLR(opt, 0.5)

        def step(x):
            for _ in range(2):
                opt.zero_grad()
                (w * x).sum().backward()
                opt.step()
                scheduler.step()

        step = compile_(step)
        return [[step(torch.ones(2)), w.detach().clone()] for _ in range(5)]

    falls_back(program, "after a scheduler has changed it")


class Scheduled:
    """A weight whose rate the function sets itself, beside a scheduler."""

    def __init__(self):
        self.weight = nn.Parameter(torch.ones(2))
        self.optimizer = torch.optim.SGD([self.weight], 0.1)
        self.group = self.optimizer.param_groups[0]
        self.schedule = rates.StepLR(self.optimizer, 2, 0.5)
        self.counts = {"a": 0}

    def update(self, x):
        self.optimizer.zero_grad()
        (self.weight * x).sum().backward()
        self.optimizer.step()

    def before(self, x):
        self.update(x)
        self.group["lr"] *= 0.9
        self.schedule.step()

    def before_it_counts(self, x):
        self.update(x)
        self.schedule.last_epoch = 2
        self.schedule.step()

    def after(self, x):
        self.update(x)
        self.schedule.step()
        self.group["lr"] = 0.05

    def between(self, x):
        self.update(x)
        self.schedule.step()
        self.group["lr"] = 0.05
        self.schedule.step()


def program_of_scheduled(step):
    def program(compile_):
        kept = Scheduled()
        f = compile_(getattr(kept, step))
        results = []
        for i in range(8):
            f(torch.ones(2))
            group = [kept.group["lr"], kept.schedule.last_epoch, kept.schedule.get_last_lr()]
            results.append([kept.weight.detach().clone(), *group])
            if i == 5:
                kept.schedule = copy.copy(kept.schedule)
        return results

    return program


@pytest.mark.parametrize("step", ["before", "before_it_counts"])
def test_a_rate_that_is_set_before_a_scheduler_steps(step):
    (f,) = both(program_of_scheduled(step))
    assert captured(f)


@pytest.mark.parametrize("step", ["after", "between"])
def test_a_rate_that_is_set_after_a_scheduler_has_stepped(step):
    falls_back(program_of_scheduled(step), "lr is set after a scheduler has changed it")


def test_a_rate_that_is_a_tensor():
    def program(compile_):
        w = torch.ones(2, requires_grad=True)
        opt = torch.optim.SGD([w], torch.tensor(0.5))
        scheduler = rates.ExponentialLR(opt, 0.5)

        def step(x):
            opt.zero_grad()
            (w * x).sum().backward()
            opt.step()
            scheduler.step()

        step = compile_(step)
        return [[step(torch.ones(2)), w.detach().clone()] for _ in range(5)]

    falls_back(program, "runs uncompiled")


def test_a_scheduler_that_does_more_than_arithmetic():
    seen = []

    class Noting(rates.LRScheduler):
        def get_lr(self):
            seen.append(self.last_epoch)
            return [0.1 / len(seen) for _ in self.optimizer.param_groups]

    def program(compile_):
        seen.clear()
        result = train(compile_, OPTIMIZERS["SGD"], schedule=Noting)
        return [result, list(seen)]

    falls_back(program, "changes Python values")


def test_the_end_of_a_schedule_is_the_same_error():
    w = torch.ones(2, requires_grad=True)
    opt = torch.optim.SGD([w], 0.5, momentum=0.9)
    scheduler = rates.OneCycleLR(opt, 0.1, total_steps=4)

    @torch.compile
    def step(x):
        opt.zero_grad()
        (w * x).sum().backward()
        opt.step()
        scheduler.step()

    for _ in range(3):
        step(torch.ones(2))
    with pytest.raises(ValueError, match="Tried to step 5 times"):
        for _ in range(2):
            step(torch.ones(2))
    assert scheduler.last_epoch == 4 + 1


@pytest.mark.parametrize("key", ["weight_decay", "momentum"])
def test_a_hyper_parameter_that_changes_at_every_step_costs_one_more_compilation(key):
    def change(i, _model, opt):
        opt.param_groups[0][key] = 0.9 / (i + 1)

    (step,) = both(lambda c: train(c, OPTIMIZERS["momentum"], change=change, steps=9))
    assert len(step.variants) == 2


def test_betas_that_change_at_every_step_cost_one_more_compilation():
    def change(i, _model, opt):
        opt.param_groups[0]["betas"] = (0.9 / (i + 1), 0.99)

    (step,) = both(lambda c: train(c, OPTIMIZERS["Adam"], change=change, steps=9))
    assert len(step.variants) == 2


def test_a_decay_that_comes_to_nothing_is_left_out():
    def change(i, _model, opt):
        opt.param_groups[0]["weight_decay"] = max(0.4 - 0.1 * i, 0)

    both(lambda c: train(c, OPTIMIZERS["AdamW"], change=change, steps=9))


def test_a_rate_set_inside_of_the_step():
    def program(compile_):
        w = torch.ones(2, requires_grad=True)
        opt = torch.optim.SGD([w], 0.5)

        def step(x):
            opt.zero_grad()
            (w * x).sum().backward()
            opt.step()
            opt.param_groups[0]["lr"] *= 0.5

        step = compile_(step)
        return [[step(torch.ones(2)), w.detach().clone(), opt.param_groups[0]["lr"]] for _ in range(6)]

    (step,) = both(program)
    assert captured(step)
    assert len(step.variants) == 1


def test_a_scheduler_loaded_between_calls_is_seen():
    def program(compile_):
        w = torch.ones(2, requires_grad=True)
        opt = torch.optim.SGD([w], 0.5)
        scheduler = rates.StepLR(opt, 2)

        def step(x):
            opt.zero_grad()
            (w * x).sum().backward()
            opt.step()
            scheduler.step()

        step = compile_(step)
        saved, results = copy.deepcopy(scheduler.state_dict()), []
        for i in range(9):
            if i == 5:
                scheduler.load_state_dict(saved)
            step(torch.ones(2))
            results.append([w.detach().clone(), scheduler.last_epoch, scheduler.get_last_lr()])
        return results

    (step,) = both(program)
    assert len(step.variants) == 1


def scaled(compile_, *, overflows=(), steps=14):
    model = net()
    opt = torch.optim.Adam(model.parameters(), 1e-2)
    scaler = torch.amp.GradScaler("cpu", growth_interval=4)

    def step(x, y):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        scaler.step(opt)
        scaler.update()
        return loss.detach()

    step = compile_(step)
    results = []
    for i, (x, y) in enumerate(batches(steps)):
        if i in overflows:
            x[0, 0] = float("inf")
        results.append([step(x, y).isnan(), scaler.get_scale(), scaler.state_dict()["_growth_tracker"]])
    return [results, [p.detach() for p in model.parameters()]]


def test_the_scale_of_losses_grows():
    (step,) = both(scaled)
    assert captured(step)
    assert len(step.variants) == 2  # a step after which the scale grows is another one


def test_a_step_with_infinite_gradients_is_skipped():
    (step,) = both(lambda c: scaled(c, overflows=(1, 6, 7)))
    assert captured(step)


@pytest.mark.parametrize("how", ["mean", "exponential", "own function"])
def test_averages_of_weights(how):
    options = {
        "mean": {},
        "exponential": {"multi_avg_fn": torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)},
        "own function": {"avg_fn": lambda mean, value, _n: mean * 0.5 + value * 0.5},
    }[how]

    def program(compile_):
        model = net()
        opt = torch.optim.SGD(model.parameters(), 0.1)
        average = torch.optim.swa_utils.AveragedModel(model, **options)

        def step(x, y):
            opt.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            opt.step()
            average.update_parameters(model)

        step = compile_(step)
        for x, y in batches(6):
            step(x, y)
        return [p.detach() for p in average.parameters()]

    (step,) = both(program)
    assert captured(step)


def test_other_objects_beside_a_scheduler_that_steps_inside():
    """They are found again in their places, though the list of rates is not among what must stay as it was."""

    class Kept:
        def __init__(self):
            self.factors, self.counts, self.scale = [1], {"a": 1}, 1

    def program(compile_):
        kept = Kept()
        weight = nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], 0.1)
        schedule = rates.StepLR(optimizer, 2, 0.5)

        def step(x):
            optimizer.zero_grad()
            (weight * x * kept.factors[0] * kept.scale).sum().backward()
            optimizer.step()
            schedule.step()
            kept.counts["a"] += 1

        step = compile_(step)
        results = []
        for i in range(12):
            step(torch.ones(2))
            results.append([weight.detach().clone(), dict(kept.counts), optimizer.param_groups[0]["lr"]])
            if i == 4:
                kept.scale = 2
            if i == 8:
                kept.counts = dict(kept.counts)
        return results

    (step,) = both(program)
    assert len(step.variants) == 2
