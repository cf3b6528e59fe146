"""Attention, normalisation, losses, embeddings and recurrent layers in compiled functions: eager's numbers, and the kernels used."""

from functools import partial
from itertools import product

import compiled_together
import numpy as np
import pytest

import torchlite as torch
import torchlite.nn.functional as F
from torchlite.backends.native import toolchain
from torchlite.backends.native.bfloat16 import has_tiles
from torchlite.dispatch import apply
from torchlite.ir import REGISTRY
from torchlite.ops import recurrent

COMPILED = toolchain.enabled()


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def check(function, *tensors, kernels=()):
    """Compare results and gradients of a compiled function with the uncompiled one's, and its text with names of kernels."""
    check_together([(function, tensors)], kernels)


def check_together(cases, kernels):
    """The same of several functions and their tensors in one program."""
    compiled_together.check(cases, partial(np.testing.assert_allclose, rtol=1e-5, atol=2e-5), kernels)


def test_attention_reads_and_writes_heads_where_they_lie():
    def function(causal, width, qkv):
        n, t, _ = qkv.shape
        q, k, v = (part.view(n, t, 2, width).transpose(1, 2) for part in qkv.split(2 * width, dim=2))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).reshape(n, t, 2 * width)

    ways = product((False, True), (8, 16))
    cases = [(partial(function, causal, width), (drawn(3, 70, 6 * width),)) for causal, width in ways]
    check_together(cases, ["attention_tasks"])


def test_gradients_of_parts_of_a_projection_are_written_into_one_array():
    def function(x, weight):
        qkv = F.linear(x, weight)
        q, k, v = (part.view(2, 40, 2, 8).transpose(1, 2) for part in qkv.split(16, dim=2))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    x, weight = drawn(2, 40, 12), drawn(48, 12)

    def step(x, weight):
        leaf = weight.detach().requires_grad_()
        function(x, leaf).square().sum().backward()
        return leaf.grad

    compiled = torch.compile(step, fullgraph=True)
    for _ in range(3):
        got = compiled(x, weight)
    np.testing.assert_allclose(got.numpy(), step(x, weight).numpy(), rtol=1e-4, atol=2e-3)
    assert "ops.embed_view" not in str(compiled.graph)
    assert str(compiled.graph).count("ops.cat(") == 1
    if COMPILED:
        assert ".dq = {1920, 8, 48}, .dk = {1920, 8, 48}, .dv = {1920, 8, 48}" in compiled.source


def test_parts_that_do_not_make_up_a_whole_stay_sums():
    def function(x):
        return x[:, :3] * x[:, 2:5] + x[:, 5:8] * x[:, 5:8]

    check(function, drawn(4, 8))


def test_a_part_that_is_needed_elsewhere_too():
    def function(qkv):
        q, k, v = (part.view(2, 20, 2, 8).transpose(1, 2) for part in qkv.split(16, dim=2))
        out = F.scaled_dot_product_attention(q, k, v)
        return torch.cat([out.transpose(1, 2).reshape(2, 20, 16), out.mean(1)], 2)

    check(function, drawn(2, 20, 48))


def test_attention_with_a_mask_and_with_gaps_in_its_rows():
    mask = torch.from_numpy(np.random.default_rng(1).random((9, 9)) < 0.7)
    check(
        lambda q: F.scaled_dot_product_attention(q, q, q, attn_mask=mask),
        drawn(2, 3, 9, 4),
        kernels=["attention_tasks"],
    )
    check(lambda q: F.scaled_dot_product_attention(q[..., ::2], q[..., 1::2], q.mT.mT[..., ::2]), drawn(2, 3, 9, 8))


@pytest.mark.parametrize("parameters", [0, 1, 2])
def test_layer_norm(parameters):
    given = [drawn(24, seed=i) for i in range(parameters)]
    check(lambda x, *p: F.layer_norm(x, (24,), *p), drawn(5, 30, 24), *given, kernels=["layer_norm", "layer_norm_grad"])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_with_ignored_rows(reduction):
    target = torch.from_numpy(np.random.default_rng(0).integers(-1, 9, 40))
    check(
        lambda x: F.cross_entropy(x, target, ignore_index=-1, reduction=reduction),
        drawn(40, 9), kernels=["cross_entropy", "cross_entropy_grad"],
    )  # fmt: skip


