"""Gradients, functions of functions and their misuse, against PyTorch."""

import warnings
from typing import Any

import pytest
from oracle import same


def leaf(T: Any, *values: float) -> Any:
    return T.tensor(list(values) or [1.0, 2.0], dtype=T.float64, requires_grad=True)


def ones(T: Any, *shape: int, dtype: str = "float64") -> Any:
    return T.ones(*shape, dtype=getattr(T, dtype))


def test_where_gradients_go() -> None:
    def program(T: Any) -> Any:
        x, y = leaf(T), leaf(T)
        found = [*T.autograd.grad((x * x).sum(), [x, x]), *T.autograd.grad([x.sum()], [x])]
        found += T.autograd.grad((x * 2).sum(), [x, y], materialize_grads=True)
        h = x * 2
        h.sum().backward(inputs=[h])
        found += [h.grad, x.grad]
        x.grad = ones(T, 2)
        kept = x.grad
        (x * 3).sum().backward()
        found += [x.grad, x.grad is kept]
        x.grad = None
        (x**2).sum().backward(create_graph=True)
        found.append(x.grad.requires_grad)
        return (
            found,
            T.autograd.grad(x * 2, x, ones(T, 2, dtype="int64")),
            T.autograd.grad((x * (1 + 2j)).real.sum(), x),
        )

    same(program)


def test_several_cotangents_at_once() -> None:
    def program(T: Any) -> Any:
        x, y, units = leaf(T), leaf(T), T.eye(2, dtype=T.float64)
        first, none = T.autograd.grad(x**2, [x, y], units, is_grads_batched=True, allow_unused=True)
        (slopes,) = T.autograd.grad(x**3, x, units, is_grads_batched=True, create_graph=True)
        return first, none, T.autograd.grad(slopes.sum(), x)[0]

    same(program)
    same(lambda T: T.autograd.grad((x := leaf(T)) ** 2, x, ones(T, 2, 3), is_grads_batched=True))

    def twice(T: Any) -> Any:
        x = leaf(T)
        y = x**2
        for _ in range(2):
            T.autograd.grad(y, x, T.eye(2, dtype=T.float64), is_grads_batched=True)

    same(twice)


MISUSE: dict[str, Any] = {
    "root complex": lambda T: T.tensor(1 + 1j, requires_grad=True).exp().backward(),
    "root integer": lambda T: T.tensor(1).backward(),
    "cotangent complex": lambda T: T.autograd.grad((x := leaf(T)) * 2, x, ones(T, 2, dtype="complex128")),
    "cotangent a number": lambda T: leaf(T).sum().backward(1.0),
    "cotangents numbers": lambda T: T.autograd.grad((x := leaf(T)).sum(), x, [1.0]),
    "inputs empty": lambda T: T.autograd.grad(leaf(T).sum(), []),
    "backward inputs empty": lambda T: leaf(T).sum().backward(inputs=[]),
    "unused": lambda T: T.autograd.grad(leaf(T).sum(), leaf(T)),
    "unused and filled": lambda T: T.autograd.grad(leaf(T).sum(), leaf(T), allow_unused=False, materialize_grads=True),
    "twice": lambda T: [y.backward() for y in [(leaf(T) ** 2).sum()] * 2],
    "grad of another dtype": lambda T: setattr(leaf(T), "grad", T.ones(2)),
    "grad of another shape": lambda T: setattr(leaf(T), "grad", ones(T, 3)),
    "grad a number": lambda T: setattr(leaf(T), "grad", 3),
    "grad itself": lambda T: setattr(x := leaf(T), "grad", x),
    "detached view": lambda T: (leaf(T) * 1)[0].detach_(),
    "view of a leaf written": lambda T: leaf(T)[0].mul_(2),
    "requires_grad of integers": lambda T: T.tensor([1]).requires_grad_(),
    "hook on a constant": lambda T: T.tensor(1.0).register_hook(print),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name: str) -> None:
    same(MISUSE[name])


