"""What `compile`, `Module.compile` and `torch.compiler` accept, and the errors for the rest."""

import copy
import inspect

import pytest
from eager_and_compiled import captured, net, same

import torchlite as torch


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "fastest"}, RuntimeError, "Unrecognized mode=fastest.*reduce-overhead"),
        ({"mode": "default", "options": {}}, RuntimeError, "Either mode or options"),
        ({"options": {"no_such": 1}}, RuntimeError, "Unexpected optimization option no_such.*max_autotune"),
        ({"backend": "tvm"}, ValueError, "backend must be one of 'inductor', 'eager', got 'tvm'"),
        ({"backend": lambda graph, _inputs: graph}, ValueError, "graphs are given to no other function"),
        ({"dynamic": "yes"}, TypeError, "dynamic must be None, True or False, got 'yes'"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        torch.compile(lambda x: x, **arguments)
    with pytest.raises(error, match=message):
        torch.compile(**arguments)(lambda x: x)


@pytest.mark.parametrize("mode", [None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"])
def test_modes_and_what_goes_with_them(mode):
    f = torch.compile(lambda x: x * 2, mode=mode, dynamic=True)
    for _ in range(3):
        same(f(torch.ones(2)), torch.full((2,), 2.0))
    assert captured(f)


def test_options_of_pytorch_are_accepted():
    options = {"epilogue_fusion": True, "max-autotune": True, "triton.cudagraphs": False}
    f = torch.compile(lambda x: x + 1, options=options)
    same([f(torch.ones(2)) for _ in range(3)][-1], torch.full((2,), 2.0))


def test_a_module_is_compiled_in_place():
    model, x = net(), torch.ones(2, 6)
    expected = model(x)
    assert model.compile(fullgraph=True) is None
    names = list(model.state_dict())
    for _ in range(3):
        same(model(x), expected)
    assert captured(model._compiled_call_impl)
    assert names == list(net().state_dict())
    seen = []
    handle = model.register_forward_hook(lambda _module, _inputs, out: seen.append(out.shape) or out * 2)
    with pytest.raises(RuntimeError, match="can't be captured"):
        model(x)
    handle.remove()
    twin = copy.deepcopy(model)
    assert twin._compiled_call_impl is None
    same(twin(x), expected)
    with pytest.raises(RuntimeError, match="Unrecognized mode"):
        model.compile(mode="fastest")


def test_a_compiled_module_inside_of_a_compiled_step():
    model, x = net(), torch.ones(2, 6)
    model.compile()
    step = torch.compile(lambda x: model(x).sum())
    results = [step(x) for _ in range(3)]
    same(results[0].detach(), results[-1].detach())
    assert captured(step)


@pytest.mark.parametrize("how", ["plain", "decorator", "module"])
def test_what_is_disabled_keeps_what_calls_it_uncompiled(how):
    if how == "plain":
        inner = torch.compiler.disable(torch.exp, reason="it prints")
    elif how == "decorator":
        inner = torch.compiler.disable(recursive=False, reason="it prints")(torch.exp)
    else:
        inner = torch.compiler.disable(torch.nn.Softplus(), reason="it prints")
    f = torch.compile(lambda x: inner(x) * 2)
    with pytest.warns(UserWarning, match="must not be captured .it prints"):
        results = [f(torch.ones(2)) for _ in range(3)]
    same(results[0], results[-1])
    with pytest.raises(AssertionError):
        torch.compiler.disable(3)


def test_stances():
    calls = []
    f = torch.compile(lambda x: (calls.append(1) if torch.compiler.is_compiling() else None, x * 2)[1])
    x = torch.ones(2)
    with torch.compiler.set_stance("fail_on_recompile"):
        f(x)
        with pytest.raises(RuntimeError, match="fail_on_recompile"):
            f(x)
    g = torch.compile(lambda x: x * 2)
    for _ in range(3):
        g(x)
    with torch.compiler.set_stance("eager_on_recompile"):
        for _ in range(3):
            g(torch.ones(3))
    assert len(g.variants) == 1

    @torch.compiler.set_stance("force_eager")
    def run(function):
        return [function(torch.ones(4)) for _ in range(3)]

    run(g)
    assert len(g.variants) == 1
    g(torch.ones(3))
    assert len(g.variants) == 2
    with pytest.raises(RuntimeError, match=r"invalid torch\.compile stance"):
        torch.compiler.set_stance("eager")


def test_the_rest_of_torch_compiler():
    assert torch.compiler.list_backends() == ["inductor"]
    assert not torch.compiler.is_compiling()
    assert not torch.compiler.is_dynamo_compiling()
    assert not torch.compiler.is_exporting()
    assert torch.compiler.allow_in_graph(torch.exp) is torch.exp
    assert torch.compiler.cudagraph_mark_step_begin() is None
    f = torch.compiler.compile(lambda x: x * 2)
    for _ in range(2):
        f(torch.ones(2))
    assert captured(f)
    torch.compiler.reset()
    assert not f.variants


@pytest.mark.parametrize("name", torch.compiler.__all__)
def test_names_and_parameters_are_those_of_pytorch(name):
    pytorch = pytest.importorskip("torch")
    ours, theirs = getattr(torch.compiler, name), getattr(pytorch.compiler, name)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
