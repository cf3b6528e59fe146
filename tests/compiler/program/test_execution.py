"""What a program gives away stays what it is; what nobody has is used again; inputs are overwritten in place."""

import platform
from types import SimpleNamespace

import numpy as np
import pytest

import torchlite as torch
from torchlite import nn
from torchlite.backends.native import toolchain
from torchlite.compiler.program import execution
from torchlite.ops import recurrent

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)


def address(x):
    return x.numpy().__array_interface__["data"][0]


def compiled(f, *inputs):
    made = torch.compile(f, fullgraph=True)
    for _ in range(2):
        made(*inputs)
    return made


@pytest.mark.parametrize(
    "held",
    [
        lambda y: y,
        lambda y: y[1:],
        lambda y: y.numpy(),
        lambda y: y.t()[0],
        lambda y: y.detach(),
        lambda y: memoryview(y.numpy()),
    ],
)
def test_a_result_that_somebody_has_is_not_overwritten(held):
    f = compiled(lambda x: x * 2, torch.ones(3, 4))
    kept = held(f(torch.ones(3, 4)))
    before = np.array(kept)
    for i in range(4):
        f(torch.full((3, 4), float(i)))
    np.testing.assert_array_equal(np.array(kept), before)


def test_results_that_nobody_has_are_used_again():
    f = compiled(lambda x: x * 2, torch.ones(1000))
    places = {address(f(torch.ones(1000))) for _ in range(20)}
    assert len(places) <= 2


def test_gradients_that_nobody_has_are_used_again():
    model = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()

    f = compiled(step, torch.ones(4, 8))
    places = set()
    for _ in range(5):
        f(torch.ones(4, 8))
        places.add(address(model.weight.grad))
    assert len(places) == 1
    kept = model.weight.grad
    before = kept.numpy().copy()
    f(torch.full((4, 8), 3.0))
    assert model.weight.grad is not kept
    np.testing.assert_array_equal(kept.numpy(), before)


def test_parameters_are_overwritten_in_place():
    w = torch.ones(100)

    def step(g):
        with torch.no_grad():
            w.sub_(g * 0.5)

    made = compiled(step, torch.ones(100))
    (loop,) = made.variants[0].captured.run.layout.steps
    assert loop.unit.kind == "loop"
    np.testing.assert_array_equal(w.numpy(), np.zeros(100))
    made(torch.ones(100))
    np.testing.assert_array_equal(w.numpy(), np.full(100, -0.5))


