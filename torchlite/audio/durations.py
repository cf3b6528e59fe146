"""Stretches of time as they are written: ``1.5 s``, ``250 ms``."""

import re

_SECONDS = re.compile(r"(?P<value>[0-9]+(\.[0-9]+)?)\s*(?P<unit>s|ms)\Z")


def seconds(text: str) -> float:
    """The seconds that a text says.

    Raises:
        ValueError: when it says none, or no more than zero.

    >>> seconds("1.5 s"), seconds("250ms")
    (1.5, 0.25)
    """
    match = _SECONDS.match(text.strip())
    if match is None or float(match["value"]) == 0:
        raise ValueError(f"expected a stretch of time such as '1.5 s' or '250 ms', got {text!r}")
    return float(match["value"]) / (1000 if match["unit"] == "ms" else 1)
