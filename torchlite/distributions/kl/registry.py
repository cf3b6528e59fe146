"""Which function gives the divergence of which pair of families."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from torchlite._tensor import Tensor
from torchlite.distributions.distribution import Distribution

F = TypeVar("F", bound=Callable[..., Tensor])
_RULES: dict[tuple[type, type], Callable[..., Tensor]] = {}
_FOUND: dict[tuple[type, type], Callable[..., Tensor] | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[F], F]:
    """Use the decorated function of ``(p, q)`` for these classes and their subclasses.

    Raises:
        TypeError: for classes that are not distributions.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not isinstance(kind, type) or not issubclass(kind, Distribution):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def enter(function: F) -> F:
        _RULES[type_p, type_q] = function
        _FOUND.clear()
        return function

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """∫ p(x)·log(p(x) / q(x)) dx, of shape ``batch_shape``.

    Raises:
        NotImplementedError: for a pair of classes that no rule was registered for with `register_kl`.
    """
    pair = type(p), type(q)
    if pair not in _FOUND:
        _FOUND[pair] = _most_specific(*pair)
    rule = _FOUND[pair]
    if rule is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        )
    return rule(p, q)


def _most_specific(type_p: type, type_q: type) -> Any:
    """The rule for the nearest base of p and, among those, of q; with a warning where to start from q gives another."""
    fits = [(p, q) for p, q in _RULES if issubclass(type_p, p) and issubclass(type_q, q)]
    if not fits:
        return None
    order_p, order_q = type_p.__mro__.index, type_q.__mro__.index
    left = min(fits, key=lambda pair: (order_p(pair[0]), order_q(pair[1])))
    right = min(fits, key=lambda pair: (order_q(pair[1]), order_p(pair[0])))
    if _RULES[left] is not _RULES[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). "
            f"Please register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _RULES[left]
