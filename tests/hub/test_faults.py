"""Every fault of a hub, a network or a disk ends in its own sentence, in seconds, with nothing lost."""

import errno
import json
import shutil
import socket
import time
from typing import NamedTuple

import pytest
from base_repository import COMMIT, FILES, IMPATIENT

from medtune.data.hub import transfer
from medtune.data.hub.download import Listener
from medtune.data.hub.models import loadable, repository_of
from medtune.data.hub.watch import Patience
from medtune.errors import MedtuneError
from medtune.specs import ModelSpec
from medtune.testing.hub import pointed_at
from medtune.testing.hub_contents import Fault, digest_of

PINNED, BRANCH = ModelSpec(name="org/base", revision=COMMIT), ModelSpec(name="org/base")
SHARD = r"cdn .*model-1"


class Case(NamedTuple):
    model: ModelSpec
    faults: list[Fault]
    code: int
    sentence: str


CASES = {
    # who asks
    "gated, no token": Case(ModelSpec(name="gated/base", revision=COMMIT), [], 6, r"is gated, and there is no token; ask for access on its page \(http.*/gated/base\), then set a token by `hf auth login`"),
    "no such repository": Case(ModelSpec(name="org/none"), [], 6, "does not exist, or is private and there is no token; check the name"),
    "no such commit": Case(ModelSpec(name="org/base", revision="e" * 40), [], 6, "has no revision 'e{40}'; set model.revision"),
    "no such branch": Case(ModelSpec(name="org/base", revision="dev"), [], 6, "has no revision 'dev'; set model.revision"),
    "disabled by the hub": Case(PINNED, [Fault("hub /api", status=403, headers={"X-Error-Message": "Access to this resource is disabled."})], 6, "was disabled by the hub"),
    # the hub is busy or broken
    "too many requests": Case(BRANCH, [Fault("hub /api", status=429)], 6, r"too many requests \(429\); wait"),
    "too many requests, for an hour": Case(BRANCH, [Fault("hub /api", status=429, headers={"Retry-After": "3600"})], 6, r"\(429\); it asks to wait 3,600 s"),
    "rate limit with its own header": Case(BRANCH, [Fault("hub /api", status=429, headers={"ratelimit": '"api";r=0;t=900'})], 6, r"it asks to wait 900 s"),
    "fault of its own": Case(PINNED, [Fault("hub .*resolve", status=500)], 6, r"reports a fault of its own \(500\); run the same command again later"),
    "overloaded": Case(BRANCH, [Fault("hub /api", status=503)], 6, r"fault of its own \(503\)"),
    "gateway does not answer": Case(PINNED, [Fault("hub /api", status=504)], 6, r"fault of its own \(504\)"),
    "silent when asked for the commit": Case(BRANCH, [Fault("hub /api", silent=True)], 6, "the hub (does not answer|sent nothing for)"),
    "silent when asked for the files": Case(PINNED, [Fault("hub /api", silent=True)], 6, "the hub (does not answer|sent nothing for)"),
    "not a hub": Case(PINNED, [Fault("hub /api", body=b"<html>Please log in</html>")], 6, "was answered in a form that is not the hub's .*HF_ENDPOINT"),
    "a list that is none": Case(PINNED, [Fault("hub /api", body=b'{"files": 3}')], 6, "was answered in a form that is not the hub's"),
    "answers in a circle": Case(PINNED, [Fault("hub .*resolve", status=302, headers={"Location": "/org/base/resolve/main/config.json"})], 6, "the hub's answers lead in a circle"),
    # the content network
    "content network refuses": Case(PINNED, [Fault(SHARD, status=403)], 6, r"the content network '127.*' refused it \(403\); see whether a firewall"),
    "content network lost it": Case(PINNED, [Fault(SHARD, status=404)], 6, r"the content network '127.*' refused it \(404\)"),
    "content network is down": Case(PINNED, [Fault(SHARD, status=502)], 6, r"fault of its own \(502\)"),
    # the transfer
    "cut off at once, again and again": Case(PINNED, [Fault(SHARD, cut_at=0)], 6, "was cut off again and again; run the same command again later"),
    "stalled": Case(PINNED, [Fault(SHARD, times=1, stall_at=30_000), Fault(SHARD, stall_at=0)], 6, "the hub (does not answer|sent nothing for 2 s)"),
    "stalled, a small file": Case(PINNED, [Fault("hub .*tokenizer.json", stall_at=0)], 6, "the hub (does not answer|sent nothing for 2 s)"),
    "corrupt weights": Case(PINNED, [Fault(SHARD, flip=7)], 4, r"'model-1\.safetensors' of model 'org/base' is corrupt: its SHA-256 is not what the hub states"),
    "corrupt tokenizer": Case(PINNED, [Fault("hub .*tokenizer.json", flip=2)], 4, r"'tokenizer\.json'.*its git hash is not"),
    "longer than stated": Case(PINNED, [Fault(SHARD, body=bytes(90_000))], 4, r"'model-1\.safetensors'.*SHA-256"),
    "another file of the same length": Case(PINNED, [Fault(SHARD, body=bytes(len(FILES["model-1.safetensors"])))], 4, "SHA-256"),
    "a log-in page in its place": Case(PINNED, [Fault("hub .*config.json", body=b"<html>" * 40)], 4, r"'config\.json'.*git hash"),
    # the repository
    "weights as .bin only": Case(ModelSpec(name="org/bin", revision=COMMIT), [], 6, r"no weights in safetensors, only 'pytorch_model\.bin', a form that can run code as it is loaded"),
    "no weights at all": Case(ModelSpec(name="org/empty", revision=COMMIT), [], 6, "no weights in safetensors, none at all"),
    "a shard that is not there": Case(ModelSpec(name="org/torn", revision=COMMIT), [], 6, r"lacks 'model-2\.safetensors', one of 1 shards"),
    "an index that names nothing": Case(ModelSpec(name="org/index", revision=COMMIT), [], 4, "it names no shards"),
    "paths that lead out": Case(PINNED, [Fault("hub /api.*tree", body=json.dumps([{"type": "file", "path": "../../x.json", "size": 1, "oid": "a" * 40}]).encode())], 4, "3 of 3 entries lead out of the repository"),
}  # fmt: skip
OTHERS = {
    "gated/base": FILES,
    "org/bin": {"config.json": b"{}", "pytorch_model.bin": b"x"},
    "org/empty": {"config.json": b"{}"},
    "org/torn": {name: content for name, content in FILES.items() if name != "model-2.safetensors"},
    "org/index": {"config.json": b"{}", "model.safetensors.index.json": b"[]"},
}
MOST_SECONDS = 5


