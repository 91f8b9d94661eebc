"""What a stand-in hub holds, which faults befall it, and what it was asked."""

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "Fault", "Files", "StandInHub", "digest_of", "entry_of", "is_large"]

_LFS = (".safetensors", ".parquet", ".bin", ".model", ".gz")

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came.

    Attributes:
        host: "hub" or "cdn".
        method: GET, HEAD or POST.
        path: with its query.
        token: whether it carried an authorization.
        range: its Range header, "" where it has none.
    """

    host: str
    method: str
    path: str
    token: bool
    range: str


@dataclass(slots=True)
class Fault:
    """What goes wrong with requests.

    Attributes:
        where: regular expression of the paths that it befalls, as "hub /api/" or "cdn .*safetensors".
        times: so many requests, the first ones; a large number is always.
        status: HTTP status to answer with instead.
        headers: sent with it.
        cut_at: bytes of the body after which the connection is closed.
        stall_at: bytes of the body after which nothing follows.
        flip: byte of the body that is changed.
        body: bytes to answer with instead.
        silent: whether nothing is answered at all.
        ignores_range: whether all of a file is sent although a part was asked for.
        slow: seconds before each piece of 16 KiB.
    """

    where: str
    times: int = 1_000_000
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut_at: int | None = None
    stall_at: int | None = None
    flip: int | None = None
    body: bytes | None = None
    silent: bool = False
    ignores_range: bool = False
    slow: float = 0.0


@dataclass(slots=True)
class StandInHub:
    """What a hub holds and what it was asked.

    Attributes:
        models: name -> commit -> path -> bytes; the last commit is what ``main`` is at.
        datasets: likewise.
        gated: names that need a token with access; such as "hf_member" is one.
        private: names that only those with access see.
        writers: tokens that may write.
        stored: SHA-256 of what was sent to large storage -> bytes.
        endpoint: address of the hub.
        faults: what goes wrong; may be changed while it serves.
        asked: the requests in order.
        page: entries of a page of a list of files.
        stall_seconds: how long a silent or stalled connection is held open.
    """

    models: dict[str, dict[str, Files]] = field(default_factory=dict[str, dict[str, Files]])
    datasets: dict[str, dict[str, Files]] = field(default_factory=dict[str, dict[str, Files]])
    gated: frozenset[str] = frozenset()
    private: set[str] = field(default_factory=set[str])
    writers: frozenset[str] = frozenset({"hf_writer"})
    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    endpoint: str = ""
    cdn: str = ""
    faults: list[Fault] = field(default_factory=list[Fault])
    asked: list[Asked] = field(default_factory=list[Asked])
    page: int = 3
    stall_seconds: float = 20.0
    closing: threading.Event = field(default_factory=threading.Event)

    def fault_of(self, line: str) -> Fault | None:
        """Return the fault that befalls a request, one time less of it left."""
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.where, line):
                fault.times -= 1
                return fault
        return None


def is_large(path: str) -> bool:
    """Whether a file lies in large storage."""
    return path.endswith(_LFS)


def digest_of(path: str, content: bytes) -> str:
    """Return what a hub calls a file: its SHA-256 in large storage, else git's SHA-1."""
    if path.endswith(_LFS):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()  # noqa: S324 - git's choice


def entry_of(path: str, content: bytes) -> dict[str, Any]:
    """Return how a list of files names one."""
    plain = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}  # noqa: S324
    if path.endswith(_LFS):
        return {**plain, "lfs": {"oid": digest_of(path, content), "size": len(content), "pointerSize": 134}}
    return {**plain, "oid": digest_of(path, content)}
