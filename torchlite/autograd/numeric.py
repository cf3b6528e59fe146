"""`gradcheck` and `gradgradcheck`: backward, and forward mode, against finite differences.

A complex input is two real ones here, its real and its imaginary part; so is a complex output.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchlite import backends
from torchlite._tensor import Tensor, wrap
from torchlite.autograd.engine import grad
from torchlite.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torchlite.autograd.grad_mode import no_grad

Array = np.ndarray[Any, Any]
EXPLAINED = 500  # elements of inputs up to which a mismatch in fast mode is explained by whole Jacobians


class GradcheckError(RuntimeError):
    """A gradient differs from what finite differences say, or is not what a gradient must be."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,  # noqa: ARG001 - PyTorch's signature: there are no sparse tensors
) -> bool:
    """Whether the Jacobians that backward gives agree with (f(x + eps) - f(x - eps)) / 2eps.

    Args:
        func: a function of tensors that returns a tensor or several.
        inputs: its arguments; those that require a gradient, in float64 or complex128, are checked.
        eps: step of the differences.
        atol, rtol: tolerances.
        raise_exception: raise instead of returning False.
        nondet_tol: how far two runs of backward may differ.
        check_undefined_grad: whether backward must work where only some results have a gradient.
        check_grad_dtypes: whether gradients must have the dtypes of their inputs.
        check_batched_grad, check_batched_forward_grad: whether many cotangents, or tangents, at once give the same.
        check_forward_ad: compare what forward mode gives.
        check_backward_ad: compare what backward gives.
        fast_mode: compare uᵀJv for random u and v only; a wrong J agrees with probability 0.

    Raises:
        GradcheckError: naming the output and the input, with both Jacobians.
        ValueError: when no input requires a gradient.

    >>> import torchlite as torch
    >>> x = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(lambda x: x.sin() * x, x)
    True
    """
    check = _Check(func, _as_tuple(inputs), eps, atol, rtol)
    try:
        if check_backward_ad:
            check.backward(fast_mode)
            check.attributes(nondet_tol, check_grad_dtypes)
            if check_undefined_grad:
                check.undefined()
            if check_batched_grad:
                check.batched_backward()
        if check_forward_ad:
            check.forward(fast_mode)
        if check_batched_forward_grad:
            check.batched_forward()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether gradients of gradients agree with finite differences of gradients; see `gradcheck`.

    Args:
        func, inputs, eps, atol, rtol, raise_exception, nondet_tol, fast_mode: as in `gradcheck`, and so are the checks.
        grad_outputs: the cotangents of the results, random where they are left out.
        gen_non_contig_grad_outputs: make the random ones in memory with gaps.
        check_fwd_over_rev: compare forward mode through backward.
        check_rev_over_rev: compare backward through backward.
    """
    arguments = _as_tuple(inputs)
    places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(1)
        outs = _differentiable(func(*arguments))
        cotangents = tuple(_random_like(rng, out, gen_non_contig_grad_outputs).requires_grad_() for out in outs)
    else:
        cotangents = _as_tuple(grad_outputs)
    n = len(arguments)

    def first_order(*values: Any) -> tuple[Any, ...]:
        xs, gs = values[:n], values[n:]
        outs = _differentiable(func(*xs))
        found = grad(outs, [xs[i] for i in places], gs, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first_order,
        (*arguments, *cotangents),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


@dataclass
class _Check:
    """One function at one point."""

    func: Callable[..., Any]
    arguments: tuple[Any, ...]
    eps: float
    atol: float
    rtol: float

    def __post_init__(self) -> None:
        self.places = [i for i, x in enumerate(self.arguments) if isinstance(x, Tensor) and x.requires_grad]
        if not self.places:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of them have "
                "requires_grad=True."
            )
        for i in self.places:
            _check_input(i, self.arguments[i])
        self.points = [self.arguments[i] for i in self.places]
        self.outs = _differentiable(self.func(*self.arguments))
        self.rng = np.random.default_rng(0)

    def backward(self, fast: bool) -> None:
        """Compare what backward gives."""
        if not self.outs:
            self._without_outputs()
        elif not fast:
            for j, rows in enumerate(self._differences()):
                for i, out in enumerate(self.outs if rows else ()):
                    for part in _parts(out):
                        self._compare(_real(rows[i], part), self._jacobian(out, j, part), i, j, out, part)
        else:
            difference = self._along_a_direction()
            if difference is not None and sum(x.numel() for x in self.points) <= EXPLAINED:
                self.backward(fast=False)
                difference += ", although the Jacobians agree within the tolerances; use fast_mode=False"
            if difference is not None:
                raise GradcheckError(difference)

    def forward(self, fast: bool) -> None:
        """Compare what forward mode gives."""
        for j, x in enumerate(self.points):
            directions = [_direction(self.rng, x)] if fast else _axes(x)
            numeric, pushed = [], []
            for direction in directions:
                numeric.append(self._difference(j, direction))
                pushed.append(self._pushed(j, direction))
            for i, out in enumerate(self.outs if directions else ()):
                n, a = (np.stack([row[i] for row in rows]) for rows in (numeric, pushed))
                self._compare(n, a, i, j, out, "", mode="computed with forward mode ")

    def attributes(self, nondet_tol: float, check_dtypes: bool) -> None:
        """What holds for gradients whatever the numbers: linear, repeatable, of the input's shape and dtype."""
        if not self.outs:
            return
        zeros = [out.detach().new_zeros(out.shape) for out in self.outs]
        for x, g in zip(self.points, self._gradients(zeros), strict=True):
            if g is None:
                continue
            if bool((g.detach() != 0).any()):
                raise GradcheckError("backward not multiplied by grad_output")
            if g.shape != x.shape:
                raise GradcheckError("grad is incorrect size")
            if g.dtype != x.dtype:
                raise GradcheckError("Gradient has dtype mismatch" if check_dtypes else "grad is incorrect type")
        cotangents = [_random_like(self.rng, out) for out in self.outs]
        for first, second in zip(self._gradients(cotangents), self._gradients(cotangents), strict=True):
            if first is not None and second is not None and bool((abs(first - second).detach() > nondet_tol).any()):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    "gives different values, although analytical gradient matches numerical gradient. The tolerance for "
                    f"nondeterminism was {nondet_tol}."
                )

    def undefined(self) -> None:
        """Backward must do where a result has no gradient."""
        for left_out in range(len(self.outs)) if len(self.outs) > 1 else ():
            outs = [out for i, out in enumerate(_differentiable(self.func(*self.arguments))) if i != left_out]
            try:
                grad(outs, self.points, [out.detach().new_zeros(out.shape) for out in outs], allow_unused=True)
            except RuntimeError as error:
                raise GradcheckError("Expected backward function to handle undefined output grads.") from error

    def batched_backward(self) -> None:
        """Several cotangents at once must give what each gives alone."""
        for i, out in enumerate(self.outs):
            several = [_random_like(self.rng, out) for _ in range(2)]
            alone = [grad(out, self.points, v, retain_graph=True, allow_unused=True) for v in several]
            together = grad(
                out,
                self.points,
                wrap(np.stack([v.numpy() for v in several])),
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=True,
            )
            for j, found in enumerate(together):
                for k, expected in enumerate(alone):
                    wanted = expected[j]
                    if found is None or wanted is None or _close(_flat(found[k]), _flat(wanted), 1e-8, 1e-5):
                        continue
                    raise GradcheckError(
                        "gradcheck or gradgradcheck failed while testing batched gradient computation: for output "
                        f"{i} and input {j} got {found[k]} but expected {wanted}"
                    )

    def batched_forward(self) -> None:
        """Forward mode is linear: tangents that are added up must give sums."""
        for j, x in enumerate(self.points):
            u, v = (_direction(self.rng, x) for _ in range(2))
            for a, b, both in zip(self._pushed(j, u), self._pushed(j, v), self._pushed(j, u + v), strict=True):
                if not _close(a + b, both, 1e-8, 1e-5):
                    raise GradcheckError(f"While computing batched gradients: forward mode is not linear in input {j}")

    def _without_outputs(self) -> None:
        for rows in self._differences(_floating):
            if any(bool((abs(row) > self.atol).any()) for row in rows):
                raise GradcheckError("Numerical gradient for function expected to be zero")

    def _along_a_direction(self) -> str | None:
        """What differs, for random u and v, between uᵀJv by finite differences and by backward."""
        cotangents = [_random_like(self.rng, out) for out in self.outs]
        for j, g in enumerate(self._gradients(cotangents)):
            direction = _direction(self.rng, self.points[j])
            moved = self._difference(j, direction)
            numeric = sum(np.vdot(_flat(v), m).real for v, m in zip(cotangents, moved, strict=True))
            analytic = 0.0 if g is None else np.vdot(_flat(g), direction.reshape(-1)).real
            if not _close(np.asarray(analytic), np.asarray(numeric), self.atol, self.rtol):
                return (
                    f"Jacobian mismatch with respect to input {j} along a random direction (fast_mode):\n"
                    f"numerical:{numeric:.9g}\nanalytical:{analytic:.9g}"
                )
        return None

    def _gradients(self, cotangents: Sequence[Tensor]) -> Sequence[Tensor | None]:
        return grad(self.outs, self.points, cotangents, retain_graph=True, allow_unused=True)

    def _jacobian(self, out: Tensor, j: int, part: str) -> Array:
        """∂out/∂input, (input, output): what backward gives for each element of a part of the output."""
        x = self.points[j]
        columns = []
        for k in range(out.numel()):
            e = np.zeros(out.numel(), out.dtype.numpy)
            e[k] = 1j if part == "imaginary" else 1
            (g,) = grad(out, [x], _tensor(e.reshape(out.shape), out), retain_graph=True, allow_unused=True)
            columns.append(np.zeros(x.numel(), x.dtype.numpy) if g is None else _flat(g))
        return np.stack(columns, 1) if columns else np.zeros((x.numel(), 0))

    def _differences(self, chosen: Callable[[Any], list[Tensor]] | None = None) -> list[list[Array]]:
        """For each input, for each output: the change along each axis of the input, (axes, output)."""
        results = []
        for j, x in enumerate(self.points):
            rows = [self._difference(j, axis, chosen) for axis in _axes(x)]
            results.append([np.stack(column) for column in zip(*rows, strict=True)])
        return results

    def _difference(self, j: int, direction: Array, chosen: Any = None) -> list[Array]:
        """(f(x + eps·d) - f(x - eps·d)) / 2eps of each output, flat."""
        up, down = (self._moved(j, sign * self.eps * direction, chosen) for sign in (1, -1))
        return [(a - b) / (2 * self.eps) for a, b in zip(up, down, strict=True)]

    def _moved(self, j: int, step: Array, chosen: Any) -> list[Array]:
        values = list(self.arguments)
        x = self.points[j].detach()
        values[self.places[j]] = _tensor(_host(x) + step, x).requires_grad_()
        return [_flat(out) for out in (chosen or _differentiable)(self.func(*values))]

    def _pushed(self, j: int, direction: Array) -> list[Array]:
        values = list(self.arguments)
        x = self.points[j].detach()
        with dual_level():
            values[self.places[j]] = make_dual(x, _tensor(direction, x))
            outs = [out for out in _floating(self.func(*values)) if out.requires_grad]
            tangents = [(out, unpack_dual(out).tangent) for out in outs[: len(self.outs)]]
            return [np.zeros(out.numel(), out.dtype.numpy) if t is None else _flat(t) for out, t in tangents]

    def _compare(self, numeric: Array, analytic: Array, i: int, j: int, out: Tensor, part: str, mode: str = "") -> None:
        if not mode and self.points[j].is_complex():
            n = self.points[j].numel()
            numeric = numeric[:n] + 1j * numeric[n:]
        if not _close(analytic, numeric, self.atol, self.rtol):
            prefix = f"While considering the {part} part of complex outputs only, " if part and out.is_complex() else ""
            raise GradcheckError(
                f"{prefix}Jacobian {mode}mismatch for output {i} with respect to input {j},\n"
                f"numerical:{wrap(numeric)}\nanalytical:{wrap(analytic)}\n"
            )


