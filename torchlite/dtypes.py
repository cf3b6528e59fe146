"""Data types by PyTorch's names, and the rules by which they combine.

A `dtype` wraps the NumPy dtype that holds the numbers (bfloat16 comes from ml_dtypes). Arrays carry the NumPy
dtype; `of` turns it into ours.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class dtype:
    """The type of a tensor's elements, such as ``torchlite.float32``. Each exists once; compare with ``is``."""

    name: str
    numpy: np.dtype[Any]
    is_floating_point: bool
    is_complex: bool
    is_signed: bool
    rank: int = field(default=0)

    @property
    def itemsize(self) -> int:
        """Size of one element in bytes."""
        return int(self.numpy.itemsize)

    def to_real(self) -> dtype:
        """The dtype of the real part."""
        return _REAL_OF.get(self, self)

    def to_complex(self) -> dtype:
        """The dtype of complex numbers with such parts; there are none of less than two float32.

        Raises:
            RuntimeError: for integers.
        """
        if self.is_complex:
            return self
        if self not in _COMPLEX_OF:
            raise RuntimeError(f"to_complex: there is no complex dtype of {self.name} parts")
        return _COMPLEX_OF[self]

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name if self.name != "bool" else "bool_"


def _integer(name: str, rank: int, *, signed: bool = True) -> dtype:
    return dtype(name, np.dtype(name), False, False, signed, rank)


def _float(name: str, rank: int, scalar_type: Any) -> dtype:
    return dtype(name, np.dtype(scalar_type), True, False, True, rank)


def _complex(name: str, rank: int) -> dtype:
    return dtype(name, np.dtype(name), False, True, True, rank)


bool_ = _integer("bool", 0, signed=False)
uint8 = _integer("uint8", 1, signed=False)
int8 = _integer("int8", 2)
int16 = short = _integer("int16", 3)
int32 = int_ = _integer("int32", 4)
int64 = long = _integer("int64", 5)
float16 = half = _float("float16", 6, np.float16)
bfloat16 = _float("bfloat16", 7, ml_dtypes.bfloat16)
float32 = float_ = _float("float32", 8, np.float32)
float64 = double = _float("float64", 9, np.float64)
complex64 = cfloat = _complex("complex64", 10)
complex128 = cdouble = _complex("complex128", 11)

uint16 = _integer("uint16", 12, signed=False)
uint32 = _integer("uint32", 13, signed=False)
uint64 = _integer("uint64", 14, signed=False)

ALL: tuple[dtype, ...] = (
    bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
# These hold numbers, but as in PyTorch they do not combine with other integers.
UNSIGNED = (uint16, uint32, uint64)
_BY_NUMPY: dict[np.dtype[Any], dtype] = {d.numpy: d for d in (*ALL, *UNSIGNED)}
_COMPLEX_OF = {float16: complex64, bfloat16: complex64, float32: complex64, float64: complex128}
_REAL_OF = {complex64: float32, complex128: float64}
_default = float32


def of(numpy_dtype: np.dtype[Any]) -> dtype:
    """The torchlite dtype of a NumPy dtype.

    Raises:
        TypeError: for a NumPy dtype that PyTorch has no counterpart of (strings, objects, dates).
    """
    try:
        return _BY_NUMPY[numpy_dtype]
    except KeyError:
        names = ", ".join(d.name for d in ALL)
        raise TypeError(
            f"can't convert an array of NumPy dtype {numpy_dtype} to a tensor; the supported dtypes are {names}"
        ) from None


def get_default_dtype() -> dtype:
    """The dtype of new floating-point tensors; float32 unless `set_default_dtype` changed it."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Make ``d`` (a floating-point dtype) the dtype of new floating-point tensors."""
    global _default
    if not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d}")
    _default = d