def test_a_target_that_moves_outside_raises_as_uncompiled():
    compiled = torch.compile(F.cross_entropy)
    for _ in range(3):
        compiled(drawn(4, 5), torch.tensor([0, 1, 2, 3]))
    with pytest.raises(IndexError, match="Target 7"):
        compiled(drawn(4, 5), torch.tensor([0, 7, 2, 3]))


@pytest.mark.parametrize("function", [torch.softmax, torch.log_softmax])
def test_softmax(function):
    check(lambda x: function(x, -1), drawn(6, 7, 33), kernels=["over_rows"])
    check(lambda x: function(x, 1), drawn(6, 7, 33))


def test_embeddings_and_numbers_that_move_outside():
    def function(weight, numbers):
        leaf = weight.detach().requires_grad_()
        F.embedding(numbers, leaf).square().sum().backward()
        return leaf.grad

    compiled, weight = torch.compile(function), drawn(7, 20)
    for _ in range(3):
        numbers = torch.tensor([[1, 6, 1], [0, 0, 3]])
        np.testing.assert_allclose(compiled(weight, numbers).numpy(), function(weight, numbers).numpy(), rtol=1e-6)
    if COMPILED:
        assert "embedding_grad(" in compiled.source
    with pytest.raises(IndexError):
        compiled(weight, torch.tensor([[1, 7, 1], [0, 0, 3]]))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers(kind):
    torch.manual_seed(0)

    def case(i, **options):
        layer = getattr(torch.nn, kind)(6, 20, **options)
        names = [name for name, _ in layer.named_parameters()]

        def function(x, *parameters):
            return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))[0]

        return function, (drawn(5, 18, 6, seed=i), *(p.detach() for p in layer.parameters()))

    cases = case(0), case(1, bidirectional=True), case(2, num_layers=2, bias=False)
    check_together(cases, ["recurrent_tasks"])


def test_packed_sequences():
    sizes = (3, 3, 2, 1)
    check(
        lambda gates, h, w: recurrent.gru(gates, h, w, None, sizes), drawn(4, 3, 15), drawn(3, 5), drawn(15, 5),
        kernels=["recurrent_tasks"],
    )  # fmt: skip
    check(
        lambda gates, h, w: torch.cat(recurrent.lstm(gates, h, h, w, None, sizes, True)), drawn(4, 3, 20), drawn(3, 5),
        drawn(20, 5), kernels=["recurrent_tasks"],
    )  # fmt: skip