def _check_input(place: int, x: Tensor) -> None:
    if x.dtype.name not in ("float64", "complex128"):
        warnings.warn(
            f"Input #{place} requires gradient and is not a double precision floating point or complex. This check will "
            "likely fail if all the inputs are not of double precision floating point or complex. ",
            stacklevel=4,
        )
    if x.numel() and not all(step > 0 or n <= 1 for step, n in zip(x.stride(), x.shape, strict=True)):
        raise RuntimeError(
            f"The {place}th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping "
            "to be able to compute the numerical gradients correctly. You should call .contiguous on the input before "
            "passing it to gradcheck."
        )


def _as_tuple(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def _floating(result: Any) -> list[Tensor]:
    return [o for o in _as_tuple(result) if isinstance(o, Tensor) and (o.is_floating_point() or o.is_complex())]


def _differentiable(result: Any) -> list[Tensor]:
    return [o for o in _floating(result) if o.requires_grad]


def _parts(out: Tensor) -> tuple[str, ...]:
    return ("real", "imaginary") if out.is_complex() else ("real",)


def _real(values: Array, part: str) -> Array:
    return values.imag if part == "imaginary" else values.real


def _host(x: Tensor) -> Array:
    with no_grad():
        return backends.to_numpy(x.detach()._data)


def _flat(x: Tensor) -> Array:
    return _host(x).reshape(-1)


def _axes(x: Tensor) -> list[Array]:
    """The unit vectors of an input's shape, for a complex one the imaginary ones after the real."""
    n = x.numel()
    units = np.eye(n).reshape(n, *x.shape)
    return [*units, *(1j * units)] if x.is_complex() else list(units)


def _direction(rng: np.random.Generator, x: Tensor) -> Array:
    """A random vector of an input's shape with no small entries."""
    draw = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)
    return draw * np.exp(1j * rng.uniform(0, 6, x.shape)) if x.is_complex() else np.asarray(draw)


def _random_like(rng: np.random.Generator, x: Tensor, gaps: bool = False) -> Tensor:
    array = _direction(rng, x)
    return _tensor(np.repeat(array, 2, -1)[..., ::2] if gaps and array.ndim else array, x)


def _tensor(array: Any, like: Tensor) -> Tensor:
    """``array`` as a tensor of the dtype and on the device of another."""
    result: Tensor = wrap(backends.to_device(np.asarray(array).astype(like.dtype.numpy, copy=False), like.device))
    return result


def _close(a: Array, b: Array, atol: float, rtol: float) -> bool:
    """PyTorch's ``allclose``: the second is the reference."""
    return bool((abs(a - b) <= atol + rtol * abs(b)).all())
