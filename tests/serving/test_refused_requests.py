"""Slow, huge, malformed and hostile requests are refused within a second, in OpenAI's form, and never with a 5xx."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from serving_client import TOKEN, served

from medtune.serving.limits import Limits

HELLO = [{"role": "user", "content": "hello"}]
CHAT = {"model": "alpha", "messages": HELLO, "max_tokens": 1}
TEXT = {"model": "alpha", "prompt": "hello", "max_tokens": 1}
SECRET = "patient Zyxwv"
JSON_TYPE = "content-type: application/json"


@pytest.fixture(scope="module")
def place(runs):
    """Address of a server with small limits."""
    limits = Limits(slots=4, tokens=128, queue=4, body_bytes=20_000, header_seconds=0.4, body_seconds=0.4)
    with served({"alpha": runs["alpha"]}, limits) as client:
        parts = urlsplit(client.url)
        yield parts.hostname, parts.port
        assert client.send("/v1/models")[0] == 200  # it lives


def spoken(place, *pieces, pause=0.0, seconds=5.0):
    """Send bytes and return all that is answered; a last piece of None ends the sending side."""
    with socket.create_connection(place, timeout=seconds) as connection:
        try:
            for piece in pieces:
                if piece is None:
                    connection.shutdown(socket.SHUT_WR)
                else:
                    connection.sendall(piece)
                time.sleep(pause)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            connection.settimeout(0.2)
            try:
                answer = connection.recv(65536)
            except OSError:
                answer = b""
        return answer


def request(path="/v1/chat/completions", body=b"", method="POST", token=TOKEN, more=(JSON_TYPE,), length=None):
    """Return the bytes of a request whose connection is closed after it."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close", *more]
    if token is not None:
        lines.append(f"authorization: Bearer {token}")
    lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chat(**changes):
    return request(body=json.dumps(CHAT | changes).encode())


def text(**changes):
    return request("/v1/completions", json.dumps(TEXT | changes).encode())


def raw(body):
    return request(body=body)


def turns(*messages):
    return chat(messages=list(messages))


