"""In-place writes in a recorded computation."""

from typing import Any

import pytest

import torchlite as torch


def result(*values: float) -> tuple[Any, Any]:
    x = torch.tensor(list(values), dtype=torch.float64, requires_grad=True)
    return x, x * 1


@pytest.mark.parametrize(
    ("program", "operator"),
    [
        (lambda x, h: (h * h, h.add_(1)), "mul"),
        (lambda x, h: (h.exp().mul_(2),), "exp"),
        (lambda x, h: ((y := h.tanh()) + 1, y.zero_()), "tanh"),
        (lambda x, h: ((y := h.tanh()) * 1, y.zero_()), "tanh"),
        (lambda x, h: ((y := h.exp()) + 0, y.__setitem__(0, 1.0)), "exp"),
        (lambda x, h: (h.log(), h[0].fill_(1)), "log"),
        (lambda x, h: (h @ h, h.detach().add_(1)), "matmul"),
    ],
)
def test_the_error_names_the_operator_whose_values_were_overwritten(program: Any, operator: str) -> None:
    x, h = result(1.0, 2.0)
    loss = program(x, h)[0].sum()
    with pytest.raises(RuntimeError, match=rf"modified by an inplace operation: .* of {operator}, of shape \[.*clone"):
        loss.backward()


def test_a_write_that_backward_does_not_read_is_allowed() -> None:
    x, h = result(1.0, 2.0)
    y = h + 3
    h.mul_(5)
    y.add_(1)
    (y + h).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]


def test_a_copied_leaf_is_another_tensor() -> None:
    x = torch.ones(2, requires_grad=True)
    h = torch.empty(2)
    seen: list[Any] = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    h.copy_(x)
    assert not h.is_leaf
    h.register_hook(lambda g: seen.append("h"))
    h[0] = 4.0
    (h * 3).sum().backward()
    assert h.grad is None
    assert x.grad.tolist() == [0.0, 3.0]
    assert seen == ["h", [0.0, 3.0]]


def test_views_made_before_a_write_follow_it() -> None:
    x, h = result(1.0, 2.0, 3.0, 4.0)
    square, row = h.view(2, 2), h.view(2, 2)[1]
    h.mul_(x)
    assert row.tolist() == [9.0, 16.0]
    (square.sum() + row.sum()).backward()
    assert x.grad.tolist() == [2.0, 4.0, 12.0, 16.0]


def test_dead_views_are_forgotten() -> None:
    _, h = result(*range(8))
    for i in range(1000):
        h[i % 8]
    assert len(h._storage.views) < 100


def test_without_grad_a_view_shares_and_a_leaf_may_change() -> None:
    x = torch.zeros(3, requires_grad=True)
    with torch.no_grad():
        x[1] = 5.0
        x.view(-1)[0].add_(2)
    assert x.tolist() == [2.0, 5.0, 0.0]
    assert x.is_leaf and x.requires_grad


def test_leaf_refusal_explains_no_grad() -> None:
    x = torch.zeros(3, requires_grad=True)
    for program in (lambda: x.add_(1), lambda: x[0].mul_(2), lambda: x.__setitem__(0, 1.0), lambda: x.copy_(x * 2)):
        with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad .*no_grad"):
            program()
    assert x.tolist() == [0.0, 0.0, 0.0]


def test_what_backward_does_not_read_may_be_overwritten() -> None:
    x, h = result(1.0, 2.0)
    (h * 3).sum().backward(retain_graph=True)
    doubled = h * 2
    h.add_(1)
    doubled.sum().backward()
    assert x.grad is not None
    _, k = result(1.0, 2.0)
    square = k * k
    k.add_(1)
    with pytest.raises(RuntimeError, match="overwritten"):
        square.sum().backward()
