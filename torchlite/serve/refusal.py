"""Why a request is not answered."""

from __future__ import annotations

_LONGEST = 500


class Refused(Exception):
    """A request is refused: an HTTP status, and a message that says what was got, what was expected and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]}...")
        self.status = status


def quoted(value: object) -> str:
    """What a client sent, short enough for a message."""
    text = repr(value[:60] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 80 else f"{text[:80]}..."
