"""Whatever is handed to medtune runs nothing, reaches nobody, keeps nobody waiting, and is answered by one sentence."""

import json
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import hostile_adapters
import hostile_bases
import hostile_data
import hostile_names
import hostile_prompts
import hostile_specs
import pytest
from hostile_controls import CONTROLS
from known_faults import FAULTS
from laboratory import CANARY, GIB, LOCKED, SECONDS, TRIES

from medtune.errors.visible import visible

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="cases are forked, limited and watched on Linux"
)

MODULES = (hostile_specs, hostile_data, hostile_bases, hostile_adapters, hostile_prompts, hostile_names)
CASES = {
    (kind, name): case for module in MODULES for kind, cases in module.CASES.items() for name, case in cases.items()
}
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


REPEATED = {
    ("data: compressed", "gzip of a workbook"),
    ("data: compressed", "gzip of an Arrow file"),
    ("templates: without end", "a macro that calls itself twice"),
}
"""Seconds each, and held elsewhere: bombs in every form by tests/data/test_bounded_files.py, templates without end by other loops."""


def marks_of(fault, *, is_long):
    """Return the marks of a case: of a known fault, and of what is left to the proofs: seven of eight under lock, and repeated."""
    marks = [pytest.mark.xfail(strict=True, reason=fault)] if fault else []
    return [*marks, pytest.mark.proof] if is_long or fault.startswith("hangs") else marks


TRIALS = [
    pytest.param(
        kind, name, mode, id=f"{kind}: {name} [{mode}]",
        marks=marks_of(
            FAULTS.get((kind, name), ""),
            is_long=(kind, name) in REPEATED or (mode == "locked" and not case.only and number % 8 != 0),
        ),
    )
    for number, ((kind, name), case) in enumerate(CASES.items()) for mode in LOCKED if case.only in ("", mode)
]  # fmt: skip
WORST = defaultdict(lambda: [0, 0.0, 0])
"""Kind -> cases, worst seconds, worst KiB above the control."""


@pytest.fixture(scope="module", autouse=True)
def table():
    """Print kinds with their counts and worst figures, for whoever asks by ``-rP`` or ``-s``."""
    yield
    for kind, (count, seconds, kib) in sorted(WORST.items()):
        print(f"{kind}: {count} cases, at most {seconds:.1f} s and {kib / 1024:.0f} MiB above the control")


def run(laboratory, case, mode, root):
    """Run a case in a scene; one that took long on a machine that may be busy is run again."""
    for attempt in range(TRIES):
        scene = laboratory.scene(root / str(attempt))
        arguments = case.build(scene)
        outcome = laboratory.run(case.command, arguments, scene.folder, mode, case.environment, json=case.json)
        if outcome.killed or outcome.seconds <= SECONDS:
            break
    return scene, outcome


def control_of(laboratory, case, mode, root):
    key = case.command, mode
    if key not in laboratory.controls:
        root.mkdir()
        laboratory.controls[key] = run(laboratory, CONTROLS[case.command], mode, root)[1]
    return laboratory.controls[key]


@pytest.mark.parametrize("mode", LOCKED)
@pytest.mark.parametrize("command", CONTROLS)
def test_what_is_harmless_is_done(laboratory, command, mode, tmp_path):
    case = CONTROLS[command]
    outcome = control_of(laboratory, case, mode, tmp_path / "control")
    assert outcome.status == 0, outcome.stderr
    assert re.search(case.says, outcome.stdout)
    assert outcome.seen == []


@pytest.mark.parametrize(("kind", "name", "mode"), TRIALS)
def test_a_hostile_case_ends_as_promised(laboratory, kind, name, mode, tmp_path):
    case = CASES[kind, name]
    code, says = case.promised(mode)
    control = control_of(laboratory, case, mode, tmp_path / "control")
    root = tmp_path / "case"
    root.mkdir()
    scene, outcome = run(laboratory, case, mode, root)
    assert not outcome.killed, "it hangs"
    assert outcome.seconds <= SECONDS
    above = outcome.kib - control.kib
    assert above <= GIB, f"{above >> 10} MiB above the control"
    assert outcome.seen == []
    assert not scene.tripwire.exists()
    assert not laboratory.is_visited()
    assert outcome.status == code, outcome.stderr[-600:]
    assert not UNPRINTABLE.search(outcome.stdout + outcome.stderr)
    assert re.search(says, outcome.stderr if code else outcome.stdout), outcome.stderr[-600:]
    require_sentence(case, outcome)
    if case.then:
        case.then(scene, outcome)
    note(kind, mode, outcome.seconds, above)
    shutil.rmtree(tmp_path, ignore_errors=True)


