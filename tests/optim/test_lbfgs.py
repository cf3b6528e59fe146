"""L-BFGS and its line search on functions with known minima."""

import math
from collections.abc import Callable

import pytest

import torchlite as torch
from torchlite import optim
from torchlite.optim.line_search import Point, cubic_minimum, strong_wolfe


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_it_finds_the_minimum_of_rosenbrocks_function(line_search_fn: str | None) -> None:
    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = optim.LBFGS([x], max_iter=100, line_search_fn=line_search_fn)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert x.tolist() == pytest.approx([1.0, 1.0], abs=1e-4)


def test_history_is_limited_and_parameters_without_gradient_stay() -> None:
    x = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    unused = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = optim.LBFGS([x, unused], history_size=3, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = ((x - 1) ** 4).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert len(optimizer.state[x]["old_dirs"]) == 3
    assert unused.tolist() == [1.0, 1.0]


def on_line(f: Callable[[float], float], slope: Callable[[float], float]) -> Callable[[float], Point]:
    return lambda t: Point(t, f(t), torch.zeros(1), slope(t))


LINES = {
    "parabola": (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    "steep": (lambda t: (10 * t - 1) ** 2, lambda t: 20 * (10 * t - 1)),
    "waves": (lambda t: math.cos(3 * t) - t / 5, lambda t: -3 * math.sin(3 * t) - 0.2),
    "quartic": (lambda t: (t - 40) ** 4, lambda t: 4 * (t - 40) ** 3),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("first", [1e-3, 1.0, 30.0])
def test_the_strong_wolfe_conditions_hold(name: str, first: float) -> None:
    at = on_line(*LINES[name])
    start = at(0.0)
    found, count = strong_wolfe(at, start, first, 1.0)
    assert found.loss <= start.loss + 1e-4 * found.t * start.slope
    assert abs(found.slope) <= 0.9 * abs(start.slope)
    assert count <= 26


def test_the_minimum_of_a_cubic() -> None:
    at = on_line(lambda t: t**3 - 3 * t, lambda t: 3 * t**2 - 3)
    for a, b in ((0.0, 2.0), (2.0, 0.0), (0.5, 4.0)):
        assert cubic_minimum(at(a), at(b), 0.0, 5.0) == pytest.approx(1.0)
    assert cubic_minimum(at(0.0), at(2.0), 1.5, 5.0) == 1.5
    assert cubic_minimum(at(2.0), at(2.0), 1.0, 2.0) == 1.5


def test_what_is_refused() -> None:
    x = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="parameter groups"):
        optim.LBFGS([{"params": [x]}, {"params": [torch.ones(1, requires_grad=True)]}])
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported, got 'armijo'"):
        optim.LBFGS([x], line_search_fn="armijo").step(lambda: 0.0)
