"""What hooks of modules see, replace and refuse, against PyTorch's."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from scenarios import Scenarios, assert_the_same, close, plain

scenario = Scenarios()


def noting(log: list[Any], name: str, result: Any = None) -> Callable[..., Any]:
    """A hook that notes what it gets behind the module."""

    def hook(module: Any, *given: Any) -> Any:
        log.append([name, type(module).__name__, plain(given)])
        return result(*given) if callable(result) else result

    return hook


def affine(T: Any) -> Any:
    class Affine(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = T.nn.Parameter(T.tensor([2.0, -1.0]))

        def forward(self, x: Any, y: Any = 1.0, *, shift: float = 0.0) -> Any:
            return x * self.weight * y + shift

    return Affine()


def pair(T: Any) -> Any:
    class Pair(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any, y: Any, label: str = "") -> Any:
            return x * y, label, (x + y).sum(), y.detach()

    return Pair()


def failing(T: Any) -> Any:
    class Failing(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            raise ValueError("no")

    return Failing()


def ones(T: Any, grad: bool = True) -> Any:
    return T.tensor([1.0, 3.0], requires_grad=grad)


@scenario
def forward_hooks(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_forward_pre_hook(noting(log, "pre", lambda args: args[0] + 1))
    m.register_forward_pre_hook(noting(log, "first", lambda args: (args[0] * 2, 3.0)), prepend=True)
    m.register_forward_pre_hook(noting(log, "kw", lambda args, kw: (args, {"shift": 5.0})), with_kwargs=True)
    m.register_forward_hook(noting(log, "post", lambda args, out: out * 10))
    m.register_forward_hook(noting(log, "kw post", lambda args, kw, out: out + 1), with_kwargs=True)
    m.register_forward_hook(noting(log, "before"), prepend=True)
    return m(ones(T))


@scenario
def hooks_are_removed(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    with m.register_forward_hook(noting(log, "post")), m.register_forward_pre_hook(noting(log, "pre")):
        m(ones(T))
    handle = m.register_full_backward_hook(noting(log, "back"))
    handle.remove()
    handle.remove()
    m(ones(T)).sum().backward()


@scenario
def hooks_that_return_what_they_may_not(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_forward_pre_hook(lambda m, args, kw: args, with_kwargs=True)
    return m(ones(T))


@scenario
def always_called(T: Any, log: list[Any]) -> Any:
    m = failing(T)
    m.register_forward_hook(noting(log, "usual"))
    m.register_forward_hook(noting(log, "always"), always_call=True)
    m.register_forward_hook(noting(log, "kw"), with_kwargs=True, always_call=True)
    m(ones(T))


@scenario
def always_called_once(T: Any, log: list[Any]) -> Any:
    def broken(*_: Any) -> None:
        raise KeyError("broken")

    m = affine(T)
    m.register_forward_hook(noting(log, "always", lambda args, out: out * 2), always_call=True)
    m.register_forward_hook(broken)
    m.register_forward_hook(noting(log, "later", lambda args, out: out * 2), always_call=True)
    m.register_forward_hook(broken, always_call=True)
    m(ones(T))


@scenario
def always_called_after_a_pre_hook(T: Any, log: list[Any]) -> Any:
    def broken(*_: Any) -> None:
        raise KeyError("broken")

    m = affine(T)
    m.register_forward_pre_hook(broken)
    m.register_forward_hook(noting(log, "always"), always_call=True)
    m(ones(T))


@scenario
def full_backward(T: Any, log: list[Any]) -> Any:
    m, x = affine(T), ones(T)
    m.register_full_backward_hook(noting(log, "full"))
    out = m(x * 1)
    (out * T.tensor([1.0, 10.0])).sum().backward()
    return x.grad, m.weight.grad


@scenario
def full_backward_replaces(T: Any, log: list[Any]) -> Any:
    m, x = affine(T), ones(T)
    m.register_full_backward_pre_hook(noting(log, "pre", lambda grads: (grads[0] * 2,)))
    m.register_full_backward_pre_hook(noting(log, "first"), prepend=True)
    m.register_full_backward_hook(noting(log, "full", lambda gi, go: (gi[0] * 100,)))
    m.register_full_backward_hook(noting(log, "second", lambda gi, go: None))
    m.register_full_backward_hook(noting(log, "front"), prepend=True)
    m(x).sum().backward()
    return x.grad, m.weight.grad


@scenario
def full_backward_of_several(T: Any, log: list[Any]) -> Any:
    m, x, y = pair(T), ones(T), T.tensor([5.0, 7.0], requires_grad=True)
    m.register_full_backward_hook(noting(log, "full", lambda gi, go: (gi[0] * 2, gi[1] * 3, None)))
    m.register_full_backward_pre_hook(noting(log, "pre"))
    product, label, total, detached = m(x, y, "name")
    log.append([label, detached.requires_grad, total.requires_grad])
    (product.sum() + 3 * total).backward()
    return x.grad, y.grad


@scenario
def full_backward_of_some(T: Any, log: list[Any]) -> Any:
    m, x, y = pair(T), ones(T), ones(T, grad=False)
    m.register_full_backward_hook(noting(log, "full"))
    m(x, y)[2].backward()
    m(y, x)[0].sum().backward()
    return x.grad


@scenario
def full_backward_twice(T: Any, log: list[Any]) -> Any:
    m, x = affine(T), ones(T)
    m.register_full_backward_hook(noting(log, "full"))
    out = m(x).sum()
    out.backward(retain_graph=True)
    out.backward()
    return x.grad


@scenario
def full_backward_of_the_second_order(T: Any, log: list[Any]) -> Any:
    m, x = affine(T), ones(T)
    m.register_full_backward_hook(noting(log, "full"))
    (g,) = T.autograd.grad((m(x) ** 2).sum(), x, create_graph=True)
    g.sum().backward()
    return x.grad, m.weight.grad


@scenario
def full_backward_without_inputs(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_full_backward_hook(noting(log, "full"))
    m(ones(T, grad=False)).sum().backward()
    return m.weight.grad


@scenario
def full_backward_without_inputs_refuses_gradients(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_full_backward_hook(lambda m, gi, go: (T.ones(2),))
    m(ones(T, grad=False)).sum().backward()


@scenario
def full_backward_of_a_wrong_number(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    m(ones(T)).sum().backward()


@scenario
def full_backward_pre_of_a_wrong_number(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_full_backward_pre_hook(lambda m, go: (go[0], go[0]))
    m(ones(T)).sum().backward()


@scenario
def full_backward_without_grad_mode(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_full_backward_hook(noting(log, "full"))
    with T.no_grad():
        return m(ones(T)).requires_grad


@scenario
def full_backward_of_a_dict(T: Any, log: list[Any]) -> Any:
    class Named(T.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return {"x": x * 2}

    m, x = Named(), ones(T)
    m.register_full_backward_hook(noting(log, "full"))
    m(x)["x"].sum().backward()
    return x.grad


@scenario
def full_backward_in_a_chain(T: Any, log: list[Any]) -> Any:
    m, x = T.nn.Sequential(affine(T), T.nn.Tanh(), affine(T)), T.zeros(2, requires_grad=True)
    for child in m:
        child.register_full_backward_hook(noting(log, "full"))
    m.register_full_backward_hook(noting(log, "all"))
    m(x).sum().backward()
    return x.grad


@scenario
def old_backward(T: Any, log: list[Any]) -> Any:
    m, x = T.nn.Tanh(), T.zeros(2, requires_grad=True)
    m.register_backward_hook(noting(log, "old", lambda gi, go: (gi[0] * 3,)))
    m(x * 1).sum().backward()
    return x.grad


@scenario
def old_backward_warns(T: Any, log: list[Any]) -> Any:
    for m, args in ((pair(T), (ones(T), ones(T))), (pair(T), (ones(T), ones(T), "name")), (affine(T), (ones(T),))):
        m.register_backward_hook(lambda *_: None)
        m(*args)


@scenario
def both_kinds(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_backward_hook(lambda *_: None)
    m.register_full_backward_hook(lambda *_: None)


@scenario
def both_kinds_the_other_way(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_full_backward_hook(lambda *_: None)
    m.register_backward_hook(lambda *_: None)


@scenario
def hooks_of_all_modules(T: Any, log: list[Any]) -> Any:
    module = T.nn.modules.module
    m, x = T.nn.Sequential(affine(T), T.nn.Tanh()), ones(T)
    m[0].register_forward_hook(noting(log, "own"))
    m[0].register_forward_pre_hook(noting(log, "own pre"))
    m[0].register_full_backward_hook(noting(log, "own back"))
    handles = [
        module.register_module_forward_pre_hook(noting(log, "pre", lambda args: args)),
        module.register_module_forward_hook(noting(log, "post", lambda args, out: out * 2)),
        module.register_module_forward_hook(noting(log, "kw"), with_kwargs=True),
        module.register_module_full_backward_pre_hook(noting(log, "back pre")),
        module.register_module_full_backward_hook(noting(log, "back")),
    ]
    try:
        m(x).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    log.append("removed")
    m[1](x)
    return x.grad


@scenario
def failures_of_all_modules(T: Any, log: list[Any]) -> Any:
    with T.nn.modules.module.register_module_forward_hook(noting(log, "always"), always_call=True):
        failing(T)(ones(T))


@scenario
def registrations(T: Any, log: list[Any]) -> Any:
    module = T.nn.modules.module

    def note(kind: str) -> Callable[..., Any]:
        return lambda m, name, value: log.append([kind, name, type(value).__name__])

    def double(m: Any, name: str, value: Any) -> Any:
        return T.nn.Parameter(value.detach() * 2)

    handles = [
        module.register_module_parameter_registration_hook(note("parameter")),
        module.register_module_parameter_registration_hook(double),
        module.register_module_buffer_registration_hook(note("buffer")),
        module.register_module_module_registration_hook(note("module")),
    ]
    try:
        m = T.nn.Module()
        m.weight = T.nn.Parameter(T.ones(1))
        m.register_parameter("bias", T.nn.Parameter(T.ones(1)))
        m.register_parameter("nothing", None)
        m.register_buffer("count", T.zeros(1))
        m.count = T.ones(1)
        m.child = T.nn.Module()
        m.add_module("other", T.nn.Module())
        m.child = None
    finally:
        for handle in handles:
            handle.remove()
    return m.weight, m.bias


@scenario
def hooks_of_a_copy(T: Any, log: list[Any]) -> Any:
    m = affine(T)
    m.register_forward_hook(noting([], "elsewhere", lambda args, out: out * 3))
    return copy.deepcopy(m)(ones(T))


@pytest.mark.parametrize("name", scenario)
def test_hooks(name: str) -> None:
    logs: dict[str, list[Any]] = {"torchlite": [], "torch": []}
    assert_the_same(lambda T: scenario[name](T, logs[T.__name__]))
    assert close(logs["torchlite"], logs["torch"])
