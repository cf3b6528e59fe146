"""Activation functions that one operator computes in fewer passes over memory than several would."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor
from torchlite.backends.native import accelerated
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CUDA, Autocast, Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import plain
from torchlite.ops.half_precision import BFLOAT16, FEWEST, HALVES, rounded_once, widened
from torchlite.ops.pointwise import exp, run_sigmoid, sigmoid, tanh


def _activation(
    name: str,
    run: Callable[..., Any],
    vjp: Callable[..., Any],
    doc: str,
    params: dict[str, Any],
    onnx: str | None = None,
    autocast: Autocast | None = None,
    half: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda run: run,
) -> Op:
    return register(
        Op(
            name,
            "elementwise",
            run=half(np.errstate(all="ignore")(widened(run))),
            infer=lambda x, **_params: x,
            vjp=(vjp,),
            onnx=onnx,
            autocast=autocast,
            # Both sides of the kinks at 0 and ±1, and none on them.
            samples=lambda rng: [
                Sample((rng.choice([-1.0, 1.0], (3, 4)) * rng.uniform(0.2, 0.8, (3, 4)),), params),
                Sample((rng.choice([-1.0, 1.0], 6) * rng.uniform(1.2, 2.0, 6),), params),
                Sample((rng.uniform(0.2, 0.8, ()),), params),
            ],
            doc=doc,
        )
    )


def activated(op: Op, input: Tensor, **numbers: Any) -> Tensor:
    """What an activation function with parameters gives."""
    result: Tensor = apply(op, (input,), {name: plain(value) for name, value in numbers.items()})
    return result


def _gradient(
    name: str,
    run: Callable[..., Any],
    vjp_input: Callable[..., Any] | None,
    doc: str,
    params: dict[str, Any],
    half: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda run: run,
) -> Op:
    """The operator ``(g, x)`` that multiplies a cotangent with an activation's slope; ``vjp_input`` is the rule of x."""
    op = register(
        Op(
            name,
            "elementwise",
            run=half(np.errstate(all="ignore")(widened(run))),
            infer=lambda _g, x, **_params: x,
            vjp=(lambda h, _out, _g, x, **params: apply(op, (h, x), params), vjp_input),
            samples=lambda rng: [Sample((rng.normal(size=shape), rng.normal(size=shape)), params) for shape in _SHAPES],
            doc=doc,
        )
    )
    return op


_SHAPES = ((3, 4), (5,), ())


def _run_elu(xp: Any, x: Any, *, alpha: float, scale: float, slope: float) -> Any:
    below = xp.expm1(xp.minimum(x, x.dtype.type(0)) * slope)
    return backends.where(xp, x > 0, x * scale, below * (alpha * scale))


def _elu_vjp(g: Tensor, _out: Any, x: Tensor, alpha: float, scale: float, slope: float) -> Tensor:
    # Of the input: the result has lost the small slopes of very negative numbers.
    slope_of_input: Tensor = apply(_elu_grad_op, (g, x), {"alpha": alpha, "scale": scale, "slope": slope})
    return slope_of_input


elu_op = _activation(
    "elu",
    _run_elu,
    _elu_vjp,
    "scale · x for x > 0, scale · α(exp(slope · x) - 1) below.",
    {"alpha": 1.3, "scale": 1.1, "slope": 0.7},
    onnx="Elu",
)


@accelerated("elementwise.leaky_relu")
def _run_leaky_relu(xp: Any, x: Any, *, negative_slope: float) -> Any:
    if 0 < negative_slope <= 1:  # then the larger one is meant, in two passes instead of five
        return xp.maximum(x, x * negative_slope)
    return backends.where(xp, x > 0, x, x * negative_slope)


@accelerated("elementwise.leaky_relu_grad")
def _run_leaky_relu_grad(xp: Any, g: Any, x: Any, *, negative_slope: float) -> Any:
    return backends.where(xp, x > 0, g, g * negative_slope)


_leaky_relu_grad_op = _gradient(
    "leaky_relu_grad",
    _run_leaky_relu_grad,
    None,
    "g where x > 0, negative_slope · g elsewhere.",
    {"negative_slope": 0.3},
    accelerated("bfloat16.leaky_relu_grad", least=FEWEST, of=BFLOAT16),
)
leaky_relu_op = _activation(
    "leaky_relu",
    _run_leaky_relu,
    lambda g, _out, x, negative_slope: apply(_leaky_relu_grad_op, (g, x), {"negative_slope": negative_slope}),
    "x for x > 0, negative_slope · x below.",
    {"negative_slope": 0.3},
    onnx="LeakyRelu",
    half=accelerated("bfloat16.leaky_relu", least=FEWEST, of=BFLOAT16),
)


