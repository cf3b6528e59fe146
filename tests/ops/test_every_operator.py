"""Every registered operator against the same list of promises; no operator needs a test file of its own."""

import determined_part
import numpy as np
import pytest

import torchlite as torch
import torchlite.ops
from torchlite import ir
from torchlite._tensor import wrap
from torchlite.autograd import gradcheck, gradgradcheck
from torchlite.dispatch import apply

OPS = sorted(op.name for op in ir.REGISTRY.values() if op.samples)
ROUGH = {"floor_divide", "remainder"}  # kinks between the samples of the finite differences
INTEGERS_ONLY = {"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "gcd", "lcm", "bitwise_left_shift",
                 "bitwise_right_shift"}  # fmt: skip
SYMMETRIC = {"cholesky_factor", "eigh"}  # defined for symmetric matrices, of which they read one triangle

# Inputs (by position) whose gradient is refused, as in PyTorch, or left to other operators (the mask of attention).
REFUSED = {"attention": 3, "igamma": 0, "igammac": 0, "zeta": 0, "standard_gamma_grad": 0}


def samples(name):
    op = ir.REGISTRY[name]
    for sample in op.samples(np.random.default_rng(0)):
        arrays = tuple(np.asarray(a) for a in sample.arrays)
        if name in INTEGERS_ONLY:
            arrays = tuple(a.astype(np.int64) for a in arrays)
        yield sample._replace(arrays=arrays)


def outputs(result):
    return list(result) if type(result) is tuple else [result]


def strided(array):
    """The same numbers in memory with gaps."""
    if array.ndim == 0:
        return array
    spread = np.zeros(tuple(2 * n + 1 for n in array.shape), array.dtype)
    view = spread[tuple(slice(1, 2 * n + 1, 2) for n in array.shape)]
    view[...] = array
    return view


def differentiable(name):
    return ir.REGISTRY[name].vjp is not None


def test_operators_without_samples_are_the_random_and_the_device_ones():
    unsampled = {op.name: op.kind for op in ir.REGISTRY.values() if not op.samples}
    assert unsampled.pop("to_device")
    assert set(unsampled.values()) == {"random"}


@pytest.mark.parametrize("name", OPS)
def test_infer_says_what_run_gives(name):
    op = ir.REGISTRY[name]
    for sample in samples(name):
        for dtype in (np.float64, np.float32):
            arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in sample.arrays]
            got = outputs(apply(op, [wrap(a) for a in arrays], sample.params))
            said = outputs(op.infer(*(ir.Aval(a.shape, a.dtype) for a in arrays), **sample.params))
            assert [(g._data.shape, g._data.dtype) for g in got] == [(s.shape, np.dtype(s.dtype)) for s in said]


@pytest.mark.parametrize("name", OPS)
def test_inputs_are_not_changed_and_strides_do_not_matter(name):
    op = ir.REGISTRY[name]
    for sample in samples(name):
        before = [a.copy() for a in sample.arrays]
        dense = outputs(apply(op, [wrap(a) for a in sample.arrays], sample.params))
        for array, copy in zip(sample.arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)
        if name == "view":  # a view of strided memory is an error by design
            continue
        spread = outputs(apply(op, [wrap(strided(a)) for a in sample.arrays], sample.params))
        for a, b in zip(dense, spread, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPS)
def test_float32_agrees_with_float64(name):
    op = ir.REGISTRY[name]
    for sample in samples(name):
        if any(a.dtype.kind != "f" for a in sample.arrays[:1]):
            continue
        narrow = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in sample.arrays]
        wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in narrow]
        for a, b in zip(
            outputs(apply(op, [wrap(x) for x in narrow], sample.params)),
            outputs(apply(op, [wrap(x) for x in wide], sample.params)),
            strict=True,
        ):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in OPS if differentiable(n)])
