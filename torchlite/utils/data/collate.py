"""From a list of samples to a batch."""

import copy
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from torchlite import dtypes
from torchlite._tensor import Tensor
from torchlite.ops.creation import as_tensor, tensor
from torchlite.ops.joining import stack


def default_collate(batch: Sequence[Any]) -> Any:
    """Put samples of one structure together, leaf by leaf, along a new first dimension.

    Tensors and arrays are stacked; NumPy scalars become a tensor of their dtype, Python floats of float64,
    ints of int64, bools of bool; strings and bytes stay as they are. Mappings, named tuples, tuples (which become
    lists) and other sequences are followed into.

    Shape:
        leaves of shape S in a batch of N give (N, *S).

    Raises:
        TypeError: a leaf is of another type.
        RuntimeError: sequences or tensors differ in size.

    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch, 0)
    if isinstance(first, (np.ndarray, np.generic)) and not isinstance(first, (str, bytes)):
        if first.dtype.kind in "SUO":
            raise TypeError(_not_collatable(f"an array of {first.dtype}"))
        return stack([as_tensor(np.asarray(sample, order="C")) for sample in batch], 0)
    if isinstance(first, float):
        return tensor(batch, dtype=dtypes.float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like_mapping(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return _like_sequence(first, (default_collate(fields) for fields in zip(*batch, strict=True)))
    raise TypeError(_not_collatable(str(type(first))))


def default_convert(data: Any) -> Any:
    """The same structure with each NumPy array and scalar in it as a tensor; everything else stays as it is.

    >>> default_convert({"x": np.array([0, 1]), "name": "a"})
    {'x': tensor([0, 1]), 'name': 'a'}
    """
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else as_tensor(np.asarray(data, order="C"))
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence):
        return _like_sequence(data, (default_convert(value) for value in data))
    return data


CollateFn = Callable[[Any], Any]


def _like_mapping(original: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """`items` in the original's type, with what else the original carries, where the type allows."""
    try:
        if isinstance(original, MutableMapping):
            clone = copy.copy(original)
            clone.update(items)
            return clone
        return type(original)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _like_sequence(original: Sequence[Any], values: Iterable[Any]) -> Any:
    """`values` in the original's type where the type allows, else, and for plain tuples, in a list."""
    if isinstance(original, tuple):
        return type(original)(*values) if hasattr(original, "_fields") else list(values)
    values = list(values)
    try:
        if isinstance(original, MutableSequence):
            clone = copy.copy(original)
            for position, value in enumerate(values):
                clone[position] = value
            return clone
        return type(original)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def _not_collatable(found: str) -> str:
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {found}; give the DataLoader a collate_fn of your own for it"
    )
