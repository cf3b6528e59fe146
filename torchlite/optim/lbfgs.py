"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import enable_grad, no_grad
from torchlite.ops.complex import view_as_real
from torchlite.ops.joining import cat
from torchlite.optim.line_search import Point, strong_wolfe
from torchlite.optim.optimizer import Optimizer
from torchlite.optim.options import NOT_NEGATIVE, Interval, resolved


class LBFGS(Optimizer):
    """Newton's method with an inverse Hessian made of the last changes of the parameters and gradients (Liu & Nocedal, 1989).

        d ← -H ∇θ
        θ ← θ + t d
        s = change of θ,  y = change of ∇θ: H has them among its last ``history_size`` pairs

    A step is up to ``max_iter`` such iterations, each of which evaluates the closure again. The state, which belongs to all
    parameters together, is kept with the first one.

    Args:
        params: what to optimize, in one group.
        lr: t, or where a line search begins.
        max_iter: the most iterations a step.
        max_eval: the most evaluations a step; max_iter · 5 / 4 by default.
        tolerance_grad: a step ends when no gradient is larger,
        tolerance_change: or when neither loss nor parameters change by more.
        history_size: how many pairs (s, y) are kept.
        line_search_fn: "strong_wolfe" or None for steps of fixed length.

    Raises:
        ValueError: for more than one parameter group.
    """

    ranges: ClassVar[dict[str, Interval]] = {"lr": NOT_NEGATIVE}
    needs_closure = True

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: Literal["strong_wolfe"] | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the parameters; there is no second group."""
        super().add_param_group(param_group)
        if len(self.param_groups) > 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:
        """Run the iterations of one step.

        Args:
            closure: computes the loss and its gradients and returns the loss.

        Returns:
            The loss before the step.

        Raises:
            RuntimeError: for a line search that does not exist.
        """
        options = resolved(self.param_groups[0])
        max_iter, max_eval, tolerance = options["max_iter"], options["max_eval"], options["tolerance_change"]
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, got {options['line_search_fn']!r}")
        params = self.param_groups[0]["params"]
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = enable_grad()(closure)()
        loss, grad = float(first_loss), _flat_grad(params)
        evaluations = 1
        state["func_evals"] += 1
        if _largest(grad) <= options["tolerance_grad"]:
            return first_loss

        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            direction = _direction(state, grad, options["history_size"])
            t = options["lr"]
            if state["n_iter"] == 1:
                t = min(1.0, 1.0 / grad.abs().sum().item()) * t
            state.update(d=direction, t=t, prev_flat_grad=grad.clone(), prev_loss=loss)
            slope = grad.dot(direction).item()
            if slope > -tolerance:
                break
            before, count = loss, 0
            if options["line_search_fn"] is not None:
                at = _on_line(closure, params, direction)
                found, count = strong_wolfe(
                    at, Point(0.0, loss, grad, slope), t, _largest(direction), max_ls=max_eval - evaluations
                )
                t, loss, grad = found.t, found.loss, found.grad
                _move(params, direction, t)
            else:
                _move(params, direction, t)
                if iteration < max_iter:
                    loss, grad = float(enable_grad()(closure)()), _flat_grad(params)
                    count = 1
            state["t"] = t
            evaluations += count
            state["func_evals"] += count
            if (
                evaluations >= max_eval
                or _largest(grad) <= options["tolerance_grad"]
                or _largest(direction * t) <= tolerance
                or abs(loss - before) < tolerance
            ):
                break
        return first_loss


def _direction(state: dict[str, Any], grad: Tensor, history_size: int) -> Tensor:
    """-H ∇θ by the two loops over the history, which first takes in the last change."""
    if state["n_iter"] == 1:
        state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
        return -grad
    changes, steps, inverses = (
        state.setdefault(name, []) for name in ("old_dirs", "old_stps", "ro")
    )  # y, s and 1 / y·s of each pair
    y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
    ys = y.dot(s)
    if ys > 1e-10:
        if len(changes) == history_size:
            for oldest in (changes, steps, inverses):
                oldest.pop(0)
        changes.append(y)
        steps.append(s)
        inverses.append(1.0 / ys)
        state["H_diag"] = ys / y.dot(y)
    shares = state["al"] = [None] * history_size
    q = -grad
    for i in reversed(range(len(changes))):
        shares[i] = steps[i].dot(q) * inverses[i]
        q.sub_(changes[i] * shares[i])
    d = q * state["H_diag"]
    for i in range(len(changes)):
        d.add_(steps[i] * (shares[i] - changes[i].dot(d) * inverses[i]))
    return d


def _on_line(closure: Callable[[], Any], params: list[Tensor], direction: Tensor) -> Callable[[float], Point]:
    """Evaluates the closure at a distance along the direction, and comes back."""
    places = [p.detach().clone() for p in params]

    def at(t: float) -> Point:
        _move(params, direction, t)
        loss, grad = float(enable_grad()(closure)()), _flat_grad(params)
        for param, place in zip(params, places, strict=True):
            param.copy_(place)
        return Point(t, loss, grad, grad.dot(direction).item())

    return at


def _move(params: list[Tensor], direction: Tensor, t: float) -> None:
    start = 0
    for param in params:
        real = view_as_real(param) if param.is_complex() else param
        real.add_(direction[start : start + real.numel()].view(real.shape), alpha=t)
        start += real.numel()


def _flat_grad(params: list[Tensor]) -> Tensor:
    grads = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in params]
    return cat([(view_as_real(g) if g.is_complex() else g).reshape(-1) for g in grads])


def _largest(x: Tensor) -> float:
    return float(x.abs().max().item())
