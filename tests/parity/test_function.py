"""`autograd.Function`, `autograd.functional` and checkpointing beside PyTorch's."""

import numpy as np
import pytest
from oracle import BOTH, same

X = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -0.75]])
Y = np.array([[1.5, 0.5, -2.0], [0.3, 1.25, 0.7]])


def product(t):
    class Product(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, scale):
            ctx.save_for_backward(x, y)
            ctx.scale = scale
            return x * y * scale

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            assert ctx.needs_input_grad == (True, True, False)
            return g * y * ctx.scale, g * x * ctx.scale, None

    return Product.apply


def exponential(t):
    class Exponential(t.autograd.Function):
        @staticmethod
        def forward(x):
            return x.exp()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            (out,) = ctx.saved_tensors
            return g * out

    return Exponential.apply


def sum_and_sign(t):
    class SumAndSign(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            sign = x > y
            ctx.mark_non_differentiable(sign)
            return x + 2 * y, sign, x * 3

        @staticmethod
        def backward(ctx, g, no_g, g3):
            return g + 3 * g3, 2 * g

    return SumAndSign.apply


def doubling_inplace(t):
    class Doubling(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    return Doubling.apply


def second_order(t, f, *xs):
    return t.autograd.grad((f(*xs) ** 2).sum(), xs, create_graph=True)


CALLS = {
    "saved inputs": lambda t, x, y: product(t)(x, y, 3.0),
    "saved result": lambda t, x, y: exponential(t)(x * y),
    "several results": lambda t, x, y: sum_and_sign(t)(x, y),
    "one of several results": lambda t, x, y: sum_and_sign(t)(x, y)[2],
    "in place": lambda t, x, y: doubling_inplace(t)(x * y) * y,
    "in place on a view": lambda t, x, y: (lambda z: (doubling_inplace(t)(z[0]), z * y)[1])(x * 1),
    "second order": lambda t, x, y: second_order(t, lambda a, b: product(t)(a, b, 2.0), x, y),
    "second order of a saved result": lambda t, x, y: second_order(t, lambda a, b: exponential(t)(a * b), x, y),
    "passed on": lambda t, x, y: identity(t)(x * y) * 2,
    "jacobian": lambda t, x, y: t.autograd.functional.jacobian(lambda a, b: (a * b).sum(1), (x, y)),
    "jacobian kept": lambda t, x, y: t.autograd.functional.jacobian(lambda a: (a**3).sum(1), x, create_graph=True),
    "hessian": lambda t, x, y: t.autograd.functional.hessian(lambda a, b: (a**2 * b).sum(), (x, y)),
    "hessian of one": lambda t, x, y: t.autograd.functional.hessian(lambda a: (a**3).sum(), x),
    "vjp": lambda t, x, y: t.autograd.functional.vjp(lambda a: a.exp(), x, y.detach()),
    "jvp": lambda t, x, y: t.autograd.functional.jvp(lambda a, b: (a * b.exp()).sum(0), (x, y), (y, x)),
    "hvp": lambda t, x, y: t.autograd.functional.hvp(lambda a: (a.exp() * a).sum(), x, y),
    "vhp": lambda t, x, y: t.autograd.functional.vhp(lambda a, b: (a.exp() * b).sum(), (x, y), (y, x)),
}


def identity(t):
    class Identity(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 5

    return Identity.apply


@pytest.mark.parametrize("name", CALLS)
def test_same(name):
    same(CALLS[name], X, Y)


def wrong_count(t):
    class Wrong(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    return Wrong.apply


def wrong_shape(t):
    class Wrong(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g[0, :2], None

    return Wrong.apply


def only_once(t):
    class Once(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x)
            return x**2 + y

        @staticmethod
        @t.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g, g

    return Once.apply


def overwritten(t, x, y):
    z = x * 1
    out = product(t)(z, y, 1.0)
    z.add_(1)
    out.sum().backward()


def twice(t, x, y):
    out = product(t)(x, y, 1.0).sum()
    out.backward()
    out.backward()


ERRORS = {
    "incorrect number of gradients": lambda t, x, y: wrong_count(t)(x, y).sum().backward(),
    "invalid gradient at index 0": lambda t, x, y: wrong_shape(t)(x, y).sum().backward(),
    "once_differentiable": lambda t, x, y: (
        t.autograd.grad((only_once(t)(x, y) ** 2).sum(), x, create_graph=True)[0].sum().backward()
    ),
    "modified by an inplace operation": overwritten,
    "backward through the graph a second time": twice,
}


@pytest.mark.parametrize("message", ERRORS)
@pytest.mark.parametrize("t", BOTH, ids=["torchlite", "torch"])
def test_errors(t, message):
    x, y = t.tensor(X, requires_grad=True), t.tensor(Y, requires_grad=True)
    with pytest.raises(RuntimeError, match=message):
        ERRORS[message](t, x, y)


@pytest.mark.parametrize("t", BOTH, ids=["torchlite", "torch"])
def test_anomaly_mode_names_the_operation(t):
    x = t.tensor([0.0, 4.0], requires_grad=True)
    with pytest.warns(UserWarning) if t is not BOTH[0] else t.enable_grad():  # noqa: SIM117
        with (
            t.autograd.detect_anomaly(),
            pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th"),
        ):
            (x.sqrt() * 0).sum().backward()
