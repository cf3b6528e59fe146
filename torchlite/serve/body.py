"""The body of a request, as far as there is room and time for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from torchlite.serve.limits import Limits
from torchlite.serve.refusal import Refused

_AT_ONCE = 4


class BodyMemory:
    """What the bodies of all requests take that are being read, wait or are answered."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        """Room for one body, given back behind the block."""
        hold = Hold()
        try:
            yield hold
        finally:
            self._held -= hold.size

    async def read(self, request: Request, hold: Hold) -> bytes:
        """The whole body.

        Raises:
            Refused: when it is too long, compressed or too slow, or too much is held already.
        """
        _check_headers(request, self._limits)
        chunks = []
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                async for chunk in request.stream():
                    hold.size += len(chunk)
                    self._held += len(chunk)
                    if hold.size > self._limits.max_body_bytes:
                        raise _too_long(self._limits)
                    if self._held > _AT_ONCE * self._limits.max_body_bytes:
                        raise Refused(429, "other requests take all the memory that there is; ask again later")
                    chunks.append(chunk)
        except TimeoutError:
            seconds = f"{self._limits.read_timeout_s:g} s"
            raise Refused(408, f"the body did not come within {seconds}") from None
        return b"".join(chunks)


class Hold:
    """How many bytes of a body are there."""

    size = 0


def _check_headers(request: Request, limits: Limits) -> None:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "compressed bodies are not read; send plain JSON")
    if "inference-header-content-length" in request.headers:
        raise Refused(415, "binary data is not supported; send and ask for JSON (binary_data=False)")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.max_body_bytes:
        raise _too_long(limits)


def _too_long(limits: Limits) -> Refused:
    return Refused(413, f"the body is longer than {limits.max_body_bytes:,} bytes; send fewer samples at a time")
