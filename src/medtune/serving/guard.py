"""What stands before every route: token, stop, size and time of a body, and the last word on errors."""

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medtune.serving.refusals import Refusal, error_body, told_of

if TYPE_CHECKING:
    from medtune.serving.app import Endpoint

__all__ = ["Guard"]

_LOG = logging.getLogger(__name__)
_OPEN = "/health"
_DISCARDED = 8
"""How many times the allowed body is read and thrown away, so that a client that sends too much can read the answer."""
_DISCARD_SECONDS = 0.5
_JSON = ("application/json", "")


class Guard:
    """Wraps an application.

    Args:
        app: what answers.
        endpoint: token, limits and figures.
    """

    def __init__(self, app: ASGIApp, endpoint: "Endpoint") -> None:
        self._app, self._endpoint = app, endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status = 0

        async def send_in_time(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            async with asyncio.timeout(self._endpoint.limits.write_seconds):
                await send(message)

        body = _Body(receive, self._endpoint.limits.body_bytes, self._endpoint.limits.body_seconds)
        try:
            try:
                headers = _headers(scope)
                self._check(scope, headers)
                body.check(headers)
                await self._app(scope, body.receive, send_in_time)
            except Refusal as refusal:
                await body.discard()
                said = error_body(refusal.status, refusal.message, refusal.param, refusal.code)
                response = JSONResponse(said, refusal.status, headers={**refusal.headers, "connection": "close"})
                await response(scope, body.receive, send_in_time)
            except Exception as error:  # noqa: BLE001 - an error's text may hold a prompt, and the server above would log it
                _LOG.error("a request failed: %s", told_of(error))
                if not status:
                    response = JSONResponse(error_body(500, "the request failed"), 500, headers={"connection": "close"})
                    await response(scope, receive, send_in_time)
        except TimeoutError:
            _LOG.warning("a client does not read its answer, and is left")
        route = scope.get("route")
        self._endpoint.metrics.answered(str(getattr(route, "path", "other")), status)

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Refuse who may not ask, and everybody once the server stops."""
        if scope["path"] == _OPEN:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        is_known = hmac.compare_digest(given.strip(), self._endpoint.token.encode())
        if scheme.lower() != b"bearer" or not is_known:
            raise Refusal(
                401, "the token is missing or wrong; send Authorization: Bearer TOKEN", code="invalid_api_key"
            )
        if self._endpoint.is_draining:
            raise Refusal(503, "the server is stopping", code="stopping", retry_after=5)


class _Body:
    """A body as it comes, within its limits."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._most = receive, most
        self._until = time.monotonic() + seconds
        self._read, self._is_whole = 0, False

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse by its head a body that will not be read."""
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large()
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        if kind not in _JSON and (length != b"0" or b"transfer-encoding" in headers):
            raise Refusal(415, "the body must be application/json", code="not_json")
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refusal(415, "the body must not be compressed", code="compressed")

    async def receive(self) -> Message:
        """Return the next part; once it is whole, what else the client does."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(408, "the body did not come in time", code="too_slow") from None
        self._read += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._read > self._most:
            await self.discard()
            raise self._too_large()
        return message

    async def discard(self) -> None:
        """Read on for a moment, so that the client is done sending and reads the answer."""
        read = 0
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while not self._is_whole and read < _DISCARDED * self._most:
                    message = await self._receive()
                    read += len(message.get("body", b""))
                    self._is_whole = not message.get("more_body", False)
        except TimeoutError:
            return

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body is larger than {self._most} bytes", code="too_large")


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers; one that decides something must not come twice."""
    found: dict[bytes, Any] = {}
    for name, value in scope["headers"]:
        if name in found and name in (b"authorization", b"content-type", b"content-encoding"):
            raise Refusal(400, f"the header {name.decode('latin-1')} came twice", code="repeated_header")
        found[name] = value
    return found
