"""In which precision operators compute inside `torchlite.autocast`: the state of each thread, and the conversions.

What becomes of an operator's inputs is said by a `Policy` for each kind of device: in the field ``autocast`` of its
record, which `apply` reads, or, where one operator of PyTorch is several here, by the decorator `autocasts`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import grad_mode
from torchlite.autograd.graph import Leaf
from torchlite.ir import Autocast, Policy

F = TypeVar("F", bound=Callable[..., Any])
DEVICES = ("cuda", "cpu")
_CONVERTED = (dtypes.float32.numpy, dtypes.bfloat16.numpy, dtypes.float16.numpy)  # wider floats stay what they are

threads = 0
"""In how many threads autocasting is on for some device: while it is 0, operators look no further."""
_counting = threading.Lock()


class _AutocastMode(threading.local):
    """The state of one thread.

    Attributes:
        lower: by kind of device, the dtype that products are computed in.
        enabled: the kinds of device for which autocasting is on.
        cache_enabled: whether a parameter is converted once only.
        depth: how many `autocast` blocks are open; the cache lives until the outermost ends.
        cache: converted parameters.
        shapes_as: the kind of device that tensors without data stand for, if any.
    """

    def __init__(self) -> None:
        self.lower = {"cuda": dtypes.float16, "cpu": dtypes.bfloat16}
        self.enabled: frozenset[str] = frozenset()
        self.cache_enabled = True
        self.depth = 0
        self.shapes_as: str | None = None
        self.cache: dict[tuple[int, bool], tuple[Tensor, Any, int, Tensor]] = {}


autocast_mode = _AutocastMode()


def enable(device_type: str, on: bool) -> None:
    """Turn autocasting on or off for a kind of device in this thread."""
    before = autocast_mode.enabled
    _switch(before | {device_type} if on else before - {device_type})


def _switch(enabled: frozenset[str]) -> None:
    global threads
    before, autocast_mode.enabled = autocast_mode.enabled, enabled
    if bool(before) != bool(enabled):
        with _counting:
            threads += 1 if enabled else -1


class Remembered:
    """The state of autocasting as it is now, to be entered again when what runs now is computed again."""

    def __init__(self) -> None:
        self.state = self._now()

    @staticmethod
    def _now() -> tuple[frozenset[str], dict[str, dtypes.dtype], bool]:
        return autocast_mode.enabled, dict(autocast_mode.lower), autocast_mode.cache_enabled

    @staticmethod
    def _set(enabled: frozenset[str], lower: dict[str, dtypes.dtype], cache_enabled: bool) -> None:
        _switch(enabled)
        autocast_mode.lower, autocast_mode.cache_enabled = dict(lower), cache_enabled

    def __enter__(self) -> None:
        self.outside = self._now()
        self._set(*self.state)

    def __exit__(self, *exc: object) -> None:
        self._set(*self.outside)


class as_given:
    """Operators inside compute in the dtypes of their inputs."""

    def __init__(self, *device_types: str) -> None:
        self.off = device_types or DEVICES

    def __enter__(self) -> None:
        self.before = autocast_mode.enabled
        if self.before:
            autocast_mode.enabled = self.before.difference(self.off)

    def __exit__(self, *exc: object) -> None:
        autocast_mode.enabled = self.before


def autocasts(policy: Autocast) -> Callable[[F], F]:
    """Make a function of several operators one operator as far as autocasting goes.

    Its tensors, also those in lists, are converted by the policy of their device; what it calls computes as given. Where
    the call names a ``dtype``, that decides and nothing is converted.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threads:
                return _called(policy, function, args, kwargs)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate


