"""Attention of bfloat16 in compiled functions: as exact as what is computed in float32 and rounded, whatever the sizes."""

import numpy as np
import pytest

import torchlite as torch
from torchlite.backends.native import toolchain
from torchlite.nn import functional

try:
    toolchain.compiler()
except toolchain.Unavailable:
    pytest.skip("there is no C compiler", allow_module_level=True)

RNG = np.random.default_rng(0)


def drawn(*shape):
    return torch.from_numpy(RNG.normal(size=shape).astype(np.float32)).bfloat16()


SIZES = [(64, 64, 32, 32), (5, 7, 4, 3), (70, 90, 32, 64), (90, 70, 24, 40), (90, 33, 64, 32), (200, 200, 32, 32)]


def attend(*arrays):
    """Attention of each three arrays, causal or not in turn."""
    triples = enumerate(zip(arrays[::3], arrays[1::3], arrays[2::3], strict=True))
    return [functional.scaled_dot_product_attention(*three, is_causal=i % 2 == 1) for i, three in triples]


def results(function, arrays, cotangents, dtype):
    """Results and gradients of the third call."""
    for _ in range(3):
        inputs = [x.to(dtype).clone().requires_grad_() for x in arrays]
        out = function(*inputs)
        all_results = [*out, *torch.autograd.grad(out, inputs, [g.to(dtype) for g in cotangents])]
    return [x.detach().float().numpy() for x in all_results]


def test_every_size_is_as_exact_as_what_is_rounded_at_the_end():
    arrays, cotangents = [], []
    for queries, keys, width, values in SIZES:
        for scale in (1, 4):  # scores of 4 by 4 are far apart, and would be wrong if they were rounded
            arrays += [
                drawn(2, 3, queries, width) * scale,
                drawn(2, 3, keys, width) * scale,
                drawn(2, 3, keys, values),
            ] * 2
            cotangents += [drawn(2, 3, queries, values)] * 2
    compiled = torch.compile(attend)
    got = results(compiled, arrays, cotangents, torch.bfloat16)
    assert "half_attention" in compiled.source
    for a, b in zip(got, results(attend, arrays, cotangents, torch.float32), strict=True):
        error = np.abs(a - b)
        assert error.max() <= 2**-8 * np.abs(b).max()
        assert np.square(error).mean() <= np.square(b).mean() * 2**-17


def test_heads_inside_of_one_projection_and_any_number_of_threads():
    x, weight = drawn(3, 64, 96), drawn(3 * 128, 96) * 0.1

    @torch.compile
    def step(x, weight):
        q, k, v = (part.unflatten(-1, (4, 32)).transpose(1, 2) for part in (x @ weight.t()).chunk(3, -1))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        return torch.autograd.grad(out.square().sum(), weight)[0]

    weight.requires_grad_()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([step(x, weight) for _ in range(3)][-1].float().numpy())
    finally:
        torch.set_num_threads(before)
    assert "half_attention_grad" in step.source
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_is_not_a_number_stays_with_its_query():
    q, k, v = (drawn(1, 1, 40, 32) for _ in range(3))
    q[0, 0, 33, 3] = float("nan")
    compiled = torch.compile(attend)
    with np.errstate(all="ignore"):
        (out,) = [compiled(q, k, v) for _ in range(3)][-1]
    assert np.flatnonzero(np.isnan(out.float().numpy()[0, 0]).any(1)).tolist() == [33]
