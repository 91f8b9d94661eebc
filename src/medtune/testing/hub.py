"""A hub on this machine, with a content network on another port: models, data sets, and every fault that one can have."""

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast

from medtune.testing.hub_contents import Asked, Fault, Files, StandInHub, digest_of, entry_of, is_large
from medtune.testing.hub_uploads import received

__all__ = ["pointed_at", "serve_hub"]

_RESOLVE = re.compile(r"/(?P<sets>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+?)(/(?P<verb>revision|tree|paths-info)/(?P<revision>[^/]+)(?P<below>/.*)?)?"
)
_PIECE = 16 * 1024


@contextmanager
def serve_hub(hub: StandInHub) -> Iterator[StandInHub]:
    """Serve ``hub`` on loopback while the block runs."""
    servers: list[ThreadingHTTPServer] = []
    for host, handler in (("hub", _Hub), ("cdn", _Cdn)):
        kind = type(f"{host}Handler", (handler,), {"hub": hub, "host": host})
        server = ThreadingHTTPServer(("127.0.0.1", 0), cast("type[_Handler]", kind))
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
    hub.endpoint, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    try:
        yield hub
    finally:
        hub.closing.set()
        for server in servers:
            server.shutdown()
            server.server_close()


@contextmanager
def pointed_at(hub: StandInHub, home: Path, *, token: str = "", offline: bool = False) -> Iterator[None]:
    """Let the hub's client in this process ask ``hub``, with its cache in ``home`` and a token of the test's own.

    The client reads its environment as it is imported, so its settings are changed, and put back after the block.
    """
    from huggingface_hub import constants

    wanted = {
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": offline,
    }
    before = {name: getattr(constants, name) for name in wanted}
    variables = {name: os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")}
    for name, value in wanted.items():
        setattr(constants, name, value)
    os.environ.update(dict.fromkeys(variables, token))
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)
        for name, value in variables.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[StandInHub]
    host: ClassVar[str]
    body = b""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        token = self.headers.get("Authorization") is not None
        self.hub.asked.append(Asked(self.host, self.command, self.path, token, self.headers.get("Range", "")))
        self.fault = self.hub.fault_of(f"{self.host} {self.path}")
        if self.fault is not None and self.fault.silent:
            self.hub.closing.wait(self.hub.stall_seconds)
            self.close_connection = True
        elif self.fault is not None and self.fault.status:
            self.send(self.fault.status, self.fault.body or b"{}", dict(self.fault.headers))
        else:
            self.answer()

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    do_PUT = do_POST  # noqa: N815 - http.server's name

    def answer(self) -> None:
        raise NotImplementedError

    def send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a body whole, or as the fault wants it."""
        fault = self.fault or Fault("")
        if fault.body is not None:
            content = fault.body
        if fault.flip is not None and content:
            place = fault.flip % len(content)
            content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        with suppress(OSError):  # whoever asked may be gone
            self.end_headers()
            if self.command != "HEAD":
                self._body(content, fault)

    def _body(self, content: bytes, fault: Fault) -> None:
        last = next((place for place in (fault.cut_at, fault.stall_at) if place is not None), len(content))
        for start in range(0, last, _PIECE):
            if fault.slow:
                time.sleep(fault.slow)
            self.wfile.write(content[start : min(start + _PIECE, last)])
        if last < len(content):
            self.wfile.flush()
            self.close_connection = True
            if fault.stall_at is not None:
                self.hub.closing.wait(self.hub.stall_seconds)

    def send_part(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a file, or the part of it that was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or (self.fault and self.fault.ignores_range):
            self.send(200, content, headers)
            return
        first, last = int(asked[1]), int(asked[2] or len(content) - 1)
        part = content[first : last + 1]
        self.send(206, part, {**headers, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


class _Hub(_Handler):
    def answer(self) -> None:
        path = self.path.partition("?")[0]
        if self.command == "POST" and (
            sent := received(self.hub, path, self.body, self.headers.get("Authorization", ""))
        ):
            self.send(
                sent.status, json.dumps(sent.values).encode(), {"Content-Type": "application/json", **sent.headers}
            )
            return
        resolve, api = _RESOLVE.fullmatch(path), _API.fullmatch(path)
        if resolve:
            self._for("datasets" if resolve["sets"] else "models", resolve, self._resolve)
        elif api and api["verb"] in {None, "revision"}:
            self._for(api["kind"], api, self._info)
        elif api:
            self._for(api["kind"], api, self._tree)
        elif path == "/api/whoami-v2":
            self._json({"name": "someone", "type": "user"})
        else:
            self._refuse(404, "EntryNotFound")

    def _for(self, kind: str, match: re.Match[str], answer: Callable[[str, Files, re.Match[str]], None]) -> None:
        """Answer for a repository at a commit, or refuse as the hub does."""
        name, token = match["name"], self.headers.get("Authorization", "")
        commits = (self.hub.models if kind == "models" else self.hub.datasets).get(name)
        revision = match["revision"] or "main"
        if token and not token.startswith("Bearer hf_"):
            self._refuse(401, "", "Invalid credentials in Authorization header")
        elif commits is None:
            self._refuse(401 if not token else 404, "RepoNotFound")
        elif name in self.hub.gated and token != "Bearer hf_member":  # noqa: S105 - a made-up one
            self._refuse(403 if token else 401, "GatedRepo")
        elif revision != "main" and revision not in commits:
            self._refuse(404, "RevisionNotFound")
        else:
            commit = list(commits)[-1] if revision == "main" else revision
            answer(commit, commits[commit], match)

    def _resolve(self, commit: str, files: Files, match: re.Match[str]) -> None:
        path = match["path"]
        content = files.get(path)
        if content is None:
            self._refuse(404, "EntryNotFound", commit=commit)
            return
        tag, size = digest_of(path, content), str(len(content))
        if not is_large(path):
            self.send_part(content, {"ETag": f'"{tag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"})
            return
        place = (
            f"{self.hub.cdn}/{'datasets' if match['sets'] else 'models'}/{match['name']}/{commit}/{path}?signature=s"
        )
        linked = {"X-Linked-ETag": f'"{tag}"', "X-Linked-Size": size, "X-Repo-Commit": commit, "Location": place}
        self.send(302, b"", linked)

    def _info(self, commit: str, files: Files, match: re.Match[str]) -> None:
        siblings = [{"rfilename": path} for path in files]
        facts = {
            "_id": "0",
            "id": match["name"],
            "sha": commit,
            "siblings": siblings,
            "tags": [],
            "private": match["name"] in self.hub.private,
        }
        self._json({**facts, "gated": False, "disabled": False, "downloads": 0, "likes": 0})

    def _tree(self, _commit: str, files: Files, match: re.Match[str]) -> None:
        below = (match["below"] or "").strip("/")
        found = [entry_of(path, content) for path, content in files.items() if path.startswith(below)]
        start = int((re.search(r"cursor=(\d+)", self.path) or [0, 0])[1])
        more = {}
        if start + self.hub.page < len(found):
            place = self.path.partition("?")[0]
            more["Link"] = f'<{self.hub.endpoint}{place}?recursive=true&cursor={start + self.hub.page}>; rel="next"'
        self._json(found[start : start + self.hub.page], more)

    def _json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _refuse(self, status: int, code: str, message: str = "", commit: str = "") -> None:
        headers = {"X-Error-Message": message or code, "X-Repo-Commit": commit}
        self.send(status, b"{}", {**headers, "X-Error-Code": code} if code else headers)


class _Cdn(_Handler):
    def answer(self) -> None:
        if self.command == "PUT":
            self.hub.stored[hashlib.sha256(self.body).hexdigest()] = self.body
            self.send(200, b"", {})
            return
        _, kind, owner, name, commit, path = self.path.partition("?")[0].split("/", 5)
        held = self.hub.models if kind == "models" else self.hub.datasets
        self.send_part(held[f"{owner}/{name}"][commit][path], {"Accept-Ranges": "bytes"})
