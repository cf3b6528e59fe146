"""Derivatives of functions: `jacobian`, `hessian` and products with vectors, all from backward.

``func`` takes tensors and gives a tensor or a tuple of tensors. Results have the form of ``inputs``: one tensor for one
tensor, a tuple for a tuple. With ``create_graph`` the results can be differentiated again; with ``strict`` an output that
does not depend on an input is an error and not a zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchlite._tensor import Tensor
from torchlite.autograd.engine import grad
from torchlite.autograd.grad_mode import enable_grad
from torchlite.batching.vmap import vmap
from torchlite.ops.creation import eye

Tensors = tuple[Tensor, ...]
ROWS_AT_A_TIME = 32


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``(func(inputs), vᵀJ)``; ``v`` has the form of the result and may be left out where that is one number."""
    with enable_grad():
        xs, single = _prepared(inputs, create_graph)
        outs, out_single = _called(func, xs, "vjp")
        products = _products(outs, xs, _vectors(v, outs, "vjp", "outputs"), create_graph, strict)
    return _given(outs, out_single, create_graph), _given(products, single, create_graph)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``(func(inputs), J·v)``, by differentiating ``uᵀJ``, which is linear in u, by u."""
    with enable_grad():
        xs, _ = _prepared(inputs, create_graph)
        outs, out_single = _called(func, xs, "jvp")
        vs = _vectors(v, xs, "jvp", "inputs")
        us = tuple(out.detach().new_zeros(out.shape).requires_grad_() for out in outs)
        pulled = _products(outs, xs, us, True, strict)
        pushed = _products(pulled, us, vs, create_graph, False)
    return _given(outs, out_single, create_graph), _given(pushed, out_single, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """∂func/∂inputs: for each output and input a tensor of shape ``output.shape + input.shape``.

    ``vectorize`` computes all rows at once, which takes the memory of all; otherwise some are computed at a time. The
    results are the same, whatever ``strategy`` says. Some combinations are errors because they are PyTorch's.

    >>> import torchlite as torch
    >>> torch.autograd.functional.jacobian(lambda x: x**2, torch.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """
    _check_strategy("jacobian", strategy, vectorize, strict, create_graph)
    with enable_grad():
        xs, single = _prepared(inputs, create_graph)
        outs, out_single = _called(func, xs, "jacobian")
        rows = tuple(jacobian_of(out, xs, strict, None if vectorize else ROWS_AT_A_TIME) for out in outs)
    results = tuple(_given(row, single, create_graph) for row in rows)
    return results[0] if out_single else results


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """∂²func/∂inputs², for a ``func`` that gives one number: for each pair of inputs a tensor of both shapes."""

    def gradients(*xs: Tensor) -> Any:
        outs, out_single = _called(func, xs, "hessian")
        _check_scalar(outs, out_single, "hessian")
        return _products(outs, xs, (outs[0].new_ones(outs[0].shape),), True, strict)

    result = jacobian(gradients, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return result[0] if isinstance(inputs, Tensor) else result


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``(func(inputs), vᵀH)`` for a ``func`` that gives one number and ``v`` of the form of ``inputs``."""
    with enable_grad():
        xs, single = _prepared(inputs, create_graph)
        outs, out_single = _called(func, xs, "vhp")
        _check_scalar(outs, out_single, "vhp")
        vs = _vectors(v, xs, "vhp", "inputs")
        first = _products(outs, xs, (outs[0].new_ones(outs[0].shape),), True, strict)
        second = _products(first, xs, vs, create_graph, strict)
    return _given(outs, True, create_graph), _given(second, single, create_graph)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """``(func(inputs), H·v)``; H is symmetric, so this is `vhp`."""
    return vhp(func, inputs, v, create_graph, strict)


def jacobian_of(out: Tensor, xs: Tensors, strict: bool = False, chunk_size: int | None = None) -> Tensors:
    """The Jacobians of one recorded result by each of ``xs``, recorded themselves: all rows at once by `vmap`."""
    flat = out.reshape(-1)
    n = flat.numel()
    if n == 0:
        return tuple(x.new_zeros((*out.shape, *x.shape)) for x in xs)
    units = eye(n, dtype=flat.dtype, device=flat.device)
    rows: Tensors = vmap(lambda e: _products((flat,), xs, (e,), True, strict), chunk_size=chunk_size)(units)
    return tuple(r.reshape((*out.shape, *x.shape)) for r, x in zip(rows, xs, strict=True))


def _check_strategy(name: str, strategy: str, vectorize: bool, strict: bool, create_graph: bool) -> None:
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(f"{name}: expected strategy to be 'reverse-mode' or 'forward-mode', got {strategy!r}")
    if strict and vectorize:
        raise RuntimeError(f"{name}: strict=True and vectorize=True are not supported together")
    if strategy == "forward-mode" and not vectorize:
        raise RuntimeError(f"{name}: strategy='forward-mode' needs vectorize=True")
    if strategy == "forward-mode" and create_graph:
        raise RuntimeError(f"{name}: create_graph=True and strategy='forward-mode' are not supported together")


def _prepared(inputs: Any, create_graph: bool) -> tuple[Tensors, bool]:
    """The inputs as points to differentiate at, and whether there was one tensor and not a tuple."""
    single = isinstance(inputs, Tensor)
    xs = (inputs,) if single else tuple(inputs)
    for i, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"the inputs must be a Tensor or a tuple of Tensors, but inputs[{i}] is {type(x).__name__}")
    return tuple(
        x.view(x.shape) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in xs
    ), single