def test_the_gradient_of_an_embedding_lets_what_comes_before_it_be_overwritten_in_place():
    model = torch.nn.Sequential(torch.nn.Embedding(11, 6), torch.nn.Linear(6, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    numbers = torch.randint(0, 11, (8,))

    @torch.compile(fullgraph=True)
    def step(numbers):
        optimizer.zero_grad()
        model(numbers).square().sum().backward()
        optimizer.step()

    for _ in range(3):
        step(numbers)
    nodes = [node for s in step.variants[0].captured.run.layout.steps for node in s.unit.nodes()]
    assert "index_add" in {node.op.name for node in nodes}
    assert not [node for node in nodes if node.op.name == "clone"]
    for wrong in (11, -12):
        with pytest.raises(IndexError):
            step(torch.full((8,), wrong))


def test_clipped_gradients_and_adam_are_one_loop_over_all_parameters():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    x = torch.randn(8, 6)

    @torch.compile(fullgraph=True)
    def step(x):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    for _ in range(3):
        step(x)
    units = [s.unit for s in step.variants[0].captured.run.layout.steps]
    (update,) = [u for u in units if any(node.op.name == "sqrt" and node.outputs[0].aval.shape for node in u.nodes())]
    assert len(update.loops) == 4
    places = step.variants[0].captured.run.layout.places
    for loop in update.loops:  # a gradient and what is clipped of it lie in one place
        clipped = loop.nodes[0]
        assert places[clipped.inputs[0]].buffer is places[clipped.outputs[0]].buffer


@pytest.mark.parametrize(
    ("f", "shared"),
    [
        (lambda x: (lambda y: y * y.sum())(x @ x), True),
        (lambda x: (lambda y: (y * y.sum(), y.t() + 1))(x @ x), False),
        (lambda x: (lambda y: y.t() * y.sum())(x @ x), False),
        (lambda x: (lambda y: y * y.t().exp())(x @ x), False),
        (lambda x: (lambda y: (y * y.sum()).double())(x @ x), False),
        (lambda x: (lambda y: (y, y * y.sum()))(x @ x), False),
    ],
)
def test_what_becomes_a_result_lies_where_that_will(f, shared):
    x = torch.randn(7, 7)
    made, expected = compiled(f, x), f(x)
    held = made(x)
    for got in (held, made(x)):
        for a, b in zip(*(r if isinstance(r, tuple) else (r,) for r in (got, expected)), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)
    layout = made.variants[0].captured.run.layout
    results = {id(place.buffer) for place in layout.results}
    lying = {v for v, place in layout.places.items() if v.node is not None and id(place.buffer) in results}
    assert (len(lying) > len(layout.results)) == shared


def test_free_memory_is_given_back_before_a_large_arena_is_taken(monkeypatch):
    given_back = []
    monkeypatch.setattr(execution, "_give_back_what_is_free", lambda: given_back.append(True))
    x = torch.linspace(0, 1, 1 << 12).reshape(64, 64)
    for least, times in ((1 << 25, 0), (0, 1)):
        monkeypatch.setattr(execution, "_LARGE", least)
        compiled(lambda x: (x.exp() @ x).softmax(-1).sum(0), x)
        assert len(given_back) == times


@pytest.mark.parametrize("glibc", [True, False])
def test_free_memory_is_given_back_where_c_can_do_that(glibc, monkeypatch):
    called = []
    monkeypatch.setattr(
        execution.ctypes, "CDLL", lambda _: SimpleNamespace(**({"malloc_trim": called.append} if glibc else {}))
    )
    execution._give_back_what_is_free()
    assert len(called) == glibc


def test_values_that_are_swapped():
    a, b = torch.zeros(5), torch.ones(5)

    def swap():
        a_before = a.clone()
        a.copy_(b)
        b.copy_(a_before)

    f = compiled(swap)
    for i in range(3):
        assert (a.numpy() == i % 2).all()
        assert (b.numpy() == 1 - i % 2).all()
        f()


def test_a_value_that_is_copied_before_it_is_overwritten():
    before, now = torch.zeros(5), torch.ones(5)

    def step():
        before.copy_(now)
        now.add_(1)

    f = compiled(step)
    for i in range(3, 6):
        f()
        assert (before.numpy() == i).all()
        assert (now.numpy() == i + 1).all()


@pytest.mark.parametrize("shift", [1, -1, 3])
def test_both_parts_of_a_rolled_array_come_from_the_same_one(shift):
    def rolled(x):
        return torch.cat([x[:2], x[2:6] + 1, x[6:]]).roll(shift, 0) * 2

    x = torch.arange(8.0)
    np.testing.assert_array_equal(compiled(rolled, x)(x).numpy(), rolled(x).numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.complex64], ids=["half", "complex"])
def test_inputs_of_types_that_c_has_not(dtype):
    x, ones = torch.zeros(5, dtype=dtype), torch.ones(5, dtype=dtype)
    f = compiled(lambda x, y: (x.add_(y), torch.full((5,), 3, dtype=dtype)), x, ones)
    _, three = f(x, ones)
    assert (x.numpy() == 3).all()
    assert (three.numpy() == 3).all()


def test_nothing_is_written_where_a_check_fails():
    w, y = torch.zeros(4), torch.tensor([0, 3])

    def step(y):
        with torch.no_grad():
            w.add_(1)
        return torch.nn.functional.cross_entropy(torch.randn(2, 4), y)

    f = compiled(step, y)
    before = w.numpy().copy()
    with pytest.raises(IndexError):
        f(torch.tensor([0, 9]))
    assert (w.numpy() <= before + 1).all()  # what the function itself has done before it raised
    f(y)


def test_inputs_of_another_layout_are_another_capture():
    f = compiled(lambda x: x * 2 + 1, torch.ones(4, 6))
    x = torch.randn(6, 4).t()
    np.testing.assert_array_equal(f(x).numpy(), x.numpy() * 2 + 1)
    np.testing.assert_array_equal(f(x.contiguous()).numpy(), x.numpy() * 2 + 1)


@pytest.mark.parametrize("flags", [None, *(["-march=sapphirerapids"] if platform.machine() == "x86_64" else [])])
def test_all_headers_can_be_in_one_program(monkeypatch, flags):
    """For this processor, and for one with tile registers, whose code others leave out."""
    from torchlite.backends.native import bfloat16_convolution, library
    from torchlite.backends.native import recurrent as recurrent_kernels
    from torchlite.compiler.program.writer import HEADERS

    folder = library._HERE
    # Those that others are written with come first.
    first = [
        "arrays.h",
        "strips.h",
        "sums.h",
        "gemm.h",
        "vector_mathematics.h",
        "embeddings.h",
        "needed.h",
        "recurrent.h",
        *bfloat16_convolution.HEADERS,
        "split_float32.h",
        "convolution_nhwc.h",
        "winograd.h",
        "weight_grad_winograd.h",
        "gemm_tiles.h",
        *recurrent_kernels.GRADIENT_TILES,
    ]
    others = first + sorted({path.name for path in folder.glob("*.h")} - {*HEADERS, *first, "lists.h"})
    source = library.text(*HEADERS, *others)
    if flags is not None:
        monkeypatch.setenv("TORCHLITE_CFLAGS", flags)
    toolchain.compiled(source)


@pytest.mark.parametrize("reverse", [False, True])
def test_states_before_steps_lie_among_those_after_steps(reverse):
    def products(gates, h, w):
        after, _ = recurrent.lstm(gates, h, h, w, None, None, reverse)
        first = h.unsqueeze(0)
        before = torch.cat([after[1:], first]) if reverse else torch.cat([first, after[:-1]])
        return before.reshape(24, 8).t() @ after.reshape(24, 8)

    arrays = torch.randn(6, 4, 32), torch.randn(4, 8), torch.randn(32, 8)
    made = compiled(products, *arrays)
    np.testing.assert_allclose(made(*arrays).numpy(), products(*arrays).numpy(), rtol=1e-5, atol=1e-5)
    steps = {s.unit.root.op.name: s for s in made.variants[0].captured.run.layout.steps if s.unit.root is not None}
    before, after = (steps[name].places[steps[name].unit.root.outputs[0]] for name in ("cat", "lstm"))
    assert before.buffer is after.buffer
