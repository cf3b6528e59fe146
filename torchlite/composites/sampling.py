"""Samplers made of uniform and normal numbers; like those, pure functions of the generator's seed and offset."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, method, wrap
from torchlite.autograd.grad_mode import no_grad
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.mutation import copy_
from torchlite.ops.random import Generator, rand, randint, randn

_LARGEST_EXACT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of the given means and standard deviations.

    Args:
        mean, std: tensors, of which one may be a number; or two numbers with ``size``.
        size: shape of the result where ``mean`` and ``std`` are numbers.

    Raises:
        RuntimeError: for a negative standard deviation.
        TypeError: when shape or size is missing or given twice.
    """
    negative = bool((std < 0).any()) if isinstance(std, Tensor) else std < 0
    if negative:
        raise RuntimeError("normal expects all elements of std >= 0.0")
    like = mean if isinstance(mean, Tensor) else std if isinstance(std, Tensor) else None
    if (like is None) == (size is None):
        raise TypeError("normal: give tensors for mean or std, or two numbers and size=(...)")
    with no_grad():
        if like is None:
            drawn = randn(size, generator=generator, dtype=dtype, device=device) * std + mean
        else:
            both = isinstance(mean, Tensor) and isinstance(std, Tensor)
            shape = (mean.detach() + std.detach()).shape if both else like.shape
            drawn = randn(*shape, generator=generator, dtype=like.dtype, device=like.device) * std + mean
    return drawn.requires_grad_() if requires_grad else drawn


@takes_out_as(OutDtype.SAME)
@method()
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities proportional to the weights in each row of ``input``.

    With replacement by inverting the cumulative sum; without by the largest log(w) + Gumbel noise, which draws in
    the same order as taking one after the other.

    Shape: input (categories,) or (rows, categories); result (num_samples,) or (rows, num_samples), int64.

    Raises:
        RuntimeError: for weights that are negative, not finite or all 0, and for more samples than can be drawn.
    """
    if not input.is_floating_point():
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype}")
    if input.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got shape {list(input.shape)}")
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got {num_samples}")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError(
            f"cannot sample n_sample > prob_dist.size(-1) samples without replacement: {num_samples} > {input.shape[-1]}"
        )
    xp = backends.array_module(input._data)
    weights = input.detach().to(dtypes.float64)._data
    if not bool(xp.isfinite(weights).all()) or bool((weights < 0).any()):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if bool((weights.sum(-1) <= 0).any()):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    rows = weights.reshape(-1, weights.shape[-1])
    if replacement:
        u = rand(len(rows), num_samples, generator=generator, dtype=dtypes.float64, device=input.device)._data
        edges = xp.cumsum(rows, -1)
        # The last category with a weight catches what rounding leaves above the sum.
        drawn = xp.stack([xp.searchsorted(e, x * e[-1], side="right") for e, x in zip(edges, u, strict=True)])
        last = rows.shape[1] - 1 - xp.argmax(rows[:, ::-1] > 0, -1)
        drawn = xp.minimum(drawn, last[:, None])
    else:
        if bool(((rows > 0).sum(-1) < num_samples).any()):
            raise RuntimeError(
                f"multinomial: {num_samples} samples without replacement need as many categories with a weight above 0"
            )
        e = _open_unit(rows.shape, dtypes.float64, input.device, generator)._data
        keys = xp.where(rows > 0, -xp.log(e) / xp.where(rows > 0, rows, 1.0), xp.inf)
        drawn = xp.argsort(keys, -1)[:, :num_samples]
    result: Tensor = wrap(drawn.astype("int64").reshape(*weights.shape[:-1], num_samples))
    return result


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers of the rates in ``input``, in its dtype.

    Rates up to 16 count how many uniform numbers can be multiplied before the product falls below exp(-rate) (Knuth);
    a larger rate is a sum of independent parts of at most 16.

    Raises:
        RuntimeError: for a negative rate.
    """
    xp = backends.array_module(input._data)
    rates = input.detach().to(dtypes.float64)._data
    if bool((~(rates >= 0)).any()):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    total = xp.zeros(rates.shape)
    rest = rates
    while bool((rest > 0).any()):
        part = xp.minimum(rest, 16.0)
        rest = rest - part
        limit, product, running = xp.exp(-part), xp.ones(rates.shape), part > 0
        while bool(running.any()):
            product = product * rand(*rates.shape, generator=generator, dtype=dtypes.float64, device=input.device)._data
            running = running & (product > limit)
            total = total + running
    result: Tensor = wrap(total.astype(input._data.dtype))
    return result


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: dtypes.dtype | None = None, device: Any = None
) -> Tensor:
    """Integers in [low, high), or in [0, low), of the shape, dtype and device of ``input``."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device)


@method()
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponential numbers of density λ·exp(-λx)."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _filled(self, lambda u: -u.log() / lambd, generator)


@method()
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of tries, 1 or more, up to the first success of probability ``p``."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _filled(self, lambda u: (u.log() / math.log1p(-p)).ceil().clamp(min=1), generator)


@method()
def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with Cauchy numbers: median + σ·tan(π(u - ½))."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _filled(self, lambda u: ((u - 0.5) * math.pi).tan() * sigma + median, generator)


@method()
def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers whose logarithm is normal."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    drawn = randn(*self.shape, generator=generator, dtype=_wide(self), device=self.device)
    return copy_(self, (drawn * std + mean).exp())


@method()
def random_(self: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Fill with integers in [from, to), ``random_(to)`` in [0, to).

    Without bounds: all values from 0 that an integer dtype has, or that a floating-point dtype holds exactly.

    Raises:
        RuntimeError: for an empty range.
    """
    low, high = (from_, to) if to is not None else (0, from_)
    if to is None and from_ == 0:
        kind = self.dtype
        name = str(kind).rpartition(".")[2]
        high = _LARGEST_EXACT[name] + 1 if kind.is_floating_point else 2 if name == "bool" else _integers(name)
    return copy_(self, randint(low, high, tuple(self.shape), generator=generator, device=self.device))


def _integers(name: str) -> int:
    """How many values from 0 upward an integer dtype has; 2**63 - 1 for the largest."""
    bits = int(name.lstrip("uint"))
    return 2**bits if name.startswith("u") else min(2 ** (bits - 1), 2**63 - 1)


def _wide(x: Tensor) -> dtypes.dtype:
    return dtypes.float64 if x.dtype is dtypes.float64 else dtypes.float32


def _open_unit(shape: Any, dtype: dtypes.dtype, device: Any, generator: Generator | None) -> Tensor:
    """Uniform in (0, 1), whose logarithm is finite."""
    half_step = 2.0**-54 if dtype is dtypes.float64 else 2.0**-25
    return rand(*shape, generator=generator, dtype=dtype, device=device).clamp(min=half_step)


def _filled(x: Tensor, transform: Callable[[Tensor], Tensor], generator: Generator | None) -> Tensor:
    with no_grad():
        drawn = transform(_open_unit(x.shape, _wide(x), x.device, generator))
    return copy_(x, drawn)
