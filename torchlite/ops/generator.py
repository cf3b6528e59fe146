"""The generator of random numbers: a seed and how far its stream has been used."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor, wrap
from torchlite.backends.philox import blocks_for
from torchlite.devices import Device
from torchlite.tracing import active, asked

_DEFAULT_SEED = 67280421310721


class Generator:
    """A stream of random numbers: a seed and how far it has been used.

    >>> import torchlite as torch
    >>> g = torch.Generator().manual_seed(7)
    >>> bool((torch.rand(3, generator=g) == torch.rand(3, generator=g.manual_seed(7))).all())
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = Device(device)
        self._seed = _DEFAULT_SEED
        self._offset = 0
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of ``seed`` from its beginning."""
        self._seed, self._offset = int(seed) & (2**64 - 1), 0
        return self

    def seed(self) -> int:
        """Start a stream whose seed the operating system's entropy gives, and return that seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """The seed."""
        return asked(("initial_seed", id(self)), lambda: self._seed)

    def take(self, words: int) -> tuple[int, int]:
        """(seed, offset) of the next ``words`` 32-bit words, which are then used up."""
        if active.tracer is not None:
            numbers: tuple[int, int] = active.tracer.take(self, words)
            return numbers
        with self._lock:
            offset = self._offset
            self._offset += blocks_for(words)
        return self._seed, offset

    def state(self) -> tuple[int, int]:
        """(seed, offset): all there is to save."""
        if active.tracer is not None:
            numbers: tuple[int, int] = active.tracer.state_of(self)
            return numbers
        return self._seed, self._offset

    def restore(self, state: tuple[int, int]) -> None:
        """Go on from a saved `state`."""
        if active.tracer is not None:
            active.tracer.go_on_from(self, state)
            return
        self._seed, self._offset = map(int, state)

    def get_state(self) -> Tensor:
        """The state as 16 bytes (uint8): seed and offset, little-endian."""
        state: Tensor = wrap(np.array(self.state(), np.uint64).view(np.uint8))
        return state

    def set_state(self, new_state: Tensor) -> Generator:
        """Restore what `get_state` returned.

        Raises:
            RuntimeError: for anything but 16 bytes.
        """
        raw = backends.to_numpy(new_state._data)
        if raw.dtype != np.uint8 or raw.shape != (16,):
            raise RuntimeError(f"a generator state is 16 bytes (uint8), got shape {list(raw.shape)} dtype {raw.dtype}")
        self.restore(tuple(int(v) for v in np.ascontiguousarray(raw).view(np.uint64)))  # type: ignore[arg-type]
        return self

    def clone_state(self) -> Generator:
        """Another generator that goes on as this one would."""
        twin = Generator(self.device)
        twin.restore(self.state())
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {"device": self.device, "state": self.state()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__init__(saved["device"])  # type: ignore[misc]
        self.restore(saved["state"])


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the generator that every random function uses where none is given."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system's entropy."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Restore the state of the default generator."""
    default_generator.set_state(new_state)