@pytest.fixture
def busy(hub):
    hub.models |= {name: {COMMIT: files} for name, files in OTHERS.items()}
    hub.gated = frozenset({"gated/base"})
    return hub


def refused(model, code, sentence, listener=None):
    """Load, expect that sentence in time, and return the error."""
    began = time.monotonic()
    with pytest.raises(MedtuneError, match=sentence) as caught:
        loadable(model, listener or Listener(patience=IMPATIENT))
    assert caught.value.exit_code == code
    assert time.monotonic() - began < MOST_SECONDS
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", CASES)
def test_a_fault_has_its_own_sentence_and_code_and_loses_nothing(name, busy, tmp_path):
    case = CASES[name]
    with pointed_at(busy, tmp_path):
        busy.faults += [Fault(**{part: getattr(fault, part) for part in fault.__slots__}) for fault in case.faults]
        refused(case.model, case.code, case.sentence)
        busy.faults.clear()
        folder = loadable(PINNED)  # and once the fault is gone, all is well
    for path in ("config.json", "tokenizer.json", "model-1.safetensors", "model-2.safetensors"):
        assert digest_of(path, (folder / path).read_bytes()) == digest_of(path, FILES[path])


def test_every_fault_has_another_sentence_than_that_the_hub_cannot_be_reached():
    assert len(CASES) + 9 >= 40  # those below, whose means differ, included
    assert not any("cannot be reached" in case.sentence for case in CASES.values())