def test_gradients_of_first_and_second_order(name):
    op = ir.REGISTRY[name]
    checked = 0
    for sample in samples(name):
        complex_inputs = [a.dtype.kind == "c" for a in sample.arrays]
        inputs = [
            wrap(a[..., None].view(np.float64).copy() if a.dtype.kind == "c" else a.copy()) for a in sample.arrays
        ]
        rules = op.vjp if isinstance(op.vjp, tuple) else (op.vjp,) * len(inputs)
        for i, (x, rule) in enumerate(zip(inputs, rules, strict=False)):
            if rule is not None and REFUSED.get(name) != i and x.is_floating_point() and x.numel():
                x.requires_grad = True
        if not any(x.requires_grad for x in inputs):
            continue

        def run(*xs, params=sample.params, complex_inputs=complex_inputs):
            # Complex numbers are checked as pairs of real ones.
            xs = [torch.view_as_complex(x) if z else x for x, z in zip(xs, complex_inputs, strict=True)]
            if name in SYMMETRIC:
                xs = [(x + x.mH) / 2 for x in xs]
            outs = outputs(apply(op, xs, params))
            return tuple(torch.view_as_real(o) if o.is_complex() else o for o in outs)

        if not any(o.requires_grad for o in outputs(run(*inputs))):
            continue
        large = sum(x.numel() for x in inputs) > 30
        assert gradcheck(run, inputs, fast_mode=large)
        if name not in ROUGH:
            assert gradgradcheck(run, inputs, atol=1e-4, fast_mode=large)
        checked += 1
    assert checked


@pytest.mark.parametrize("name", OPS)
def test_meta_tensors_take_the_same_path(name):
    op = ir.REGISTRY[name]
    for sample in samples(name):
        got = outputs(apply(op, [wrap(a) for a in sample.arrays], sample.params))
        if name in ("index",) and any(a.dtype.kind == "b" for a in sample.arrays):
            continue
        metas = [torch.empty(*a.shape, dtype=wrap(a).dtype, device="meta") for a in sample.arrays]
        shadows = outputs(apply(op, metas, sample.params))
        assert [(m.shape, m.dtype, m.device.type) for m in shadows] == [(g.shape, g.dtype, "meta") for g in got]


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPS)
def test_cupy_gives_what_numpy_gives(name):
    op = ir.REGISTRY[name]
    for sample in samples(name):
        host = outputs(apply(op, [wrap(a) for a in sample.arrays], sample.params))
        device = outputs(apply(op, [wrap(a).to("cuda") for a in sample.arrays], sample.params))
        assert all(b.is_cuda for b in device)
        if name in determined_part.OF_OPERATORS:
            host, device = (determined_part.OF_OPERATORS[name](*results) for results in (host, device))
        for a, b in zip(host, device, strict=True):
            np.testing.assert_allclose(a.numpy(), b.cpu().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OPS)
def test_cupy_keeps_bfloat16(name):
    """Wherever NumPy takes it."""
    op = ir.REGISTRY[name]
    for sample in samples(name):
        if not any(a.dtype.kind == "f" for a in sample.arrays):
            continue
        inputs = [wrap(a).to(torch.bfloat16) if a.dtype.kind == "f" else wrap(a) for a in sample.arrays]
        try:
            host = outputs(apply(op, inputs, sample.params))
        except (KeyError, RuntimeError, TypeError):
            continue
        device = outputs(apply(op, [x.to("cuda") for x in inputs], sample.params))
        assert [(x.dtype, x.shape) for x in device] == [(x.dtype, x.shape) for x in host]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["lu_factor", "solve_triangle", "ldl_factor", "ldl_unpack"])
def test_half_types_are_refused_as_by_lapack(name, dtype, device):
    """Also where array operations would take them."""
    op, sample = ir.REGISTRY[name], next(iter(samples(name)))
    inputs = [wrap(a).to(device) if a.dtype.kind == "i" else wrap(a).to(device, dtype) for a in sample.arrays]
    with pytest.raises(
        RuntimeError, match=f"{name} is not implemented for {inputs[0]._data.dtype}.*convert to float32"
    ):
        apply(op, inputs, sample.params)


def test_every_operator_is_documented():
    assert [op.name for op in ir.REGISTRY.values() if not op.doc.strip()] == []
