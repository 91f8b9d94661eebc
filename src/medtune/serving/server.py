"""Runs the endpoint: socket, models, signals, and a stop that lets answers end."""

import ipaddress
import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

import uvicorn

from medtune.errors import StorageError
from medtune.serving.app import Endpoint
from medtune.serving.connection import connection_of
from medtune.serving.engine import Engine
from medtune.serving.limits import Limits
from medtune.workflow.served import ServedRuns

__all__ = ["Address", "Running", "serve"]

_AFTER_DRAIN = 2
_BACKLOG = 1024
_SWITCH_SECONDS = 0.0005
"""After so long another thread may have Python: with its own 5 ms the thread that decodes waited for connections at every turn."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; port 0 is any that is free."""

    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Attributes:
        url: where OpenAI's clients find it.
        models: names of the models.
        stop: refuses new requests and ends once the others are answered; also from another thread.
    """

    url: str
    models: Sequence[str]
    stop: Callable[[], None]


def serve(
    open_runs: Callable[[], ServedRuns],
    address: Address,
    token: str,
    limits: Limits,
    on_ready: Callable[[Running], None],
) -> None:
    """Serve runs until a signal says to stop; returns once what was being answered has ended, or its time is over.

    Args:
        open_runs: loads the models; called once the address is known to be free.
        address: where to listen.
        token: what a client must show.
        limits: of the server.
        on_ready: called once it answers.

    Raises:
        StorageError: the address cannot be listened on.
        MedtuneError: a run cannot be opened.
    """
    with _listening(address) as listener:
        models = open_runs()
        engine = Engine(models, limits)
        endpoint = Endpoint(engine, token, limits)
        engine.start()
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of what clients do wrong
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
        server = _Server(_config(endpoint), endpoint)
        server.on_ready = lambda: on_ready(Running(url, list(models.models), server.drain))
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            server.run(sockets=[listener])
        finally:
            sys.setswitchinterval(interval)
            engine.close(_AFTER_DRAIN)
            endpoint.conversations.close()


def _config(endpoint: Endpoint) -> uvicorn.Config:
    return uvicorn.Config(
        endpoint.app(),
        http=connection_of(endpoint.limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whoever is near could else pass for anybody
        server_header=False,
        limit_concurrency=endpoint.limits.connections,
        timeout_keep_alive=max(1, round(endpoint.limits.idle_seconds)),
        timeout_graceful_shutdown=_AFTER_DRAIN,
    )


class _Server(uvicorn.Server):
    """uvicorn's, which a subclass tells when to stop: at the first signal new requests are refused and others end."""

    on_ready: Callable[[], None]

    def __init__(self, config: uvicorn.Config, endpoint: Endpoint) -> None:
        super().__init__(config)
        self._endpoint = endpoint
        self._until: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; at the second signal stop at once."""
        _ = sig, frame
        if self._until is not None:
            self.should_exit = self.force_exit = True
            return
        self.drain()

    def drain(self) -> None:
        """Refuse new requests, and stop once none is being answered."""
        self._endpoint.is_draining = True
        self._until = time.monotonic() + self._endpoint.limits.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Stop once nothing is being answered, or its time is over."""
        if self._until is not None:
            is_over = time.monotonic() > self._until
            if is_over or not self._endpoint.is_busy:  # answers that are whole are still sent after this
                self.should_exit = True
        return await super().on_tick(counter)


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise StorageError(
            f"'{address.host}' port {address.port} cannot be listened on: {error.strerror}; choose another --port"
        ) from None
