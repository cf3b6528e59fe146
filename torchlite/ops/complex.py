"""Complex numbers: their parts, their conjugates, and the two ways to look at their memory.

Gradients follow PyTorch's convention: the cotangent of a complex number z is ∂L/∂Re z + i ∂L/∂Im z.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor, method
from torchlite.autocasting import autocasts
from torchlite.dispatch import apply
from torchlite.ir import FLOAT32_ON_CPU, Aval, Op, Sample, broadcast_shapes, register
from torchlite.ops.arithmetic import where
from torchlite.ops.construct import refuse_numbers, unary
from torchlite.ops.destination import OutDtype, takes_out_as
from torchlite.ops.half_precision import widened
from torchlite.ops.joining import stack
from torchlite.ops.mutation import inplace


def _real_dtype(dtype: Any) -> Any:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _complex_dtype(dtype: Any) -> Any:
    return np.dtype(f"c{dtype.itemsize * 2}")


_view_as_real: Op = register(
    Op(
        "view_as_real",
        "view",
        run=lambda xp, x: x[..., None].view(_real_dtype(x.dtype)),  # noqa: ARG005
        infer=lambda x: Aval((*x.shape, 2), _real_dtype(x.dtype), x.device),
        vjp=(lambda g, _out, _x: apply(_view_as_complex, (g,)),),
        samples=lambda rng: [Sample((rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2)),), {})],
        doc="Complex numbers as pairs (real, imaginary) in a last dimension of length 2, sharing memory.",
    )
)
_view_as_complex: Op = register(
    Op(
        "view_as_complex",
        "view",
        run=lambda xp, x: _from_pairs(xp, x),
        infer=lambda x: Aval(x.shape[:-1], _complex_dtype(x.dtype), x.device),
        vjp=(lambda g, _out, _x: view_as_real(g),),
        samples=lambda rng: [Sample((rng.normal(size=(3, 2)),), {}), Sample((rng.normal(size=(2,)),), {})],
        doc="Pairs (real, imaginary) in the last dimension as complex numbers, sharing memory where it lies close.",
    )
)
_conj = register(
    Op(
        "conj",
        "elementwise",
        run=lambda xp, x: xp.conj(x),
        infer=lambda x: x,
        vjp=(lambda g, _out, _x: g.conj(),),
        samples=lambda rng: [Sample((rng.normal(size=(3, 2)) + 1j * rng.normal(size=(3, 2)),), {})],
        doc="The complex number with the opposite imaginary part.",
    )
)
sgn = unary(
    "sgn",
    lambda g, out, x: _turn(g, out, x) if x.is_complex() else g.new_zeros(g.shape),
    run=widened(lambda xp, x: _run_sgn(xp, x)),
    domain=(0.2, 2.0),
    doc="x / |x|, and 0 at 0: the sign of real numbers, the direction of complex ones.",
)
angle = unary(
    "angle",
    lambda g, _out, x: _slope_of_angle(g, x),
    run=widened(lambda xp, x: _run_angle(xp, x)),
    to_float=True,
    result=_real_dtype,
    as_in_place=False,
    domain=(0.2, 2.0),
    doc="The angle of complex numbers in radians; π for negative real numbers, 0 for the others.",
)


def _from_pairs(xp: Any, x: Any) -> Any:
    if x.shape[-1] != 2:
        raise RuntimeError(f"Tensor must have a last dimension of size 2, got shape {list(x.shape)}")
    if x.strides[-1] != x.itemsize:  # no view any more: `view_as_complex` lets only gradients come here so
        x = xp.ascontiguousarray(x)
    return x.view(_complex_dtype(x.dtype))[..., 0]


def _run_sgn(xp: Any, x: Any) -> Any:
    if x.dtype.kind == "b":
        return x.copy()
    if x.dtype.kind == "c":
        size = xp.abs(x)
        return xp.where(size == 0, 0, x / xp.where(size == 0, 1, size)).astype(x.dtype, copy=False)
    signs = xp.sign(x)
    return signs if x.dtype.kind in "iu" else xp.where(signs == signs, signs, x.dtype.type(0))


def _run_angle(xp: Any, x: Any) -> Any:
    if x.dtype.kind == "c":
        return xp.angle(x)
    straight = xp.where(x < 0, x.dtype.type(np.pi), x.dtype.type(0))
    return xp.where(x != x, x, straight)


def _turn(g: Tensor, out: Tensor, x: Tensor) -> Any:
    """The part of g across the direction of x, by the length of x."""
    size = x.abs()
    across = g - out * (g.conj() * out).real
    return across / where(size == 0, 1.0, size)


def _slope_of_angle(g: Tensor, x: Tensor) -> Any:
    if not x.is_complex():
        return g.new_zeros(g.shape)
    square = (x * x.conj()).real
    scale = g / where(square == 0, 1.0, square)
    return complex(-x.imag * scale, x.real * scale)


def view_as_real(input: Tensor) -> Tensor:
    """Complex numbers as pairs (real, imaginary) in a last dimension of length 2.

    Raises:
        RuntimeError: for a tensor that is not complex.
    """
    if not input.is_complex():
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {input.dtype}")
    return apply(_view_as_real, (input,))


@autocasts(FLOAT32_ON_CPU)
def view_as_complex(input: Tensor) -> Tensor:
    """Pairs (real, imaginary) in the last dimension, of length 2, as complex numbers.

    Raises:
        RuntimeError: for a tensor that is not float32 or float64, whose last dimension is not 2, or whose pairs do not
            lie in memory as complex numbers do.
    """
    if input._data.dtype.char not in "fd":
        raise RuntimeError(f"view_as_complex is only supported for half, float and double tensors, got {input.dtype}")
    if input.ndim == 0 or input.shape[-1] != 2:
        raise RuntimeError(f"Tensor must have a last dimension of size 2, got shape {list(input.shape)}")
    strides, offset = input.stride(), input.storage_offset()
    if strides[-1] != 1 or any(step % 2 for step in strides[:-1]) or offset % 2:
        raise RuntimeError(
            "Tensor must have a last dimension with stride 1, and a storage_offset and other strides divisible by 2, got "
            f"strides {list(strides)} and offset {offset}; use .contiguous()"
        )
    return apply(_view_as_complex, (input,))


@method()
def real(input: Tensor) -> Tensor:
    """The real parts; a real tensor itself."""
    return view_as_real(input)[..., 0] if input._data.dtype.kind == "c" else input


@method()
def imag(input: Tensor) -> Tensor:
    """The imaginary parts.

    Raises:
        RuntimeError: for a real tensor.
    """
    if not input.is_complex():
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes, got {input.dtype}")
    return view_as_real(input)[..., 1]


# As in PyTorch these two are attributes of a tensor, not methods.
Tensor.real = property(real)  # type: ignore[attr-defined]
Tensor.imag = property(imag)  # type: ignore[attr-defined]


@method()
def conj(input: Tensor) -> Tensor:
    """The complex conjugates; a real tensor itself."""
    return apply(_conj, (input,)) if input._data.dtype.kind == "c" else input


@takes_out_as(OutDtype.SAME)
@method()
def conj_physical(input: Tensor) -> Tensor:
    """The complex conjugates; a real tensor itself."""
    return conj(input)


method("conj_physical_")(inplace(conj_physical))


@method()
def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: signs are always computed here."""
    return input


