"""Forward mode: tangents carried from arguments to results, by dual numbers.

Operators have rules for backward only. Such a rule is linear in the cotangent, so the transpose of what it computes is
the rule for forward: a tangent of the result is the gradient, with respect to the cotangent, of the rule's results along
the tangents of the inputs. The graph is walked from its beginnings to the result when a tangent is asked for.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.engine import cotangents_of_inputs, fitted, grad, leading_to
from torchlite.autograd.function import FunctionNode
from torchlite.autograd.grad_mode import enable_grad, grad_mode
from torchlite.autograd.graph import Leaf, Selected
from torchlite.ops.creation import zeros
from torchlite.ops.mutation import with_own_node

Tangents = dict[Any, Tensor | None]


class UnpackedDualTensor(NamedTuple):
    """What `unpack_dual` gives: the value, and its tangent or None."""

    primal: Tensor
    tangent: Tensor | None


class _Level:
    """A `dual_level` that is open."""

    def __init__(self) -> None:
        self.tangents: Tangents = {}
        self.recording = grad_mode.enabled


_levels: list[_Level] = []


def enter_dual_level() -> int:
    """Open a level for dual tensors and give its number; recording is on inside."""
    _levels.append(_Level())
    grad_mode.enabled = True
    return len(_levels) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the innermost level and forget its tangents."""
    if not _levels or level not in (None, len(_levels) - 1):
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    grad_mode.enabled = _levels.pop().recording


class dual_level:
    """The block in which dual tensors can be made and unpacked; a decorator as well.

    >>> import torchlite as torch
    >>> import torchlite.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
    ...     fwAD.unpack_dual(x**2)
    UnpackedDualTensor(primal=tensor([1., 4.]), tangent=tensor([ 2., 40.]))
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Use as a decorator: each call has a level."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with dual_level():
                return function(*args, **kwargs)

        return wrapper


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """``tensor`` with ``tangent``; what is computed from it has a tangent too.

    Raises:
        RuntimeError: outside `dual_level`, and for a tangent of another shape.
        ValueError: for tensors that are neither floating-point nor complex.
    """
    if not _levels:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for what, x in (("primal", tensor), ("tangent", tangent)):
        if not (x.is_floating_point() or x.is_complex()):
            raise ValueError(f"Expected {what} to be floating point or complex, but got: {x.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )
    dual = with_own_node(tensor)
    _levels[-1 if level is None else level].tangents[dual._node] = tangent
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent of a dual tensor; the tangent is None for any other."""
    if not _levels or tensor._node is None:
        return UnpackedDualTensor(tensor, None)
    opened = _levels[-1 if level is None else level]
    own: set[Any] = set()
    (tangent,) = push([tensor], opened.tangents, own)
    keep = opened.recording
    return UnpackedDualTensor(
        without_own_history(tensor, own, keep), None if tangent is None else without_own_history(tangent, own, keep)
    )


def push(outs: Sequence[Tensor], tangents: Tangents, own: set[Any]) -> list[Tensor | None]:
    """J·v: the tangents of ``outs``, None where they do not depend on what has one.

    Args:
        outs: results.
        tangents: by node, those of what the results were computed from.
        own: gets the leaves that were made for it; see `without_own_history`.
    """
    known: Tangents = dict(tangents)
    with enable_grad():
        for node in sorted(leading_to(tangents, outs), key=lambda node: node.seq):
            if node in tangents:
                continue
            if type(node) is Selected:
                of_all = known.get(node.parent)
                known[node] = None if of_all is None else of_all[node.index]
            elif type(node) is not Leaf:
                known[node] = _through_node(node, [known.get(edge) for edge in node.edges], own)
    return [None if out._node is None else known.get(out._node) for out in outs]


def _through_node(node: Any, tangents: list[Tensor | None], own: set[Any]) -> Any:
    """The tangent of a node's result (of each, where there are several) for the tangents of its inputs."""
    if isinstance(node, FunctionNode) and node.has_jvp():
        return node.push(tangents)
    several = isinstance(node.shape, list)
    avals = list(zip(node.shape, node.dtype, strict=True)) if several else [(node.shape, node.dtype)]
    device = next(t for t in tangents if t is not None).device
    us = [
        zeros(shape, dtype=dtypes.of(dtype), device=device).requires_grad_(dtype.kind not in "biu")
        for shape, dtype in avals
    ]
    own.update(u._node for u in us)
    cotangents = cotangents_of_inputs(node, tuple(us) if several else us[0])
    pairs = [
        (fitted(c, edge), t)
        for c, edge, t in zip(cotangents, node.edges, tangents, strict=True)
        if c is not None and t is not None
    ]
    pairs = [(c, t) for c, t in pairs if c.requires_grad]
    free = [u for u in us if u.requires_grad]
    found = iter(
        grad([c for c, _ in pairs], free, [t for _, t in pairs], create_graph=True, allow_unused=True)
        if pairs
        else itertools.repeat(None)
    )
    results = [next(found) if u.requires_grad else None for u in us]
    return results if several else results[0]


def without_own_history(x: Tensor, own: set[Any], keep: bool) -> Tensor:
    """``x``, without its history where that ends only at leaves that were made for us: nobody else has those.

    Args:
        x: a result.
        own: those leaves' nodes.
        keep: whether any history is wanted.
    """
    return x if x._node is None or (keep and _reaches_others(x, own)) else x.detach()


def _reaches_others(x: Tensor, own: Iterable[int]) -> bool:
    stack, seen = [x._node], set(own)
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node) is Leaf:
            return True
        stack += [node.parent] if type(node) is Selected else node.edges
    return False
