"""JSON from strangers: how much there is and how deep it lies is known before any of it is made."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from torchlite.serve.refusal import Refused

MAX_DEPTH = 64

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)  # an unfinished one ends with the text
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def read_json(body: bytes, max_values: int) -> Any:
    """The value that a text in JSON stands for; no key twice, no NaN and no infinity.

    Raises:
        Refused: for more than ``max_values`` values, for deep nesting, and for what is no JSON.
    """
    _check_size(body, max_values)
    try:
        return json.loads(body.decode(), parse_constant=_no_number, object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None


def _check_size(body: bytes, max_values: int) -> None:
    strings = (body.count(b'"') - body.count(b'\\"')) // 2
    if strings > max_values:
        raise _too_many(max_values)
    outside = _STRING.sub(b"", body)
    if sum(outside.count(one) for one in (b",", b"[", b"{")) > max_values:
        raise _too_many(max_values)
    brackets = np.frombuffer(outside.translate(None, _NOT_BRACKETS), np.uint8)
    opening = (brackets == ord("[")) | (brackets == ord("{"))
    depth = int(np.cumsum(np.where(opening, 1, -1)).max(initial=0))
    if depth > MAX_DEPTH:
        raise Refused(400, f"the body is nested {depth} deep; at most {MAX_DEPTH} levels are read")


def _too_many(max_values: int) -> Refused:
    return Refused(413, f"the body holds more than {max_values:,} values, which is more than the largest request has")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found