@method()
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates are always computed here."""
    return input


@method()
def adjoint(input: Tensor) -> Tensor:
    """Matrices transposed and conjugated."""
    return conj(input.mT)


def _conjugate_transpose(self: Tensor) -> Tensor:
    """The conjugate transpose of a matrix."""
    if self.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor.")
    return conj(self.mT) if self.ndim else conj(self)


Tensor.mH = property(adjoint)  # type: ignore[attr-defined]
Tensor.H = property(_conjugate_transpose)  # type: ignore[attr-defined]


@takes_out_as(OutDtype.SAME)
def complex(real: Tensor, imag: Tensor) -> Tensor:
    """real + i · imag of two floating-point tensors of one dtype.

    Raises:
        RuntimeError: when the dtypes differ or are not float32 or float64.
    """
    if real.dtype is not imag.dtype or real._data.dtype.char not in "fd":
        raise RuntimeError(
            f"complex: expected both inputs to be Float or Double tensors of one dtype, got {real.dtype} and {imag.dtype}"
        )
    shape = broadcast_shapes("complex", tuple(real.shape), tuple(imag.shape))
    real, imag = real.expand(shape), imag.expand(shape)
    return view_as_complex(stack([real, imag], -1))


@takes_out_as(OutDtype.SAME)
@autocasts(FLOAT32_ON_CPU)
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """abs · (cos(angle) + i sin(angle)).

    Raises:
        RuntimeError: when the dtypes differ or are not float32 or float64.
    """
    refuse_numbers("polar", abs, angle)
    return complex(abs * angle.cos(), abs * angle.sin())


@method()
def isreal(input: Tensor) -> Tensor:
    """Whether the imaginary part is 0."""
    return input.imag == 0 if input.is_complex() else input.new_ones(input.shape, dtype=dtypes.bool_)


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is complex."""
    return input.is_complex()


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a real floating-point type."""
    return input.is_floating_point()
