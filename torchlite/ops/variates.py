"""Random tensors whose distribution has tensors as parameters: Bernoulli, normal, gamma, Dirichlet, Poisson, binomial.

Like `rand` and `randn` they are pure functions of the generator's seed and offset. Gamma and Dirichlet numbers have
gradients by their parameters (see `dirichlet_gradient`); of the others the gradient is 0, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.backends import variates
from torchlite.backends.philox import random_words
from torchlite.dispatch import apply
from torchlite.ir import Aval, Op, broadcast_shapes, register
from torchlite.ops.destination import takes_out
from torchlite.ops.dirichlet_gradient import dirichlet_gradient
from torchlite.ops.gamma import _standard_gamma_grad
from torchlite.ops.generator import Generator, default_generator
from torchlite.ops.random import _normal_words, _uniform_words
from torchlite.tracing import valid

_ROUNDS = 1
"""The stream whose epoch r holds the words of round r of a rejection sampler."""
_WORDS_PER_ROUND = 6
"""By how many words for each element a rejection sampler moves the generator on, however many rounds it takes."""


def _parametric(name: str, sample: Callable[..., Any], rules: Any, doc: str) -> Op:
    """An operator that draws one number for each element of its parameters, which are broadcast.

    ``sample(xp, parameters, seed, offset)`` gets flat arrays.
    """

    def run(xp: Any, *parameters: Any, seed: int, offset: int) -> Any:
        wide = xp.broadcast_arrays(*parameters)
        values = sample(xp, [p.reshape(-1) for p in wide], seed, offset)
        return values.astype(parameters[0].dtype, copy=False).reshape(wide[0].shape)

    def infer(*parameters: Aval, seed: int, offset: int) -> Aval:  # noqa: ARG001
        shape = broadcast_shapes(name, *(p.shape for p in parameters))
        return parameters[0]._replace(shape=shape)

    return register(Op(name, "random", run=run, infer=infer, vjp=rules, doc=doc))


def _by_rounds(sample: Callable[..., Any]) -> Callable[..., Any]:
    """Give a rejection sampler ``(xp, *parameters, draw)`` of float64 numbers its words."""

    def run(xp: Any, parameters: list[Any], seed: int, offset: int) -> Any:
        n = parameters[0].size

        def draw(round: int, words: int) -> Any:
            found = random_words(xp, n * words, seed=seed, offset=offset, stream=_ROUNDS, epoch=round)
            return found.reshape(n, words)

        with np.errstate(all="ignore"):
            return sample(xp, *(p.astype(xp.float64) for p in parameters), draw)

    return run


def _bernoulli_run(xp: Any, parameters: list[Any], seed: int, offset: int) -> Any:
    (p,) = parameters
    kind = p.dtype if p.dtype == np.float64 else np.dtype(np.float32)
    words = random_words(xp, _uniform_words(p.size, kind), seed=seed, offset=offset)
    return variates.uniform(xp, words, p.size, kind) < p


def _normal_run(xp: Any, parameters: list[Any], seed: int, offset: int) -> Any:
    mean, std = parameters
    words = random_words(xp, _normal_words(mean.size, mean.dtype), seed=seed, offset=offset)
    return variates.normal(xp, words, mean.size, mean.dtype) * std + mean


def _at_least_tiny(xp: Any, values: Any, dtype: Any) -> Any:
    tiny = dtypes.finfo(dtypes.of(dtype)).tiny
    return xp.where(values < tiny, tiny, values)


def _gamma_run(xp: Any, parameters: list[Any], seed: int, offset: int) -> Any:
    values = xp.exp(_by_rounds(variates.log_gamma)(xp, parameters, seed, offset))
    return _at_least_tiny(xp, values, parameters[0].dtype)


def _dirichlet_run(xp: Any, concentration: Any, *, seed: int, offset: int) -> Any:
    # Normalised as logarithms: for small concentrations all gamma numbers may be below what floats hold.
    logs = _by_rounds(variates.log_gamma)(xp, [concentration.reshape(-1)], seed, offset).reshape(concentration.shape)
    top = logs.max(-1, keepdims=True)
    weights = xp.exp(logs - xp.where(xp.isfinite(top), top, 0.0))
    values = _at_least_tiny(xp, weights / weights.sum(-1, keepdims=True), concentration.dtype)
    return values.astype(concentration.dtype, copy=False)


def _flat(g: Tensor, _out: Any, *inputs: Any, seed: int, offset: int) -> Tensor:  # noqa: ARG001
    """The gradient rule of numbers that do not follow their parameters smoothly: zero."""
    return g.new_zeros(g.shape)


def _flat_by_two() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    rule = lambda g, _out, _x, _y, seed, offset: _flat(g, None, seed=seed, offset=offset)  # noqa: E731
    return rule, rule


_FLAT = (lambda g, _out, _x, seed, offset: _flat(g, None, seed=seed, offset=offset),)
_bernoulli = _parametric("bernoulli", _bernoulli_run, _FLAT, "1 with the given probability, else 0.")
_normal = _parametric("normal", _normal_run, _flat_by_two(), "Normal numbers of given means and standard deviations.")
_poisson = _parametric("poisson", _by_rounds(variates.poisson), _FLAT, "Poisson numbers of the given rates.")
_binomial = _parametric(
    "binomial", _by_rounds(variates.binomial), _flat_by_two(), "Successes in ``count`` tries of given probability."
)
_von_mises = _parametric(
    "von_mises", _by_rounds(variates.von_mises), _FLAT, "Angles of density ∝ exp(κ·cos x) for given κ."
)
_standard_gamma_op = _parametric(
    "standard_gamma",
    _gamma_run,
    (lambda g, out, concentration, seed, offset: g * _standard_gamma_grad(concentration, out),),  # noqa: ARG005
    "Gamma numbers of rate 1 and the given concentrations.",
)
_dirichlet_op = register(
    Op(
        "sample_dirichlet",
        "random",
        run=_dirichlet_run,
        infer=lambda concentration, *, seed, offset: concentration,  # noqa: ARG005
        vjp=(lambda g, out, concentration, seed, offset: dirichlet_gradient(g, out, concentration),),  # noqa: ARG005
        doc="Points of the simplex (last dimension) with density ∝ Π xᵢ^(concentrationᵢ - 1).",
    )
)


def draw_parametric(op: Op, parameters: tuple[Tensor, ...], generator: Generator | None, words: Any) -> Tensor:
    """Apply a sampler to its parameters; ``words(n)`` is how far n numbers move the generator on."""
    if any(p.is_meta for p in parameters):
        state = (0, 0)
    else:
        shape = broadcast_shapes(op.name, *(tuple(p.shape) for p in parameters))
        state = (generator or default_generator).take(words(math.prod(shape)))
    drawn: Tensor = apply(op, parameters, {"seed": state[0], "offset": state[1]})
    return drawn


def _in_rounds(n: int) -> int:
    return n * _WORDS_PER_ROUND


def _floating(name: str, **parameters: Tensor) -> None:
    for argument, x in parameters.items():
        if not x.is_floating_point():
            raise RuntimeError(f"{name} only supports floating-point dtypes for {argument}, got {x.dtype}")


@takes_out
@method()
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that each element of ``input`` says, or everywhere ``p``, else 0.

    Raises:
        RuntimeError: for probabilities outside [0, 1].
    """
    if p is not None:
        return input.new_empty(input.shape).bernoulli_(p, generator=generator)
    _floating("bernoulli", input=input)
    check_probabilities(input)
    return draw_parametric(_bernoulli, (input,), generator, lambda n: _uniform_words(n, input._data.dtype))


