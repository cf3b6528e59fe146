"""Backward and grad: their arguments, hooks, memory and errors."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import torchlite as torch
from torchlite.autograd import grad, gradgradcheck


def leaf(*values: float) -> Any:
    return torch.tensor(list(values), dtype=torch.float64, requires_grad=True)


def test_gradients_add_up_over_calls() -> None:
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]


def test_backward_with_a_cotangent() -> None:
    x = leaf(1.0, 2.0)
    (x * 3).backward(torch.tensor([1.0, 10.0], dtype=torch.float64))
    assert x.grad.tolist() == [3.0, 30.0]


def test_backward_of_several_roots() -> None:
    x = leaf(2.0)
    torch.autograd.backward([x * 3, x * x], [torch.ones(1, dtype=torch.float64), None])
    assert x.grad.tolist() == [7.0]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (lambda x: (x * 2).backward(), r"grad can be implicitly created only for scalar outputs.*\[2\]"),
        (lambda x: (x * 2).backward(torch.ones(3)), r"\[3\].*\[2\]"),
        (lambda x: torch.ones(1).backward(), "does not require grad"),
        (lambda x: grad(x.sum(), torch.ones(2)), r"inputs\[0\]"),
        (lambda x: grad(x.sum(), leaf(1.0)), "not have been used in the graph"),
        (lambda x: x.sum().backward(inputs=[torch.ones(1)]), "does not require grad"),
        (lambda x: torch.autograd.backward([x.sum(), x.sum()], [None]), "2 tensors and 1 gradients"),
        (lambda x: torch.ones(2).register_hook(print), "doesn't require gradient"),
        (lambda x: torch.ones(2).retain_grad(), "requires_grad=False"),
    ],
)
def test_errors_say_what_is_wrong(program: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        program(leaf(1.0, 2.0))


def test_a_second_backward_needs_the_graph_retained() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12.0]
    with pytest.raises(RuntimeError, match=r"second time.*mul.*retain_graph=True"):
        y.backward()


def test_a_graph_that_saved_nothing_can_be_walked_again() -> None:
    x = leaf(3.0)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0]


def test_grad_touches_no_grad() -> None:
    x, unused = leaf(3.0), leaf(1.0)
    y = (x * x).sum()
    (dx,) = grad(y, x, retain_graph=True)
    assert dx.tolist() == [6.0]
    assert x.grad is None
    assert not dx.requires_grad
    assert grad(y, [x, unused], retain_graph=True, allow_unused=True)[1] is None
    assert grad(y, [unused, x], materialize_grads=True)[0].tolist() == [0.0]


def test_grad_of_a_result_inside_the_graph() -> None:
    x = leaf(3.0)
    h = x * 2
    y = (h * h).sum()
    dh, dx = grad(y, [h, x])
    assert (dh.tolist(), dx.tolist()) == ([12.0], [24.0])


def test_create_graph_gives_gradients_of_any_order() -> None:
    x = leaf(2.0)
    value = x**5
    factors = [80.0, 160.0, 240.0, 240.0, 120.0]
    for factor in factors:
        (value,) = grad(value.sum(), x, create_graph=True)
        assert value.tolist() == [factor]


def test_create_graph_in_backward_fills_a_differentiable_grad() -> None:
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    penalty = (x.grad**2).sum()
    x.grad = None
    penalty.backward()
    assert x.grad.tolist() == [2 * 12.0 * 12.0]


def test_backward_only_to_the_inputs_named() -> None:
    x, y = leaf(2.0), leaf(5.0)
    h = x * y
    h.sum().backward(inputs=[x])
    assert x.grad.tolist() == [5.0]
    assert y.grad is None


def test_tensor_hooks_see_and_replace_the_gradient() -> None:
    x = leaf(1.0, 2.0)
    seen: list[Any] = []
    h = x * 2
    first = h.register_hook(lambda g: seen.append(g.tolist()))
    h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(g.tolist()))
    (h * 3).sum().backward(retain_graph=True)
    assert seen == [[3.0, 3.0], [60.0, 60.0]]
    assert x.grad.tolist() == [60.0, 60.0]
    first.remove()
    first.remove()
    (h * 3).sum().backward()
    assert len(seen) == 3


def test_a_hook_sees_the_whole_gradient_once() -> None:
    x = leaf(2.0)
    seen: list[Any] = []
    h = x * 1
    h.register_hook(lambda g: seen.append(g.item()))
    (h * 3 + h * h + h).sum().backward()
    assert seen == [8.0]


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf(2.0)
    h = x * 3
    h.retain_grad()
    x.retain_grad()
    (h * h).sum().backward()
    assert h.grad.tolist() == [12.0]
    assert x.grad.tolist() == [36.0]


def test_grad_mode_belongs_to_its_thread() -> None:
    seen: dict[str, bool] = {}

    def work() -> None:
        seen["thread"] = torch.is_grad_enabled()
        seen["recorded"] = (leaf(1.0) * 2).requires_grad

    with torch.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        seen["here"] = torch.is_grad_enabled()
    assert seen == {"thread": True, "recorded": True, "here": False}


def test_backward_in_threads_adds_up() -> None:
    xs = [leaf(float(i)) for i in range(8)]

    def work(x: Any) -> None:
        for _ in range(20):
            (x * x).sum().backward()

    threads = [threading.Thread(target=work, args=(x,)) for x in xs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [x.grad.item() for x in xs] == [40.0 * i for i in range(8)]


def test_grad_mode_is_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), torch.no_grad():
        raise ZeroDivisionError
    assert torch.is_grad_enabled()

    @torch.no_grad()
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    x = leaf(1.0)
    h = x * 2
    h.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        h.sum().backward()
    assert torch.is_grad_enabled()


def test_one_no_grad_object_may_be_entered_inside_itself() -> None:
    context = torch.no_grad()
    with context, context:
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_a_graph_of_ten_thousand_operations() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + x
    y.backward()
    assert x.grad.tolist() == [10_001.0]
    del y


def test_a_wide_graph_visits_every_node_once() -> None:
    x = leaf(1.0)
    calls: list[int] = []
    h = x * 1
    for _ in range(60):  # 2**60 paths
        h.register_hook(lambda g: calls.append(1))
        h = h * 0.5 + h * 0.5
    h.backward()
    assert x.grad.item() == pytest.approx(1.0)
    assert len(calls) == 60


@pytest.fixture
def collector_off() -> Any:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_tensors_and_graphs_die_without_the_collector(collector_off: Any) -> None:
    def build() -> list[weakref.ref[Any]]:
        x = torch.randn(4, 4, requires_grad=True)
        weight = torch.nn.Parameter(torch.randn(4, 4))
        h = (x @ weight) + x
        view = h[0]
        h[1] = 0.0
        h.retain_grad()
        view.register_hook(lambda g: None)
        loss = (h.exp() * view).mean()
        loss.backward()
        refs = [weakref.ref(t) for t in (x, weight, h, view, loss, loss.grad_fn)]
        assert x.grad is not None and weight.grad is not None
        return [*refs, weakref.ref(x.grad)]

    assert [ref() for ref in build()] == [None] * 7


def test_saved_tensors_are_freed_by_backward(collector_off: Any) -> None:
    x = torch.randn(1000, requires_grad=True)
    h = x.exp()
    square = h * h
    ref = weakref.ref(h)
    loss = square.sum()
    del h
    assert ref() is not None
    loss.backward()
    assert ref() is None


def test_a_leaf_that_died_gets_no_gradient() -> None:
    x = leaf(2.0)
    y = leaf(3.0) * x
    y.backward()
    assert x.grad.tolist() == [3.0]


def test_gradients_through_one_of_several_results_add_up() -> None:
    # The rule of standardize reads its results again: their gradients come from inside of it and from outside.
    x = torch.tensor(np.linspace(-1, 2, 8).reshape(2, 4) ** 2, requires_grad=True)
    assert gradgradcheck(lambda x, w: torch.nn.functional.layer_norm(x, (4,), w), (x, leaf(1.0, 2.0, 0.5, -1.0)))
    assert gradgradcheck(
        lambda x, w: torch.nn.functional.layer_norm(x, (4,), w), (x, leaf(1.0, 2.0, 0.5, -1.0)), fast_mode=True
    )


def test_unused_branches_do_not_get_gradients() -> None:
    x, y = leaf(1.0), leaf(2.0)
    _ = x * y
    (x * 2).backward()
    assert y.grad is None


def test_gradients_take_the_dtype_and_shape_of_their_tensor() -> None:
    narrow = torch.ones(3, 1, dtype=torch.float32, requires_grad=True)
    wide = torch.ones(1, 4, dtype=torch.float64, requires_grad=True)
    (narrow * wide).sum().backward()
    assert (narrow.grad.dtype, tuple(narrow.grad.shape)) == (torch.float32, (3, 1))
    assert (wide.grad.dtype, tuple(wide.grad.shape)) == (torch.float64, (1, 4))


def test_the_gradient_of_two_leaves_is_never_one_array() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward()
    assert not np.shares_memory(x.grad.numpy(), y.grad.numpy())
    given = torch.ones(2, dtype=torch.float64)
    z = leaf(1.0, 1.0)
    (z + 0).backward(given)
    z.grad.add_(1)
    assert given.tolist() == [1.0, 1.0]


def test_gradcheck_finds_a_wrong_rule() -> None:
    from torchlite.autograd.numeric import GradcheckError, gradcheck

    x = leaf(0.3, 0.8)
    assert gradcheck(lambda x: x.sin() * x, x)
    assert gradgradcheck(lambda x: x.sin() * x, x)
    with pytest.raises(GradcheckError, match="input 0"):
        gradcheck(lambda x: x * x.detach(), x)
    assert not gradcheck(lambda x: x * x.detach(), x, raise_exception=False)
    with pytest.raises(ValueError, match="requires_grad"):
        gradcheck(lambda x: x, torch.ones(2))
