"""How much memory a step of training leaves behind: the slope of what is allocated over 2,000 steps.

    python benchmarks/memory_slope.py [--quick]

Python's own allocations (with NumPy's arrays, by tracemalloc) and the process's resident memory, in bytes a step, with
the garbage collector off: what a reference cycle would keep is counted.
"""

from __future__ import annotations

import argparse
import gc
import os
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import torchlite as torch
from torchlite import nn, optim
from torchlite.utils.checkpoint import checkpoint

Step = Callable[[], object]


def training(extra: Callable[[Any, Any, Any], Any] | None = None) -> Step:
    """A step of a small network; ``extra(model, x, out)`` gives what is added to the loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 4))
    optimizer, loss = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    x, y = torch.randn(8, 8), torch.randint(0, 4, (8,))

    def step() -> None:
        optimizer.zero_grad()
        inputs = x if extra is None else x.clone().requires_grad_()
        out = model(inputs)
        value = loss(out, y)
        if extra is not None:
            value = value + extra(model, inputs, out)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def penalty(_model: Any, x: Any, out: Any) -> Any:
    """The size of the gradient by the input: a gradient of a gradient."""
    (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return (g**2).mean()


def seen(*_gradients: Any) -> None:
    """A hook that changes nothing."""


def hooks(model: Any, x: Any, out: Any) -> Any:
    """Hooks of every kind on the way back."""
    hidden = model[0](x)
    hidden.retain_grad()
    hidden.register_hook(lambda g: g * 1.0)
    hidden.grad_fn.register_hook(seen)
    torch.autograd.graph.register_multi_grad_hook([hidden, out], seen)
    handle = x.register_post_accumulate_grad_hook(seen)
    x.register_hook(lambda _g: handle.remove())
    return hidden.mean()


def recomputed(model: Any, x: Any, _out: Any) -> Any:
    """A checkpointed segment, and saved tensors in the hands of hooks."""
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().numpy(), torch.from_numpy):
        kept = (x * x).exp()
    return checkpoint(model, x, use_reentrant=False).mean() + kept.mean()


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 2 * ctx.saved_tensors[0]


def written(_model: Any, x: Any, out: Any) -> Any:
    """Views, in-place writes, a user's function and the functional transforms."""
    z = out * 1
    z[0] = 0
    z[:, 1].mul_(2)
    slopes = torch.vmap(torch.func.grad(lambda row: (row**2).sum()))(x.detach())
    return _Square.apply(z).mean() + slopes.mean()


PROGRAMS: dict[str, Callable[[], Step]] = {
    "training": training,
    "training, gradient penalty": lambda: training(penalty),
    "training, hooks": lambda: training(hooks),
    "training, checkpoint": lambda: training(recomputed),
    "training, views and writes": lambda: training(written),
}


def slope(step: Step, steps: int, *, traced: bool = True) -> tuple[float, float]:
    """Bytes that a step leaves behind, as Python counts them and as the system does: by least squares.

    Args:
        step: what is repeated.
        steps: how often, after a quarter of it to warm up.
        traced: whether Python counts, which takes thrice the time.
    """
    was_on = gc.isenabled()
    if traced:
        tracemalloc.start()  # before the first step: what is freed must have been counted
    try:
        for _ in range(steps // 4):
            step()
        gc.collect()
        gc.disable()
        figures = []
        for i in range(steps + 1):
            if i % (steps // 20) == 0:
                figures.append((i, tracemalloc.get_traced_memory()[0], resident()))
            step()
    finally:
        tracemalloc.stop()
        if was_on:
            gc.enable()
    at, python, system = np.array(figures, float).T
    return float(np.polyfit(at, python, 1)[0]), float(np.polyfit(at, system, 1)[0])


def resident() -> int:
    """Resident memory of this process in bytes."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    steps = 200 if parser.parse_args().quick else 2000
    print(f"bytes a step, over {steps} steps   traced  resident")
    for name, program in PROGRAMS.items():
        traced, system = slope(program(), steps)
        print(f"{name:<32}{traced:>9.1f} {system:>9.1f}")


if __name__ == "__main__":
    main()
