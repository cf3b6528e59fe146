"""The same training run, from the same initial weights on the same batches, gives PyTorch's losses."""

from typing import Any

import numpy as np
import pytest
from oracle import BOTH, torch

import torchlite

STEPS, BATCH = 100, 32


def data(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Ten blurred prototypes with noise: a problem that is learned within the steps."""
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(10, *shape))
    labels = rng.integers(0, 10, STEPS * BATCH)
    return (prototypes[labels] + rng.normal(size=(len(labels), *shape))).astype(np.float32), labels


def mlp(nn: Any) -> Any:
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def cnn(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def losses(T: Any, make: Any, weights: dict[str, Any], images: Any, labels: Any, optimizer: Any) -> tuple[Any, Any]:
    model = make(T.nn)
    model.load_state_dict({k: T.tensor(v) for k, v in weights.items()})
    opt, criterion, seen = optimizer(T.optim, model.parameters()), T.nn.CrossEntropyLoss(), []
    for i in range(0, len(images), BATCH):
        opt.zero_grad()
        loss = criterion(model(T.tensor(images[i : i + BATCH])), T.tensor(labels[i : i + BATCH]))
        loss.backward()
        opt.step()
        seen.append(loss.item())
    return np.array(seen), model


RUNS: dict[str, Any] = {
    "MLP by SGD with momentum": (mlp, (784,), lambda optim, ps: optim.SGD(ps, lr=0.01, momentum=0.9)),
    "MLP by Adam": (mlp, (784,), lambda optim, ps: optim.Adam(ps, lr=1e-4)),
    "CNN by SGD with momentum": (
        cnn,
        (1, 12, 12),
        lambda optim, ps: optim.SGD(ps, lr=0.02, momentum=0.9, weight_decay=1e-4),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_losses_of_a_hundred_steps(name: str) -> None:
    make, shape, optimizer = RUNS[name]
    images, labels = data(shape)
    torch.manual_seed(0)
    weights = {k: v.numpy().copy() for k, v in make(torch.nn).state_dict().items()}
    (ours, our_model), (theirs, their_model) = (losses(T, make, weights, images, labels, optimizer) for T in BOTH)
    assert theirs[-1] < theirs[0] / 2, "the run learns nothing, so it shows nothing"
    np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)
    our_model.eval()
    their_model.eval()
    with torchlite.no_grad(), torch.no_grad():
        a, b = our_model(torchlite.tensor(images[:64])), their_model(torch.tensor(images[:64]))
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-3)
