"""Normal numbers of given moments, multinomial indices, and tensors filled with random numbers in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autograd.grad_mode import no_grad
from torchlite.ops.categories import categories, categories_once
from torchlite.ops.construct import common_dtype
from torchlite.ops.destination import OutDtype, takes_out, takes_out_as
from torchlite.ops.generator import Generator
from torchlite.ops.mutation import copy_
from torchlite.ops.random import bounds, check_integer_range, rand, randint, randn
from torchlite.ops.variates import check_probabilities, normal_of
from torchlite.tracing import valid

_UNGIVEN: Any = object()
_LARGEST_EXACT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}


@takes_out
def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Normal numbers of the given means and standard deviations.

    Args:
        mean, std: tensors, of which one may be a number; or two numbers with ``size``.
        size: shape of the result where ``mean`` and ``std`` are numbers.

    Raises:
        RuntimeError: for a negative standard deviation.
        TypeError: when shape or size is missing or given twice.
    """
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    if bool(given) == (size is not None):
        raise TypeError("normal: give tensors for mean or std, or two numbers and size=(...)")
    _check_std("normal", std)
    if not given:
        with no_grad():
            drawn = randn(size, generator=generator, dtype=dtype, device=device) * std + mean
        return drawn.requires_grad_() if requires_grad else drawn
    kind = common_dtype(given)
    like = given[0].to(kind)
    wide = [x.to(kind) if isinstance(x, Tensor) else like.new_full((), x) for x in (mean, std)]
    return normal_of(wide[0], wide[1], generator)


def _check_std(name: str, std: Any) -> None:
    negative = not std.is_meta and not valid(~(std < 0).any()) if isinstance(std, Tensor) else std < 0
    if negative:
        found = "a negative one" if isinstance(std, Tensor) else f"std {std}"
        raise RuntimeError(f"{name} expects all elements of std >= 0.0, but found {found}")


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
    if input.is_meta:
        return input.new_empty((*input.shape[:-1], num_samples), dtype=dtypes.int64)
    with no_grad():
        rows = input.detach().to(dtypes.float64).reshape(-1, input.shape[-1])
        if not valid((rows.isfinite() & (rows >= 0)).all()):
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if not valid((rows.sum(-1) > 0).all()):
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        if replacement:
            u = rand(len(rows), num_samples, generator=generator, dtype=dtypes.float64, device=input.device)
            drawn = categories(rows, u)
        else:
            if not valid(((rows > 0).sum(-1) >= num_samples).all()):
                raise RuntimeError(
                    f"multinomial: {num_samples} samples without replacement need as many categories with a weight above 0"
                )
            drawn = categories_once(rows, _open_unit(rows.shape, dtypes.float64, input.device, generator), num_samples)
    return drawn.reshape(*input.shape[:-1], num_samples)


@method()
def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with uniform numbers in [from, to).

    Raises:
        RuntimeError: when ``from`` is above ``to``, or one of them does not fit the dtype.
    """
    _refuse_integers("uniform_", self)
    if not from_ <= to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    least, most = bounds(dtypes.float32 if self.is_complex() else self.dtype)
    for word, value in (("from", from_), ("to", to)):
        if not least <= value <= most:
            raise RuntimeError(f"uniform_: {word} is out of bounds for {self.dtype}: {value}")
    if self.device.type == "meta":
        return self  # which holds no numbers to fill
    drawn = rand(tuple(self.shape), generator=generator, dtype=self.dtype, device=self.device)
    if self.is_complex():
        return copy_(self, drawn * (to - from_) + complex(from_, from_))
    return copy_(self, drawn * (to - from_) + from_)


@method()
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers.

    Raises:
        RuntimeError: for a negative standard deviation.
    """
    _refuse_integers("normal_", self)
    _check_std("normal_", std)
    if self.device.type == "meta":
        return self
    drawn = randn(tuple(self.shape), generator=generator, dtype=self.dtype, device=self.device)
    return copy_(self, drawn * std + mean)


@method()
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability ``p``, a number or a tensor, else 0.

    Raises:
        RuntimeError: for probabilities outside [0, 1].
    """
    if isinstance(p, Tensor):
        check_probabilities(p)
        p = p.detach()
    elif not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return copy_(self, rand(tuple(self.shape), generator=generator, device=self.device) < p)


@method()
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponential numbers of density λ·exp(-λx)."""
    _refuse_integers("exponential_", self, complex_too=True)
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return _filled(self, lambda u: -u.log() / lambd, generator)


@method()
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of tries, 1 or more, up to the first success of probability ``p``."""
    if self.is_complex() or self.dtype is dtypes.bool_:
        raise RuntimeError(f"geometric_ is not defined for dtype {self.dtype}")
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _filled(self, lambda u: (u.log() / math.log1p(-p)).ceil().clamp(min=1), generator)


@method()
def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with Cauchy numbers: median + σ·tan(π(u - ½))."""
    _refuse_integers("cauchy_", self, complex_too=True)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _filled(self, lambda u: ((u - 0.5) * math.pi).tan() * sigma + median, generator)


@method()
def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers whose logarithm is normal."""
    _refuse_integers("log_normal_", self, complex_too=True)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    drawn = randn(tuple(self.shape), generator=generator, dtype=_wide(self), device=self.device)
    return copy_(self, (drawn * std + mean).exp())


@method()
def random_(self: Tensor, from_: Any = None, to: Any = _UNGIVEN, *, generator: Generator | None = None) -> Tensor:
    """Fill with integers in [from, to), ``random_(to)`` in [0, to).

    Without an upper bound: up to the largest value that an integer dtype has, or up to which a floating-point dtype
    holds all integers.

    Raises:
        RuntimeError: for an empty range, and one that the dtype can't hold.
    """
    low, high = (None, from_) if to is _UNGIVEN else (from_, to)
    low, high = 0 if low is None else int(low), _values(self.dtype) if high is None else int(high)
    check_integer_range("random_", low, high, self.dtype)
    return copy_(self, randint(low, high, tuple(self.shape), generator=generator, device=self.device))


def _values(kind: dtypes.dtype) -> int:
    """One more than the largest integer that is drawn for a dtype; 2**63 - 1 for the largest."""
    name = str(kind).rpartition(".")[2]
    if kind.is_floating_point:
        return _LARGEST_EXACT[name] + 1
    if kind is dtypes.bool_ or kind.is_complex:
        return 2
    bits = int(name.lstrip("uint"))
    return 2**bits if name.startswith("u") else min(2 ** (bits - 1), 2**63 - 1)


def _refuse_integers(name: str, x: Tensor, *, complex_too: bool = False) -> None:
    if not x.is_floating_point() and (complex_too or not x.is_complex()):
        raise RuntimeError(f"{name}: the numbers are continuous, and dtype {x.dtype} can't hold them")


def _wide(x: Tensor) -> dtypes.dtype:
    return dtypes.float64 if x.dtype is dtypes.float64 else dtypes.float32


def _open_unit(shape: Any, dtype: dtypes.dtype, device: Any, generator: Generator | None) -> Tensor:
    """Uniform in (0, 1), whose logarithm is finite."""
    half_step = 2.0**-54 if dtype is dtypes.float64 else 2.0**-25
    return rand(tuple(shape), generator=generator, dtype=dtype, device=device).clamp(min=half_step)


def _filled(x: Tensor, transform: Callable[[Tensor], Tensor], generator: Generator | None) -> Tensor:
    with no_grad():
        drawn = transform(_open_unit(x.shape, _wide(x), x.device, generator))
    return copy_(x, drawn)
