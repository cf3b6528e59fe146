"""Steps that are replayed as CUDA graphs give what they give uncompiled: nothing that changes is frozen in them."""

from typing import Any

import cuda_on_host
import numpy as np
import pytest
import simulated_gpu

import torchlite as torch
from torchlite import nn, optim
from torchlite.compiler.cuda.recording import Recorded

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda_on_host.COMPILER is None and simulated_gpu.installed(), reason="needs a C++ compiler"),
]


def network(dropout: float = 0.0) -> Any:
    return nn.Sequential(
        nn.Linear(6, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(16, 16),
        nn.GELU(),
        nn.Linear(16, 4),
    ).cuda()


def batch(seed: int, n: int = 8) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size=(n, 6), generator=generator).cuda(), (torch.arange(n) % 4).cuda()


class Training:
    """A model and its optimizer, and a step of them."""

    def __init__(self, make: Any, dropout: float = 0.0) -> None:
        torch.manual_seed(1)
        self.model = network(dropout)
        self.optimizer = make(self.model.parameters())

    def step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss

    def numbers(self) -> list[Any]:
        return [x.detach().cpu().numpy() for x in self.model.state_dict().values()]


def recorded(compiled: Any) -> Recorded:
    run = compiled.variants[0].captured.run
    assert isinstance(run, Recorded)
    assert run.refused is None
    return run


def compiled(function: Any) -> Any:
    return torch.compile(function, mode="reduce-overhead", fullgraph=True)


def alike(a: Training, b: Training, tolerance: float = 1e-4) -> None:
    for x, y in zip(a.numbers(), b.numbers(), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * 1e-1)


OPTIMIZERS = {
    "SGD": lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9),
    "Adam": lambda ps: optim.Adam(ps, lr=1e-3),
    "AdamW": lambda ps: optim.AdamW(ps, lr=1e-3),
    "capturable AdamW": lambda ps: optim.AdamW(ps, lr=1e-3, capturable=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_many_steps_with_new_numbers_each(name: str) -> None:
    eager, graphs = Training(OPTIMIZERS[name]), Training(OPTIMIZERS[name])
    step = compiled(graphs.step)
    for i in range(50):
        np.testing.assert_allclose(step(*batch(i)).item(), eager.step(*batch(i)).item(), rtol=1e-4)
    alike(eager, graphs)
    assert recorded(step).replays >= 45


def test_learning_rates_are_those_of_the_scheduler() -> None:
    eager, graphs = Training(OPTIMIZERS["AdamW"]), Training(OPTIMIZERS["AdamW"])
    schedulers = [optim.lr_scheduler.StepLR(t.optimizer, 2, 0.5) for t in (eager, graphs)]
    step = compiled(graphs.step)
    for i in range(12):
        eager.step(*batch(i))
        step(*batch(i))
        for scheduler in schedulers:
            scheduler.step()
    alike(eager, graphs)
    assert recorded(step).replays >= 8


def test_dropout_draws_fresh_numbers() -> None:
    x = torch.ones(64, device="cuda")
    drop = compiled(lambda x: nn.functional.dropout(x, 0.5) * 2)
    torch.manual_seed(3)
    expected = [(nn.functional.dropout(x, 0.5) * 2).tolist() for _ in range(8)]
    torch.manual_seed(3)
    assert [drop(x).tolist() for _ in range(8)] == expected
    assert recorded(drop).replays == 5
    torch.manual_seed(3)
    assert drop(x).tolist() == expected[0]


def test_training_with_dropout() -> None:
    eager, graphs = Training(OPTIMIZERS["AdamW"], 0.3), Training(OPTIMIZERS["AdamW"], 0.3)
    step = compiled(graphs.step)
    for run in (eager.step, step):
        torch.manual_seed(5)
        for i in range(10):
            run(*batch(i))
    alike(eager, graphs)
    assert recorded(step).replays == 7


def test_results_and_gradients_stay_as_they_were() -> None:
    eager, graphs = Training(OPTIMIZERS["SGD"]), Training(OPTIMIZERS["SGD"])
    step = compiled(graphs.step)
    weights = eager.model[0].weight, graphs.model[0].weight
    kept: list[tuple[Any, Any]] = []
    for i in range(12):
        losses = eager.step(*batch(i)), step(*batch(i))
        gradients = tuple(w.grad if i % 2 else w.grad[0] for w in weights)
        kept += [losses, gradients] if i > 6 else [losses]
    for ours, theirs in kept:
        np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-4, atol=1e-6)
    run, before = recorded(step), recorded(step).replays
    assert before < 9  # where a gradient is kept, the next step has memory of its own
    kept.clear()
    del gradients
    step(*batch(0))
    eager.step(*batch(0))
    assert run.replays == before + 1
    alike(eager, graphs)


