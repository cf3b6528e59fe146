"""Training steps that either library runs: the models that benchmarks measure, each written once.

`WORKLOADS` maps a short name to what it is and to a function of the library (``torch`` or ``torchlite``) that gives a step:
forward, loss, backward, optimizer, on one batch of random numbers. ``programs.…`` are the programs beside this file.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Step = Callable[[], object]


class Workload(NamedTuple):
    """What is measured; ``whole`` says that its step is one function, which can be compiled."""

    title: str
    make: Callable[..., Step]
    whole: bool = True


def mlp(library: Any, precision: str, device: str = "cpu", batch: int = 64) -> Step:
    """784-128-10 with ReLU, plain gradient descent."""
    nn = library.nn
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = library.optim.SGD(model.parameters(), lr=0.01)
    return _of_images(library, precision, device, model, optimizer, (batch, 784))


def conv_net(library: Any, precision: str, device: str = "cpu", batch: int = 64) -> Step:
    """Two 3×3 convolutions (32 and 64 channels) on 28×28, pooling, 9216-128-10, Adam."""
    nn = library.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = library.optim.Adam(model.parameters(), lr=1e-3)
    return _of_images(library, precision, device, model, optimizer, (batch, 1, 28, 28))


def resnet20(library: Any, precision: str, device: str = "cpu", batch: int = 128) -> Step:
    """ResNet-20 on 32×32 (stages of 16, 32, 64 channels, 1×1 convolutions where they change), SGD with momentum."""
    nn, functional = library.nn, library.nn.functional

    def convolution(inputs: int, outputs: int, size: int, stride: int) -> Any:
        layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs))

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.first, self.second = convolution(inputs, outputs, 3, stride), convolution(outputs, outputs, 3, 1)
            self.shortcut = nn.Identity() if stride == 1 else convolution(inputs, outputs, 1, stride)

        def forward(self, x: Any) -> Any:
            return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))

    stages = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
    blocks = [[Block(*stage), *(Block(stage[1], stage[1], 1) for _ in range(2))] for stage in stages]
    model = nn.Sequential(
        convolution(3, 16, 3, 1), nn.ReLU(), *itertools.chain(*blocks),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = library.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    return _of_images(library, precision, device, model, optimizer, (batch, 3, 32, 32))


def gpt(library: Any, precision: str, device: str = "cpu", batch: int = 12) -> Step:
    """4 layers, 4 heads, width 128, context 64, 65 symbols, clipped gradients, AdamW."""
    nn, functional = library.nn, library.nn.functional
    width, context, symbols = 128, 64, 65

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            n, t, _ = x.shape
            parts = self.qkv(self.before(x)).split(width, dim=2)
            q, k, v = (part.view(n, t, 4, width // 4).transpose(1, 2) for part in parts)  # (n, heads, t, 32)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).contiguous().view(n, t, width))
            return x + self.down(functional.gelu(self.up(self.between(x))))

    class GPT(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.symbols, self.places = nn.Embedding(symbols, width), nn.Embedding(context, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(4)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, symbols, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.symbols(x) + self.places(library.arange(context, device=x.device))
            return self.head(self.norm(self.blocks(x))).flatten(0, 1)

    model = GPT()
    optimizer = library.optim.AdamW(model.parameters(), lr=1e-3)
    return _of_symbols(library, precision, device, model, optimizer, (batch, context), max_norm=1.0)


def lstm(library: Any, precision: str, device: str = "cpu", batch: int = 32) -> Step:
    """Two layers of 128 units, sequences of 64 of 65 symbols, Adam."""
    nn = library.nn

    class Network(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.symbols, self.lstm = nn.Embedding(65, 128), nn.LSTM(128, 128, 2, batch_first=True)
            self.head = nn.Linear(128, 65)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(self.symbols(x))[0]).flatten(0, 1)

    model = Network()
    optimizer = library.optim.Adam(model.parameters(), lr=1e-3)
    return _of_symbols(library, precision, device, model, optimizer, (batch, 64))


def norm_net(library: Any, precision: str, device: str = "cpu", batch: int = 64) -> Step:
    """As the fashion_cnn configuration has it: padded convolutions, batch norm, dropout, clipped gradients, AdamW."""
    nn = library.nn
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = library.optim.AdamW(model.parameters(), lr=1e-3)
    return _of_images(library, precision, device, model, optimizer, (batch, 1, 28, 28), max_norm=1.0)


def _of_images(
    library: Any, precision: str, device: str, model: Any, optimizer: Any, shape: tuple[int, ...], **how: Any
) -> Step:
    rng = np.random.default_rng(0)
    x = library.from_numpy(rng.random(shape, dtype=np.float32))
    y = library.from_numpy(rng.integers(0, 10, shape[0]))
    return _training(library, precision, device, model, optimizer, x, y, **how)


def _of_symbols(
    library: Any, precision: str, device: str, model: Any, optimizer: Any, shape: tuple[int, ...], **how: Any
) -> Step:
    rng = np.random.default_rng(0)
    x, y = (library.from_numpy(rng.integers(0, 65, shape)) for _ in range(2))
    return _training(library, precision, device, model, optimizer, x, y.reshape(-1), **how)


def _training(
    library: Any, precision: str, device: str, model: Any, optimizer: Any, x: Any, y: Any, max_norm: float | None = None
) -> Step:
    loss_of = library.nn.CrossEntropyLoss()
    model, x, y = (part.to(device) for part in (model, x, y))
    if precision == "float64":
        model, x = model.double(), x.double() if x.is_floating_point() else x

    def step() -> Any:
        optimizer.zero_grad()
        with _casting(library, precision, device):
            loss = loss_of(model(x), y)
        loss.backward()
        if max_norm is not None:
            library.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        return loss

    return step


def _casting(library: Any, precision: str, device: str = "cpu") -> Any:
    """What forward runs under: autocasting for bf16, nothing otherwise."""
    if precision in ("float32", "float64"):
        return contextlib.nullcontext()
    if precision not in PRECISIONS:
        raise ValueError(f"a precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    return library.autocast(device, dtype=library.bfloat16)


def _program(name: str) -> Callable[[Any, str], Step]:
    """A step of one of the programs, on four batches in turn."""

    def make(library: Any, precision: str) -> Step:
        program = importlib.import_module(f"programs.{name}")
        batches = [
            tuple(library.from_numpy(a.astype(np.float32) if a.dtype.kind == "f" else a) for a in batch)
            for batch in itertools.islice(program.batches(np.random.default_rng(0)), 4)
        ]
        losses = program.train(library, program.make(library), itertools.cycle(batches))

        def step() -> Any:
            with _casting(library, precision):
                return next(losses)

        return step

    return make


WORKLOADS = {
    "mlp": Workload("MLP, SGD", mlp),
    "conv_net": Workload("conv net, Adam", conv_net),
    "resnet20": Workload("ResNet-20, SGD with momentum", resnet20),
    "gpt": Workload("GPT of width 128, AdamW", gpt),
    "lstm": Workload("LSTM of width 128, Adam", lstm),
    "norm_net": Workload("conv net with batch norm, AdamW", norm_net),
    "programs.resnet18": Workload("program: ResNet-18, SGD", _program("resnet18"), whole=False),
    "programs.bilstm": Workload("program: bidirectional LSTM, Adam", _program("bilstm"), whole=False),
    "programs.transformer": Workload("program: Transformer, AdamW", _program("transformer"), whole=False),
    "programs.gpt": Workload("program: GPT, AdamW", _program("gpt"), whole=False),
    "programs.vae": Workload("program: VAE, Adam", _program("vae"), whole=False),
    "programs.dcgan": Workload("program: DCGAN, two Adams", _program("dcgan"), whole=False),
}
COMPILED = [name for name, workload in WORKLOADS.items() if workload.whole]
PRECISIONS = ("float32", "bf16")
