"""A served run answers every hostile request with a status, in time, and stays as it was."""

import json
import re
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hostile_requests import LIMITS, REQUESTS, TOKEN, chat
from laboratory import CANARY, GIB, LOCKED, SECONDS

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="cases are forked, limited and watched on Linux"
)


@pytest.fixture(scope="module", params=LOCKED)
def place(laboratory, request, tmp_path_factory):
    """Address of a run that is served in a watched child, and its process."""
    folder = tmp_path_factory.mktemp("served")
    arguments = [laboratory.stock / "run", "--port", "0", "--json", *LIMITS]
    with laboratory.started("serve", arguments, folder, request.param, {"MEDTUNE_SERVE_TOKEN": TOKEN}) as child:
        parts = urlsplit(child.first_line()["url"])
        assert spoken((parts.hostname, parts.port), chat())[0] == 200
        before = peak(child.process)
        yield parts.hostname, parts.port
        assert spoken((parts.hostname, parts.port), chat())[0] == 200  # it lives
        assert peak(child.process) - before < GIB
    assert child.outcome.seen == []
    assert child.outcome.status == 0, child.outcome.stderr
    assert CANARY not in child.outcome.stdout + child.outcome.stderr
    assert not laboratory.is_visited()


def peak(process):
    """Return the largest memory that a process had, in KiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1])


def spoken(place, asked):
    """Send bytes; return status, head and body of the answer."""
    with socket.create_connection(place, timeout=SECONDS) as connection:
        answer = b""
        try:
            connection.sendall(asked)
            while part := connection.recv(65536):
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head[9:12] or 0), head.lower(), body


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_answered(place, name):
    asked, status = REQUESTS[name]
    began = time.monotonic()
    found, head, body = spoken(place, asked)
    assert time.monotonic() - began < SECONDS
    assert found == status, body[:300]
    assert b"access-control-allow-origin" not in head
    assert CANARY.encode() not in body
    if status >= 400:
        error = json.loads(body)["error"]
        assert error["message"]
        assert "\n" not in error["message"]
    assert len(re.findall(rb"HTTP/1\.1 \d+", head + body)) <= 2
