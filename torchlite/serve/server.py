"""A server for one run: it loads the model, listens, and stops when it is told to."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from torchlite.errors import UsageError
from torchlite.extras import extra
from torchlite.serve.limits import Limits
from torchlite.serve.predicting import Predictor
from torchlite.serve.requests import Model
from torchlite.serve.worker import Worker
from torchlite.serve.writing import Writer
from torchlite.train.config.own_data import TextData
from torchlite.train.trained import Trained

MAX_CONNECTIONS = 256


def require_packages() -> None:
    """See that the packages are there which serving needs.

    Raises:
        DeviceError: naming the extra, where they are not.
    """
    for package in ("starlette", "uvicorn"):
        extra(package, "torchlite serve", "serve")


def model_of(trained: Trained, limits: Limits) -> Model:
    """What answers for a run: it has answered once when it is returned, so kernels are compiled and shapes are known.

    Raises:
        UsageError: for a run of several models.
    """
    if trained.config.models:
        raise UsageError(f"a run of one model can be served; this one has {', '.join(trained.config.models)}")
    return Writer(trained, limits) if isinstance(trained.config.data, TextData) else Predictor(trained)


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address; of port 0 at a free one.

    Raises:
        UsageError: where nothing can listen there.
    """
    listener = None
    try:
        # The protocol is named, because asyncio sends answers at once (TCP_NODELAY) on such sockets alone.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let two processes share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(MAX_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        raise UsageError(f"cannot listen on {host}, port {port}: {error}") from None
    return listener


def serve(model: Model, listener: socket.socket, limits: Limits, started: Callable[[], None]) -> None:
    """Answer until SIGTERM or Ctrl-C; requests that have come are answered before.

    Args:
        model: what answers.
        listener: where.
        limits: what requests may take.
        started: called when answers can be had.

    Raises:
        KeyboardInterrupt: behind Ctrl-C.
    """
    import uvicorn

    from torchlite.serve.app import App
    from torchlite.serve.patience import PatientProtocol

    class Protocol(PatientProtocol):
        patience_s = limits.read_timeout_s

    worker = Worker(limits.queue)
    config = uvicorn.Config(
        App(model, worker, limits),
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=math.ceil(limits.read_timeout_s),
        timeout_graceful_shutdown=math.ceil(limits.deadline_s + limits.read_timeout_s),
    )
    server = uvicorn.Server(config)
    with _told_to_stop(server) as signals:
        started()
        try:
            server.run(sockets=[listener])
        finally:
            worker.stop(0 if server.force_exit else limits.deadline_s)
    if signal.SIGINT in signals:
        raise KeyboardInterrupt


@contextmanager
def _told_to_stop(server: Any) -> Iterator[list[int]]:
    """Within the block the signals that end a server are noted: uvicorn, which stops at them, raises them once more behind."""
    signals: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        server.should_exit = True

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
