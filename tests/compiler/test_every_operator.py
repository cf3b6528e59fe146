"""Every operator of the registry, compiled: results and gradients are those of eager execution."""

import numpy as np
import pytest

import torchlite as torch
from torchlite import ir
from torchlite._tensor import wrap
from torchlite.dispatch import apply

torch.vmap  # noqa: B018 - loads every module that registers operators
NAMES = sorted(name for name, op in ir.REGISTRY.items() if op.samples is not None)
STEPS = 50
TOLERANCES = {"float64": (1e-10, 1e-13), "float32": (1e-5, 1e-6)}
"""Relative to each element, and to the largest or 1."""
SINGLE = {"float64": np.float32, "complex128": np.complex64}
RUN_UNCOMPILED = {
    "as_strided": "looks at memory",
    "determinant": "backward checks values",  # a singular matrix takes another way
}
NO_GRADIENT = "is not implemented, as in PyTorch"
INTEGERS_ONLY = {name for name in NAMES if name.startswith("bitwise_")} | {"gcd", "lcm"}


def outputs(result):
    return result if isinstance(result, tuple) else (result,)


def run(function, arrays):
    inputs = [wrap(a.copy()) for a in arrays]
    for x in inputs:
        if x.is_floating_point() or x.is_complex():
            x.requires_grad = True
    outs = outputs(function(*inputs))
    parts = [o for o in outs if o.requires_grad and (o.is_floating_point() or o.is_complex())]
    if parts:
        try:
            torch.autograd.backward(
                parts, [torch.cos(torch.arange(p.numel())).view(p.shape).to(p.dtype) for p in parts]
            )
        except RuntimeError as error:
            if NO_GRADIENT not in str(error):
                raise
    return [o.detach().numpy() for o in outs] + [None if x.grad is None else x.grad.numpy() for x in inputs]


def arrays_of(samples, name):
    """Their arrays as the operator takes them, then once more in single precision."""
    arrays = [np.asarray(a, np.int64 if name in INTEGERS_ONLY else None) for s in samples for a in s.arrays]
    return arrays + [a.astype(SINGLE.get(a.dtype.name, a.dtype)) for a in arrays]


@pytest.mark.filterwarnings("ignore:torchlite.compile")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_is_eager(name):
    op = ir.REGISTRY[name]
    samples = [*op.samples(np.random.default_rng(0)), *op.samples(np.random.default_rng(0))]

    def function(*xs):
        inputs = iter(xs)
        results = [apply(op, [next(inputs) for _ in s.arrays], s.params) for s in samples]
        parts = [out for result in results for out in outputs(result)]
        return tuple(p if p.is_floating_point() or p.is_complex() else p.detach() for p in parts)

    compiled = torch.compile(function)
    for step in range(STEPS):
        arrays = arrays_of(op.samples(np.random.default_rng(step)), name)
        for expected, got in zip(run(function, arrays), run(compiled, arrays), strict=True):
            assert_equal(got, expected, step)
    if name in RUN_UNCOMPILED:
        assert RUN_UNCOMPILED[name] in compiled.gave_up
    elif NO_GRADIENT not in str(compiled.gave_up):
        assert compiled.gave_up is None, compiled.gave_up
        assert len(compiled.variants) == 1


def assert_equal(got, expected, step):
    if expected is None:
        assert got is None
        return
    assert got.dtype == expected.dtype
    finite = np.abs(expected[np.isfinite(expected)])
    rtol, atol = TOLERANCES.get(finite.dtype.name, (0, 0))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol * finite.max(initial=1), err_msg=f"step {step}")
