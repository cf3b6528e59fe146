"""The same things around a function, made of other objects: what `load_state_dict` of an optimizer leaves behind.

A capture does not depend on which objects are around the function, only on what they hold and where the same one is
found again. Two walks over the surroundings, then and now, go through the same places in the same order; where each
object has exactly one in its place, the capture is right for those too.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

import numpy as np

from torchlite._tensor import Tensor
from torchlite.compiler.holders import Holding
from torchlite.compiler.noted import OF_FUNCTIONS, same
from torchlite.compiler.surroundings import Surroundings
from torchlite.ops.generator import Generator

_THEMSELVES = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, np.ufunc, Generator)
"""What has no other in its place: code, and random streams."""


class Moves:
    """For each object around the function then, the one in its place now.

    ``moves(x)`` gives it, and ``x`` itself where it was not among them.
    """

    def __init__(self, then: Surroundings, now: Surroundings) -> None:
        self._twins = {id(before): after for before, after in zip(then.kept, now.kept, strict=False)}
        places = iter(now.places)
        for place in then.places:  # some of those there were are left out
            twin = next((one for one in places if self(place.of) is one.of), None)
            if twin is not None and not isinstance(place.container, Holding):
                self._twins[id(place.container)] = twin.container
        self._then = then
        self._now = now

    def __call__(self, x: Any) -> Any:
        """The object in the place of ``x``."""
        if isinstance(x, Holding) and id(x) not in self._twins and id(x.of) in self._twins:
            return x.of_another(self._twins[id(x.of)])
        return self._twins.get(id(x), x)

    def knows(self, x: Any) -> bool:
        """Whether an object was among those around the function."""
        return id(x) in self._twins

    def complete(self) -> bool:
        """Whether all that was found then is found now, in the same places."""
        then, now = self._then, self._now
        if len(then.kept) != len(now.kept) or not all(map(self._alike, then.kept, now.kept)):
            return False
        for container, key in then.left_out:
            now.leave_out(self(container), key)
        return (
            len(then.places) == len(now.places)
            and all(
                self(a.of) is b.of
                and (a.keys is None) is (b.keys is None)
                and self._equal(a.keys or (), b.keys or ())
                and self._equal(a.values, b.values)
                for a, b in zip(then.places, now.places, strict=True)
            )
            and list(map(id, (r.of for r in then.readings))) == list(map(id, (r.of for r in now.readings)))
            and self._equal([reading.value for reading in then.readings], [reading.value for reading in now.readings])
            and [m.values for m in then.makes if m.parts is OF_FUNCTIONS]
            == [m.values for m in now.makes if m.parts is OF_FUNCTIONS]
            and all(np.array_equal(a[2], b[2]) for a, b in zip(then.arrays, now.arrays, strict=True))
        )

    def _alike(self, before: Any, after: Any) -> bool:
        if before is after:
            return True
        if type(before) is not type(after) or isinstance(before, _THEMSELVES):
            return False
        if isinstance(before, (tuple, set, frozenset)):
            ordered = isinstance(before, tuple)
            return self._equal(before, after) if ordered else before == after and not any(map(self.knows, before))
        return (
            isinstance(before, (Tensor, dict, list, np.ndarray))
            or hasattr(before, "__dict__")
            or hasattr(before, "__slots__")
        )

    def _equal(self, before: Iterable[Any], after: Iterable[Any]) -> bool:
        before, after = tuple(before), tuple(after)
        return len(before) == len(after) and all(
            self(x) is y or (not self.knows(x) and same(x, y)) for x, y in zip(before, after, strict=True)
        )
