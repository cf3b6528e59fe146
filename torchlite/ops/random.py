"""Random tensors, all from one counter-based generator per device-independent stream.

An operator of kind ``random`` is a pure function of (seed, offset): the generator only hands out offsets, so that the
same program draws the same numbers on NumPy and on CuPy, and a saved (seed, offset) resumes exactly.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.backends.philox import blocks_for, random_words
from torchlite.devices import Device, get_default_device
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, register
from torchlite.ops.arithmetic import where
from torchlite.ops.creation import _lengths
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.mutation import copy_

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
        return self._seed

    def take(self, words: int) -> tuple[int, int]:
        """(seed, offset) of the next ``words`` 32-bit words, which are then used up."""
        with self._lock:
            offset = self._offset
            self._offset += blocks_for(words)
        return self._seed, offset

    def state(self) -> tuple[int, int]:
        """(seed, offset): all there is to save."""
        return self._seed, self._offset

    def restore(self, state: tuple[int, int]) -> None:
        """Go on from a saved `state`."""
        self._seed, self._offset = map(int, state)

    def get_state(self) -> Tensor:
        """The state as 16 bytes (uint8): seed and offset, little-endian."""
        return wrap(np.array(self.state(), np.uint64).view(np.uint8))

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


def _uniform(xp: Any, words: Any, n: int, dtype: Any) -> Any:
    """Numbers in [0, 1): 53 random bits for float64, 24 for narrower types."""
    if dtype == np.float64:
        pairs = words.reshape(n, 2)
        high, low = (pairs[:, 0] >> 5).astype(xp.float64), (pairs[:, 1] >> 6).astype(xp.float64)
        return (high * 67108864.0 + low) * 2.0**-53
    return (words >> xp.uint32(8)).astype(xp.float32) * xp.float32(2.0**-24)


def _normal(xp: Any, words: Any, n: int, dtype: Any) -> Any:
    """Box-Muller: √(-2 ln u)·cos 2πv and √(-2 ln u)·sin 2πv, u in (0, 1], v in [0, 1)."""
    kind = xp.float64 if dtype == np.float64 else xp.float32
    pairs = words.reshape(-1, 2)
    radius = xp.sqrt(kind(-2.0) * xp.log((pairs[:, 0].astype(kind) + kind(1.0)) * kind(2.0**-32)))
    angle = pairs[:, 1].astype(kind) * kind(2.0**-32 * 2 * math.pi)
    out = xp.empty((len(pairs), 2), kind)
    out[:, 0] = radius * xp.cos(angle)
    out[:, 1] = radius * xp.sin(angle)
    return out.reshape(-1)[:n]


def _words_per_uniform(dtype: Any) -> int:
    return 2 if dtype == np.float64 else 1


def _sampler(name: str, sample: Callable[..., Any], words: Callable[[int, Any], int], doc: str) -> Op:
    def run(_xp: Any, *, seed: int, offset: int, shape: tuple[int, ...], dtype: Any, device: Device) -> Any:
        xp = backends.module_for(device)
        n = math.prod(shape)
        values = sample(xp, random_words(xp, words(n, dtype), seed=seed, offset=offset), n, dtype)
        return values.astype(dtype, copy=False).reshape(shape)

    return register(
        Op(
            name,
            "random",
            run=run,
            infer=lambda *, seed, offset, shape, dtype, device: Aval(shape, np.dtype(dtype), device),  # noqa: ARG005
            doc=doc,
        )
    )


def _normal_words(n: int, _dtype: Any) -> int:
    return n + n % 2


def _uniform_words(n: int, dtype: Any) -> int:
    return n * _words_per_uniform(dtype)


def _integer_words(n: int, _dtype: Any) -> int:
    return 2 * n


_rand = _sampler("rand", _uniform, _uniform_words, "Uniform in [0, 1).")
_randn = _sampler("randn", _normal, _normal_words, "Standard normal, by Box and Muller's transform.")
_random_integers = _sampler(
    "random_integers",
    lambda xp, words, _n, _dtype: words.view(xp.uint64),
    _integer_words,
    "Uniform 64-bit integers.",
)


def _drawn(op: Op, words: Any, size: tuple[Any, ...], dtype: Any, device: Any, generator: Generator | None) -> Tensor:
    shape, target = (
        _lengths(size),
        backends.resolve(get_default_device() if device is None else Device(device)),
    )
    if target.type == "meta":
        return wrap(Aval(shape, np.dtype(dtype), target))
    seed, offset = (generator or default_generator).take(words(math.prod(shape), dtype))
    params = {"seed": seed, "offset": offset, "shape": shape, "dtype": dtype, "device": target}
    return apply(op, (), params)


def _float_dtype(dtype: dtypes.dtype | None) -> Any:
    kind = dtype or dtypes.get_default_dtype()
    if not kind.is_floating_point:
        raise RuntimeError(f"random floating-point numbers can't have dtype {kind}")
    return kind.numpy


@takes_out_as(OutDtype.CREATE)
def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1)."""
    out = _drawn(_rand, _uniform_words, size, _float_dtype(dtype), device, generator)
    return out.requires_grad_() if requires_grad else out


