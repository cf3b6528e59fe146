"""Each pass alone, on small graphs."""

import numpy as np
import pytest

import torchlite as torch
from torchlite.backends.native import recurrent
from torchlite.compiler.graph import Graph, Node, Value
from torchlite.compiler.passes import (
    cancel_copies,
    cancel_views,
    fold_constants,
    join_parts,
    keep_slopes,
    leave_out_zero_states,
    mask_before_spreading,
    multiply_cotangents,
    multiply_inputs,
    multiply_tables,
    scale_weights,
    share_sums,
    sum_before_spreading,
    sum_gates,
    sum_tables,
    take_gate_rows,
    without_dead_code,
    without_duplicates,
)
from torchlite.ir import REGISTRY, Aval
from torchlite.ops.windows import Window

torch.vmap  # noqa: B018 - loads every module that registers operators
F32 = np.dtype(np.float32)


class Building:
    """A graph under construction."""

    def __init__(self, *shapes):
        self.inputs = tuple(Value(Aval(shape, F32)) for shape in shapes)
        self.nodes = []

    def add(self, name, *inputs, **params):
        op = REGISTRY[name]
        node = Node(op, inputs, params)
        node.outputs = (Value(op.infer(*(v.aval for v in inputs), **params), node),)
        self.nodes.append(node)
        return node.outputs[0]

    def graph(self, *outputs):
        return Graph("graph", self.inputs, tuple(self.nodes), outputs)


def constant(x):
    array = np.asarray(x, F32)
    return Value(Aval(array.shape, array.dtype), constant=array)


def operators(graph):
    return [node.op.name for node in graph.nodes]


def test_dead_code_goes():
    b = Building((2,))
    kept = b.add("exp", b.inputs[0])
    b.add("log", kept)
    assert operators(without_dead_code(b.graph(kept))) == ["exp"]


def test_constants_are_folded():
    b = Building((2,))
    c = b.add("exp", constant(0.0))
    graph = fold_constants(b.graph(b.add("mul", b.inputs[0], b.add("add", c, constant(2.0)))))
    assert operators(graph) == ["mul"]
    assert graph.nodes[0].inputs[1].constant == 3


def test_duplicates_are_computed_once():
    b = Building((2,))
    x = b.inputs[0]
    graph = without_duplicates(b.graph(b.add("add", b.add("exp", x), b.add("exp", x)), b.add("exp", b.add("neg", x))))
    assert operators(graph) == ["exp", "add", "neg", "exp"]


def test_constants_of_one_value_are_one_but_those_of_two_zeros_are_not():
    b = Building((2,))
    x = b.inputs[0]
    outs = [b.add("div", x, constant(c)) for c in (1.0, 1.0, 0.0, -0.0)]
    assert len(without_duplicates(b.graph(*outs)).nodes) == 3


def test_views_that_undo_each_other_go():
    b = Building((2, 3))
    x = b.inputs[0]
    back = b.add("permute", b.add("permute", x, dims=(1, 0)), dims=(1, 0))
    again = b.add("view", b.add("view", x, shape=(6,)), shape=(2, 3))
    graph = without_dead_code(cancel_views(b.graph(back, again, b.add("expand", x, shape=(2, 3)))))
    assert operators(graph) == []
    assert graph.outputs == (x, x, x)


def test_only_operations_that_read_something_else_are_made_again():
    b = Building((2, 3))
    first = b.add("exp", b.inputs[0])
    second = b.add("neg", b.add("view", first, shape=(2, 3)))
    third = b.add("add", second, first)
    graph = cancel_views(b.graph(third))
    made = [node for node in graph.nodes if node not in b.nodes]
    assert operators(graph) == ["exp", "neg", "add"]
    assert made == list(graph.nodes[1:])
    assert [node.inputs for node in made] == [(first,), (made[0].outputs[0], first)]
    assert second.node.inputs != (first,)


def test_copies_that_lie_as_their_original_go():
    b = Building((2, 3))
    x = b.inputs[0]
    graph = cancel_copies(b.graph(b.add("clone", b.add("exp", x), order=None), b.add("clone", x, order=())))
    assert operators(graph) == ["exp", "clone"]


