"""Forward mode: dual numbers and Function.jvp against PyTorch's."""

import importlib
from typing import Any

import numpy as np
import pytest
from oracle import same

X, V = np.array([0.5, 1.5, -0.25]), np.array([1.0, -2.0, 0.5])
A = np.array([[2.0, 0.3, 0.1], [0.2, 1.5, -0.4], [0.0, 0.6, 1.2]])


def dual(T: Any) -> Any:
    return importlib.import_module(f"{T.__name__}.autograd.forward_ad")


@pytest.mark.parametrize(
    "f",
    [
        lambda T, x: x.sin() * x + 1,
        lambda T, x: x.exp().log_softmax(0),
        lambda T, x: (x[:, None] * x).sum(0).relu(),
        lambda T, x: T.linalg.solve(T.tensor(A), x),
        lambda T, x: T.cat([x, x.flip(0) ** 2]).cumsum(0),
        lambda T, x: x.max(0),
        lambda T, x: x.sort(),
        lambda T, x: T.linalg.eigh(T.outer(x, x) + T.diag(T.tensor([1.0, 2.0, 4.0], dtype=T.float64)))[0],
        lambda T, x: x.clone().mul_(x).add_(1),
        lambda T, x: T.complex(x, x.sin()).exp().abs(),
        lambda T, x: T.nn.functional.layer_norm(x[None], (3,)),
        lambda T, x: T.ones(3, dtype=T.float64) * 2,
        lambda T, x: x.detach() * x,
    ],
)
def test_tangents(f: Any) -> None:
    def program(T: Any) -> Any:
        with dual(T).dual_level():
            x = dual(T).make_dual(T.tensor(X), T.tensor(V))
            result = f(T, x)
            outs = result if isinstance(result, tuple) else (result,)
            return [part for out in outs for part in dual(T).unpack_dual(out)]

    same(program)


def test_gradients_of_tangents() -> None:
    def program(T: Any) -> Any:
        x, v = T.tensor(X, requires_grad=True), T.tensor(V, requires_grad=True)
        with dual(T).dual_level():
            y = (dual(T).make_dual(x, v) ** 3).sin()
            primal, tangent = dual(T).unpack_dual(y)
            return *T.autograd.grad(tangent.sum(), [x, v], retain_graph=True), T.autograd.grad(primal.sum(), x)[0]

    same(program)


def test_a_module_s_parameters() -> None:
    def program(T: Any) -> Any:
        layer = T.nn.Linear(3, 2).double()
        with T.no_grad():
            layer.weight.copy_(T.tensor(A[:2]))
            layer.bias.fill_(0.5)
        with dual(T).dual_level():
            params = {n: dual(T).make_dual(p, T.ones_like(p)) for n, p in layer.named_parameters()}
            out = T.func.functional_call(layer, params, T.tensor(X))
            return dual(T).unpack_dual(out).tangent.detach()

    same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda T: dual(T).make_dual(T.tensor(X), T.tensor(V)),
        lambda T: dual(T).exit_dual_level(),
        lambda T: dual(T).dual_level()(lambda: dual(T).make_dual(T.tensor(X), T.tensor(V)[:2]))(),
        lambda T: dual(T).dual_level()(lambda: dual(T).make_dual(T.tensor([1]), T.tensor(V)[:1]))(),
        lambda T: dual(T).unpack_dual(T.tensor(X)),
    ],
)
def test_misuse(program: Any) -> None:
    same(program)


@pytest.mark.parametrize("keeper", ["save_for_forward", "attribute"])
def test_functions_with_a_rule_of_their_own(keeper: str) -> None:
    def program(T: Any, x: Any) -> Any:
        class Scaled(T.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, y: Any, by: float) -> Any:
                ctx.by = by
                if keeper == "save_for_forward":
                    ctx.save_for_forward(x, y)
                else:
                    ctx.pair = x, y
                return x * y * by, x + y

            @staticmethod
            def jvp(ctx: Any, x_t: Any, y_t: Any, by_t: Any) -> Any:
                x, y = ctx.saved_tensors if keeper == "save_for_forward" else ctx.pair
                return (x_t * y + x * y_t) * ctx.by * 10, x_t + y_t  # ten times too much, so that it is seen to be used

        with dual(T).dual_level():
            x = dual(T).make_dual(T.tensor(X), T.tensor(V))
            a, b = Scaled.apply(x, T.tensor(V), 2.0)
            return dual(T).unpack_dual(a).tangent, dual(T).unpack_dual(b).tangent

    same(lambda T: program(T, None))


def test_jvp_of_torch_func_takes_that_rule() -> None:
    def program(T: Any) -> Any:
        class Cube(T.autograd.Function):
            @staticmethod
            def forward(x: Any) -> Any:
                return x**3

            @staticmethod
            def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
                ctx.save_for_forward(*inputs)

            @staticmethod
            def jvp(ctx: Any, t: Any) -> Any:
                return 3 * ctx.saved_tensors[0] ** 2 * t

        return T.func.jvp(lambda x: Cube.apply(x.sin()), (T.tensor(X),), (T.tensor(V),))

    same(program)
