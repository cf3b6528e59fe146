"""`grad`, `vjp`, `jvp`, `jacrev`, `jacfwd` and `hessian`: functions that give derivatives of functions.

They nest, and what they give can be differentiated by what was given to them, or read by the function from outside.
Arguments and results are tensors or tuples, lists and dicts of tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torchlite import autograd
from torchlite._tensor import Tensor, lifted
from torchlite.autograd.forward_ad import push, without_own_history
from torchlite.autograd.functional import jacobian_of
from torchlite.autograd.grad_mode import enable_grad, is_grad_enabled
from torchlite.batching.level import levels
from torchlite.batching.pytree import leaves, mapped, rebuilt

ArgNums = int | tuple[int, ...]


def grad(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that gives the gradient of ``func``, which gives one number.

    Args:
        func: gives a tensor of one element; with ``has_aux`` a pair of it and something else.
        argnums: which argument to differentiate by, or several.
        has_aux: give a pair of gradient and that something else.

    >>> import torchlite as torch
    >>> torch.func.grad(torch.func.grad(torch.sin))(torch.tensor(0.0))
    tensor(-0.)
    """

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


def grad_and_value(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that gives the pair of gradient and value of ``func``; see `grad`."""

    @functools.wraps(func)
    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            args, chosen, own = _watched(args, argnums, "grad")
            result = func(*args, **kwargs)
            value, aux = _pair(result, "grad") if has_aux else (result, None)
            if not isinstance(value, Tensor) or value.ndim != 0:
                got = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise RuntimeError(f"grad: expected the function to return a Tensor without dimensions, got {got}")
            found = rebuilt(chosen, iter(_cotangents([value], leaves(chosen), [value.new_ones(())])))
        return _closed((found, (value, aux) if has_aux else value), own)

    return gradient_and_value


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(func(*primals), pull)``, where ``pull(cotangents)`` gives vᵀJ for each of ``primals``.

    With ``has_aux`` ``func`` gives a pair and so a third value is returned.
    """
    with enable_grad():
        args, chosen, own = _watched(primals, tuple(range(len(primals))), "vjp")
        result = func(*args)
        value, aux = _pair(result, "vjp") if has_aux else (result, None)

    def pull(*cotangents: Any, **_kwargs: Any) -> Any:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        outs, vs = leaves(value), leaves(given)
        if [x.shape for x in outs] != [v.shape for v in vs]:
            raise RuntimeError(
                f"vjp: the cotangents have shapes {[list(v.shape) for v in vs]}, expected those of the result, "
                f"{[list(x.shape) for x in outs]}"
            )
        with enable_grad():
            found = rebuilt(chosen, iter(_cotangents(outs, leaves(chosen), vs)))
        return _closed(found if len(primals) != 1 else (found[0],), own)

    return (_closed(value, own), pull, _closed(aux, own)) if has_aux else (_closed(value, own), pull)


def jvp(func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False) -> Any:
    """``(func(*primals), J·tangents)``; see `torchlite.autograd.forward_ad`."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise TypeError("jvp: primals and tangents must be tuples, one value for each argument of the function")
    vs = leaves(tangents)
    if [x.shape for x in leaves(primals)] != [v.shape for v in vs]:
        raise RuntimeError("jvp: expected tangents of the same structure and shapes as primals")
    with enable_grad():
        args, chosen, own = _watched(primals, tuple(range(len(primals))), "jvp")
        result = func(*args)
        value, aux = _pair(result, "jvp") if has_aux else (result, None)
        outs = leaves(value)
        if strict and not all(out.requires_grad for out in outs):
            raise RuntimeError("jvp: strict, and a result does not depend on the arguments")
        found = push(outs, {x._node: v for x, v in zip(leaves(chosen), vs, strict=True)}, own)
        tangents_of_outs = [o.detach().new_zeros(o.shape) if t is None else t for o, t in zip(outs, found, strict=True)]
        pushed = rebuilt(value, iter(tangents_of_outs))
    closed = _closed((value, pushed), own)
    return (*closed, _closed(aux, own)) if has_aux else closed


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``(func(*primals), push)``, where ``push(*tangents)`` gives J·tangents without calling ``func`` again.

    >>> import torchlite as torch
    >>> value, push = torch.func.linearize(torch.square, torch.tensor([1.0, 3.0]))
    >>> push(torch.tensor([1.0, 0.0])), push(torch.tensor([0.0, 1.0]))
    (tensor([2., 0.]), tensor([0., 6.]))
    """
    with enable_grad():
        args, chosen, own = _watched(primals, tuple(range(len(primals))), "linearize")
        result = func(*args)
    points, outs = leaves(chosen), leaves(result)

    def pushed(*tangents: Any) -> Any:
        vs = leaves(tangents)
        for i, (x, v) in enumerate(zip(points, vs, strict=True)):
            if x.shape != v.shape or x.dtype != v.dtype:
                raise RuntimeError(
                    f"linearize: tangent {i} is {v.dtype} of shape {list(v.shape)}, expected {x.dtype} of {list(x.shape)}"
                )
        used = set(own)
        found = push(outs, {x._node: v for x, v in zip(points, vs, strict=True)}, used)
        moved = [o.detach().new_zeros(o.shape) if t is None else t for o, t in zip(outs, found, strict=True)]
        return _closed(rebuilt(result, iter(moved)), used)

    return _closed(result, own), pushed


def jacrev(
    func: Callable[..., Any],
    argnums: ArgNums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that gives the Jacobian of ``func``: a backward for all elements of the result at once.

    For each result and chosen argument a tensor of shape ``result.shape + argument.shape``. ``chunk_size`` says for how
    many elements at once, for less memory.
    """

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            args, chosen, own = _watched(args, argnums, "jacrev")
            result = func(*args, **kwargs)
            value, aux = _pair(result, "jacrev") if has_aux else (result, None)
            points = tuple(leaves(chosen))
            found = mapped(lambda out: rebuilt(chosen, iter(jacobian_of(out, points, chunk_size=chunk_size))), value)
        return _closed((found, aux) if has_aux else found, own)

    return jacobian


def jacfwd(
    func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """The Jacobian as `jacrev` gives it; here there is no forward mode that would make it cheaper for few inputs."""
    if randomness not in ("error", "same", "different"):
        raise ValueError(f"jacfwd: randomness must be 'error', 'same' or 'different', got {randomness!r}")
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """The function that gives the second derivatives of ``func``: the Jacobian of its Jacobian."""
    return jacrev(jacrev(func, argnums), argnums)


def _watched(args: tuple[Any, ...], argnums: ArgNums, name: str) -> tuple[tuple[Any, ...], Any, set[Any]]:
    """The arguments with the chosen ones made points to differentiate at, those, and the leaves made for it."""
    places = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(places, tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if not places and not isinstance(argnums, int) and args:
        raise RuntimeError("argnums must be non-empty")
    if len(set(places)) != len(places):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    watched = list(args)
    own: set[Any] = set()

    def watch(x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: the arguments to differentiate by must hold Tensors only, got {type(x).__name__}")
        if levels.stack:
            x = lifted(x, levels.stack[-1])
        if x.requires_grad:
            return x.view(x.shape) if x.is_contiguous() else x.clone()
        point = x.detach().requires_grad_()
        own.add(point._node)
        return point

    for place in places:
        if not -len(args) <= place < len(args):
            raise RuntimeError(f"{name}: argnums={argnums} but the function got {len(args)} positional arguments")
        watched[place] = mapped(watch, args[place])
    chosen = watched[argnums] if isinstance(argnums, int) else tuple(watched[place] for place in places)
    return tuple(watched), chosen, own


def _pair(result: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(
            f"{name}: with has_aux the function must return a pair (output, aux), got {type(result).__name__}"
        )
    return result


def _cotangents(outs: list[Tensor], xs: list[Tensor], vs: list[Tensor]) -> list[Tensor]:
    """Σ vᵀ ∂out/∂x for each x, recorded; zeros where nothing depends on it."""
    pairs = [(out, v) for out, v in zip(outs, vs, strict=True) if out.requires_grad]
    found: tuple[Tensor | None, ...] = (None,) * len(xs)
    if pairs and xs:
        found = autograd.grad(
            [out for out, _ in pairs], xs, [v for _, v in pairs], create_graph=True, allow_unused=True
        )
    return [x.detach().new_zeros(x.shape) if g is None else g for g, x in zip(found, xs, strict=True)]


def _closed(tree: Any, own: set[Any]) -> Any:
    """``tree`` without the history that ends only at our own leaves: nobody outside can differentiate by those."""
    keep = is_grad_enabled()

    return mapped(lambda x: without_own_history(x, own, keep) if isinstance(x, Tensor) else x, tree)
