"""Tensors of the Open Inference Protocol: what a model takes and gives, and arrays from and to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from torchlite.serve.refusal import Refused, quoted

Array = np.ndarray[Any, Any]

DATATYPES = {
    "bool": "BOOL",
    **{f"{kind}{bits}": f"{kind.upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    "str": "BYTES",
}
"""The protocol's names of dtypes."""

MAX_TEXT_CHARACTERS = 1 << 20
_TENSOR_KEYS = {"name", "datatype", "shape", "data", "parameters"}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: its name.
        dtype: the dtype of its array, or "str" for texts.
        shape: that of one sample.
        parameters: what else a client may want to know: classes, values, characters.
        nullable: whether numbers may be missing.
        below: all numbers are from 0 to one less, where that is known.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    nullable: bool = False
    below: int | None = None

    @property
    def datatype(self) -> str:
        """The protocol's name of the dtype."""
        return DATATYPES[self.dtype]

    def described(self) -> dict[str, Any]:
        """As the model's metadata say it; -1 stands for the number of samples."""
        said = {"name": self.name, "datatype": self.datatype, "shape": [-1, *self.shape]}
        parameters = {**self.parameters, **({"nullable": True} if self.nullable else {})}
        return {**said, "parameters": parameters} if parameters else said


def read_tensor(spec: TensorSpec, given: Mapping[str, Any], max_batch: int) -> Array:
    """The array that a client sent for an input; a missing number is NaN in it, and texts are objects.

    Raises:
        Refused: where keys, datatype, shape, the count of elements or one of them is not what the input takes.
    """
    where = f"input '{spec.name}'"
    check_keys(given, _TENSOR_KEYS, where)
    check_plain(given.get("parameters", {}), where)
    if given.get("datatype") != spec.datatype:
        raise Refused(400, f"{where} takes datatype {spec.datatype}, got {quoted(given.get('datatype'))}")
    shape = _read_shape(spec, given.get("shape"), max_batch, where)
    flat = _flat(given.get("data"), shape, where)
    return _read_elements(spec, flat, where).reshape(shape)


def check_keys(given: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse keys that nothing would look at."""
    if unknown := sorted(set(given) - known):
        raise Refused(400, f"{where} has the unknown key {quoted(unknown[0])}; known are {', '.join(sorted(known))}")


def check_plain(parameters: Any, where: str) -> None:
    """Refuse parameters of a tensor that ask for its bytes instead of JSON; all others may stand there."""
    if not isinstance(parameters, dict):
        raise Refused(400, f"{where}: expected an object as parameters, got {quoted(parameters)}")
    if "binary_data_size" in parameters or parameters.get("binary_data") or parameters.get("binary_data_output"):
        raise Refused(400, f"{where}: binary data is not supported; send and ask for JSON (binary_data=False)")


def _read_shape(spec: TensorSpec, shape: Any, max_batch: int, where: str) -> tuple[int, ...]:
    wanted = [-1, *spec.shape]
    if (
        not isinstance(shape, list)
        or len(shape) != len(wanted)
        or any(type(size) is not int for size in shape)
        or tuple(shape[1:]) != spec.shape
    ):
        raise Refused(400, f"{where} takes shape {wanted}, got {quoted(shape)}; -1 stands for the number of samples")
    if not 1 <= shape[0] <= max_batch:
        raise Refused(400, f"{where}: 1 to {max_batch:,} samples may be in a request, got {quoted(shape[0])}")
    return tuple(shape)


def _flat(data: Any, shape: Sequence[int], where: str) -> list[Any]:
    """The elements one behind the other, of data that is so already or nested as its shape says."""
    if not isinstance(data, list):
        raise Refused(400, f"{where}: expected a list as data, got {quoted(data)}")
    if data and isinstance(data[0], list):
        level = [data]
        for size in shape:
            if any(type(one) is not list or len(one) != size for one in level):
                raise Refused(400, f"{where}: the lists in data are not nested as shape {list(shape)} says")
            level = list(chain.from_iterable(level))
        return level
    if len(data) != prod(shape):
        raise Refused(400, f"{where}: shape {list(shape)} has {prod(shape):,} elements, data has {len(data):,}")
    return data


def _read_elements(spec: TensorSpec, flat: list[Any], where: str) -> Array:
    if spec.dtype == "str":
        return _read_texts(flat, where)
    kind = np.dtype(spec.dtype).kind
    allowed: set[type] = {bool} if kind == "b" else {int, float} if kind == "f" else {int}
    if spec.nullable:
        allowed.add(type(None))
    if wrong := set(map(type, flat)) - allowed:
        first = next(one for one in flat if type(one) in wrong)
        raise Refused(400, f"{where} is {spec.datatype}, got the element {quoted(first)}")
    if kind in "iu":
        return _read_whole(spec, flat, where)
    if kind == "b":
        return np.array(flat, bool)
    return _read_numbers(spec, flat, where)


def _read_whole(spec: TensorSpec, flat: list[int], where: str) -> Array:
    limits = np.iinfo(spec.dtype)
    low, high = (0, spec.below - 1) if spec.below is not None else (int(limits.min), int(limits.max))
    if min(flat) < low or max(flat) > high:
        wrong = next(one for one in flat if not low <= one <= high)
        raise Refused(400, f"{where} takes numbers from {low} to {high}, got {quoted(wrong)}")
    return np.array(flat, spec.dtype)


def _read_numbers(spec: TensorSpec, flat: list[Any], where: str) -> Array:
    missing = flat.count(None) if spec.nullable else 0
    try:
        with np.errstate(over="ignore"):
            found = np.array(flat, np.float64).astype(spec.dtype)
    except OverflowError:
        raise Refused(400, f"{where} has a number that is too large for {spec.datatype}") from None
    if np.count_nonzero(~np.isfinite(found)) != missing:
        raise Refused(400, f"{where} has a number that is too large for {spec.datatype}")
    return found


def _read_texts(flat: list[Any], where: str) -> Array:
    for one in flat:
        if not isinstance(one, str):
            raise Refused(400, f"{where} is BYTES, which are strings here; got the element {quoted(one)}")
        if len(one) > MAX_TEXT_CHARACTERS:
            raise Refused(413, f"{where}: a text may have {MAX_TEXT_CHARACTERS:,} characters, got {len(one):,}")
        check_characters(one, where)
    return np.array(flat, object)


def check_characters(text: str, where: str) -> None:
    """Refuse halves of characters (surrogates), which no text in UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(400, f"{where} has half a character (a surrogate)") from None


def write_tensor(spec: TensorSpec, values: Array) -> dict[str, Any]:
    """An output as the protocol writes it.

    Raises:
        Refused: where it is not finite, which JSON has no numbers for.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        sample = int(np.argwhere(~np.isfinite(values))[0][0])
        raise Refused(422, f"output '{spec.name}' of sample {sample} is NaN or infinite; are its inputs out of range?")
    return {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": list(values.shape),
        "data": values.ravel().tolist(),
    }
