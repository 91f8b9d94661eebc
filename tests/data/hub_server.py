"""A hub on this machine: the few answers of the hub's interface that ``datasets`` asks for."""

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

__all__ = ["serve"]

_FILE = re.compile(r"/datasets/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_INFO = re.compile(r"/api/datasets/(?P<name>[^/]+/[^/]+?)(/revision/(?P<revision>[^/?]+))?")
_LIST = re.compile(r"/api/datasets/(?P<name>[^/]+/[^/]+)/(tree|paths-info)/(?P<revision>[^/?]+)(?P<below>[^?]*)")


@contextmanager
def serve(repositories: Mapping[str, Mapping[str, Mapping[str, bytes]]]):
    """Serve repositories (name -> commit -> path -> bytes, the newest commit last) and yield the address."""
    handler = type("Handler", (_Handler,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    repositories: ClassVar[Mapping[str, Mapping[str, Mapping[str, bytes]]]]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        for pattern, answer in ((_FILE, self._file), (_LIST, self._list), (_INFO, self._info)):
            match = pattern.fullmatch(path)
            if match:
                found = self._commit(match["name"], match["revision"] or "main")
                if found:
                    answer(match, *found)
                return
        self._error(404, "EntryNotFound")

    def _commit(self, name: str, revision: str) -> tuple[str, Mapping[str, bytes]] | None:
        commits = self.repositories.get(name)
        if commits is None:
            self._error(401, "RepoNotFound")
        elif name.startswith("gated/"):
            self._error(403, "GatedRepo")
        elif revision == "main":
            return list(commits.items())[-1]
        elif revision in commits:
            return revision, commits[revision]
        else:
            self._error(404, "RevisionNotFound")
        return None

    def _file(self, match: re.Match[str], commit: str, files: Mapping[str, bytes]) -> None:
        content = files.get(match["path"])
        if content is None:
            self._error(404, "EntryNotFound", commit)
            return
        tag = hashlib.sha1(content).hexdigest()  # noqa: S324 - git's own
        status, piece, more = 200, content, {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            status, piece = 206, content[first : last + 1]
            more = {"Content-Range": f"bytes {first}-{first + len(piece) - 1}/{len(content)}"}
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes", **more}
        self._send(status, piece, headers)

    def _info(self, match: re.Match[str], commit: str, files: Mapping[str, bytes]) -> None:
        siblings = [{"rfilename": path} for path in files]
        facts = {"_id": "0", "id": match["name"], "sha": commit, "siblings": siblings, "tags": [], "private": False}
        self._json({**facts, "gated": False, "disabled": False, "downloads": 0, "likes": 0})

    def _list(self, match: re.Match[str], commit: str, files: Mapping[str, bytes]) -> None:
        del commit
        below = match["below"].strip("/")
        inside = {path: content for path, content in files.items() if path.startswith(f"{below}/" if below else "")}
        depth = below.count("/") + 2 if below else 1
        entries: dict[str, dict[str, Any]] = {}
        for path, content in inside.items():
            parent = "/".join(path.split("/")[:depth])
            if parent != path and "recursive=true" not in self.path.lower():
                entries[parent] = {"type": "directory", "path": parent, "oid": "0" * 40}
            else:
                tag = hashlib.sha1(content).hexdigest()  # noqa: S324 - git's own
                entries[path] = {"type": "file", "path": path, "size": len(content), "oid": tag}
        self._json(list(entries.values()))

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, commit: str = "") -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code, "X-Repo-Commit": commit})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments):
        """Say nothing."""
