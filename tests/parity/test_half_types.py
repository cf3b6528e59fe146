"""float16 and bfloat16: the bits that PyTorch gives where numbers or several steps of arithmetic are rounded once, or not.

PyTorch's kernels compute most such operators in float32 from beginning to end, but round some numbers first. Arrays fill
its vectors, because it rounds more often in the elements that are left over.
"""

from typing import Any

import numpy as np
import pytest
from oracle import BOTH, attempt, tensors

LENGTH = 512
rng = np.random.default_rng(3)
POSITIVE = [rng.uniform(0.1, 3, LENGTH).astype(np.float32) for _ in range(3)]
ANY = [x * rng.choice(np.float32([-1, 1]), LENGTH) for x in POSITIVE]


def cosine_embedding(T: Any, x: Any, y: Any) -> Any:
    target = T.tensor([1.0, -1.0] * 8)
    return T.nn.functional.cosine_embedding_loss(x.view(16, 32), y.view(16, 32), target, reduction="none")


# Functions of a library and up to three tensors, of which gradients are compared as well.
DIFFERENTIABLE = {
    "times": lambda T, x: x * 0.1,
    "times, number first": lambda T, x: 0.1 * x,
    "times, in place": lambda T, x: x.clone().mul_(0.1),
    "times an integer": lambda T, x: x * 1001,
    "times a scalar": lambda T, x: x * T.tensor(0.1),
    "times a scalar of float64": lambda T, x: x * T.tensor(0.1, dtype=T.float64),
    "divided": lambda T, x: x / 1.7,
    "divided, in place": lambda T, x: x.clone().div_(1.7),
    "divided by a scalar": lambda T, x: x / T.tensor(1.7),
    "degrees": lambda T, x: T.rad2deg(x),
    "plus": lambda T, x: x + 0.1,
    "plus an integer": lambda T, x: x + 1001,
    "minus": lambda T, x: x - 0.1,
    "from a number": lambda T, x: 0.1 - x,
    "plus a scalar": lambda T, x: x + T.tensor(0.1),
    "clamp": lambda T, x: x.clamp(-0.1, 0.3),
    "where": lambda T, x: T.where(x > 0, x, 0.1),
    "fill": lambda T, x: x.masked_fill(x > 0, 0.1),
    "leaky_relu": lambda T, x: T.nn.functional.leaky_relu(x, 0.1),
    "threshold": lambda T, x: T.nn.functional.threshold(T.where(x > 1, 1.7, x), 1.7, 20.0),
    "softshrink": lambda T, x: T.nn.functional.softshrink(x, 0.3),
    "hardsigmoid": lambda T, x: T.nn.functional.hardsigmoid(x),
    "hardtanh": lambda T, x: T.nn.functional.hardtanh(T.where(x > 1, 0.3, x), -0.3, 0.3),
    "clamp, tensors": lambda T, x, y: T.where(x > 1, y, x).clamp(y - 0.5, y.abs() + 1),
    "huber": lambda T, x, y: T.nn.functional.huber_loss(x, y, delta=0.3, reduction="none"),
    "divergence": lambda T, x, y: T.nn.functional.kl_div(x, y.abs(), reduction="none"),
    "angles": lambda T, x, y: cosine_embedding(T, x, y).view(16, 1).expand(16, 32).reshape(512),
    "power of 2.5": lambda T, x: 2.5**x,
}
OTHERS = {
    "floor": lambda T, x: x // 0.1,
    "floor, in place": lambda T, x: x.clone().floor_divide_(0.1),
    "truncated": lambda T, x: T.div(x, 0.1, rounding_mode="trunc"),
    "truncated, by a scalar": lambda T, x: T.div(x, T.tensor(0.1), rounding_mode="trunc"),
    "remainder": lambda T, x: x % 0.1,
    "fmod": lambda T, x: T.fmod(x, 0.1),
    "a number over": lambda T, x: 1.7 / x,
    "less": lambda T, x: T.full_like(x, 0.1) < 0.1,
    "equal": lambda T, x: T.full_like(x, 0.1) == T.tensor(0.1),
    "decimals": lambda T, x: T.round(x, decimals=1),
    "not finite": lambda T, x: T.nan_to_num(T.where(x > 1, T.inf, T.where(x < -1, T.nan, x)), 0.1, 0.3),
    "alpha": lambda T, x, y: T.add(x, y, alpha=0.1),
    "alpha, minus": lambda T, x, y: x.sub(y, alpha=0.1),
    "alpha, from": lambda T, x, y: T.rsub(x, y, alpha=0.1),
    "alpha, in place": lambda T, x, y: x.clone().add_(y, alpha=0.1),
    "alpha, in place, minus": lambda T, x, y: x.clone().sub_(y, alpha=0.1),
    "alpha of a number": lambda T, x: T.add(x, 1.3, alpha=1.7),
    "alpha beside float32": lambda T, x, y: T.add(T.zeros(LENGTH), y, alpha=0.1),
    "addcmul": lambda T, x, y, z: T.addcmul(x, y, z, value=0.375),
    "outer product": lambda T, x, y, z: T.addr(x.view(16, 32), y[:16], z[:32], beta=0.7, alpha=0.3),
    "addcmul, in place": lambda T, x, y, z: x.clone().addcmul_(y, z),
    "addcmul, by names": lambda T, x, y, z: T.addcmul(input=x, tensor1=y, tensor2=z, value=0.375),
    "addcmul, large": lambda T, x, y, z: T.addcmul(x, y * 1e25, z * 1e25, value=2.0**-100),
    "addcdiv, large": lambda T, x, y, z: T.addcdiv(x, y * 1e25, T.sign(z) * 1e-25, value=2.0**-100),
}
# Steps in float32 that differ in its last digit, as exponential functions and fused multiply-adds do, seldom show.
DIFFERENTIABLE_NEARLY = {
    "elu": lambda T, x: T.nn.functional.elu(x, 1.3),
    "celu": lambda T, x: T.nn.functional.celu(x, 1.3),
    "selu": lambda T, x: T.nn.functional.selu(x),
    "softplus": lambda T, x: T.nn.functional.softplus(x, 1.7),
    "hardswish": lambda T, x: T.nn.functional.hardswish(x),
    "mish": lambda T, x: T.nn.functional.mish(x),
    "lerp": lambda T, x, y: T.lerp(x, y, 0.3),
    "lerp, from its end": lambda T, x, y: T.lerp(x, y, 0.7),
    "power": lambda T, x: x.abs() ** 1.5,
    "power of two": lambda T, x: T.exp2(x),
    "glu": lambda T, x, y: T.nn.functional.glu(T.cat([x, y])),
    "matrix": lambda T, x, y, z: T.addmm(x.view(16, 32), y.view(16, 32), z[:32].view(32, 1).expand(32, 32)).view(512),
    "matrix, scaled": lambda T, x, y, z: T.addmm(
        x.view(16, 32), y[:256].view(16, 16), z.view(16, 32), beta=0.7, alpha=0.3
    ).view(512),
    "batches": lambda T, x, y, z: T.baddbmm(
        x.view(2, 16, 16), y.view(2, 16, 16), z.view(2, 16, 16), beta=0.7, alpha=0.3
    ).view(512),
    "outer product": lambda T, x, y, z: T.addr(x.view(16, 32), y[:16], z[:32]).view(512),
    "vector": lambda T, x, y, z: T.addmv(x[:16], y.view(16, 32), z[:32]).repeat(32),
}
OTHERS_NEARLY = {
    "lerp, weights": lambda T, x, y, z: T.lerp(x, y, z.abs() / 3),
    "lerp, in place": lambda T, x, y: x.clone().lerp_(y, 0.3),
    "addcmul, number": lambda T, x, y, z: T.addcmul(x, y, z, value=0.1),
    "addcdiv": lambda T, x, y, z: T.addcdiv(x, y, z, value=0.1),
    "reciprocal root": lambda T, x: x.abs().rsqrt(),
    "logarithm": lambda T, x, y: T.xlogy(x, y.abs()),
    "entropy": lambda T, x: T.special.entr(x.abs()),
    "sinc": lambda T, x: T.sinc(x),
    "variance": lambda T, x: T.cat([x.view(64, 8).var(1), x.view(64, 8).std(1)]),
}
NEARLY = {**DIFFERENTIABLE_NEARLY, **OTHERS_NEARLY}
FUNCTIONS = {**DIFFERENTIABLE, **OTHERS, **NEARLY}


def same_bits(name: str, ours: Any, theirs: Any) -> None:
    assert str(ours.dtype) == str(theirs.dtype)
    a, b = (x.detach().float().numpy() for x in (ours, theirs))
    if name in NEARLY:
        assert np.mean(a != b) <= 0.01
    else:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits(name: str, dtype: str) -> None:
    function = FUNCTIONS[name]
    differentiable = name in DIFFERENTIABLE or name in DIFFERENTIABLE_NEARLY
    pairs = [tensors(x, dtype=dtype) for x in ANY[: function.__code__.co_argcount - 1]]
    for pair in pairs:
        for x in pair:
            x.requires_grad_(differentiable)
    results = [attempt(function, T, *(p[i] for p in pairs)) for i, T in enumerate(BOTH)]
    (ours, our_error), (theirs, their_error) = results
    assert our_error is their_error is None
    same_bits(name, ours, theirs)
    if not differentiable:
        return
    for result, g in zip((ours, theirs), tensors(POSITIVE[2] - 1.5, dtype=dtype), strict=True):
        result.backward(g)
    for mine, other in pairs:
        same_bits(name, mine.grad, other.grad)