def check_probabilities(p: Tensor) -> None:
    """That all elements lie in [0, 1].

    Raises:
        RuntimeError: otherwise.
    """
    if not p.is_meta and not valid(((p.detach() >= 0) & (p.detach() <= 1)).all()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got probabilities outside [0, 1]")


def normal_of(mean: Tensor, std: Tensor, generator: Generator | None) -> Tensor:
    """Normal numbers of the means and standard deviations in two tensors of one dtype."""
    _floating("normal", mean=mean)
    return draw_parametric(_normal, (mean, std), generator, lambda n: _normal_words(n, None))


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers of the rates in ``input``, in its dtype.

    Raises:
        RuntimeError: for a negative rate.
    """
    _floating("poisson", input=input)
    if not input.is_meta and not valid((input.detach() >= 0).all()):
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return draw_parametric(_poisson, (input,), generator, _in_rounds)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of ``count`` tries succeed, each with probability ``prob``; in the dtype of ``count``.

    Raises:
        ValueError: for dtypes that are not floating-point.
    """
    for argument, x in (("count", count), ("prob", prob)):
        if not x.is_floating_point():
            raise ValueError(f"binomial only supports floating-point dtypes for {argument}, got: {x.dtype}")
    return draw_parametric(_binomial, (count, prob), generator, _in_rounds)


def standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma numbers of rate 1 and the concentrations in ``input``, with gradients by them.

    At least the smallest normal number of the dtype.
    """
    _floating("standard_gamma", input=input)
    return draw_parametric(_standard_gamma_op, (input,), generator, _in_rounds)


def sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Points of the simplex drawn from Dirichlet distributions of the concentrations in the last dimension.

    They have gradients by the concentrations, and no coordinate is below the smallest normal number of the dtype.
    """
    _floating("sample_dirichlet", input=input)
    return draw_parametric(_dirichlet_op, (input,), generator, _in_rounds)


def von_mises(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """Angles in [-π, π] around 0 of the given concentrations."""
    return draw_parametric(_von_mises, (concentration,), generator, _in_rounds)
