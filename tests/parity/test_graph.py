"""The graph behind a tensor as programs see it: hooks, nodes, saved tensors, against PyTorch's."""

from typing import Any

import numpy as np
import pytest
from oracle import BOTH, same, torch

import torchlite

X = np.array([0.5, 1.5, -2.0])


def leaf(T: Any) -> Any:
    return T.tensor(X, requires_grad=True)


def test_hooks_of_tensors() -> None:
    def order(T: Any, x: Any) -> Any:
        seen: list[Any] = []
        h = x * 2
        h.retain_grad()
        h.register_hook(lambda g: seen.append(g.tolist()))
        h.register_hook(lambda g: g * 3)
        with h.register_hook(lambda g: g * 100):
            pass
        twice = h.register_hook(lambda g: g + 1)
        (h * x).sum().backward(retain_graph=True)
        twice.remove()
        (h * x).sum().backward()
        return seen, h.grad, x.grad.clone(), h.retains_grad, x.retains_grad

    same(order, X)
    same(lambda T, x: (x * 2).register_hook(lambda g: 1) and (x * 2).sum().backward(), X)

    def returning(value: Any) -> Any:
        def program(T: Any, x: Any) -> Any:
            h = x * 2
            h.register_hook(lambda g: value(g))
            h.sum().backward()

        return program

    same(returning(lambda g: 1.0), X)
    same(returning(lambda g: g[:2]), X)
    same(returning(lambda g: g[None]), X)


def test_hooks_after_accumulation() -> None:
    def program(T: Any) -> Any:
        x, w, seen = leaf(T), leaf(T), []

        def hook(p: Any) -> None:
            seen.append(p.grad.tolist())
            p.grad = None

        handle = x.register_post_accumulate_grad_hook(hook)
        x.register_post_accumulate_grad_hook(lambda p: seen.append(p is x))
        (x * w).sum().backward()
        (x * w * 2).sum().backward(inputs=[x])
        T.autograd.grad((x * w).sum(), x)
        handle.remove()
        (x * w).sum().backward()
        return seen, x.grad, w.grad

    same(program)
    same(lambda T: T.ones(2).register_post_accumulate_grad_hook(print))
    same(lambda T: (leaf(T) * 2).register_post_accumulate_grad_hook(print))


def test_hooks_of_nodes() -> None:
    def program(T: Any) -> Any:
        x, w, seen = leaf(T), T.tensor([[2.0]], dtype=T.float64, requires_grad=True), []
        y = x * w
        y.grad_fn.register_hook(lambda gi, go: seen.append([[g.tolist() for g in gi], [g.tolist() for g in go]]))
        y.grad_fn.register_hook(lambda gi, go: (gi[0] * 2, gi[1]))
        y.grad_fn.register_prehook(lambda go: seen.append(go[0].tolist()))
        y.grad_fn.register_prehook(lambda go: (go[0] + 1,))
        gather = y.grad_fn.next_functions[0][0]
        gather.register_hook(lambda gi, go: seen.append([gi, go[0].tolist()]))
        gather.register_prehook(lambda go: (go[0] * 10,))
        y.sum().backward()
        return seen, x.grad, w.grad, gather.name().rpartition(":")[2], gather.variable is x, gather.next_functions

    same(program)

    def several(T: Any) -> Any:
        x, seen = leaf(T), []
        values, _ = x.max(0)
        values.grad_fn.register_prehook(lambda go: seen.append([g if g is None else g.tolist() for g in go]))
        values.grad_fn.metadata["note"] = 3
        values.backward()
        return seen, values.output_nr, values.grad_fn.metadata["note"], values.grad_fn.next_functions[0][1], x.grad

    same(several)


def test_hooks_of_several_tensors() -> None:
    def program(mode: str) -> Any:
        def run(T: Any) -> Any:
            a, b, c = leaf(T), leaf(T), leaf(T)
            seen: list[Any] = []

            def hook(grads: Any) -> None:
                seen.append([g is not None for g in grads] if mode == "all" else grads.tolist())

            handle = T.autograd.graph.register_multi_grad_hook([a, b, c], hook, mode=mode)
            (a * b).sum().backward()
            (a * b * c).sum().backward(inputs=[a])
            (a * 2 + c).sum().backward()
            handle.remove()
            (a * 2).sum().backward()
            return seen

        return run

    same(program("all"))
    same(lambda T: len(program("any")(T)))
    same(lambda T: T.autograd.graph.register_multi_grad_hook([leaf(T)], print, mode="some"))


def test_saved_tensors_in_the_hands_of_hooks() -> None:
    def counting(program: Any) -> Any:
        def run(T: Any, x: Any) -> Any:
            packed: list[Any] = []

            def pack(t: Any) -> Any:
                packed.append(tuple(t.shape))
                return t.detach().numpy().copy()

            with T.autograd.graph.saved_tensors_hooks(pack, lambda a: T.from_numpy(a)):
                y = program(T, x)
            (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
            return packed, g.detach(), T.autograd.grad(g.sum(), x, allow_unused=True)[0]

        return run

    same(counting(lambda T, x: x.exp()), X)
    same(counting(lambda T, x: x * x), X)
    same(counting(lambda T, x: (x.sin() * x).tanh()), X)
    same(counting(lambda T, x: T.logcumsumexp(x, 0).exp()), X)

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            out = x**3
            ctx.save_for_backward(x, out)
            return out

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, out = ctx.saved_tensors
            return g * 3 * out / x

    def of_function(T: Any, x: Any) -> Any:
        body = {"forward": staticmethod(Cube.forward), "backward": staticmethod(Cube.backward)}
        return type("Cube", (T.autograd.Function,), body).apply(x)

    same(counting(of_function), X)


def misused(T: Any, pack: Any, unpack: Any) -> tuple[Any, str]:
    x = leaf(T)
    with pytest.raises((RuntimeError, TypeError)) as error:
        with T.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = (x * 1).exp()
        y.sum().backward()
    return type(error.value), str(error.value)[:60]


def test_misused_hooks_of_saved_tensors() -> None:
    for hooks in ((lambda x: x.mul_(2), lambda x: x), (lambda x: 3, lambda n: n)):
        assert misused(torchlite, *hooks) == misused(torch, *hooks)
    found = []
    for T in BOTH:
        with T.autograd.graph.disable_saved_tensors_hooks("not here"):
            found.append(misused(T, lambda x: x, lambda x: x))
    assert found[0] == found[1]


def test_save_on_cpu() -> None:
    def program(T: Any, x: Any) -> Any:
        with T.autograd.graph.save_on_cpu():
            y = (x.exp() * x).sum()
        return T.autograd.grad(y, x)

    same(program, X)


def test_edges() -> None:
    def program(T: Any) -> Any:
        x = leaf(T)
        h = x * 2
        edge = T.autograd.graph.get_gradient_edge(h)
        ends = T.autograd.graph.get_gradient_edge(T.frexp(x)[0])
        y = (h * h).sum()
        T.autograd.graph.increment_version(y)
        return (
            *T.autograd.grad(y, [edge, T.autograd.graph.get_gradient_edge(x)]),
            edge.output_nr,
            ends.output_nr,
            y._version,
        )

    same(program)
    same(lambda T: T.autograd.graph.get_gradient_edge(T.ones(2)))


def test_hooks_leave_nothing_behind() -> None:
    assert not torchlite.autograd.graph._observers
