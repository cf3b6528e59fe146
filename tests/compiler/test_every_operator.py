"""Every operator of the registry, compiled: results and gradients are those of eager execution."""

import numpy as np
import pytest

import torchlite as torch
from torchlite import ir
from torchlite._tensor import wrap
from torchlite.dispatch import apply

torch.vmap  # noqa: B018 - loads every module that registers operators
NAMES = sorted(name for name, op in ir.REGISTRY.items() if op.samples is not None)
INTEGERS_ONLY = {name for name in NAMES if name.startswith("bitwise_")} | {"gcd", "lcm"}


def outputs(result):
    return result if isinstance(result, tuple) else (result,)


def run(function, arrays):
    inputs = [wrap(np.array(a)) for a in arrays]
    for x in inputs:
        if x.is_floating_point() or x.is_complex():
            x.requires_grad = True
    outs = outputs(function(*inputs))
    parts = [o for o in outs if o.requires_grad and (o.is_floating_point() or o.is_complex())]
    if parts:
        try:
            torch.autograd.backward(parts, [torch.ones_like(p) for p in parts])
        except RuntimeError as error:
            if "is not implemented, as in PyTorch" not in str(error):
                raise
    return [o.detach().numpy() for o in outs], [None if x.grad is None else x.grad.numpy() for x in inputs]


@pytest.mark.filterwarnings("ignore:torchlite.compile")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_is_eager(name):
    op = ir.REGISTRY[name]
    samples = list(op.samples(np.random.default_rng(0)))
    arrays = [np.asarray(a, np.int64 if name in INTEGERS_ONLY else None) for s in samples for a in s.arrays]

    def function(*xs):
        inputs = iter(xs)
        results = [apply(op, [next(inputs) for _ in s.arrays], s.params) for s in samples]
        parts = [out for result in results for out in outputs(result)]
        return tuple(p if p.is_floating_point() or p.is_complex() else p.detach() for p in parts)

    compiled = torch.compile(function)
    expected = run(function, arrays)
    for _ in range(3):
        got = run(compiled, arrays)
        for a, b in zip(expected[0] + expected[1], got[0] + got[1], strict=True):
            if a is None:
                assert b is None
            else:
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    if "is not implemented, as in PyTorch" not in str(compiled.gave_up):
        assert compiled.gave_up is None, compiled.gave_up