@takes_out_as(OutDtype.CREATE)
def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal numbers."""
    out = _drawn(_randn, _normal_words, size, _float_dtype(dtype), device, generator)
    return out.requires_grad_() if requires_grad else out


@takes_out_as(OutDtype.CREATE)
def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """Integers in [low, high); ``randint(high, size)`` starts at 0. The bias is below (high - low) / 2**64."""
    if size is None:
        low, high, size = 0, low, high
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    raw = _drawn(_random_integers, _integer_words, (size,), np.dtype(np.uint64), device, generator)
    if raw.is_meta:
        return raw.new_empty(size, dtype=dtype or dtypes.int64)
    values = (raw._data % np.uint64(high - low)).astype(np.int64) + low
    return wrap(values.astype((dtype or dtypes.int64).numpy, copy=False))


@takes_out_as(OutDtype.CREATE)
def randperm(
    n: int, *, generator: Generator | None = None, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    keys = _drawn(_random_integers, _integer_words, (n,), np.dtype(np.uint64), device, generator)
    order = backends.array_module(keys._data).argsort(keys._data, kind="stable")
    return wrap(order.astype((dtype or dtypes.int64).numpy, copy=False))


def rand_like(input: Tensor, *, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """Uniform numbers in [0, 1) of the shape, dtype and device of ``input``."""
    return rand(*input.shape, dtype=dtype or input.dtype, device=device or input.device)


def randn_like(input: Tensor, *, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of ``input``."""
    return randn(*input.shape, dtype=dtype or input.dtype, device=device or input.device)


@method()
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element of ``input`` says, or everywhere ``p``, else 0.

    Raises:
        RuntimeError: for probabilities outside [0, 1].
    """
    if p is not None:
        return bernoulli_(input.new_empty(input.shape), p, generator=generator)
    _check_probabilities(input)
    drawn = rand(*input.shape, generator=generator, dtype=input.dtype, device=input.device)
    return where(drawn < input.detach(), input.new_ones(()), 0.0)


def dropout(input: Tensor, p: float) -> Tensor:
    """Each element 0 with probability ``p`` and divided by 1 - p otherwise."""
    if p == 0:
        return input
    kept = rand(*input.shape, device=input.device, dtype=dtypes.float32) >= p
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return input * (kept.to(input.dtype) * scale)


@method()
def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers in [from, to)."""
    drawn = rand(*self.shape, generator=generator, dtype=self.dtype, device=self.device)
    return copy_(self, drawn * (to - from_) + from_)


@method()
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers."""
    drawn = randn(*self.shape, generator=generator, dtype=self.dtype, device=self.device)
    return copy_(self, drawn * std + mean)


@method()
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability ``p``, a number or a tensor, else 0.

    Raises:
        RuntimeError: for probabilities outside [0, 1].
    """
    if isinstance(p, Tensor):
        _check_probabilities(p)
        p = p.detach()
    elif not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return copy_(self, rand(*self.shape, generator=generator, device=self.device) < p)


def _check_probabilities(p: Tensor) -> None:
    if not p.is_meta and not bool(((p.detach() >= 0) & (p.detach() <= 1)).all()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got probabilities outside [0, 1]")
