"""Last batches that are smaller: one more capture for each size, none for each epoch, and the numbers of eager."""

import pytest
from eager_and_compiled import both, captured, net

import torchlite as torch
from torchlite import nn
from torchlite.utils.data import DataLoader, TensorDataset


def epochs(compile_, *, batch_size, epochs=4, samples=22, batch_norm=False):
    model = nn.Sequential(net(), nn.BatchNorm1d(3)) if batch_norm else net()
    # Adam makes steps of the gradient of a bias before batch norm, which is nothing but rounding.
    opt = (torch.optim.SGD if batch_norm else torch.optim.Adam)(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 20)
    g = torch.Generator().manual_seed(5)
    data = TensorDataset(torch.randn(samples, 6, generator=g), torch.randint(0, 3, (samples,), generator=g))
    loader = DataLoader(data, batch_size=batch_size, shuffle=True, generator=torch.Generator().manual_seed(9))

    @compile_
    def step(x, y):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        scheduler.step()
        return loss.detach()

    losses = [step(x, y) for _ in range(epochs) for x, y in loader]
    return [losses, [p.detach() for p in model.parameters()], list(model.buffers())]


def test_a_ragged_last_batch_is_compiled_once_in_all_epochs():
    (step,) = both(lambda c: epochs(c, batch_size=4))
    assert captured(step)
    assert len(step.variants) == 2


def test_a_ragged_last_batch_through_batch_norm():
    (step,) = both(lambda c: epochs(c, batch_size=8, batch_norm=True))
    assert len(step.variants) == 2


def test_batches_that_are_all_alike_are_compiled_once():
    (step,) = both(lambda c: epochs(c, batch_size=11))
    assert len(step.variants) == 1


def test_a_last_batch_of_one_sample():
    (step,) = both(lambda c: epochs(c, batch_size=7))
    assert len(step.variants) == 2


def test_batches_of_more_sizes_than_are_kept_run_uncompiled_after_one_warning():
    sizes = [*range(2, 16)] * 2

    def program(compile_):
        f = compile_(lambda x: (x * 2).sum())
        return [f(torch.full((n,), 1.0)) for n in sizes]

    with pytest.warns(UserWarning, match="compiled 8 times") as caught:
        (f,) = both(program)
    assert sum("torchlite.compile" in str(w.message) for w in caught) == 1
    assert len(f.variants) == 8


def test_a_dataset_that_grows_between_epochs():
    def program(compile_):
        f = compile_(lambda x: x.square().mean())
        results = []
        for samples in (9, 9, 10, 11, 9):
            loader = DataLoader(torch.arange(float(samples)), batch_size=4)
            results += [f(x) for x in loader]
        return results

    (f,) = both(program)
    assert len(f.variants) == len({4} | {n % 4 for n in (9, 10, 11)})
