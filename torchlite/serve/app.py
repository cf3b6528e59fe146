"""The paths of the Open Inference Protocol, and what is answered on each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from torchlite import __version__
from torchlite.serve.body import BodyMemory
from torchlite.serve.counters import Counters
from torchlite.serve.limits import Limits
from torchlite.serve.refusal import Refused, quoted
from torchlite.serve.requests import Model, infer, metadata
from torchlite.serve.worker import Check, Worker, too_late

logger = logging.getLogger("torchlite.serve")

Endpoint = Callable[[Request], Awaitable[Response]]


class App:
    """One model behind the protocol's paths.

    Args:
        model: what answers.
        worker: where it runs.
        limits: what requests may take.
    """

    def __init__(self, model: Model, worker: Worker, limits: Limits) -> None:
        self._model, self._worker, self._limits = model, worker, limits
        self._memory, self._counters = BodyMemory(limits), Counters()
        of_model = "/v2/models/{name}"
        paths: list[tuple[str, str, Endpoint]] = [
            ("GET", "/v2", self._server),
            ("GET", "/v2/health/live", self._live),
            ("GET", "/v2/health/ready", self._ready),
            ("GET", "/metrics", self._metrics),
        ]
        for model_path in (of_model, f"{of_model}/versions/{{version}}"):
            paths += [
                ("GET", model_path, self._metadata),
                ("GET", f"{model_path}/ready", self._model_ready),
                ("POST", f"{model_path}/infer", self._infer),
            ]
        self._starlette = Starlette(
            routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in paths],
            exception_handlers={
                Refused: _refused,
                HTTPException: _no_such_path,
                ClientDisconnect: _gone,
                Exception: _mistake,
            },
        )
        self._starlette.router.redirect_slashes = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """A request of ASGI; its status is counted, and logged where that was asked for."""
        started = time.perf_counter()

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._counters.answers[message["status"]] += 1
                took = (time.perf_counter() - started) * 1e3
                logger.info("%s %r %d %.1f ms", scope["method"], scope["path"][:200], message["status"], took)
            await send(message)

        await self._starlette(scope, receive, counted)

    async def _server(self, request: Request) -> Response:
        del request
        return JSONResponse({"name": "torchlite", "version": __version__, "extensions": []})

    async def _live(self, request: Request) -> Response:
        del request
        return JSONResponse({"live": True})

    async def _ready(self, request: Request) -> Response:
        del request
        return JSONResponse({"ready": self._worker.alive}, 200 if self._worker.alive else 503)

    async def _metrics(self, request: Request) -> Response:
        del request
        text = self._counters.text(self._worker.waiting, self._worker.running)
        return Response(text, media_type="text/plain; version=0.0.4")

    async def _metadata(self, request: Request) -> Response:
        self._check_model(request)
        return JSONResponse(metadata(self._model))

    async def _model_ready(self, request: Request) -> Response:
        self._check_model(request)
        alive = self._worker.alive
        return JSONResponse({"name": self._model.name, "ready": alive}, 200 if alive else 503)

    async def _infer(self, request: Request) -> Response:
        self._check_model(request)
        with self._memory.hold() as hold:
            body = await self._memory.read(request, hold)
            due = time.monotonic() + self._limits.deadline_s
            result = self._worker.submit(lambda check: self._timed(body, check), due)
            try:
                async with asyncio.timeout(self._limits.deadline_s):
                    answer = await asyncio.wrap_future(result)
            except TimeoutError:
                raise too_late() from None
        return Response(answer, media_type="application/json")

    def _timed(self, body: bytes, check: Check) -> bytes:
        started = time.perf_counter()
        answer = infer(self._model, self._limits, body, check)
        self._counters.inferences += 1
        self._counters.inference_s += time.perf_counter() - started
        return answer

    def _check_model(self, request: Request) -> None:
        name = request.path_params["name"]
        version = request.path_params.get("version", self._model.version)
        if name != self._model.name:
            raise Refused(404, f"there is no model {quoted(name)}; this server has '{self._model.name}'")
        if version != self._model.version:
            raise Refused(404, f"there is no version {quoted(version)}; this server has '{self._model.version}'")


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status, headers={"retry-after": "1"} if status == 429 else None)


async def _refused(request: Request, error: Exception) -> Response:
    del request
    return _error(error.status if isinstance(error, Refused) else 500, str(error))


async def _no_such_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = quoted(request.url.path)
    if status == 405:
        answer = _error(405, f"{path} does not take {request.method}")
        answer.headers.update(getattr(error, "headers", None) or {})
        return answer
    return _error(status, f"there is no {path}; see /v2 and /v2/models/NAME")


async def _gone(request: Request, error: Exception) -> Response:
    del request, error
    return _error(400, "the connection ended before the body")


async def _mistake(request: Request, error: Exception) -> Response:
    del request
    if isinstance(error, MemoryError):
        return _error(503, "there is not enough memory for this request; ask for less at a time")
    return _error(500, "a mistake in the server; its log says more")
