"""Captured functions of bfloat16 tensors give what they give uncompiled, rounded at the same places."""

import numpy as np
import pytest

import torchlite as torch
from torchlite.backends.native import bfloat16_convolution, toolchain
from torchlite.compiler.program import convolutions
from torchlite.compiler.program.lowering import lowering
from torchlite.nn import functional

SHAPE = (37, 65)


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32)).bfloat16()


def bits(x):
    return x.detach().numpy().view(np.uint16) if x.dtype is torch.bfloat16 else x.detach().numpy()


def replayed(function, *arguments):
    """What the third call gives: the second captures."""
    compiled = torch.compile(function, fullgraph=True)
    for _ in range(2):
        compiled(*arguments)
    assert compiled.graph.nodes
    return compiled(*arguments)


FUNCTIONS = {
    "chain": lambda x, y: ((x * 3 + y) * x - y / 2).relu(),
    "numbers": lambda x, y: (0.1 * x).add(y, alpha=0.3) / 1.7 + 0.1 / y + x * torch.tensor(0.3) + (y * y + 0.1).rsqrt(),
    "steps": lambda x, y: torch.lerp(x, y, 0.3) + torch.addcmul(x, y, x, value=0.1) + functional.hardswish(x),
    "casts": lambda x, y: (x.float() * y.float()).bfloat16() + y,
    "promotion": lambda x, y: x + y.float() * 0.3,
    "broadcast": lambda x, y: x * y[0] + y[:, :1],
    "activations": lambda x, y: functional.gelu(x) + torch.sigmoid(y) * torch.tanh(x) - functional.silu(y).exp(),
    "leaky": lambda x, y: functional.leaky_relu(x + y, 0.3) - functional.leaky_relu(y, -1.5),
    "comparison": lambda x, y: torch.where(x > y, x, y * 2),
    "strides": lambda x, y: (x.t() + y.t()).contiguous() * 1.5,
    "integers": lambda x, y: (x > 0).bfloat16() + y,
    "products": lambda x, y: torch.addmm(x, y[:, :37], y[:37], beta=0.7, alpha=0.3) * 0.3,
    "gates": lambda x, y: functional.hardtanh(functional.glu(torch.cat([x, y], 1)), -0.3, 0.3) * y,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_elementwise_operations_are_bit_by_bit_the_same(name):
    function, x, y = FUNCTIONS[name], drawn(*SHAPE), drawn(*SHAPE, seed=1)
    compiled, expected = replayed(function, x, y), function(x, y)
    assert compiled.dtype is expected.dtype
    if name in ("activations", "gates"):  # whose polynomials round by themselves
        np.testing.assert_allclose(compiled.float().numpy(), expected.float().numpy(), rtol=2**-6, atol=2**-8)
    else:
        np.testing.assert_array_equal(bits(compiled), bits(expected))


@pytest.mark.parametrize("name", ["numbers", "steps"])
def test_numbers_beside_float16(name):
    x, y = (drawn(64, seed=i).half() for i in range(2))
    compiled, expected = replayed(FUNCTIONS[name], x, y), FUNCTIONS[name](x, y)
    assert compiled.dtype is torch.float16
    np.testing.assert_array_equal(compiled.numpy(), expected.numpy())


def test_gradients_of_numbers_are_bit_by_bit_the_same():
    def slopes(x):
        x = x.detach().requires_grad_()
        (x * 0.1 + x / 1.7).sum().backward()  # of constants alone, which are computed when it is compiled
        return x.grad * x.detach()

    x = drawn(*SHAPE)
    np.testing.assert_array_equal(bits(replayed(slopes, x)), bits(slopes(x)))


@pytest.mark.parametrize(
    "reduce", [lambda x: x.sum(), lambda x: x.sum(0), lambda x: x.mean(1), lambda x: (x * x).sum((0, 1))]
)
def test_reductions_add_up_in_float32(reduce):
    x = drawn(300, 129)
    compiled, expected = replayed(reduce, x), reduce(x)
    assert compiled.dtype is torch.bfloat16
    np.testing.assert_allclose(compiled.float().numpy(), expected.float().numpy(), rtol=2**-7, atol=2**-7)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 12, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(12)
        self.strided = torch.nn.Conv2d(12, 20, 3, 2, 1, bias=False)
        self.head = torch.nn.Linear(20 * 36, 10)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu()
        return self.head(functional.gelu(self.strided(x)).flatten(1))


def test_a_training_step_under_autocast_is_what_it_is_uncompiled():
    def steps(compiled):
        torch.manual_seed(0)
        model = Network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

        def step(x, y):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = torch.compile(step, fullgraph=True) if compiled else step
        rng = np.random.default_rng(0)
        x = torch.from_numpy(rng.normal(size=(8, 3, 12, 12)).astype(np.float32))
        y = torch.from_numpy(rng.integers(0, 10, 8))
        return [step(x, y).item() for _ in range(6)]

    got, expected = steps(True), steps(False)
    np.testing.assert_allclose(got, expected, rtol=2e-2)
    assert got[-1] < got[0]


def test_convolutions_compute_what_they_read(monkeypatch):
    """Batch norms, activations and residuals before convolutions, and gradients of batch norms, of 16 channels and more."""
    torch.manual_seed(0)
    conv, norm = torch.nn.Conv2d, torch.nn.BatchNorm2d
    first = torch.nn.Sequential(conv(3, 16, 3, padding=1, bias=False), norm(16), torch.nn.ReLU())
    block = torch.nn.Sequential(conv(16, 16, 3, padding=1, bias=False), norm(16))
    strided = torch.nn.Sequential(conv(16, 33, 3, 2, 1, bias=False), norm(33))
    x, parameters = drawn(6, 3, 9, 11).float(), [p for part in (first, block, strided) for p in part.parameters()]

    def step(x):
        for part in (first, block, strided):
            part.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = first(x)
            y = strided((block(y) + y).relu())
        (y.float() ** 3).sum().backward()
        return [y.detach().float(), *(p.grad for p in parameters)]

    made, fill = [], convolutions.fill_of_channels
    monkeypatch.setattr(convolutions, "fill_of_channels", lambda v, writer: made.append(v.shape) or fill(v, writer))
    computed = bfloat16_convolution.fills()
    compiled = torch.compile(step, fullgraph=True)
    compiled(x), compiled(x)
    got = compiled(x)
    assert bool(made) == computed
    assert x.shape not in made  # rows of three channels would be short loops
    if toolchain.enabled():
        asked = compiled.source.count("(const bfloat16 *const[]){")  # by what makes rows, and what takes them
        assert asked > len(made)
    monkeypatch.setattr(bfloat16_convolution, "fills", lambda: False)
    made.clear()
    stored = replayed(step, x)
    assert not made
    for a, b, c in zip(got, stored, step(x), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        np.testing.assert_allclose(a.numpy(), c.numpy(), rtol=2**-5, atol=2**-6 * c.abs().max().item())


def test_products_and_convolutions_are_lowered_as_bfloat16():
    def step(x, weight, kernel, heads):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = functional.conv2d(x, kernel, None, 2, 1)
            return functional.linear(y.flatten(1), weight), heads @ heads.mT

    arguments = [
        torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        for shape in ((4, 6, 12, 12), (9, 5 * 36), (5, 6, 3, 3), (2, 3, 17, 20))
    ]
    compiled = torch.compile(step, fullgraph=True)
    compiled(*arguments)
    compiled(*arguments)
    got, expected = compiled(*arguments), step(*arguments)
    found = {n.op.name: lowering(n) for n in compiled.graph.nodes if n.op.name in ("convolution", "linear", "matmul")}
    assert len(found) == 3
    assert all(how is not None and "bfloat16.h" in how.headers for how in found.values())
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.float().numpy(), b.float().numpy(), rtol=2**-7, atol=2**-7)


def test_large_products_ask_for_the_float32_rows_that_their_store_takes_part_in():
    def step(x, y, small, average, other):
        large = (x.mT @ y).float() * 0.5 + average
        return large, (x.mT @ small).float() + other

    shapes = (70, 481), (70, 550), (70, 33), (481, 550), (481, 33)  # ragged blocks; the first result has 2¹⁸ numbers
    x, y, small, average, other = (drawn(*shape, seed=i) for i, shape in enumerate(shapes))
    arguments = x, y, small, average.float(), other.float()
    compiled = torch.compile(step, fullgraph=True)
    for _ in range(3):
        got = compiled(*arguments)
    for a, b in zip(got, step(*arguments), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6)
    if toolchain.enabled():
        products = [line for line in compiled.source.splitlines() if "bf16_product(&" in line]
        streams = sorted(line.count("{(const float *)") for line in products)
        assert streams == [0, 2]


@pytest.mark.parametrize("width", [20, 48])
@pytest.mark.parametrize("options", [({}, {"bidirectional": True}), ({"proj_size": 5},)], ids=str)
def test_recurrent_layers_under_autocast(options, width):
    torch.manual_seed(0)
    layers = [torch.nn.LSTM(6, width, **how) for how in options]
    given = [drawn(7, 34, 6, seed=i).float() for i in range(len(options))]

    def step(*given):
        results = []
        for layer, x in zip(layers, given, strict=True):
            layer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = layer(x)[0]
            out.float().square().sum().backward()
            results += [out.detach().float(), *(p.grad for p in layer.parameters())]
        return results

    compiled = torch.compile(step, fullgraph=True)
    for _ in range(3):
        got = compiled(*given)
    for a, b in zip(got, step(*given), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2**-5, atol=2**-6 * b.abs().max().item())
    found = [lowering(n) for n in compiled.graph.nodes if n.op.name in ("lstm", "lstm_grad")]
    if "proj_size" not in options[0]:
        assert len(found) == 6  # of one direction and of two
        assert all(how is not None and how.dtype == ("bfloat16" if width == 48 else "float32") for how in found)
