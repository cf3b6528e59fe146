"""Functions whose course depends on the numbers of tensors: each side is captured, and a replay asks which it is."""

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
from eager_and_compiled import both, falls_back, gains, same

import torchlite as torch
from torchlite import nn
from torchlite.compiler import compiled
from torchlite.compiler.branches import MOST_CAPTURES


def test_a_branch_on_the_numbers_of_a_tensor():
    def program(compile_):
        def f(x):
            if x.sum() > 2:
                return x * 2
            return x - 1

        f = compile_(f)
        return [f(torch.full((2,), i % 5 / 2)) for i in range(24)]

    (f,) = both(program)
    assert len(f.variants) == 2


QUESTIONS = {
    "a comparison": lambda loss: loss.item() > 4.5,
    "of the other": lambda loss: loss.item() > 4.5,
    "of an integer": lambda loss: loss.long().item() >= 5,
    "of an integer with a float": lambda loss: (loss > 4).sum().item() * 0.5 == 0.5,
    "of two": lambda loss: loss.item() > (loss * 0 + 4.5).item(),
    "of a scalar of NumPy": lambda loss: np.float64(4.5) < loss.item(),
    "with a number that changes": lambda loss: loss.item() > THRESHOLD,
    "truth": lambda loss: (loss > 5).item(),
    "of a number": lambda loss: bool((loss - 5).item()),
    "isnan": lambda loss: torch.isnan((loss - 5).sqrt()),
    "any": lambda loss: (1 / (loss - torch.tensor([5.0, 7.0, 8.0]))).isinf().any(),
    "all": lambda loss: torch.isfinite(1 / (loss - 5).relu()).all(),
    "math.isnan": lambda loss: math.isnan((loss - 5).sqrt().item()),
    "math.isfinite": lambda loss: not math.isfinite((1 / (loss - 5).relu()).item()),
    "np.isfinite": lambda loss: np.isfinite((1 / (loss - 5).relu()).item()),
    "the least": lambda loss: min(loss.item(), 4.5, 9.0) == 4.5,
    "in float64": lambda loss: loss.double().item() > 5,
    "in bfloat16": lambda loss: loss.bfloat16().item() > 5,
}
THRESHOLD = 0.0


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question(question):
    """Each call gives what it gives uncompiled, whatever the calls before have been."""
    ask = QUESTIONS[question]

    def program(compile_):
        f = compile_(lambda x: x + 1 if ask(x.sum()) else x * 2)
        results = []
        for i in range(14):
            globals()["THRESHOLD"] = 4.5 - i / 8
            results.append(f(torch.tensor([1.0, 0.0, 3.0 + i % 3])))
        return results

    (f,) = both(program)
    assert 1 < len(f.variants) <= 3


class Trainer:
    def __init__(self):
        self.model = gains()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9)
        self.skipped, self.best, self.losses = 0, math.inf, []

    def loss(self, x, y):
        self.optimizer.zero_grad()
        return nn.functional.cross_entropy(self.model(x), y)

    def skips_a_loss(self, x, y):
        loss = self.loss(x, y)
        if not math.isfinite(loss.item()):
            self.skipped += 1
            return None
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())
        return loss.item()

    def skips_gradients(self, x, y):
        loss = self.loss(x, y)
        loss.backward()
        if all(torch.isfinite(p.grad).all() for p in self.model.parameters()):
            self.optimizer.step()
        else:
            self.skipped += 1
        return loss.detach()

    def skips_a_norm(self, x, y):
        loss = self.loss(x, y)
        loss.backward()
        if torch.isfinite(nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)):
            self.optimizer.step()
        return loss.detach()

    def raises(self, x, y):
        loss = self.loss(x, y)
        if torch.isnan(loss):
            raise ValueError("not a number")
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def prints(self, x, y):
        loss = self.loss(x, y)
        if torch.isnan(loss):
            print("not a number")
            return loss.detach()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def keeps_the_best(self, x, y):
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        self.best = min(self.best, loss.item())
        return torch.rand(2) if loss.item() < self.best else torch.rand(3) + torch.rand(())


WRONG = (5, 6, 9, 12, 17)


@pytest.mark.parametrize(
    ("step", "captures"),
    [
        (Trainer.skips_a_loss, 2),
        (Trainer.skips_gradients, 2),
        (Trainer.skips_a_norm, 2),
        (Trainer.raises, 1),
        (Trainer.prints, 1),
        (Trainer.keeps_the_best, 2),
    ],
)
def test_a_step_of_training(step, captures):
    """Some batches hold what is not a number: nothing of a step that is skipped has happened, random numbers included."""

    def program(compile_):
        kept = Trainer()
        run = compile_(lambda x, y: step(kept, x, y))
        generator = torch.Generator().manual_seed(5)
        results = []
        for i in range(20):
            x, y = torch.randn(4, 6, generator=generator), torch.randint(0, 3, (4,), generator=generator)
            if i in WRONG:
                x[0, 0] = math.nan
            try:
                results.append(str(run(x, y)) if i in WRONG else run(x, y))
            except ValueError as error:
                results.append(str(error))
            results += [kept.skipped, [*kept.losses], [p.detach().clone() for p in kept.model.parameters()]]
        return results

    (f,) = both(program)
    assert len(f.variants) == captures


