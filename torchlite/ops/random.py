"""Uniform, normal and integer random tensors, all from one counter-based generator for every device.

An operator of kind ``random`` is a pure function of (seed, offset): the generator only hands out offsets, so that the
same program draws the same numbers on NumPy and on CuPy, and a saved (seed, offset) resumes exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor, wrap
from torchlite.backends.native.lines import at_lines
from torchlite.backends.philox import random_words
from torchlite.backends.variates import normal, uniform
from torchlite.batching.level import Batched, levels, outside_innermost
from torchlite.devices import Device, get_default_device
from torchlite.dispatch import draw
from torchlite.ir import Aval, Op, register
from torchlite.ops.creation import _lengths
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.generator import Generator, default_generator


def _sampler(name: str, sample: Callable[..., Any], words: Callable[[int, Any], int], doc: str) -> Op:
    """An operator that draws ``sample(xp, words, n, dtype, **others)``, with what else it is given."""

    def run(
        _xp: Any, *, seed: int, offset: int, shape: tuple[int, ...], dtype: Any, device: Device, **others: Any
    ) -> Any:
        xp = backends.module_for(device)
        n = math.prod(shape)
        values = sample(xp, random_words(xp, words(n, dtype), seed=seed, offset=offset), n, dtype, **others)
        return values.astype(dtype, copy=False).reshape(shape)

    return register(
        Op(
            name,
            "random",
            run=run,
            infer=lambda *, shape, dtype, device, **_: Aval(shape, np.dtype(dtype), device),
            doc=doc,
        )
    )


def _normal_words(n: int, _dtype: Any) -> int:
    return n + n % 2


def _uniform_words(n: int, dtype: Any) -> int:
    return 2 * n if dtype == np.float64 else n


def _integer_words(n: int, _dtype: Any) -> int:
    return 2 * n


_rand = _sampler("rand", uniform, _uniform_words, "Uniform in [0, 1).")
_randn = _sampler("randn", normal, _normal_words, "Standard normal, by Box and Muller's transform.")
_randint = _sampler(
    "randint",
    lambda xp, words, _n, _dtype, low, high: (words.view(xp.uint64) % xp.uint64(high - low)).astype(xp.int64) + low,
    _integer_words,
    "Uniform integers in [low, high).",
)
_randperm = _sampler(
    "randperm",
    lambda xp, words, n, _dtype, length: xp.argsort(
        words.view(xp.uint64).reshape(n // max(length, 1), length), kind="stable"
    ),
    _integer_words,
    "The integers below ``length`` in random order, in each row.",
)


def _drawn(
    op: Op, words: Any, shape: tuple[int, ...], dtype: Any, device: Any, generator: Generator | None, **others: Any
) -> Tensor:
    if levels.stack:
        level = levels.stack[-1]
        with outside_innermost():
            lengths = (level.examples, *shape) if level.different else shape
            of_all = _drawn(op, words, lengths, dtype, device, generator, **others)
        return wrap(Batched(of_all, True, level)) if level.different else of_all
    target = backends.resolve(get_default_device() if device is None else Device(device))
    if target.type == "meta":
        empty: Tensor = wrap(Aval(shape, np.dtype(dtype), target))
        return empty
    seed, offset = (generator or default_generator).take(words(math.prod(shape), dtype))
    params = {"seed": seed, "offset": offset, "shape": shape, "dtype": dtype, "device": target, **others}
    with at_lines(math.prod(shape) * np.dtype(dtype).itemsize):
        return draw(op, params)


def _floats(
    op: Op, words: Any, shape: tuple[int, ...], dtype: dtypes.dtype | None, device: Any, generator: Any
) -> Tensor:
    kind = dtype or dtypes.get_default_dtype()
    if kind.is_complex:
        pairs = _drawn(op, words, (*shape, 2), np.empty(0, kind.numpy).real.dtype, device, generator)
        return wrap(pairs._data.view(kind.numpy)[..., 0]) if not pairs.is_meta else pairs.new_empty(shape, dtype=kind)
    if not kind.is_floating_point:
        raise RuntimeError(f"random floating-point numbers can't have dtype {kind}")
    return _drawn(op, words, shape, kind.numpy, device, generator)


def _shape(lengths: tuple[Any, ...], size: Any) -> tuple[int, ...]:
    if not lengths and size is None:
        raise TypeError("rand and randn need a size: lengths as positional arguments, or size=(...)")
    return _lengths(lengths or (size,))


@takes_out_as(OutDtype.CREATE)
def rand(
    *lengths: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Uniform numbers in [0, 1); real and imaginary parts where the dtype is complex."""
    drawn = _floats(_rand, _uniform_words, _shape(lengths, size), dtype, device, generator)
    return drawn.requires_grad_() if requires_grad else drawn