DEEP = 9_000
FIELDS = {
    "model": [None, 1, [], {}, "", "nobody", "alpha ", "../alpha", "A" * 300, True],
    "messages": [
        None, [], {}, "hello", 1, [1], ["hello"], [None], [[]], [{}], [{"role": "user"}], [{"content": SECRET}],
        [{"role": "boss", "content": SECRET}], [{"role": 1, "content": SECRET}], [{"role": ["user"], "content": "x"}],
        [{"role": "user", "content": None}], [{"role": "user", "content": 1}], [{"role": "user", "content": []}],
        [{"role": "user", "content": {}}], [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        [{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": ["x"]}],
        [{"role": "user", "content": [{"type": "text", "text": 1}]}],
        [{"role": "user", "content": "\ud800"}], [{"role": "user", "content": SECRET + "\udfff"}],
        [{"role": "user", "content": "x", "tool_calls": [1]}], [{"role": "user", "content": "x", "name": "y"}],
        [{"role": "tool", "content": "x"}], [{"role": "assistant", "content": "x"}], [{"role": "system", "content": "x"}],
        [*HELLO, {"role": "assistant", "content": "x"}], HELLO * 1025,
        [{"role": "user", "content": "many words " * 100}],
    ],
    "max_tokens": [0, -1, 1.5, "1", True, [], 127, 1 << 40, 10**400],
    "temperature": [0.1, 1, -1, "0", True, [], 1e308],
    "top_p": [0, 2, -1, "1", True, []],
    "n": [0, 2, -1, "1", True, 1.5, 10**9],
    "presence_penalty": [0.5, -2, "0"],
    "frequency_penalty": [1, True],
    "logit_bias": [{"1": 5}, [], "x"],
    "response_format": [{"type": "json_object"}, {"type": "json_schema"}, "text", [], 1],
    "tools": [[{"type": "function"}], {}, "x"],
    "functions": [[1], {}],
    "tool_choice": ["auto", {}, 1],
    "store": [True, 1],
    "seed": ["1", 1.5, True],
    "user": [1, [], {}],
    "metadata": ["x", []],
    "stop": ["", [""], [1], {}, 1, ["x"] * 17, [[]]],
    "stream": [1, "true", [], {}],
    "stream_options": [[], 1, {"include_usage": True}, {"other": 1}],
    "logprobs": [1, "true", []],
    "top_logprobs": [1, 21, -1, "1", True],
    "max_completion_tokens": [1, 0, "1"],
    "temprature": [0],
    "grammar": ["x"],
    "guided_json": [{}],
    "__proto__": [{}],
    SECRET: [1],
    "": [1],
    "prompt": ["x"],
}  # fmt: skip
COMPLETION_FIELDS = {
    "prompt": [
        None, "", [], {}, 1, [""], [[]], [1, "x"], ["x", 1], [[1, "x"]], [-1], [1.5], [True], [10**6], [[10**6]],
        [1 << 40], ["\ud800"], ["x"] * 257, "long " * 100, list(range(2, 200)), {"a": 1}, [[[1]]], [None],
    ],
    "logprobs": [True, -1, 21, "1"],
    "echo": [1, "x"],
    "best_of": [2],
    "suffix": ["x"],
    "messages": [HELLO],
}  # fmt: skip


def mixed(**more):
    return {
        **{f"chat-{name[:12]}-{i}": chat(**{name: v}) for name, values in FIELDS.items() for i, v in enumerate(values)},
        **{f"text-{name}-{i}": text(**{name: v}) for name, vs in COMPLETION_FIELDS.items() for i, v in enumerate(vs)},
        **more,
    }


KINDS = mixed(
    stream_of_two=text(prompt=["a", "b"], stream=True),
    stream_with_scores=chat(stream=True, logprobs=True),
    stream_with_echo=text(stream=True, echo=True),
    both_limits=chat(max_completion_tokens=1),
    no_body=request(),
    no_json=raw(SECRET.encode()),
    half_json=raw(b'{"model": "alpha", "messages": ['),
    two_objects=raw(b"{}{}"),
    json_list=raw(b"[]"),
    json_text=raw(b'"x"'),
    json_number=raw(b"1"),
    json_null=raw(b"null"),
    json_nan=raw(b'{"model": NaN}'),
    json_infinity=raw(b'{"temperature": Infinity}'),
    json_twice=raw(b'{"model": "alpha", "model": "base", "messages": []}'),
    json_comment=raw(b"{} // x"),
    json_bom=raw(b"\xef\xbb\xbf{}"),
    json_utf16=raw(json.dumps(CHAT).encode("utf-16")),
    json_latin=raw(b'{"model": "\xff"}'),
    json_null_byte=raw(b'{"model": "alpha\x00"}'),
    json_control=raw(b'{"model": "al\npha"}'),
    json_deep_lists=raw(b"[" * DEEP),
    json_deep_objects=raw(b'{"a":' * (DEEP // 4)),
    json_deep_content=raw(b'{"model":"alpha","messages":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    json_long_number=raw(b'{"seed": ' + b"9" * DEEP + b"}"),
    json_many_keys=raw(json.dumps({f"k{i}": 1 for i in range(1500)}).encode()),
    empty_object=raw(b"{}"),
    spaces=raw(b" " * 1000),
    zeros=raw(b"\0" * 1000),
    too_large=raw(b"x" * 20_001),
    much_too_large=raw(b"x" * 150_000),
    said_too_large=request(length=10**12),
    said_far_too_large=request(length=10**30),
    chunked_too_large=request(more=(JSON_TYPE, "transfer-encoding: chunked")).replace(b"content-length: 0\r\n", b"")
    + b"8000\r\n" + b"x" * 0x8000 + b"\r\n0\r\n\r\n",
    chunk_of_no_size=request(more=(JSON_TYPE, "transfer-encoding: chunked")).replace(b"content-length: 0\r\n", b"") + b"zz\r\n",
    chunk_of_huge_size=request(more=(JSON_TYPE, "transfer-encoding: chunked")).replace(b"content-length: 0\r\n", b"") + b"f" * 40 + b"\r\n",
    length_and_chunks=request(more=(JSON_TYPE, "transfer-encoding: chunked"), body=b"{}"),
    other_encoding=request(more=(JSON_TYPE, "transfer-encoding: gzip")),
    two_lengths=request(more=(JSON_TYPE, "content-length: 5"), body=b"{}"),
    negative_length=request(length=-1),
    length_of_letters=request(length="ten"),
    length_with_plus=request(length="+2", body=b"{}"),
    gzip=request(more=(JSON_TYPE, "content-encoding: gzip"), body=b"\x1f\x8b"),
    form=request(more=("content-type: application/x-www-form-urlencoded",), body=b"a=1"),
    plain=request(more=("content-type: text/plain",), body=json.dumps(CHAT).encode()),
    multipart=request(more=("content-type: multipart/form-data; boundary=x",), body=b"--x--"),
    no_type=request(more=("content-type: ",), body=b"x"),
    two_types=request(more=(JSON_TYPE, JSON_TYPE), body=b"{}"),
    no_token=request(token=None),
    empty_token=request(token=""),
    wrong_token=request(token="wrong-token-wrong-token"),
    short_token=request(token=TOKEN[:-1]),
    long_token=request(token=TOKEN + "x"),
    huge_token=request(token="x" * 8000),
    upper_token=request(token=TOKEN.upper()),
    odd_token=request(token="t\xf6ken"),
    basic=request(token=None, more=(JSON_TYPE, "authorization: Basic YTpi")),
    lower_bearer=request(token=None, more=(JSON_TYPE, f"authorization: bearer {TOKEN}")),
    bare_token=request(token=None, more=(JSON_TYPE, f"authorization: {TOKEN}")),
    two_tokens=request(more=(JSON_TYPE, f"authorization: Bearer {TOKEN}"), body=b"{}"),
    token_in_query=request(f"/v1/models?token={TOKEN}", method="GET", token=None),
    metrics_without_token=request("/metrics", method="GET", token=None),
    admin_without_token=request("/admin/adapters", b'{"run": "/"}', token=None),
    admin_of_nothing=request("/admin/adapters", b"{}"),
    admin_of_a_list=request("/admin/adapters", b'{"run": []}'),
    admin_of_no_run=request("/admin/adapters", b'{"run": "/nowhere/at/all"}'),
    admin_of_a_device=request("/admin/adapters", b'{"run": "/dev/zero"}'),
    admin_of_a_parent=request("/admin/adapters", b'{"run": "../../../etc"}'),
    admin_of_null_byte=request("/admin/adapters", b'{"run": "/a\\u0000b"}'),
    admin_of_the_base=request("/admin/adapters", b'{"run": "/", "name": "base"}'),
    admin_with_more=request("/admin/adapters", b'{"run": "/", "trust_remote_code": true}'),
    admin_removes_nobody=request("/admin/adapters/nobody", method="DELETE"),
    admin_removes_the_base=request("/admin/adapters/base", method="DELETE"),
    admin_removes_above=request("/admin/adapters/../../x", method="DELETE"),
    root=request("/", method="GET"),
    nowhere=request("/v1/embeddings", b"{}"),
    slash=request("/v1/chat/completions/", b"{}"),
    double_slash=request("//v1/models", method="GET"),
    up=request("/v1/../../../etc/passwd", method="GET"),
    encoded_up=request("/%2e%2e/%2e%2e/etc/passwd", method="GET"),
    encoded_null=request("/v1/models/%00", method="GET"),
    encoded_bad=request("/v1/models/%ff%fe", method="GET"),
    long_path=request("/" + "a" * 12_000, method="GET"),
    docs=request("/docs", method="GET"),
    full_url=request("http://elsewhere/v1/models/x", method="GET"),
    no_such_model=request("/v1/models/nobody", method="GET"),
    get_chat=request(method="GET"),
    put_chat=request(method="PUT"),
    delete_chat=request(method="DELETE"),
    patch_chat=request(method="PATCH"),
    options=request(method="OPTIONS"),
    trace=request(method="TRACE"),
    connect=request("x:443", method="CONNECT"),
    brew=request(method="BREW"),
    post_models=request("/v1/models"),
    websocket=request("/v1/nothing", method="GET", more=("upgrade: websocket", "connection: upgrade", "sec-websocket-key: x")),
    no_http=b"hello\r\n\r\n",
    tls=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60 + b"\r\n\r\n",
    http2=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    http09=b"GET /\r\n\r\n",
    http3=b"GET / HTTP/3.0\r\nhost: x\r\n\r\n",
    no_host=b"GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n",
    two_hosts=b"GET /v1/models HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n",
    space_in_header=b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
    folded_header=b"GET /nowhere HTTP/1.1\r\nhost: x\r\n folded\r\nconnection: close\r\n\r\n",
    null_in_header=b"GET / HTTP/1.1\r\nhost: x\r\na: \x00\r\n\r\n",
    null_in_path=b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
    letters_in_path="GET /\xe9 HTTP/1.1\r\nhost: x\r\n\r\n".encode(),
    many_headers=b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 4000 + b"\r\n",
    large_header=b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
    endless_line=b"G" * 70_000,
    smuggled=b"POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
)  # fmt: skip
SLOW = {
    "nothing": (b"",),
    "half_a_line": (b"GET /v1/mod",),
    "half_a_head": (b"GET /v1/models HTTP/1.1\r\nhost: x\r\n",),
    "a_head_in_drops": tuple(b"GET /v1/models HTTP/1.1\r\nhost: x\r\na: bcdefgh"[i : i + 4] for i in range(0, 44, 4)),
    "no_body": (request(length=10),),
    "half_a_body": (request(body=b"{", length=10),),
    "a_body_in_drops": (request(length=100), *[b"x"] * 10),
    "a_chunk_and_no_more": (
        request(more=(JSON_TYPE, "transfer-encoding: chunked")).replace(b"content-length: 0\r\n", b"") + b"1\r\n{\r\n",
    ),
    "a_body_without_token": (request(length=10, token=None),),
}


def test_there_are_two_hundred_kinds():
    assert len(KINDS) + len(SLOW) >= 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_cannot_be_met_is_refused_at_once(place, kind):
    began = time.monotonic()
    refused(spoken(place, KINDS[kind]), began)


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_request_is_refused_in_time(place, kind):
    began = time.monotonic()
    status = refused(spoken(place, *SLOW[kind], pause=0.05 if len(SLOW[kind]) > 1 else 0.0), began)
    assert status == (401 if kind.endswith("token") else 408)


def test_a_client_that_leaves_half_way_leaves_nothing_behind(place):
    for piece in (b"GET /", request(length=10), chat(max_tokens=100)[:-20], chat(max_tokens=100, stream=True)):
        with socket.create_connection(place, timeout=5) as connection:
            connection.sendall(piece)
    assert b" 200 OK" in spoken(place, chat())


def refused(answer, began):
    """Check an answer and return its status."""
    seconds = time.monotonic() - began
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4"), answer[:200]
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "Zyxwv" not in body.decode()
    assert seconds < 1.0
    return int(head[9:12])
