"""JSON that gives back exactly what was written, or an error: for the state and the manifests of checkpoints.

Strict JSON has no NaN, no infinity and no tuples; here they are objects with one key that begins with ``$``:
``{"$float": "nan"}``, ``{"$tuple": [1, 2]}``. Every other float round-trips because Python writes the
shortest decimal that does.
"""

import hashlib
import json
import math
from typing import Any

from torchlite.errors import FormatError

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_SEAL = "sha256"


def encode(value: Any) -> bytes:
    """``value`` as indented strict JSON in UTF-8.

    Raises:
        TypeError: something in ``value`` would not come back as it was; the message says where it is.
    """
    text = json.dumps(_to_json(value, "state"), indent=2, allow_nan=False, ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def decode(data: bytes) -> Any:
    """The value that `encode` wrote.

    Raises:
        FormatError: ``data`` is something else.
    """
    try:
        parsed = json.loads(data.decode("ascii"), parse_constant=_refuse, object_pairs_hook=_from_pairs)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not the JSON that torchlite writes: {error}") from None
    return parsed


def seal(value: dict[str, Any]) -> bytes:
    """Like `encode`, with the SHA-256 of the rest as the last key, so that any changed byte is noticed."""
    return encode({**value, _SEAL: hashlib.sha256(encode(value)).hexdigest()})


def unseal(data: bytes) -> dict[str, Any]:
    """The value that `seal` wrote.

    Raises:
        FormatError: any byte of ``data`` is not as it was written.
    """
    value = decode(data)
    if not isinstance(value, dict) or _SEAL not in value:
        raise FormatError(f"it has no {_SEAL!r}")
    del value[_SEAL]
    try:
        sealed = seal(value)
    except TypeError:
        sealed = b""
    if sealed != data:
        raise FormatError(f"its content does not have the {_SEAL} that it names")
    return value


def _to_json(value: Any, where: str) -> Any:
    kind = type(value)
    if value is None or kind in (bool, str, int):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if kind is list:
        return [_to_json(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if kind is tuple:
        return {"$tuple": [_to_json(item, f"{where}[{index}]") for index, item in enumerate(value)]}
    if kind is dict:
        for key in value:
            if type(key) is not str or key.startswith("$"):
                raise TypeError(f"{where} has the key {key!r}; expected strings that do not begin with '$'")
        return {key: _to_json(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(
        f"{where} is a {kind.__module__}.{kind.__qualname__}; expected None, bool, int, float, str, or plain "
        "lists, tuples or dicts of them (NumPy numbers: call .item(); arrays: save them as tensors)"
    )


def _from_pairs(pairs: list[tuple[str, Any]]) -> Any:
    match pairs:
        case [("$float", str(text))] if text in _FLOATS:
            return _FLOATS[text]
        case [("$tuple", list(items))]:
            return tuple(items)
    value = dict(pairs)
    if len(value) != len(pairs) or any(key.startswith("$") for key in value):
        raise FormatError("a key occurs twice or begins with '$'")
    return value


def _refuse(token: str) -> Any:
    raise FormatError(f"{token} is not strict JSON")