@takes_out_as(OutDtype.CREATE)
def randn(
    *lengths: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Standard normal numbers; of variance ½ in real and imaginary part where the dtype is complex."""
    drawn = _floats(_randn, _normal_words, _shape(lengths, size), dtype, device, generator)
    if drawn.is_complex():
        drawn = drawn * math.sqrt(0.5)
    return drawn.requires_grad_() if requires_grad else drawn


@takes_out_as(OutDtype.CREATE)
def randint(
    low: Any = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Integers in [low, high); ``randint(high, size)`` starts at 0. The bias is below (high - low) / 2**64.

    Raises:
        RuntimeError: for an empty range, and one that the dtype can't hold.
    """
    if size is None:
        low, high, size = 0, low, high
    if high is None or low is None:
        low, high = 0, low if high is None else high
    low, high, kind = int(low), int(high), dtype or dtypes.int64
    check_integer_range("randint", low, high, kind)
    drawn = _drawn(_randint, _integer_words, _lengths((size,)), kind.numpy, device, generator, low=low, high=high)
    return drawn.requires_grad_() if requires_grad else drawn


def check_integer_range(name: str, low: int, high: int, kind: dtypes.dtype) -> None:
    """That integers in [low, high) exist and that ``kind`` holds them.

    Raises:
        RuntimeError: otherwise.
    """
    if kind.is_complex:
        raise RuntimeError(f"{name}: random integers can't have dtype {kind}")
    if high <= low:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    least, most = bounds(kind)
    for word, value in (("from", low), ("to - 1", high - 1)):
        if not least <= value <= most:
            raise RuntimeError(f"{name}: {word} is out of bounds for {kind}: {value} is not in [{least}, {most}]")


def bounds(kind: dtypes.dtype) -> tuple[float, float]:
    """The least and the largest number of a dtype that is not complex."""
    if kind is dtypes.bool_:
        return 0, 1
    limits = dtypes.finfo(kind) if kind.is_floating_point else dtypes.iinfo(kind)
    return limits.min, limits.max


@takes_out_as(OutDtype.CREATE)
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    kind = dtype or dtypes.int64
    if n > 0:
        check_integer_range("randperm", 0, n, kind)
    drawn = _drawn(_randperm, _integer_words, _lengths((n,)), kind.numpy, device, generator, length=n)
    return drawn.requires_grad_() if requires_grad else drawn


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Uniform numbers in [0, 1) of the shape, dtype and device of ``input``."""
    return rand(
        tuple(input.shape),
        generator=generator,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of ``input``."""
    return randn(
        tuple(input.shape),
        generator=generator,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )


def randint_like(
    input: Tensor,
    low: Any = None,
    high: Any = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,  # noqa: ARG001 - PyTorch's signature
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,  # noqa: ARG001 - PyTorch's signature
) -> Tensor:
    """Integers in [low, high), or in [0, low), of the shape, dtype and device of ``input``."""
    return randint(
        low,
        high,
        tuple(input.shape),
        generator=generator,
        dtype=dtype or input.dtype,
        device=device or input.device,
        requires_grad=requires_grad,
    )