def require_sentence(case, outcome):
    """An error is one sentence, the same as an object, and tells no row; a result is one object."""
    if outcome.status == 0:
        assert not case.json or isinstance(outcome.result, dict)
        return
    assert outcome.sentence, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert CANARY not in outcome.stdout + outcome.stderr
    if case.json:
        error = outcome.result["error"]
        assert visible(error["message"]).replace("\n", "\\n") == outcome.sentence
        assert error["exit_code"] == outcome.status
        assert error["type"].endswith("Error")


def note(kind, mode, seconds, kib):
    if mode == "open":
        WORST[kind][0] += 1
    WORST[kind][1:] = [max(WORST[kind][1], seconds), max(WORST[kind][2], kib)]


def test_light_commands_load_no_machine_learning_library(laboratory, tmp_path):
    for number, command in enumerate(("check", "score", "import", "verify", "report")):
        outcome = control_of(laboratory, CONTROLS[command], "open", tmp_path / str(number))
        assert outcome.modules == []


def test_there_are_two_hundred_and_sixty_cases():
    from hostile_requests import REQUESTS

    assert len(CASES) + len(REQUESTS) >= 260
    assert {kind.partition(":")[0] for kind, _name in CASES} == {
        "adapters", "bases", "data", "names", "plugins", "runs", "specs", "targets", "templates", "tokenizers",
    }  # fmt: skip
    assert FAULTS.keys() <= CASES.keys()


@pytest.mark.parametrize(
    ("payload", "seen"),
    [
        ("import os; os.system('true')", "executed"),
        ("import subprocess; subprocess.run(['true'])", "executed"),
        ("import pickle; pickle.loads(b'cos\\nsystem\\n.')", "executed"),
        ("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", "connected"),
        ("import socket; socket.getaddrinfo('127.0.0.1', 9)", "connected"),
        ("open('/dev/shm/hostile', 'w')", "wrote"),
        ("import os; os.rename('spec.json', '/dev/shm/hostile')", "wrote"),
    ],
)
def test_the_watch_sees_what_a_payload_does(laboratory, payload, seen, tmp_path):
    scene = laboratory.scene(tmp_path / "scene")
    plugin = scene.write("watched_plugin.py", payload)
    outcome = laboratory.run("check", [scene.spec(), "--plugin", plugin], scene.folder, "open", {})
    assert any(what.startswith(seen) for what in outcome.seen), outcome.seen
    assert any(what.startswith("executed: exec") for what in outcome.seen)
    assert not Path("/dev/shm/hostile").exists()  # noqa: S108 - where the payloads would write


def test_the_trap_sees_who_comes(laboratory):
    import socket

    assert not laboratory.is_visited()
    with socket.create_connection(laboratory.trap.getsockname()):
        assert laboratory.is_visited()


def test_a_case_that_grows_or_waits_is_ended(laboratory, tmp_path):
    scene = laboratory.scene(tmp_path / "scene")
    plugin = scene.write("grown_plugin.py", "a = bytearray(1 << 31); a[::4096] = b'x' * (1 << 19)")
    outcome = laboratory.run("check", [scene.spec(), "--plugin", plugin], scene.folder, "open", {})
    assert outcome.kib > GIB
    plugin = scene.write("waiting_plugin.py", "import signal; signal.pause()")
    outcome = laboratory.run("check", [scene.spec(), "--plugin", plugin], scene.folder, "open", {}, seconds=1)
    assert outcome.killed


def test_the_control_of_json_is_one_object(laboratory, tmp_path):
    scene = laboratory.scene(tmp_path / "scene")
    outcome = laboratory.run("check", [scene.write("spec.toml", "sead = 1")], scene.folder, "open", {})
    assert json.loads(outcome.stdout)["error"]["message"] == outcome.sentence