def _between(x: Tensor, least: float, largest: float) -> Tensor:
    compared = x.to(dtypes.float32) if x._data.dtype in HALVES else x  # limits are not rounded
    return (compared > least) & (compared < largest)


hardtanh_op = _activation(
    "hardtanh",
    widened(lambda xp, x, *, min_val, max_val: xp.clip(x, x.dtype.type(min_val), x.dtype.type(max_val))),
    lambda g, _out, x, min_val, max_val: where(_between(x, min_val, max_val), g, 0.0),
    "x limited to [min_val, max_val]; no gradient at the limits and outside.",
    {"min_val": -1.0, "max_val": 1.0},
    onnx="Clip",
)


def _run_softplus(xp: Any, x: Any, *, beta: float, threshold: float) -> Any:
    scaled = x * beta
    out = xp.maximum(scaled, x.dtype.type(0)) + xp.log1p(xp.exp(-xp.abs(scaled)))
    out = out / beta
    return out if math.isinf(threshold) else backends.where(xp, scaled > threshold, x, out)


@rounded_once
def _softplus_vjp(g: Tensor, _out: Any, x: Tensor, beta: float, threshold: float) -> Tensor:
    slope = g * sigmoid(x * beta)
    return slope if math.isinf(threshold) else where(x * beta > threshold, g, slope)


softplus_op = _activation(
    "softplus",
    _run_softplus,
    _softplus_vjp,
    "ln(1 + exp(β x)) / β without overflow; x itself where β x is above the threshold.",
    {"beta": 1.5, "threshold": 1.5},
    onnx="Softplus",
    autocast=FLOAT32_ON_CUDA,
)


def _run_elu_grad(xp: Any, g: Any, x: Any, *, alpha: float, scale: float, slope: float) -> Any:
    below = xp.exp(xp.minimum(x, x.dtype.type(0)) * slope) * (alpha * scale * slope)
    return g * backends.where(xp, x > 0, xp.full_like(x, scale), below)


def _elu_grad_vjp(h: Tensor, _out: Any, g: Tensor, x: Tensor, alpha: float, scale: float, slope: float) -> Tensor:
    return where(x > 0, 0.0, h * g * exp(x * slope) * (alpha * scale * slope * slope))


_elu_grad_op = _gradient(
    "elu_grad",
    _run_elu_grad,
    _elu_grad_vjp,
    "g · scale for x > 0, g · scale · α · slope · exp(slope · x) below.",
    {"alpha": 1.3, "scale": 1.1, "slope": 0.7},
)


@accelerated("elementwise.silu")
def _run_silu(xp: Any, x: Any) -> Any:
    return x / (xp.exp(-x) + x.dtype.type(1))


def _silu_slope(s: Any, x: Any) -> Any:
    return ((1 - s) * x + 1) * s


@accelerated("elementwise.silu_grad")
def _run_silu_grad(xp: Any, g: Any, x: Any) -> Any:
    return g * _silu_slope(xp.reciprocal(xp.exp(-x) + x.dtype.type(1)), x)


def _silu_grad_vjp(h: Tensor, _out: Any, g: Tensor, x: Tensor) -> Tensor:
    s = sigmoid(x)
    return h * g * ((1 - s) * s * ((1 - s * 2) * x + 2))


_silu_grad_op = _gradient("silu_grad", _run_silu_grad, _silu_grad_vjp, "g · σ(x)(1 + x(1 - σ(x))).", {})
silu_op = _activation(
    "silu",
    _run_silu,
    lambda g, _out, x: g * _silu_slope(sigmoid(x), x).conj() if x.is_complex() else apply(_silu_grad_op, (g, x)),
    "x · σ(x).",
    {},
)


def _run_gated(xp: Any, x: Any, gate: Any) -> Any:
    out = run_sigmoid(xp, gate)
    if out.shape != x.shape:
        return x * out
    out *= x
    return out


def _run_gate_grad(_xp: Any, g: Any, s: Any, x: Any) -> Any:
    out = 1 - s
    for factor in (s, x, g):
        if out.shape == factor.shape:
            out *= factor
        else:
            out = out * factor
    return out