def of_scalar(value: bool | int | float | complex) -> dtype:
    """The dtype a Python number takes where nothing else decides.

    Raises:
        TypeError: for other kinds of numbers, such as fractions.
    """
    kind = getattr(value, "kind", None)  # of a number that only a replay of captured code knows
    if isinstance(value, (bool, np.bool_)) or kind is bool:
        return bool_
    if isinstance(value, (int, np.integer)) or kind is int:
        return int64
    if isinstance(value, (complex, np.complexfloating)) or kind is complex:
        return _COMPLEX_OF[_default]
    if isinstance(value, (float, np.floating)) or kind in (float, np.float64):
        return _default
    raise TypeError(f"expected a number of Python or NumPy, got {type(value).__name__}")


def category(d: dtype) -> int:
    """0 bool, 1 integer, 2 floating point, 3 complex: a higher category always wins a promotion."""
    if d.is_complex:
        return 3
    if d.is_floating_point:
        return 2
    return 0 if d is bool_ else 1


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both convert to by PyTorch's table.

    >>> promote_types(int64, float16), promote_types(uint8, int8), promote_types(float16, bfloat16)
    (torch.float16, torch.int16, torch.float32)
    """
    if a is b:
        return a
    if category(a) < category(b):
        a, b = b, a
    if a.is_complex:
        real = _REAL_OF.get(b, b)
        return _COMPLEX_OF[promote_types(_REAL_OF[a], real)] if category(real) == 2 else a
    if category(a) > category(b) and a not in UNSIGNED:
        return a
    if a in UNSIGNED or b in UNSIGNED:
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a} and {b}"
        )
    low, high = sorted((a, b), key=lambda d: d.rank)
    if low is float16 and high is bfloat16:
        return float32
    if low is uint8 and high is int8:
        return int16
    return high


def result_type(tensors: list[tuple[dtype, int]], scalars: list[bool | int | float | complex]) -> dtype:
    """PyTorch's result dtype: dimensioned tensors, then 0-d tensors, then Python numbers.

    A lower group only changes the result when its category (bool < int < float < complex) is higher.

    Args:
        tensors: (dtype, number of dimensions) of each tensor.
        scalars: the Python numbers.
    """
    groups = (
        [d for d, ndim in tensors if ndim > 0],
        [d for d, ndim in tensors if ndim == 0],
        [of_scalar(s) for s in scalars],
    )
    result: dtype | None = None
    for group in groups:
        if not group:
            continue
        combined = functools.reduce(promote_types, group)
        if result is None:
            result = combined
        elif category(combined) > category(result):
            # Beside floats of a higher group, complex changes the kind of number but not its precision.
            result = _COMPLEX_OF.get(result, combined) if combined.is_complex else combined
    assert result is not None
    return result


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch allows a result of ``from_`` to be stored into ``to`` (never down a category)."""
    return category(from_) <= category(to)


class finfo:
    """The limits of a floating-point dtype (of a complex one: of its parts); the default dtype's where none is given.

    >>> finfo(float16).max, finfo(float32).bits, finfo(float64).eps
    (65504.0, 32, 2.220446049250313e-16)

    Raises:
        TypeError: for any other dtype.
    """

    def __init__(self, type: dtype | None = None) -> None:
        kind = _default if type is None else _REAL_OF.get(type, type)
        if not kind.is_floating_point:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle {kind}")
        limits: Any = ml_dtypes.finfo(kind.numpy)  # type: ignore[no-untyped-call]
        self.bits = kind.itemsize * 8
        self.dtype = kind.name
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.smallest_normal = self.tiny = float(limits.smallest_normal)
        self.resolution = 10.0**-limits.precision

    def __repr__(self) -> str:
        shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{name}={getattr(self, name):g}' for name in shown)}, dtype={self.dtype})"


class iinfo:
    """The limits of an integer dtype.

    >>> iinfo(int8)
    iinfo(min=-128, max=127, dtype=int8)

    Raises:
        TypeError: for any other dtype.
    """

    def __init__(self, type: dtype) -> None:
        if category(type) != 1:
            if type is bool_:
                raise TypeError("torch.bool is not supported by torch.iinfo")
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle {type}")
        limits = np.iinfo(type.numpy)
        self.bits, self.dtype, self.min, self.max = limits.bits, type.name, int(limits.min), int(limits.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