def test_other_arrays_for_parameters_are_recorded_anew() -> None:
    eager, graphs = Training(OPTIMIZERS["Adam"]), Training(OPTIMIZERS["Adam"])
    step = compiled(graphs.step)
    for i in range(14):
        if i in (6, 9):
            for training in (eager, graphs):
                weight = training.model[0].weight
                weight.data = weight.detach() * 0.5
        eager.step(*batch(i))
        step(*batch(i))
    alike(eager, graphs)
    assert recorded(step).replays >= 1


def test_a_loaded_state_is_seen() -> None:
    eager, graphs = Training(OPTIMIZERS["Adam"]), Training(OPTIMIZERS["Adam"])
    step = compiled(graphs.step)
    states: list[Any] = []
    for i in range(12):
        if i == 3:
            states = [
                ({k: v.clone() for k, v in t.model.state_dict().items()}, t.optimizer.state_dict())
                for t in (eager, graphs)
            ]
        if i == 7:
            for t, (model, optimizer) in zip((eager, graphs), states, strict=True):
                t.model.load_state_dict(model)
                t.optimizer.load_state_dict(optimizer)
        eager.step(*batch(i))
        step(*batch(i))
    alike(eager, graphs)


def test_two_shapes_have_graphs_of_their_own() -> None:
    eager, graphs = Training(OPTIMIZERS["Adam"]), Training(OPTIMIZERS["Adam"])
    step = compiled(graphs.step)
    for i in range(20):
        data = batch(i, 8 if i % 2 else 5)
        eager.step(*data)
        step(*data)
    alike(eager, graphs)
    assert len(step.variants) == 2
    assert all(variant.captured.run.replays >= 5 for variant in step.variants)


def test_steps_that_overflow_are_skipped() -> None:
    eager, graphs = Training(OPTIMIZERS["AdamW"]), Training(OPTIMIZERS["AdamW"])
    found = []
    for training in (eager, graphs):
        scaler = torch.amp.GradScaler("cuda", init_scale=256.0, growth_interval=3)

        def step(x: Any, y: Any, training: Any = training, scaler: Any = scaler) -> Any:
            training.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(training.model(x), y)
            scaler.scale(loss).backward()
            scaler.step(training.optimizer)
            scaler.update()
            return loss

        run = compiled(step) if training is graphs else step
        scales = []
        for i in range(14):
            x, y = batch(i)
            run(x * 1e38 if i in (4, 9) else x, y)
            scales.append(scaler.get_scale())
        found.append(scales)
    assert found[0] == found[1]
    alike(eager, graphs)
    assert sum(variant.captured.run.replays for variant in run.variants) >= 8


def test_numbers_of_the_host_before_and_behind() -> None:
    table = torch.zeros(3, device="cuda")

    @compiled
    def step(x: Any, y: Any) -> Any:
        there = x.to("cuda") * 2 + y
        table.copy_(x)
        return there.cpu() + 1, there, (there.sum() * 2).item()

    for i in range(7):
        x, y = torch.full((3,), float(i)), torch.full((3,), 1.0, device="cuda")
        host, there, number = step(x, y)
        assert host.tolist() == [2.0 * i + 2] * 3
        assert there.tolist() == [2.0 * i + 1] * 3
        assert number == 6 * (2.0 * i + 1)
        assert table.tolist() == [float(i)] * 3
    assert recorded(step).replays == 4


def test_tensors_that_exchange_their_numbers() -> None:
    a, b = torch.zeros(3, device="cuda"), torch.ones(3, device="cuda")

    @compiled
    def swap() -> Any:
        old = a.clone()
        a.copy_(b)
        b.copy_(old)
        return old

    for i in range(8):
        assert swap().tolist() == [float(i % 2)] * 3
        assert (a.tolist(), b.tolist()) == ([1.0 - i % 2] * 3, [float(i % 2)] * 3)
    assert recorded(swap).replays == 5


