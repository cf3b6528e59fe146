"""The random streams' states, as in `torch.random`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torchlite.ops.generator import default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:  # noqa: ARG001
    """Inside the block random numbers may be drawn and seeds set; after it the stream goes on as if nothing were.

    One stream serves all devices, so which of them are named makes no difference.

    >>> import torchlite as torch
    >>> _ = torch.manual_seed(1)
    >>> with torch.random.fork_rng():
    ...     inside = torch.rand(2)
    >>> bool((inside == torch.rand(2)).all())
    True
    """
    state = default_generator.state()
    try:
        yield
    finally:
        if enabled:
            default_generator.restore(state)