def _called(policy: Autocast, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    tensors: list[Tensor] = []
    _gather((*args, *kwargs.values()), tensors)
    device, chosen = _chosen(policy, tensors)
    if device is None or chosen is None:
        return function(*args, **kwargs)
    if chosen != "as given" and not any(isinstance(a, dtypes.dtype) for a in (*args, *kwargs.values())):
        target = _target(function.__name__, device, chosen, tensors)
        convert = functools.partial(_converted, device=device, dtype=target)
        args, kwargs = _each(args, convert), _each(kwargs, convert)
    with as_given(device):
        return function(*args, **kwargs)


def inputs_of(name: str, policy: Autocast, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """The inputs of operator ``name``, converted as its policy for their device says."""
    device, chosen = _chosen(policy, inputs)
    if device is None or chosen is None:
        return inputs
    target = _target(name, device, chosen, inputs)
    return [_converted(x, device, target) for x in inputs]


def _chosen(policy: Autocast, tensors: Sequence[Tensor]) -> tuple[str | None, Policy | None]:
    """The kind of device that decides about a call, where autocasting is on for it, and its policy."""
    enabled = autocast_mode.enabled
    if enabled:
        there = {*map(_kind_of, tensors)}
        for device in DEVICES:
            if device in there and device in enabled:
                return device, getattr(policy, device)
    return None, None


def _target(name: str, device: str, policy: Policy, tensors: Sequence[Tensor]) -> dtypes.dtype:
    """What a policy converts the tensors of a call to.

    Raises:
        RuntimeError: for an operator that is refused, and for a half type beside the other one.
    """
    lower = autocast_mode.lower[device]
    if policy == "lower":
        return lower
    if policy == "refused":
        raise RuntimeError(
            f"torchlite.nn.functional.{name} and torchlite.nn.BCELoss are unsafe to autocast: the logarithm of a "
            "probability of low precision loses its digits. Leave out the sigmoid before it and use "
            f"{name}_with_logits or BCEWithLogitsLoss, which are safe."
        )
    if policy == "float32":
        return dtypes.float32
    given = {x.dtype for x in tensors if _convertible(x, device)}
    if dtypes.float32 in given:
        return dtypes.float32
    if given - {lower}:
        listed = " and ".join(sorted(d.name for d in given))
        raise RuntimeError(f"{name}: Unexpected floating ScalarType {listed} where autocast computes in {lower.name}")
    return lower


def _convertible(x: Tensor, device: str) -> bool:
    return x._data.dtype in _CONVERTED and _kind_of(x) == device


def _kind_of(x: Tensor) -> str | None:
    if type(x._data) is np.ndarray:
        return "cpu"
    kind: str = x.device.type
    return autocast_mode.shapes_as if kind == "meta" else kind


@contextmanager
def shapes_standing_for(device_type: str) -> Iterator[None]:
    """Within the block tensors without data are converted as those of a kind of device would be."""
    before, autocast_mode.shapes_as = autocast_mode.shapes_as, device_type
    try:
        yield
    finally:
        autocast_mode.shapes_as = before


def _converted(x: Tensor, device: str, dtype: dtypes.dtype) -> Tensor:
    if x._data.dtype == dtype.numpy or not _convertible(x, device):
        return x
    mode = autocast_mode
    # Parameters only: another tensor is seldom used twice, and the cache would keep it alive.
    if type(x._node) is not Leaf or not mode.depth or not mode.cache_enabled or x._base is not None:
        return x.to(dtype)
    if dtype is not mode.lower[device] or x.dtype is not dtypes.float32:
        return x.to(dtype)
    key = id(x), grad_mode.enabled
    found = mode.cache.get(key)
    if found is not None and found[1] is x._data and found[2] == x._storage.writes and found[3].dtype is dtype:
        return found[3]
    converted: Tensor = x.to(dtype)
    mode.cache[key] = x, x._data, x._storage.writes, converted  # with `x`, so that its id stays its own
    return converted


_NESTS = (Tensor, tuple, list, dict)


def _gather(values: Iterable[Any], tensors: list[Tensor]) -> None:
    """Add the tensors among ``values``, and in tuples, lists and dicts among them, to a list."""
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (tuple, list)):
            _gather(value, tensors)
        elif type(value) is dict:
            _gather(value.values(), tensors)


def _each(value: Any, convert: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of tuples, lists and dicts with every tensor converted."""
    if isinstance(value, Tensor):
        return convert(value)
    if type(value) in (tuple, list):
        return type(value)([_each(v, convert) if isinstance(v, _NESTS) else v for v in value])
    return {k: _each(v, convert) for k, v in value.items()} if type(value) is dict else value
