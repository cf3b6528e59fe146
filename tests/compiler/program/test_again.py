"""Which results are computed again, on small graphs."""

import numpy as np

import torchlite as torch
from torchlite.backends.native.bfloat16 import BFLOAT16
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes.moments import take_moments
from torchlite.compiler.program.again import computed_again, given
from torchlite.compiler.program.units import units
from torchlite.ir import REGISTRY, Aval
from torchlite.ops.windows import Window

torch.vmap  # noqa: B018 - loads every module that registers operators
WINDOW = Window.of((3, 3), (1, 1), (1, 1))


def add(nodes, name, *inputs, **params):
    op = REGISTRY[name]
    found = op.infer(*(v.aval for v in inputs), **params)
    node = Node(op, inputs, params, several=type(found) is tuple)
    node.outputs = tuple(Value(aval, node) for aval in (found if node.several else (found,)))
    nodes.append(node)
    return node.outputs if node.several else node.outputs[0]


def normalized(leaves=False):
    """Two convolutions with batch norm and ReLU between them; ``leaves`` says whether the activation is a result."""
    avals = [
        Aval(shape, np.dtype(np.float32)) for shape in ((16, 3, 8, 8), (16, 3, 3, 3), (16, 16, 3, 3), (1, 16, 1, 1))
    ]
    x, first, second, weight = inputs = tuple(map(Value, avals))
    nodes = []
    raw = add(nodes, "convolution", x, first, window=WINDOW, groups=1)
    standard, *_ = add(nodes, "standardize", raw, dims=(0, 2, 3), eps=1e-5)
    active = add(nodes, "relu", add(nodes, "mul", standard, weight))
    out = add(nodes, "convolution", active, second, window=WINDOW, groups=1)
    return take_moments(Graph("f", inputs, tuple(nodes), (out, active) if leaves else (out,)))


def names(nodes):
    return [node.op.name for node in nodes]


def test_an_activation_behind_a_batch_norm_is_computed_again():
    graph = normalized()
    chains = computed_again(graph)
    active = graph.nodes[-1].inputs[0]
    assert names(chains[active]) == ["sub", "mul", "mul", "relu"]
    raw = graph.nodes[0].outputs[0]
    assert raw in given(graph.nodes[-1], chains)
    assert active not in given(graph.nodes[-1], chains)


def test_the_kernels_take_its_sums_and_its_elements():
    found = units(normalized(), (), ())
    assert [unit.root.op.name for unit in found] == ["convolution", "convolution"]
    assert names(found[0].loops[0].reductions) == ["moments"]
    (before,) = found[1].before.values()
    assert names(before.nodes) == ["sub", "mul", "mul", "relu"]


def test_what_leaves_the_program_is_stored():
    graph = normalized(leaves=True)
    assert graph.outputs[1] not in computed_again(graph)
    assert len(computed_again(graph)) == 3  # the rest of the chain
    last = units(graph, (), ())[-1]
    assert list(last.before) == [graph.outputs[1]]  # stored while the convolution reads it


def test_what_is_done_where_the_array_is_stored_is_not_computed_again():
    avals = [Aval(shape, np.dtype(np.float32)) for shape in ((2, 3, 8, 8), (16, 3, 3, 3), (16, 16, 3, 3))]
    x, first, second = inputs = tuple(map(Value, avals))
    nodes = []
    active = add(nodes, "relu", add(nodes, "convolution", x, first, window=WINDOW, groups=1))
    out = add(nodes, "convolution", active, second, window=WINDOW, groups=1)
    assert not computed_again(Graph("f", inputs, tuple(nodes), (out,)))


def test_wide_numbers_are_computed_from_narrow_ones_wherever_they_are_read():
    x = Value(Aval((64, 128), BFLOAT16))
    nodes = []
    narrow = add(nodes, "exp", x)
    wide = add(nodes, "cast", narrow, dtype=np.dtype(np.float32))
    total = add(nodes, "sum", wide, dims=(0,), keepdim=True)
    out = add(nodes, "sub", wide, total)
    chains = computed_again(Graph("f", (x,), tuple(nodes), (out,)))
    assert {v: names(chain) for v, chain in chains.items()} == {wide: ["cast"]}
    assert list(given(nodes[-1], chains)) == [narrow, total]
    assert not computed_again(Graph("f", (x,), tuple(nodes), (out, wide)))


def test_wide_numbers_that_a_reader_spreads_out_lie_in_memory():
    present = torch.rand(4, 3) > 0.3
    x = torch.randn(4, 3, 5, requires_grad=True)

    def f():
        return torch.autograd.grad((x * present.unsqueeze(-1).float()).exp().sum(), [x])[0]

    compiled = torch.compile(f, fullgraph=True)
    for _ in range(3):
        np.testing.assert_allclose(compiled().numpy(), f().numpy(), rtol=1e-6)
