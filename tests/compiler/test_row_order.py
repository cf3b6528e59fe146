"""Copies of rows into another order, which stay only where something needs that order."""

import numpy as np
import pytest

import torchlite as torch
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes import leave_rows
from torchlite.ir import REGISTRY, Aval
from torchlite.nn import functional as F

torch.vmap  # noqa: B018 - loads every module that registers operators
F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
STEPS, SAMPLES, WIDTH, CLASSES = 3, 4, 5, 2
COUNT = STEPS * SAMPLES


class Building:
    """A graph that begins with the states of a recurrent net as rows, sample after sample."""

    def __init__(self):
        shapes = (STEPS, SAMPLES, WIDTH), (CLASSES, WIDTH), (CLASSES,), (COUNT, CLASSES)
        self.states, self.weight, self.bias, self.others = inputs = tuple(Value(Aval(shape, F32)) for shape in shapes)
        self.target = Value(Aval((COUNT,), I64))
        self.inputs = (*inputs, self.target)
        self.nodes = []
        turned = self.add("permute", self.states, dims=(1, 0, 2))
        self.copy = self.add("clone", turned, order=())
        self.rows = self.add("view", self.copy, shape=(COUNT, WIDTH))

    def several(self, name, *inputs, **params):
        op = REGISTRY[name]
        results = op.infer(*(v.aval for v in inputs), **params)
        node = Node(op, inputs, params, several=not isinstance(results, Aval))
        node.outputs = tuple(Value(aval, node) for aval in (results if node.several else (results,)))
        self.nodes.append(node)
        return node.outputs

    def add(self, name, *inputs, **params):
        return self.several(name, *inputs, **params)[0]

    def logits(self):
        return self.add("linear", self.rows, self.weight, self.bias)

    def graph(self, *outputs):
        return Graph("graph", self.inputs, tuple(self.nodes), outputs)


def constant(x):
    return Value(Aval((), F32), constant=np.asarray(x, F32))


def check(before, copies):
    """That so many copies of rows are left, and that the results are the same."""
    after = leave_rows(before)
    names = [node.op.name for node in after.nodes]
    turned = [n for n in after.nodes if n.op.name == "permute" and len(n.inputs[0].shape) == 3]
    assert len(turned) == copies
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=v.aval.shape).astype(F32) for v in before.inputs[:-1]]
    target = np.array([0, 1, 1, 0, -100, 1, 0, 0, 1, 1, 1, 0])
    for got, expected in zip(after.function()(*arrays, target), before.function()(*arrays, target), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    return names


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_linear_layer_and_a_loss_take_rows_as_they_lie_and_give_such_gradients(reduction):
    b = Building()
    how = {"ignore_index": -100, "reduction": reduction}
    logits = b.logits()
    loss, lse, count = b.several("cross_entropy", logits, b.target, **how)
    g = b.add("cross_entropy_grad", constant(1), logits, b.target, lse, count, **how)
    columns = b.add("permute", g, dims=(1, 0))
    back = b.add("view", b.add("matmul", g, b.weight), shape=(SAMPLES, STEPS, WIDTH))
    cotangent = b.add("exp", b.add("permute", back, dims=(1, 0, 2)))
    by_weight = b.add("exp", b.add("matmul", columns, b.rows))
    graph = b.graph(loss, count, by_weight, b.add("sum", g, dims=(0,), keepdim=False), cotangent)
    names = check(graph, copies=0)
    assert names.count("permute") == 2  # of the class indices, and of rows to columns
    assert check(b.graph(lse, cotangent), copies=2).count("cross_entropy") == 1


def test_operations_on_elements_take_rows_as_they_lie():
    b = Building()
    three = b.add("mul", b.add("tanh", b.copy), constant(2))
    x = b.add("view", three, shape=(COUNT, WIDTH))
    y = b.add("add", b.add("linear", b.add("mul", x, b.rows), b.weight), b.bias)
    check(b.graph(b.add("sum", y, dims=(0,), keepdim=True), b.add("sum", y, dims=(0, 1), keepdim=False)), copies=0)


NEED_THE_ORDER = {
    "a result": lambda b: b.logits(),
    "a result beside a sum": lambda b: (b.add("sum", b.logits(), dims=(0,), keepdim=False), b.rows),
    "numbers of the rows": lambda b: b.add("sum", b.add("mul", b.logits(), b.others), dims=(0,), keepdim=False),
    "losses of the rows": lambda b: b.add("cross_entropy", b.logits(), b.target, ignore_index=-100, reduction="none"),
    "sums along rows": lambda b: b.add("sum", b.logits(), dims=(1,), keepdim=False),
    "the last rows": lambda b: b.add("sum", b.add("select", b.rows, index=(slice(2, None),)), dims=(0,), keepdim=False),
    "rows of another length": lambda b: b.add(
        "sum", b.add("view", b.logits(), shape=(COUNT // 2, 2 * CLASSES)), dims=(0,), keepdim=False
    ),
    "products with the rows": lambda b: b.add("matmul", b.add("permute", b.logits(), dims=(1, 0)), b.others),
    "products of the rows": lambda b: b.add("matmul", b.rows, b.add("permute", b.rows, dims=(1, 0))),
    "a sum over samples": lambda b: b.add("sum", b.copy, dims=(0,), keepdim=False),
    "rows in a third order": lambda b: b.add("permute", b.copy, dims=(2, 0, 1)),
    "their places": lambda b: b.add("cumsum", b.rows, dim=0),
}


@pytest.mark.parametrize("case", NEED_THE_ORDER)
def test_what_needs_the_order_of_rows_has_it(case):
    b = Building()
    found = NEED_THE_ORDER[case](b)
    before = b.graph(*(found if isinstance(found, tuple) else (found,)))
    names = check(before, copies=1 + (case == "rows in a third order"))
    assert names == [node.op.name for node in before.nodes]


@pytest.mark.parametrize("returned", [False, True])
def test_a_net_that_takes_samples_first_is_trained_without_copies_of_its_states(returned):
    torch.manual_seed(0)
    layer, head = torch.nn.LSTM(6, 8, batch_first=True), torch.nn.Linear(8, 5)
    parameters = [*layer.parameters(), *head.parameters()]
    x, target = torch.randn(3, 7, 6), torch.randint(0, 5, (3, 7))

    def step():
        logits = head(layer(x)[0])
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
        gradients = torch.autograd.grad(loss, parameters)
        return (loss, *gradients, *([logits.detach()] if returned else []))

    compiled = torch.compile(step, fullgraph=True)
    for _ in range(3):
        results = compiled()
    for got, expected in zip(results, step(), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert ("# float32[3, 7, 8]" in str(compiled.graph)) == returned
