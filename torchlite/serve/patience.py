"""Connections that hold a place without asking for anything are closed."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientProtocol(H11Protocol):  # type: ignore[misc] # uvicorn is an extra, which type checkers do not look into
    """HTTP/1.1 whose headers, and whose reader of an answer, may take `patience_s` and no longer."""

    patience_s: ClassVar[float] = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: Any) -> None:
        """The first request is awaited."""
        super().connection_made(transport)
        self._await_request()

    def data_received(self, data: bytes) -> None:
        """A request may have begun with this."""
        super().data_received(data)
        self._await_request()

    def on_response_complete(self) -> None:
        """The next request is awaited, or has begun already."""
        super().on_response_complete()
        self._await_request()

    def pause_writing(self) -> None:
        """Somebody does not read the answer."""
        super().pause_writing()
        self._begin("reader")

    def resume_writing(self) -> None:
        """They do again."""
        super().resume_writing()
        self._end("reader")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        super().connection_lost(exc)
        for name in list(self._timers):
            self._end(name)

    def _await_request(self) -> None:
        if self.transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            self._end("request")
        elif "request" not in self._timers:
            self._begin("request")

    def _begin(self, name: str) -> None:
        self._end(name)
        self._timers[name] = self.loop.call_later(self.patience_s, self.transport.abort)

    def _end(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