def _called(func: Callable[..., Any], xs: Tensors, name: str) -> tuple[Tensors, bool]:
    result = func(*xs)
    single = isinstance(result, Tensor)
    outs = (result,) if single else result
    if not isinstance(outs, tuple) or not all(isinstance(out, Tensor) for out in outs):
        raise TypeError(f"{name}: the function must give a Tensor or a tuple of Tensors, got {type(result).__name__}")
    return outs, single


def _check_scalar(outs: Tensors, single: bool, name: str) -> None:
    if not single or outs[0].numel() != 1:
        got = f"shape {list(outs[0].shape)}" if single else f"{len(outs)} tensors"
        raise RuntimeError(f"{name}: the function must return a single element, got {got}")


def _vectors(v: Any, like: Tensors, name: str, of: str) -> Tensors:
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"{name}: the vector v can only be left out where the {of} are a single element")
        return (like[0].detach().new_ones(like[0].shape),)
    vs = (v,) if isinstance(v, Tensor) else tuple(v)
    if len(vs) != len(like):
        raise RuntimeError(f"{name}: v has {len(vs)} tensors and the {of} are {len(like)}")
    for i, (a, b) in enumerate(zip(vs, like, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(f"{name}: v[{i}] has shape {list(a.shape)}, expected {list(b.shape)}")
    return vs


def _products(outs: Tensors, xs: Tensors, vs: Tensors, create_graph: bool, strict: bool) -> Tensors:
    """Σ vᵀ ∂out/∂x for each x; zeros, or an error, where nothing depends on it."""
    pairs = [(out, v) for out, v in zip(outs, vs, strict=True) if out.requires_grad]
    found: tuple[Tensor | None, ...] = (None,) * len(xs)
    if pairs:
        found = grad(
            [o for o, _ in pairs],
            xs,
            [v for _, v in pairs],
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )
    if strict and None in [None if g is None else 0 for g in found]:
        place = [g is None for g in found].index(True)
        raise RuntimeError(f"strict: the output does not depend on input {place}")
    return tuple(x.new_zeros(x.shape) if g is None else g for g, x in zip(found, xs, strict=True))


def _given(tensors: Tensors, single: bool, create_graph: bool) -> Any:
    results = tensors if create_graph else tuple(x.detach() for x in tensors)
    return results[0] if single else results