def test_cotangents_of_first_states_are_computed_where_they_are_wanted():
    def gradients(wanted, *given):
        gates, w, h = leaves = [t.detach().requires_grad_(i < wanted) for i, t in enumerate(given)]
        recurrent.gru(gates, h, w, None, None).square().sum().backward()
        return [leaf.grad for leaf in leaves[:wanted]]

    given = drawn(3, 18, 48), drawn(48, 16, seed=1), drawn(18, 16, seed=2)
    results, source = compiled_together.run([(partial(gradients, wanted), given) for wanted in (2, 3)])
    for got, wanted in zip(results, (2, 3), strict=True):
        for one, expected in zip(got, gradients(wanted, *given), strict=True):
            np.testing.assert_allclose(one.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
    if COMPILED:
        assert source.count(".d_h0 = ") == 1


def layer(sizes=None, reverse=False):
    """An LSTM with its input's weight, whose gradients are summed where those of its gates are."""

    def function(x, w_ih, w_hh, h):
        hs, cs = recurrent.lstm(F.linear(x, w_ih), h, h, w_hh, None, sizes, reverse)
        return torch.cat((hs, cs)) * 0.05

    return function


def test_an_lstm_whose_gates_are_rows_of_a_table():
    def function(table, numbers, *states):
        results = []
        for dtype in (torch.float32, torch.bfloat16):
            rows, h, w = (t.to(dtype) for t in (table, *states))
            gates = rows[numbers]
            for sizes, reverse in ((None, True), ((18, 18, 7, 1), False)):
                of = {"batch_sizes": sizes, "reverse": reverse}
                taken = apply(REGISTRY["lstm_of_rows"], (rows, numbers, h, h, w), of)
                results.append((*taken[:2], *recurrent.lstm(gates, h, h, w, None, sizes, reverse)))
            results.append((gates, gates))
        return results

    compiled = torch.compile(function, fullgraph=True)
    given = drawn(5, 128), drawn(18, 32, seed=1), drawn(128, 32, seed=2) * 0.2
    for seed in range(3):
        numbers = torch.from_numpy(np.random.default_rng(seed).integers(-5, 5, (4, 18)))
        for got, expected in zip(*(f(given[0], numbers, *given[1:]) for f in (compiled, function)), strict=True):
            half = len(got) // 2
            for taken, copied in zip(got[:half], got[half:], strict=True):
                np.testing.assert_array_equal(taken.float().numpy(), copied.float().numpy())
            rtol, atol = (1e-5, 1e-6) if got[0].dtype == torch.float32 else (2**-5, 2**-6)
            for one, other in zip(got, expected, strict=True):
                np.testing.assert_allclose(one.float().numpy(), other.float().numpy(), rtol=rtol, atol=atol)
    if COMPILED:
        assert compiled.source.count("all_rows_exist(&taken)") == 4
        assert "embedding(&e)" in compiled.source
    with pytest.raises(IndexError):
        compiled(given[0], torch.full((4, 18), 5), *given[1:])


def test_an_lstm_that_multiplies_its_inputs_itself():
    ways = [{"batch_sizes": sizes, "reverse": sizes is None} for sizes in (None, (41, 38, 17, 1))]

    def function(x, w_ih, bias, h, w):
        return [apply(REGISTRY["lstm_of_inputs"], (x, w_ih, bias, h, h, w), way) for way in ways]

    def expected(x, w_ih, bias, h, w):
        return [apply(REGISTRY["lstm"], (F.linear(x, w_ih, bias), h, h, w), way) for way in ways]

    def given(columns, width):
        shapes = (4, 41, columns), (4 * width, columns), (4 * width,), (41, width), (4 * width, width)
        return [drawn(*shape, seed=seed) * 0.3 for seed, shape in enumerate(shapes)]

    cases = [given(*sizes) for sizes in ((20, 32), (3, 23), (32, 16))]
    results, source = compiled_together.run([(function, case) for case in cases])
    for got, case in zip(results, cases, strict=True):
        for one, other in zip(got, expected(*case), strict=True):
            for result, wanted in zip(one, other, strict=True):
                np.testing.assert_allclose(result.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)
    if COMPILED:
        assert source.count("parallel(lstm_of_inputs_task") == 6


def test_the_gradient_of_an_lstm_that_multiplies_by_the_weight_of_inputs_itself():
    ways = [
        {"given": given, "batch_sizes": sizes, "reverse": sizes is None}
        for given, sizes in (((True, False), None), ((True, True), (41, 38, 17, 1)))
    ]

    def function(kept, c, w, cs, g, w_ih):
        return [
            apply(REGISTRY["lstm_grad_inputs"], (kept, c, w, cs, *[g] * sum(way["given"]), w_ih), way) for way in ways
        ]

    def expected(kept, c, w, cs, g, w_ih):
        for way in ways:
            gradients = apply(REGISTRY["lstm_grad"], (kept, c, w, cs, *[g] * sum(way["given"])), way)
            yield *gradients, gradients[0] @ w_ih, gradients[0].sum((0, 1))

    def given(columns, width):
        shapes = (41, width), (4 * width, width), (4, 41, width), (4, 41, width), (4 * width, columns)
        return [
            drawn(4, 41, 4 * width).sigmoid(),
            *(drawn(*shape, seed=seed) * 0.3 for seed, shape in enumerate(shapes)),
        ]

    cases = [given(*sizes) for sizes in ((48, 32), (16, 87))]
    results, source = compiled_together.run([(function, case) for case in cases])
    for got, case in zip(results, cases, strict=True):
        for one, other in zip(got, expected(*case), strict=True):
            for result, wanted in zip(one, other, strict=True):
                np.testing.assert_allclose(result.numpy(), wanted.numpy(), rtol=1e-5, atol=2e-6)
    if COMPILED:
        assert source.count(".d_inputs = ") == source.count(".d_bias = ") == source.count(" add_task_sums(") == 4


def test_layers_of_an_lstm_multiply_their_inputs_and_the_cotangents_of_their_gates(monkeypatch):
    monkeypatch.setattr("torchlite.compiler.passes.gate_products.inputs_pay", lambda _shape, _columns: True)
    monkeypatch.setattr("torchlite.compiler.passes.gate_cotangents.inputs_gradient_pays", lambda _shape, _columns: True)
    layers = torch.nn.LSTM(16, 16, num_layers=2, batch_first=True).requires_grad_(False)

    def function(x):
        return layers(x)[0]

    both, x = compiled_together.with_gradients(function), drawn(32, 5, 16)
    compiled = torch.compile(both, fullgraph=True)
    for _ in range(3):
        for got, expected in zip(compiled(x), both(x), strict=True):
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=2e-5)
    assert [str(compiled.graph).count(f"ops.{name}(") for name in ("lstm_of_inputs", "lstm_grad_inputs")] == [2, 2]