def test_a_graph_runs_as_it_reads():
    b = Building((2, 3))
    graph = b.graph(b.add("sum", b.add("permute", b.inputs[0], dims=(1, 0)), dims=(1,), keepdim=False))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (got,) = graph.function()(x)
    np.testing.assert_array_equal(got, x.sum(0))
    assert "float32[3, 2]" in str(graph)


def normalized(weight_shape, *, sums):
    """The backward part of a batch norm: g = a * weight, and with ``sums`` the gradients of weight and bias."""
    b = Building((6, 3, 4, 5), (6, 3, 4, 5), (1, 3, 1, 1), weight_shape)
    a, x, scale, weight = b.inputs
    outputs = []
    if sums:
        outputs.append(b.add("sum_of_products", a, x, shape=(1, 3, 1, 1)))
        outputs.append(b.add("sum", a, dims=(0, 2, 3), keepdim=True))
    g = b.add("mul", a, weight)
    return b.graph(b.add("standardize_grad", g, x, scale, dims=(0, 2, 3)), *outputs)


def test_sums_of_a_batch_norm_are_shared():
    graph = normalized((1, 3, 1, 1), sums=True)
    rewritten = without_dead_code(share_sums(graph))
    assert "standardize_grad" not in operators(rewritten)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=v.aval.shape).astype(np.float32) for v in graph.inputs]
    for got, expected in zip(rewritten.function()(*arrays), graph.function()(*arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def test_sums_are_not_shared_where_they_are_missing_or_weights_differ():
    for graph in (normalized((1, 3, 1, 1), sums=False), normalized((6, 3, 4, 5), sums=True)):
        assert operators(share_sums(graph)) == operators(graph)


def spread_and_masked(*, same: bool, stride=(2, 2)):
    window = Window.of((2, 2), stride)
    b = Building((2, 3, 6, 6), (2, 3, 6, 6))
    x, other = b.inputs
    y = b.add("relu", x)
    return b.graph(b.add("relu_grad", spread(b, y, window), y if same else other))


def spread(b, y, window):
    """Numbers spread to where max-pooling of ``y`` has found its own."""
    op = REGISTRY["max_pool"]
    node = Node(op, (y,), {"window": window})
    node.outputs = tuple(Value(aval, node) for aval in op.infer(y.aval, window=window))
    b.nodes.append(node)
    pooled, places = node.outputs
    return b.add("spread_to_windows", b.add("exp", pooled), places, window=window, size=y.shape[2:])


@pytest.mark.parametrize("stride", [(2, 2), (1, 1)])
def test_a_mask_is_put_on_before_a_gradient_is_spread(stride):
    graph = spread_and_masked(same=True, stride=stride)
    rewritten = without_dead_code(mask_before_spreading(graph))
    assert operators(rewritten)[-2:] == ["relu_grad", "spread_to_windows"]
    arrays = np.random.default_rng(0).normal(size=(2, 2, 3, 6, 6)).astype(np.float32)
    arrays[0, 0, :, :3] -= 3  # whole windows without a positive number
    arrays[0, 1, 0, 4, 4] = np.nan
    np.testing.assert_array_equal(rewritten.function()(*arrays)[0], graph.function()(*arrays)[0])


def test_a_mask_of_other_numbers_stays_where_it_is():
    graph = spread_and_masked(same=False)
    assert operators(mask_before_spreading(graph)) == operators(graph)


@pytest.mark.parametrize(("dims", "before"), [((0, 2, 3), True), ((2, 3), True), ((0, 1), False), ((3,), False)])
def test_a_sum_is_taken_before_a_gradient_is_spread(dims, before):
    """The gradient of a bias, for which spread numbers would be read once more."""
    b = Building((2, 3, 6, 6))
    total = b.add("sum", spread(b, *b.inputs, Window.of((3, 3), (2, 2), (1, 1))), dims=dims, keepdim=False)
    graph = b.graph(total)
    rewritten = without_dead_code(sum_before_spreading(graph))
    assert ("spread_to_windows" not in operators(rewritten)) == before
    (array,) = np.random.default_rng(0).normal(size=(1, 2, 3, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(rewritten.function()(array)[0], graph.function()(array)[0], rtol=1e-5)


def split_gradients(b, *parts, shape):
    """0 + g₀ + g₁ + …, each g being zero but for a part of the last dimension."""
    total = None
    for start, stop, g in parts:
        index = (slice(None), slice(start, stop))
        embedded = b.add("embed_view", g, recipe=((REGISTRY["select"], {"index": index}),), shape=shape)
        total = embedded if total is None else b.add("add", total, embedded)
    return b.graph(total)


def agrees(graph, rewritten, *arrays):
    for got, expected in zip(rewritten.function()(*arrays), graph.function()(*arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_gradients_of_parts_become_the_whole():
    b = Building((4, 2), (4, 3), (4, 1))
    last, first, middle = b.inputs
    graph = split_gradients(b, (4, 6, last), (0, 3, first), (3, 4, middle), shape=(4, 6))
    joined = without_dead_code(join_parts(graph))
    assert operators(joined) == ["cat"]
    assert joined.nodes[0].inputs == (first, middle, last)
    rng = np.random.default_rng(0)
    agrees(graph, joined, *(rng.normal(size=v.aval.shape).astype(np.float32) for v in graph.inputs))


def test_parts_that_overlap_or_leave_gaps_are_added_up():
    for ranges in (((0, 3), (2, 6)), ((0, 2), (3, 6)), ((0, 3),)):
        b = Building(*((4, stop - start) for start, stop in ranges))
        parts = [(start, stop, g) for (start, stop), g in zip(ranges, b.inputs, strict=True)]
        graph = split_gradients(b, *parts, shape=(4, 6))
        assert operators(join_parts(graph)) == operators(graph)


def looked_up(rows, taken):
    """An embedding of ``rows`` rows, a linear layer on those that are ``taken``, and the gradients of both for cotangents g."""
    b = Building((rows, 6), (5, 6), (*taken, 5))
    table, weight, g = b.inputs
    numbers = Value(Aval(taken, np.dtype(np.int64)))
    b.inputs = (*b.inputs, numbers)
    x = b.add("index", table, numbers, spec=("tensor",))
    count = int(np.prod(taken))
    flat, g = b.add("view", x, shape=(count, 6)), b.add("view", g, shape=(count, 5))
    y = b.add("linear", flat, weight)
    of_weight = b.add("matmul", b.add("permute", g, dims=(1, 0)), flat)
    of_rows = b.add("view", b.add("matmul", g, weight), shape=(*taken, 6))
    of_table = b.add("index_add", of_rows, numbers, spec=("tensor",), shape=(rows, 6))
    return b.graph(y, of_weight, of_table)


def test_a_small_table_is_multiplied_before_its_rows_are_taken():
    graph = looked_up(3, (4, 5))
    multiplied = without_dead_code(multiply_tables(graph))
    products = [node for node in multiplied.nodes if node.op.name in ("linear", "matmul")]
    assert all(20 not in v.aval.shape for node in products for v in (*node.inputs, *node.outputs))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=v.aval.shape).astype(np.float32) for v in graph.inputs[:3]]
    agrees(graph, multiplied, *arrays, rng.integers(0, 3, (4, 5)))


@pytest.mark.parametrize(("rows", "length"), [(3, 3), (6, 20)])
def test_the_sum_of_many_rows_is_that_of_a_small_table_of_their_sums(rows, length):
    b = Building((20, 5))
    (g,) = b.inputs
    numbers = Value(Aval((20,), np.dtype(np.int64)))
    b.inputs = (g, numbers)
    table = b.add("index_add", g, numbers, spec=("tensor",), shape=(rows, 5))
    graph = b.graph(table, b.add("sum", g, dims=(0,), keepdim=False))
    summed = sum_tables(graph)
    assert [node.inputs[0].shape[0] for node in summed.nodes if node.op.name == "sum"] == [length]
    rng = np.random.default_rng(0)
    agrees(graph, summed, rng.normal(size=(20, 5)).astype(np.float32), rng.integers(0, rows, 20))


def test_a_large_table_is_not_multiplied():
    graph = looked_up(6, (4, 5))
    assert operators(multiply_tables(graph)) == operators(graph)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_the_slope_of_an_activation_is_computed_beside_it(name):
    params = {"approximate": "none"} if name == "gelu" else {}
    b = Building((3, 4), (3, 4))
    x = b.add("exp", b.inputs[0])
    y = b.add(name, x, **params)
    out = b.add(f"{name}_grad", b.add("mul", y, b.inputs[1]), x, **params)
    graph = b.graph(y, out)
    kept = keep_slopes(graph)
    assert operators(kept) == ["exp", f"{name}_grad", name, "mul", "mul"]
    assert kept.nodes[1].inputs[1] is x
    given = [np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32) for _ in range(2)]
    for expected, got in zip(graph.function()(*given), kept.function()(*given), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_slopes_that_are_wanted_alone_or_by_another_formula_stay():
    b = Building((3,), (3,))
    g, x = b.inputs
    exact = b.add("gelu", x, approximate="none")
    graph = b.graph(exact, b.add("gelu_grad", g, x, approximate="tanh"), b.add("silu_grad", g, x))
    assert operators(keep_slopes(graph)) == ["gelu", "gelu_grad", "silu_grad"]


def test_scales_and_shifts_become_part_of_constant_weights():
    from torchlite.compiler.inference import captured_inference

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1, bias=False),
        torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(72, 5), torch.nn.BatchNorm1d(5),
    )  # fmt: skip
    for _ in range(3):
        model(torch.randn(8, 3, 8, 8))
    model.eval()
    x = torch.randn(2, 3, 8, 8)
    graph = captured_inference(model, (x,)).graph
    folded = scale_weights(graph)
    names = [node.op.name for node in without_dead_code(folded).nodes]
    assert [node.op.name for node in graph.nodes].count("affine") == 3
    assert names == ["convolution", "relu", "convolution", "view", "linear"]
    (got,) = folded.function()(x.numpy())
    np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_product_that_others_read_keeps_its_weights():
    from torchlite.compiler.inference import captured_inference

    conv, norm = torch.nn.Conv2d(3, 4, 1).eval(), torch.nn.BatchNorm2d(4).eval()

    def twice(x):
        y = conv(x)
        return norm(y) + y

    graph = captured_inference(twice, (torch.randn(2, 3, 4, 4),)).graph
    assert [n.op.name for n in scale_weights(graph).nodes] == [n.op.name for n in graph.nodes]


def lstm_gradient(b, kept, c0, w_hh, cs, g):
    """The cotangents of gates of an LSTM, and as rows of a matrix."""
    op = REGISTRY["lstm_grad"]
    node = Node(
        op, (kept, c0, w_hh, cs, g), {"given": (True, False), "batch_sizes": None, "reverse": False}, several=True
    )
    node.outputs = tuple(Value(aval, node) for aval in op.infer(*(v.aval for v in node.inputs), **node.params))
    b.nodes.append(node)
    steps, samples, gates = kept.shape
    return b.add("view", b.add("clone", node.outputs[0], order=()), shape=(steps * samples, gates))


def test_gradients_of_weights_are_summed_where_the_cotangents_of_gates_are(monkeypatch):
    monkeypatch.setattr("torchlite.compiler.passes.gate_sums.sums_pay", lambda _shape, _columns: True)
    b = Building((3, 2, 12), (2, 3), (12, 3), (3, 2, 3), (3, 2, 3), (3, 2, 5), (6, 4))
    x, y = b.inputs[5:]
    d = lstm_gradient(b, *b.inputs[:5])
    turned = b.add("permute", d, dims=(1, 0))
    late = b.add("view", b.add("exp", d), shape=(6, 12))
    sums = [
        b.add("matmul", turned, b.add("view", x, shape=(6, 5))),
        b.add("matmul", turned, y),
        b.add("matmul", turned, late),
    ]
    before = b.graph(*sums, b.add("exp", sums[0]))
    after = sum_gates(before)
    names = [node.op.name for node in after.nodes]
    assert names.count("lstm_grad_sums") == 1
    assert names.count("matmul") == 1  # with what is only known after the gradient
    assert "lstm_grad" not in names
    arrays = [np.random.default_rng(0).uniform(0.1, 0.9, v.shape).astype(np.float32) for v in before.inputs]
    for got, expected in zip(after.function()(*arrays), before.function()(*arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def lstm(b, gates, *states):
    """The results of an LSTM."""
    op, params = REGISTRY["lstm"], {"batch_sizes": (2, 2, 1), "reverse": False}
    node = Node(op, (gates, *states), params, several=True)
    node.outputs = tuple(Value(aval, node) for aval in op.infer(*(v.aval for v in node.inputs), **params))
    b.nodes.append(node)
    return node.outputs


@pytest.mark.parametrize("others", [False, True])
def test_gates_that_an_lstm_alone_takes_from_a_table_stay_there(monkeypatch, others):
    monkeypatch.setattr("torchlite.compiler.passes.gate_rows.rows_pay", lambda _shape, _rows: True)
    b = Building((4, 12), (2, 3), (2, 3), (12, 3))
    table, *states = b.inputs
    numbers = Value(Aval((6,), np.dtype(np.int64)))
    b.inputs = (*b.inputs, numbers)
    rows = b.add("index", table, numbers, spec=("tensor",))
    graph = b.graph(*lstm(b, b.add("view", rows, shape=(3, 2, 12)), *states), *([rows] if others else []))
    taken = without_dead_code(take_gate_rows(graph))
    assert operators(taken) == (operators(graph) if others else ["view", "lstm_of_rows"])
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=v.aval.shape).astype(np.float32) for v in graph.inputs[:4]]
    agrees(graph, taken, *arrays, np.array([3, 0, -1, 1, 1, 2]))


@pytest.mark.parametrize("why_not", ["", "others", "no bias", "does not pay"])
def test_an_lstm_multiplies_inputs_of_which_all_its_gates_come(monkeypatch, why_not):
    monkeypatch.setattr(
        "torchlite.compiler.passes.gate_products.inputs_pay",
        lambda shape, columns: (shape, columns) == ((3, 2, 3), 5) and why_not != "does not pay",
    )
    b = Building((6, 5), (12, 5), (12,), (2, 3), (2, 3), (12, 3))
    linear = b.add("linear", *b.inputs[: 2 if why_not == "no bias" else 3])
    results = lstm(b, b.add("view", linear, shape=(3, 2, 12)), *b.inputs[3:])
    graph = b.graph(*results, *([linear] if why_not == "others" else []))
    after = without_dead_code(multiply_inputs(graph))
    assert operators(after) == (operators(graph) if why_not else ["view", "lstm_of_inputs"])
    rng = np.random.default_rng(0)
    agrees(graph, after, *(rng.normal(size=v.aval.shape).astype(np.float32) for v in graph.inputs))


def test_the_gradient_of_an_lstm_multiplies_the_cotangents_of_its_gates(monkeypatch):
    monkeypatch.setattr(
        "torchlite.compiler.passes.gate_cotangents.inputs_gradient_pays",
        lambda shape, columns: shape == (3, 2, 3) and columns < 9,
    )
    b = Building((3, 2, 12), (2, 3), (12, 3), (3, 2, 3), (3, 2, 3), (12, 5), (12, 7), (12, 9))
    d = lstm_gradient(b, *b.inputs[:5])
    b.add("matmul", d, b.inputs[6])  # which nobody reads
    wide = b.add("matmul", d, b.inputs[7])
    late = b.add("matmul", d, b.add("exp", b.inputs[5]))
    sums = [b.add("sum", d, dims=dims, keepdim=False) for dims in ((0,), (1,))]
    graph = b.graph(d, wide, late, *sums, b.add("exp", b.add("matmul", d, b.inputs[5])))
    after = multiply_cotangents(graph)
    assert operators(after) == [
        *("lstm_grad_inputs", "view", "clone", "view"), "matmul", "exp", "matmul", "sum", "exp",
    ]  # fmt: skip
    assert after.outputs[3] is after.nodes[0].outputs[4]
    rng = np.random.default_rng(0)
    agrees(graph, after, *(rng.uniform(0.1, 0.9, v.aval.shape).astype(np.float32) for v in graph.inputs))
    monkeypatch.setattr(
        "torchlite.compiler.passes.gate_cotangents.inputs_gradient_pays", lambda _shape, _columns: False
    )
    assert operators(multiply_cotangents(graph)) == operators(without_dead_code(graph))


@pytest.mark.parametrize(
    ("shape", "columns", "pays"),
    [
        ((5, 64, 32), 7, True),
        ((5, 80, 32), 7, False),  # a processor would have less to do
        ((5, 64, 24), 7, False),
        ((5, 64, 512), 7, False),  # too much for the second-level cache
    ],
)
def test_where_an_lstm_multiplies_its_inputs_itself(monkeypatch, shape, columns, pays):
    monkeypatch.setattr(recurrent, "processors", lambda: 4)
    monkeypatch.setattr(recurrent, "has_tiles", lambda: False)
    assert recurrent.inputs_pay(shape, columns) == pays
    assert not recurrent.inputs_gradient_pays(shape, columns)  # which are no whole vectors
    assert recurrent.inputs_gradient_pays(shape, 16) == pays
    monkeypatch.setattr(recurrent, "has_tiles", lambda: True)
    assert not recurrent.inputs_pay(shape, columns)


def test_gradients_of_weights_are_products_where_their_sums_do_not_pay():
    b = Building((3, 2, 12), (2, 3), (12, 3), (3, 2, 3), (3, 2, 3), (6, 4))
    graph = b.graph(b.add("matmul", b.add("permute", lstm_gradient(b, *b.inputs[:5]), dims=(1, 0)), b.inputs[5]))
    assert sum_gates(graph) is graph


def states_before(b, hs, first, *, reverse):
    """A matrix of the states before each step."""
    parts = [first, b.add("select", hs, index=(slice(1, None) if reverse else slice(None, -1),))]
    joined = b.add("cat", *(parts[::-1] if reverse else parts), dim=0, lengths=(2, 1) if reverse else (1, 2))
    return b.add("view", joined, shape=(6, 3))


@pytest.mark.parametrize("reverse", [False, True])
def test_states_that_are_zeros_are_not_multiplied(reverse):
    b = Building((3, 2, 12), (2, 3), (12, 3), (3, 2, 3), (3, 2, 3), (3, 2, 3))
    turned = b.add("permute", lstm_gradient(b, *b.inputs[:5]), dims=(1, 0))
    before = states_before(b, b.inputs[5], constant(np.zeros((1, 2, 3))), reverse=reverse)
    graph = b.graph(b.add("matmul", turned, before))
    without = without_dead_code(leave_out_zero_states(graph))
    assert "cat" not in operators(without)
    assert without.nodes[-1].inputs[0].shape == (12, 4)
    agrees(graph, without, *(np.random.default_rng(0).uniform(0.1, 0.9, v.shape).astype(F32) for v in graph.inputs))


def test_states_that_are_not_zeros_or_meet_no_cotangents_are_multiplied():
    b = Building((3, 2, 12), (2, 3), (12, 3), (3, 2, 3), (3, 2, 3), (3, 2, 3), (12, 6))
    turned = b.add("permute", lstm_gradient(b, *b.inputs[:5]), dims=(1, 0))
    zero, one = (constant(np.full((1, 2, 3), x)) for x in (0, 1))
    products = [
        b.add("matmul", turned, states_before(b, b.inputs[5], one, reverse=False)),
        b.add("matmul", b.inputs[6], states_before(b, b.inputs[5], zero, reverse=False)),
    ]
    graph = b.graph(*products)
    assert operators(leave_out_zero_states(graph)) == operators(graph)


def test_the_only_step_of_an_lstm_is_multiplied():
    """Else the gradient of its weight would be 0 where the loss is NaN."""
    b = Building((1, 2, 12), (2, 3), (12, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3))
    turned = b.add("permute", lstm_gradient(b, *b.inputs[:5]), dims=(1, 0))
    nothing = b.add("select", b.inputs[5], index=(slice(None, -1),))
    joined = b.add("cat", constant(np.zeros((1, 2, 3))), nothing, dim=0, lengths=(1, 0))
    graph = b.graph(b.add("matmul", turned, b.add("view", joined, shape=(2, 3))))
    assert operators(leave_out_zero_states(graph)) == operators(graph)