def test_anomaly_mode() -> None:
    def program(T: Any) -> Any:
        seen, x = [], leaf(T, 0.0, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with T.autograd.set_detect_anomaly(True):
                seen.append(T.is_anomaly_enabled())
                try:
                    (x.sqrt() * 0).sum().backward()
                except RuntimeError as error:
                    seen.append("Function 'SqrtBackward0' returned nan values in its 0th output." in str(error))
            with T.autograd.set_detect_anomaly(True, check_nan=False):
                (x.sqrt() * 0).sum().backward()
                seen.append(T.is_anomaly_check_nan_enabled())
            with T.autograd.detect_anomaly(check_nan=False):
                seen.append(T.is_anomaly_check_nan_enabled())
        return [*seen, T.is_anomaly_enabled()]

    same(program)


def cube(x: Any) -> Any:
    return x**3


JACOBIANS: dict[str, Any] = {
    "rows at once": lambda T, F: F.jacobian(cube, leaf(T), vectorize=True),
    "several": lambda T, F: F.jacobian(lambda x, y: (x * y, x.sum()), (leaf(T), leaf(T))),
    "forward": lambda T, F: F.jacobian(cube, leaf(T), vectorize=True, strategy="forward-mode").detach(),
    "forward alone": lambda T, F: F.jacobian(cube, leaf(T), strategy="forward-mode"),
    "forward recorded": lambda T, F: F.jacobian(cube, leaf(T), True, vectorize=True, strategy="forward-mode"),
    "other strategy": lambda T, F: F.jacobian(cube, leaf(T), strategy="sideways"),
    "strict at once": lambda T, F: F.jacobian(cube, leaf(T), strict=True, vectorize=True),
    "strict": lambda T, F: F.jacobian(lambda x: T.ones(2), leaf(T), strict=True),
    "not a tensor": lambda T, F: F.jacobian(lambda x: 1, leaf(T)),
    "hessian": lambda T, F: F.hessian(lambda x, y: (x * y * x).sum(), (leaf(T), leaf(T)), vectorize=True),
    "hessian of a vector": lambda T, F: F.hessian(cube, leaf(T)),
}


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians(name: str) -> None:
    same(lambda T: JACOBIANS[name](T, T.autograd.functional))


def plain(T: Any) -> Any:
    return T.tensor([1.0, 2.0], dtype=T.float64)


FUNCTIONS: dict[str, Any] = {
    "linearize": lambda T: (r := T.func.linearize(lambda x: x.sin() * x, plain(T)), r[0], r[1](plain(T)))[1:],
    "linearize two": lambda T: T.func.linearize(lambda x, y: (x * y, {"a": x.sin()}), plain(T), plain(T))[1](
        plain(T), plain(T)
    ),
    "jacrev in chunks": lambda T: T.func.jacrev(cube, chunk_size=1)(plain(T)),
    "jacfwd of two": lambda T: T.func.jacfwd(lambda x: (x**2, x.sum()))(plain(T)),
    "grad with more": lambda T: T.func.grad(lambda x: (x.sum(), {"a": x}), has_aux=True)(plain(T)),
    "grad by the last": lambda T: T.func.grad(lambda x, y: (x * y).sum(), argnums=-1)(plain(T), plain(T)),
    "grad by one twice": lambda T: T.func.grad(lambda x, y: (x * y).sum(), argnums=(0, 0))(plain(T), plain(T)),
    "vjp": lambda T: T.func.vjp(cube, plain(T))[1](plain(T)),
    "jvp of other shapes": lambda T: T.func.jvp(cube, (plain(T),), (T.ones(3),)),
    "keywords are shared": lambda T: T.func.vmap(lambda x, *, y: x + y)(ones(T, 3, 2), y=plain(T)),
    "shared result": lambda T: T.func.vmap(lambda x: plain(T), out_dims=None)(ones(T, 3)),
    "last dimension": lambda T: T.func.vmap(lambda x: x * 2, in_dims=-1, out_dims=-1)(T.arange(6.0).reshape(2, 3)),
    "trees": lambda T: T.func.vmap(lambda d: {"s": d["a"].sum() + d["b"]}, in_dims=({"a": 0, "b": None},))(
        {"a": ones(T, 3, 2), "b": T.tensor(1.0)}
    ),
    "no examples": lambda T: T.func.vmap(lambda x: x * 2)(T.zeros(0, 3)),
    "result a number": lambda T: T.func.vmap(lambda x: 3)(T.ones(3)),
    "no arguments": lambda T: T.func.vmap(lambda: 3)(),
    "nothing mapped": lambda T: T.func.vmap(lambda x: x, in_dims=None)(T.ones(3)),
    "random": lambda T: T.func.vmap(lambda x: x + T.rand(1))(T.ones(3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_functions(name: str) -> None:
    same(FUNCTIONS[name])


def test_variables() -> None:
    def program(T: Any) -> Any:
        x = T.ones(2)
        wrapped = T.autograd.Variable(x, requires_grad=True)
        return (
            isinstance(x, T.autograd.Variable),
            wrapped.requires_grad,
            x.requires_grad,
            wrapped.data_ptr() == x.data_ptr(),
        )

    same(program)