@pytest.mark.parametrize(
    ("token", "name", "sentence"),
    [
        ("hf_stranger", "gated/base", "is gated, and the token has no access to it; ask for access on its page"),
        ("hf_stranger", "org/none", "does not exist, or the token has no access to it; check the name, and whose"),
        ("nonsense", "org/base", "was refused: the token is not valid; set a valid one by"),
    ],
)
def test_a_token_that_does_not_help_is_told_from_none(token, name, sentence, busy, tmp_path):
    with pointed_at(busy, tmp_path, token=token):
        error = refused(ModelSpec(name=name, revision=COMMIT), 6, sentence)
    assert token not in str(error)


def test_a_pause_that_the_hub_asks_for_is_made_and_told(asking, told):
    asking.faults.append(Fault("hub /api", times=1, status=429, headers={"Retry-After": "0"}))
    asking.faults.append(Fault("cdn ", times=1, status=503))
    loadable(PINNED, Listener(told.append, patience=IMPATIENT))
    assert any("the hub asks to wait 0 s" in line for line in told)
    assert any("is asked again in" in line for line in told)


def test_pauses_of_one_s_own_are_silence_and_those_that_the_hub_asks_for_are_not(asking, told):
    brief = Patience(silence=0.5, answer=0.25, attempts=9, pause=30, longest_wait=60)
    asking.faults.append(Fault("hub /api", status=503))
    refused(PINNED, 6, "the hub sent nothing for 0 s", Listener(told.append, patience=brief))
    asking.faults[:] = [Fault("hub /api", times=1, status=429, headers={"Retry-After": "1"})]
    loadable(PINNED, Listener(told.append, patience=brief))


def test_what_came_before_a_stall_is_kept(asking):
    asking.faults += [Fault(SHARD, times=1, stall_at=30_000), Fault(SHARD, stall_at=0)]
    refused(PINNED, 6, "the hub")
    asking.faults.clear()
    asking.asked.clear()
    loadable(PINNED)
    assert [each.range for each in asking.asked if "cdn" in each.host and "model-1" in each.path] == ["bytes=30000-"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_hub_that_is_down_cannot_be_reached(hub, tmp_path):
    hub.endpoint = f"http://127.0.0.1:{free_port()}"
    with pointed_at(hub, tmp_path):
        refused(PINNED, 6, "is not in the local cache and the hub cannot be reached; point at a local copy with --set")


def test_a_name_that_no_server_knows_cannot_be_reached(hub, tmp_path):
    hub.endpoint = "http://hub.invalid"
    with pointed_at(hub, tmp_path):
        refused(PINNED, 6, "the hub (cannot be reached|sent nothing for)")


def test_a_proxy_that_is_down_or_wants_a_log_in_is_named(hub, tmp_path, monkeypatch):
    import huggingface_hub.utils

    for status in (0, 407):
        monkeypatch.setenv("HTTP_PROXY", hub.endpoint if status else f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("NO_PROXY", "")
        hub.faults[:] = [Fault("hub ", status=status)] if status else []
        huggingface_hub.utils.close_session()  # a client reads the proxy's address as it is made
        with pointed_at(hub, tmp_path):
            refused(
                PINNED, 6, "the proxy wants a log-in; check HTTPS_PROXY" if status else "cannot be reached|the proxy"
            )
    monkeypatch.undo()
    huggingface_hub.utils.close_session()


def test_a_certificate_that_nobody_trusts_is_named():
    from medtune.data.hub.refusals import explained, may_pass

    error = type("ConnectError", (Exception,), {"__module__": "httpx"})("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    assert not may_pass(error)
    assert "is not trusted; add your organisation's certificate by SSL_CERT_FILE" in str(
        explained(error, repository_of(PINNED))
    )


def test_a_disk_without_room_is_told_before_anything_is_fetched(asking, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    refused(PINNED, 6, r"needs .* MiB of free disk space and has 0 MiB; free some, or set HF_HOME to a folder")
    assert not [each for each in asking.asked if "resolve" in each.path]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "the disk of '.*' is full; free some space or set HF_HOME"),
        (errno.EACCES, "the hub cache '.*' cannot be used: Permission denied; set HF_HOME"),
    ],
)
def test_a_disk_that_fails_in_the_middle_is_told(asking, monkeypatch, code, sentence):
    def fail(*_arguments):
        raise OSError(code, "Permission denied" if code == errno.EACCES else "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "_receive", fail)
        refused(PINNED, 6, sentence)
    loadable(PINNED)
