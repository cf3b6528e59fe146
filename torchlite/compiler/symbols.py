"""What stands for an array while a function is traced.

Values of a graph never change, memory does. A `Memory` holds the value that its numbers have at the moment, and a
`Symbol` looks at all of it or, through view operators, at a part, as an array of NumPy does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from torchlite.backends.memory import untouched
from torchlite.compiler.graph import Value
from torchlite.devices import CPU, Device
from torchlite.ir import Aval
from torchlite.tracing import Uncapturable

_READ = "the numbers of a tensor are read outside of an operator, or a shape depends on them (nonzero, unique, x[mask])"


class Memory:
    """Numbers that may be overwritten.

    Attributes:
        value: what they are now.
        external: the tensor outside whose memory it is, with what is known about it; None for results.
        known: whether it is known how the elements lie, and not only which they are.
        doubtful: whether eager execution may have made it a view of something else.
        part_of: what eager execution has made it a view of, and the value of that then; None where it has not.
    """

    __slots__ = ("doubtful", "external", "known", "part_of", "value")

    def __init__(self, value: Value, external: Any = None, *, known: bool = True) -> None:
        self.value = value
        self.external = external
        self.known = known
        self.doubtful = False
        self.part_of: tuple[Memory, Value] | None = None


class _Scattered:
    """The flags of an array of which it isn't known how it lies."""

    c_contiguous = f_contiguous = False
    writeable = True


def ghost_of(array: Any) -> Any:
    """An array of NumPy that lies as ``array``; one on another device has no numbers that could be seen there."""
    if isinstance(array, np.ndarray):
        return array
    return np.lib.stride_tricks.as_strided(untouched((1,), array.dtype), array.shape, array.strides)


class Symbol(Aval):
    """The array of a tensor that has no numbers: a shape, a dtype, and the memory that it looks at.

    ``ghost`` is an array without meaningful numbers that lies in memory as the real one will.
    """

    memory: Memory
    recipe: tuple[Any, ...]
    _ghost: Any
    seen: tuple[Value, Value] | None

    def __new__(cls, shape: Any, dtype: Any, device: Device = CPU, **_: Any) -> Symbol:
        """A symbol that looks at nothing yet; `of` gives it a memory."""
        return super().__new__(cls, tuple(shape), np.dtype(dtype), device)

    @classmethod
    def of(cls, memory: Memory, shape: Any, dtype: Any, recipe: Any = (), ghost: Any = None) -> Symbol:
        """A symbol that looks at ``memory``."""
        aval = memory.value.aval
        device = CPU if aval is None else aval.device
        symbol = (cls if device == CPU else SymbolOnGPU)(shape, dtype, device)
        symbol.memory = memory
        symbol.recipe = recipe
        symbol._ghost = ghost
        symbol.seen = None
        return symbol

    @property
    def ghost(self) -> Any:
        """An array of NumPy that lies as this one."""
        if self._ghost is None:
            self._ghost = untouched(self.shape, self.dtype)
        return self._ghost

    @property
    def known(self) -> bool:
        """Whether it is known how the elements lie."""
        return self.memory.known

    @property
    def flags(self) -> Any:
        """As an array's."""
        return self.ghost.flags if self.known else _Scattered

    @property
    def strides(self) -> tuple[int, ...]:
        """As an array's."""
        if not self.known:
            raise Uncapturable("the strides of a result are asked for, which only running the operators would show")
        strides: tuple[int, ...] = self.ghost.strides
        return strides

    @property
    def itemsize(self) -> int:
        """Size of an element in bytes."""
        return int(self.dtype.itemsize)

    def reshape(self, shape: Any, *, copy: bool | None = None) -> Any:
        """Whether the elements can be seen under another shape.

        Raises:
            ValueError: where that is not known, or they can't.
        """
        if not self.known or copy is not False:
            raise ValueError("not known")
        return self.ghost.reshape(shape, copy=False)

    def transpose(self, order: Any) -> Any:
        """An array that lies as this one with its dimensions in another order."""
        return self.ghost.transpose(order) if self.known else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Uncapturable(_READ)

    def _refuse(self, *_args: Any, **_kwargs: Any) -> Any:
        raise Uncapturable(_READ)

    __array__ = __getitem__ = __setitem__ = __bool__ = __int__ = __float__ = __add__ = __radd__ = _refuse
    __len__ = __iter__ = _refuse
    __mul__ = __rmul__ = __sub__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _refuse

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


class SymbolOnGPU(Symbol):
    """A symbol for an array of CuPy: of another type, as the array is, by which operators see that they must convert."""