def test_an_lstm_that_starts_from_zeros_multiplies_none_of_them():
    def function(sizes, reverse, gates, w):
        zeros = torch.zeros(*gates.shape[1:2], w.shape[1])
        return torch.cat(recurrent.lstm(gates, zeros, zeros, w, None, sizes, reverse))

    ways = ((3, 19, 16, None, False), (3, 8, 5, None, True), (1, 4, 3, None, False), (3, 4, 3, (4, 2, 1), True))
    cases = [
        (partial(function, sizes, reverse), (drawn(steps, samples, 4 * width), drawn(4 * width, width)))
        for steps, samples, width, sizes, reverse in ways
    ]
    results, source = compiled_together.run(cases)
    for got, (f, given) in zip(results, cases, strict=True):
        np.testing.assert_allclose(got.numpy(), f(*given).numpy(), rtol=1e-5, atol=1e-6)
    if COMPILED:
        without_tiles = [step.partition("&(Recurrent)")[2] for step in compiled_together.steps(source)]
        starts = [".h0 = " in layer for layer in without_tiles if layer]
        assert starts == [False, False, True, True]  # one step must see a weight that is not finite; or samples end


def test_a_small_embedding_in_front_of_an_lstm_is_a_table_of_gates():
    layer = torch.nn.LSTM(6, 16)

    def gradients(table, numbers, *parameters, half):
        leaves = [t.detach().requires_grad_() for t in (table, *parameters)]
        names = (name for name, _ in layer.named_parameters())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            x = F.embedding(numbers, leaves[0])
            out = torch.func.functional_call(layer, dict(zip(names, leaves[1:], strict=True)), (x,))[0]
        out.float().square().sum().backward()
        return [leaf.grad for leaf in leaves]

    def function(*given):
        return gradients(*given, half=False), gradients(*given, half=True)

    compiled = torch.compile(function, fullgraph=True)
    given = drawn(5, 6), *(p.detach() for p in layer.parameters())
    for seed in range(3):
        numbers = torch.from_numpy(np.random.default_rng(seed).integers(0, 5, (4, 18)))
        (single, half), (single_expected, half_expected) = (
            f(given[0], numbers, *given[1:]) for f in (compiled, function)
        )
        for got, expected in zip(single, single_expected, strict=True):
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-5, atol=2e-5)
        for got, expected in zip(half, half_expected, strict=True):
            most = expected.abs().max().item()
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=2**-5, atol=2**-6 * most)
    if COMPILED:
        assert compiled.source.count("all_rows_exist(&taken)") == 2


SUMS = ["tiled_lstm_grad_and_sums_float32"] if COMPILED and has_tiles() else []


ENDING = (48, 48, 48, 37, 33, 33, 32, 32, 32, 20, 16, 9, 9, 9, 9, 9, 5, 5, 5, 5, 1, 1, 1)