_gate_grad_op: Op = register(
    Op(
        "gate_grad",
        "elementwise",
        run=np.errstate(all="ignore")(widened(_run_gate_grad)),
        infer=lambda g, s, x: Aval(broadcast_shapes("gate_grad", g.shape, s.shape, x.shape), g.dtype, g.device),
        vjp=(
            lambda h, _out, _g, s, x: apply(_gate_grad_op, (h, s, x)),
            lambda h, _out, g, s, x: h * g * x * (1 - s * 2),
            lambda h, _out, g, s, _x: apply(_gate_grad_op, (h, s, g)),
        ),
        samples=lambda rng: [Sample(tuple(rng.normal(size=shape) for _ in range(3)), {}) for shape in _SHAPES],
        doc="σ(1 - σ) x g: the cotangent of what is gated with, from σ = σ(gate).",
    )
)
gated_op = register(
    Op(
        "gated",
        "elementwise",
        run=np.errstate(all="ignore")(widened(_run_gated)),
        infer=lambda x, gate: Aval(broadcast_shapes("gated", x.shape, gate.shape), x.dtype, x.device),
        vjp=(
            lambda g, _out, _x, gate: g * sigmoid(gate),
            lambda g, _out, x, gate: apply(_gate_grad_op, (g, sigmoid(gate), x)),
        ),
        scalar="x / (1 + exp(-y))",
        samples=lambda rng: [
            Sample((rng.normal(size=left), rng.normal(size=right)), {})
            for left, right in (((3, 4), (3, 4)), ((), (5,)))
        ],
        doc="x · σ(gate), of half types rounded once.",
    )
)

_ROOT_HALF, _ROOT_TWO_OVER_PI, _CUBIC = math.sqrt(0.5), math.sqrt(2 / math.pi), 0.044715


@accelerated("elementwise.gelu")
def _run_gelu(xp: Any, x: Any, *, approximate: str) -> Any:
    if approximate == "none":
        out = xp.asarray(backends.erf(xp, x * _ROOT_HALF))
    else:
        out = xp.asarray(x * x)
        out *= _CUBIC * _ROOT_TWO_OVER_PI
        out += _ROOT_TWO_OVER_PI
        out *= x
        xp.tanh(out, out=out)
    out += x.dtype.type(1)
    out *= x
    out *= x.dtype.type(0.5)
    return out


@accelerated("elementwise.gelu_grad")
def _run_gelu_grad(xp: Any, g: Any, x: Any, *, approximate: str) -> Any:
    square = x * x
    if approximate == "none":  # Φ(x) + x φ(x)
        density = xp.exp(square * -0.5) * x * (_ROOT_TWO_OVER_PI * 0.5)
        return g * ((backends.erf(xp, x * _ROOT_HALF) + 1) * 0.5 + density)
    t = xp.tanh((square * (_CUBIC * _ROOT_TWO_OVER_PI) + _ROOT_TWO_OVER_PI) * x)
    inner_slope = square * (3 * _CUBIC * _ROOT_TWO_OVER_PI) + _ROOT_TWO_OVER_PI
    return g * (((1 - t * t) * inner_slope * x + 1 + t) * 0.5)


def _gelu_grad_vjp(h: Tensor, _out: Any, g: Tensor, x: Tensor, approximate: str) -> Tensor:
    square = x * x
    if approximate == "none":  # φ(x) (2 - x²)
        return h * g * (exp(square * -0.5) * (2 - square) * (_ROOT_TWO_OVER_PI * 0.5))
    t = tanh((square * (_CUBIC * _ROOT_TWO_OVER_PI) + _ROOT_TWO_OVER_PI) * x)
    inner_slope = square * (3 * _CUBIC * _ROOT_TWO_OVER_PI) + _ROOT_TWO_OVER_PI
    bend = square * (3 * _CUBIC * _ROOT_TWO_OVER_PI) - x * t * inner_slope * inner_slope + inner_slope
    return h * g * ((1 - t * t) * bend)


_gelu_grad_op = _gradient(
    "gelu_grad", _run_gelu_grad, _gelu_grad_vjp, "g · (Φ(x) + x φ(x)), or the slope of the approximation by tanh.",
    {"approximate": "none"},
)  # fmt: skip
gelu_op = _activation(
    "gelu",
    _run_gelu,
    lambda g, _out, x, approximate: apply(_gelu_grad_op, (g, x), {"approximate": approximate}),
    "x Φ(x) with the distribution function Φ of the normal distribution, or its approximation by tanh.",
    {"approximate": "none"},
    onnx="Gelu",
)