def test_a_check_of_the_loss_keeps_a_replay_short():
    """It is done by the program itself, which has nothing of Python in it."""
    kept = Trainer()
    step = torch.compile(lambda x, y: kept.skips_gradients(x, y))
    for _ in range(3):
        step(torch.ones(4, 6), torch.zeros(4, dtype=torch.int64))
    assert step.variants[0].captured.run.repeats


def test_a_module_alone():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            y = x * self.weight
            return y.exp() if y.sum() > 3 else y * y

    def program(compile_):
        module = Gated()
        f = compile_(module)
        results = []
        for i in range(10):
            out = f(torch.full((3,), 0.5 + i % 2))
            out.sum().backward()
            results += [out.detach(), module.weight.grad.clone()]
        return results

    (f,) = both(program)
    assert len(f._call.variants) == 2


def test_random_numbers_that_decide():
    """They are those that the step would have drawn; a call that takes another branch has drawn none before."""

    def program(compile_):
        def f(x):
            noise = torch.rand(3)
            if noise[0] > 0.5:
                return x + noise
            if torch.rand(()) > 0.5:
                return x - noise
            return x * torch.rand(3)

        f = compile_(f)
        return [f(torch.ones(3)) for _ in range(30)]

    (f,) = both(program)
    assert len(f.variants) == 3


def test_so_many_branches_that_none_is_worth_a_capture():
    def program(compile_):
        def f(x):
            while x.sum() > 1:
                x = x / 2
            return x

        f = compile_(f)
        return [f(torch.full((2,), 2.0 ** (i * 7 % 20))) for i in range(40)]

    (f,) = falls_back(program, "decides what happens next")
    assert not f.variants


def test_a_rare_branch_among_many_calls():
    """What happens once is not captured."""

    def program(compile_):
        f = compile_(lambda x: x * 2 if x.sum() < 30 else x - 1)
        return [f(torch.full((2,), float(i))) for i in (*range(15), 15, *range(15))]

    (f,) = both(program)
    assert len(f.variants) == 1


def test_integers_that_are_no_floats():
    def program(compile_):
        def f(x):
            return x * 2 if x.sum().item() > 2**53 else x - 1

        f = compile_(f)
        return [f(torch.tensor([2**53, i % 3])) for i in range(9)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both(program)


def test_what_is_no_branch():
    """A number that would have to be known itself is none."""

    def program(compile_):
        f = compile_(lambda x: x[: int(x[0])])
        return [f(torch.arange(4.0) + 1) for _ in range(4)]

    falls_back(program, "decides what happens next")


def test_where_no_branches_are_wanted():
    f = compiled(lambda x: x * 2 if x.sum() > 2 else x - 1, branches=False)
    for one in (f, copy.deepcopy(f)):
        assert not one.branches
        with pytest.warns(UserWarning, match="decides what happens next"):
            same([one(torch.full((2,), float(i))) for i in range(3)], [torch.full((2,), v) for v in (-1.0, 0.0, 4.0)])
    assert pickle.loads(pickle.dumps(compiled(math.cos, branches=False))).branches is False


def test_more_branches_than_are_captured():
    def program(compile_):
        def f(x):
            for i in range(8):
                if x[0] < i + 1:
                    return x * i
            return x

        f = compile_(f)
        return [f(torch.full((2,), float(i % 7 if i % 10 == 0 else 0))) for i in range(100)]

    (f,) = both(program)
    assert len(f.variants) <= MOST_CAPTURES


def test_stances():
    f = torch.compile(lambda x: x * 2 if x.sum() > 2 else x - 1)
    small, large = torch.zeros(2), torch.ones(2) * 2
    for _ in range(3):
        f(small)
    with torch.compiler.set_stance("eager_on_recompile"):
        same([f(large) for _ in range(4)], [large * 2] * 4)
    assert len(f.variants) == 1
    with torch.compiler.set_stance("fail_on_recompile"):
        same(f(small), small - 1)
        same(f(large), large * 2)
        with pytest.raises(RuntimeError, match="answer differently"):
            f(large)


def test_four_branches_that_take_turns():
    def program(compile_):
        def f(x):
            if x[0] < 2:
                return x + 1 if x[0] < 1 else x * 2
            return x - 1 if x[0] < 3 else x / 2

        f = compile_(f)
        return [f(torch.full((2,), float(i * 3 % 4))) for i in range(40)]

    (f,) = both(program)
    assert len(f.variants) == 4
