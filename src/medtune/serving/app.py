"""The routes: which request is answered by what, and who may ask."""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from medtune.errors import MedtuneError
from medtune.serving.asking import Asked, parse_json, read_chat, read_completion
from medtune.serving.conversation import Conversations
from medtune.serving.engine import Engine
from medtune.serving.guard import Guard
from medtune.serving.limits import Limits
from medtune.serving.metrics import CONTENT_TYPE, Metrics
from medtune.serving.refusals import Refusal, error_body, told_of

__all__ = ["Endpoint"]

_LOG = logging.getLogger(__name__)
_HALF_READ = (408, 413)
"""After these the rest of a body may still come, so the connection takes no further request."""


@dataclass(slots=True)
class Endpoint:
    """The application of one server.

    Attributes:
        engine: asks the models.
        token: what a client must show.
        limits: of the server.
        is_draining: whether new requests are refused, because the server stops.
    """

    engine: Engine
    token: str
    limits: Limits
    is_draining: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    conversations: Conversations = field(init=False)
    _since: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.conversations = Conversations(self.engine, self.metrics)

    @property
    def is_busy(self) -> bool:
        """Whether requests wait or are being answered."""
        return bool(self.engine.waiting or self.engine.running)

    def app(self) -> Guard:
        """Return the ASGI application."""
        routes = [
            Route("/health", self._health),
            Route("/metrics", self._figures),
            Route("/v1/models", self._models),
            Route("/v1/models/{name}", self._model),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._complete, methods=["POST"]),
            Route("/admin/adapters", self._add, methods=["POST"]),
            Route("/admin/adapters/{name}", self._remove, methods=["DELETE"]),
        ]
        handlers: Mapping[Any, Any] = {Refusal: _refused, HTTPException: _not_found, ClientDisconnect: _gone}
        inner = Starlette(routes=routes, exception_handlers=handlers)
        inner.router.redirect_slashes = False
        return Guard(inner, self)

    async def _health(self, _request: Request) -> Response:
        return JSONResponse({"status": "stopping" if self.is_draining else "ok"})

    async def _figures(self, _request: Request) -> Response:
        text = self.metrics.text(self.engine.waiting, self.engine.running)
        return PlainTextResponse(text, media_type=CONTENT_TYPE)

    async def _models(self, _request: Request) -> Response:
        listed = [self._described(name) for name in self.engine.runs.models]
        return JSONResponse({"object": "list", "data": listed})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.engine.runs.models:
            raise Refusal(404, "no such model is served", param="model", code="model_not_found")
        return JSONResponse(self._described(name))

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, read_chat)

    async def _complete(self, request: Request) -> Response:
        return await self._answer(request, read_completion)

    async def _answer(self, request: Request, read: Callable[[Mapping[str, Any]], Asked]) -> Response:
        asked = read(parse_json(await request.body()))
        if asked.is_stream:
            events = await self.conversations.stream(asked)
            return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        return JSONResponse(await _unless_gone(request, self.conversations.whole(asked)))

    async def _add(self, request: Request) -> Response:
        _require_loopback(request)
        values = parse_json(await request.body())
        run, name = values.get("run"), values.get("name")
        if (
            not isinstance(run, str)
            or "\0" in run
            or not isinstance(name, str | None)
            or values.keys() - {"run", "name"}
        ):
            raise Refusal(400, "give run, the path of a run folder on this machine, and name, how it is asked for")
        return await self._changed(self.engine.add(Path(run), name or _name_of(run)))

    async def _remove(self, request: Request) -> Response:
        _require_loopback(request)
        return await self._changed(self.engine.remove(request.path_params["name"]))

    async def _changed(self, future: "Future[Any]") -> Response:
        try:
            await asyncio.wrap_future(future)
        except MedtuneError as error:
            raise Refusal(400, str(error), code=type(error).__name__) from None
        return JSONResponse({"models": list(self.engine.runs.models)})

    def _described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "medtune"}


async def _unless_gone(request: Request, answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Return an answer, or leave it off once the client has gone."""
    working = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()


def _name_of(run: str) -> str:
    return Path(run).resolve().name


def _require_loopback(request: Request) -> None:
    """Refuse whoever is not on this machine."""
    try:
        is_near = request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        is_near = False
    if not is_near:
        raise Refusal(403, "adapters are added and removed from the server's own machine only", code="not_local")


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    body = error_body(error.status, error.message, error.param, error.code)
    closing = {"connection": "close"} if error.status in _HALF_READ else {}
    return JSONResponse(body, error.status, headers=error.headers | closing)


async def _not_found(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = {404: "there is nothing at this path", 405: "this path does not take this method"}
    headers = getattr(error, "headers", None)
    return JSONResponse(error_body(status, said.get(status, "the request cannot be met")), status, headers=headers)


async def _gone(_request: Request, error: Exception) -> Response:
    _LOG.debug("a client left: %s", told_of(error))
    return Response(status_code=499)