def test_sums_of_an_lstm_beside_its_gradient():
    cases = []
    for i, (inputs, sizes, reverse) in enumerate(product((20, 64), (None, ENDING), (False, True))):
        shapes = (((23, 48, inputs), 1.0), ((128, inputs), 0.2), ((128, 32), 0.2), ((48, 32), 0.5))
        tensors = [drawn(*shape, seed=10 * i + j) * scale for j, (shape, scale) in enumerate(shapes)]
        cases.append((layer(sizes, reverse), tensors))
    check_together(cases, SUMS)


def test_sums_of_an_lstm_of_bfloat16_are_those_of_its_cotangents():
    def step(sizes, reverse, x, w_ih, w_hh, h):
        parts = [t.detach().requires_grad_() for t in (x, w_ih, w_hh, h)]
        gates = F.linear(*parts[:2])
        hs, _ = recurrent.lstm(gates, parts[3], parts[3], parts[2], None, sizes, reverse)
        gates.retain_grad()
        (hs * torch.linspace(-1.0, 1.0, hs.numel()).view(hs.shape).bfloat16()).sum().backward()
        return hs.detach(), gates.grad, parts[1].grad, parts[2].grad

    cases = []
    for i, ((inputs, samples), sizes, reverse) in enumerate(
        product(((20, 46), (64, 48)), (None, ENDING), (False, True))
    ):
        shapes = (((23, samples, inputs), 1.0), ((128, inputs), 0.2), ((128, 32), 0.2), ((samples, 32), 0.5))
        tensors = [(drawn(*shape, seed=10 * i + j) * scale).bfloat16() for j, (shape, scale) in enumerate(shapes)]
        sizes = sizes and tuple(min(samples, n) for n in sizes)
        cases.append((partial(step, sizes, reverse), tensors))
    results, source = compiled_together.run(cases)
    found = compiled_together.steps_with("tiled_lstm_grad_and_sums_bfloat16", source)
    assert found == (len(cases) if SUMS else 0)
    for result, (function, (x, _, _, h)) in zip(results, cases, strict=True):
        hs, d, by_w_ih, by_w_hh = (t.float().numpy() for t in result)
        first, reverse = h.float().numpy()[None], function.args[1]
        before = np.concatenate([hs[1:], first] if reverse else [first, hs[:-1]])
        for got, factor in ((by_w_ih, x.float().numpy()), (by_w_hh, before)):
            expected = np.einsum("tng,tnk->gk", d, factor)
            np.testing.assert_allclose(got, expected, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e35])
@pytest.mark.parametrize("place", [0, 1])
def test_sums_of_an_lstm_whose_numbers_have_no_terms(place, value):
    x, w_ih, w_hh, h = (
        drawn(23, 48, 64),
        drawn(128, 64, seed=1) * 0.2,
        drawn(128, 32, seed=2) * 0.2,
        drawn(48, 32, seed=3),
    )
    (x[3, 7] if place == 0 else h[5])[2] = value
    with np.errstate(all="ignore"):
        check(layer(), x, w_ih, w_hh, h, kernels=SUMS)


def check_tables(rows, positions, transposed=False):
    numbers = torch.from_numpy(np.random.default_rng(0).integers(0, rows, positions))

    def step(table, weight, bias):
        leaves = [t.detach().requires_grad_() for t in (table, weight, bias)]
        x = F.embedding(numbers, leaves[0])
        out = F.linear(x.transpose(0, 1) if transposed else x, *leaves[1:])
        (out * torch.linspace(-1.0, 1.0, out.numel()).view(out.shape)).sum().backward()
        return (out.detach(), *(leaf.grad for leaf in leaves))

    given = drawn(rows, 6), drawn(5, 6, seed=1), drawn(5, seed=2)
    compiled = torch.compile(step, fullgraph=True)
    for _ in range(3):
        results = compiled(*given)
    for got, expected in zip(results, step(*given), strict=True):
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)
    return str(compiled.graph)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("positions", [(40, 3), (7, 30)])
def test_a_small_table_is_multiplied_before_its_rows_are_taken(positions, transposed):
    graph = check_tables(9, positions, transposed)
    assert "float32[9, 5]" in graph
    assert graph.count("ops.index_add(") == 1


def test_a_large_table_is_not():
    graph = check_tables(100, (10, 3))
    assert "float32[100, 5]" not in graph