def test_gradients_that_accumulate() -> None:
    x = torch.ones(4, device="cuda", requires_grad=True)

    @compiled
    def step(y: Any) -> None:
        (x * y).sum().backward()

    for i in range(8):
        step(torch.full((4,), 2.0, device="cuda"))
        assert x.grad.tolist() == [2.0 * (i + 1)] * 4


def test_what_can_not_be_recorded_is_launched(capsys: Any, monkeypatch: Any) -> None:
    """Poisson numbers are drawn until all are accepted, which the host has to know."""
    monkeypatch.setenv("TORCHLITE_LOG", "cudagraphs")
    draw = compiled(lambda x: torch.poisson(x) * 2 + 1)
    x = torch.full((5,), 20.0, device="cuda")
    torch.manual_seed(2)
    expected = [(torch.poisson(x) * 2 + 1).tolist() for _ in range(6)]
    torch.manual_seed(2)
    assert [draw(x).tolist() for _ in range(6)] == expected
    assert draw.variants[0].captured.run.refused is not None
    said = capsys.readouterr().err
    assert said.count("is not replayed as a CUDA graph: recording raised") == 1
    assert "(in v0 = cuda0.poisson(" in said


def test_many_arrays_are_joined_without_a_table_of_their_addresses() -> None:
    parts = [torch.full((2,), float(i), device="cuda") for i in range(70)]

    @compiled
    def joined(x: Any) -> Any:
        return torch.cat([part * x for part in parts]) + 1

    for i in range(6):
        x = torch.full((2,), float(i), device="cuda")
        assert joined(x).tolist() == [float(k * i + 1) for k in range(70) for _ in range(2)]
    assert recorded(joined).replays == 3


class Images(Training):
    """Convolutions, their biases, pooling and a product, as in `Training`."""

    def __init__(self, make: Any) -> None:
        torch.manual_seed(1)
        layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        self.model = nn.Sequential(*layers, nn.Linear(96, 4)).cuda()
        self.optimizer = make(self.model.parameters())


@pytest.mark.parametrize("tf32", [False, True])
def test_convolutions_and_pooling(tf32: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr("torchlite.backends.cudnn.allow_tf32", tf32)
    eager, graphs = Images(OPTIMIZERS["Adam"]), Images(OPTIMIZERS["Adam"])
    step = compiled(graphs.step)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        x, y = torch.randn(size=(8, 1, 12, 12), generator=generator).cuda(), (torch.arange(8) % 4).cuda()
        expected = eager.step(x, y).item()
        np.testing.assert_allclose(step(x, y).item(), expected, rtol=2e-2 if tf32 else 1e-4)
    assert recorded(step).replays >= 6


def test_without_the_mode_nothing_is_recorded() -> None:
    for mode in (None, "default", "max-autotune-no-cudagraphs"):
        step = torch.compile(lambda x: (x * 2).exp(), mode=mode)
        for _ in range(5):
            step(torch.ones(3, device="cuda"))
        assert not isinstance(step.variants[0].captured.run, Recorded)
    step = torch.compile(lambda x: (x * 2).exp(), options={"triton.cudagraphs": True})
    for _ in range(5):
        step(torch.ones(3, device="cuda"))
    assert recorded(step).replays == 2


def test_recurrent_layers_keep_what_their_graphs_read() -> None:
    from torchlite.backends.nvidia import recurrent

    torch.manual_seed(1)
    layer = nn.GRU(4, 8).cuda().requires_grad_(False)
    run = compiled(lambda x: layer(x)[0].sum())
    batches = [torch.randn(5, 3, 4).cuda() for _ in range(6)]
    for x in batches[:4]:
        run(x)
    assert recorded(run).replays
    recurrent._lengths(0, 5, 3, None).fill(0)  # what others are free to write to, once the cache has dropped it
    recurrent._lengths.cache_clear()
    for x in batches:
        np.testing.assert_allclose(run(x).item(), layer(x)[0].sum().item(), rtol=1e-4)
