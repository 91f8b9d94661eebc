"""A server in a thread, and a client of it."""

import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from medtune.serving.limits import Limits
from medtune.serving.server import Address, serve
from medtune.workflow.served import ServedRuns

TOKEN = "a-token-for-tests-only"


@dataclass
class Client:
    """Asks a server in a thread; ``url`` ends in /v1."""

    url: str
    token: str = TOKEN

    def send(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
        """Return status and JSON, or text where it is none."""
        request = urllib.request.Request(  # noqa: S310 - its own server
            self.url.removesuffix("/v1") + path,
            None if body is None else json.dumps(body).encode(),
            {"authorization": f"Bearer {self.token}", "content-type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read().decode()
        return status, json.loads(text) if text[:1] in "{[" else text

    def ask(self, messages: Any, model: str = "alpha", **more: Any) -> Any:
        """Return the answer object of a chat completion."""
        status, found = self.send("/v1/chat/completions", {"model": model, "messages": messages, **more})
        assert status == 200, found
        return found

    def text(self, messages: Any, model: str = "alpha", **more: Any) -> str:
        return self.ask(messages, model, **more)["choices"][0]["message"]["content"]


@contextmanager
def served(runs, limits=None):
    """Serve runs in a thread; yields a client."""
    limits = limits or Limits()
    found: list[Any] = []
    is_ready = threading.Event()

    def ready(running):
        found.append(running)
        is_ready.set()

    def work():
        try:
            serve(lambda: ServedRuns.open(runs, limits.slots), Address(port=0), TOKEN, limits, ready)
        except BaseException as error:
            found.append(error)
            is_ready.set()
            raise

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert is_ready.wait(120)
    if isinstance(found[0], BaseException):
        raise found[0]
    try:
        yield Client(found[0].url)
    finally:
        found[0].stop()
        thread.join(60)
        assert not thread.is_alive()
