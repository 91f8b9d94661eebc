"""Gives hostile cases to the servers and judges what became of them."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stock import fill, spec_values

SECONDS = 5.0
"""Longest that a case may take."""
GIB = 1 << 20  # in KiB
PATIENCE = 20.0
TRIES = 3
"""How often a slow case is tried: a machine may be busy once, a hang is one each time."""
CANARY = "Zyxwv"
"""A word of every row and prompt, which no sentence may repeat."""
LOCKED = {"open": {}, "locked": {"MEDTUNE_LOCKED": "1"}}


@dataclass(frozen=True)
class Case:
    """A hostile input, and what is promised of it.

    Attributes:
        command: of medtune, whose benign use is the control; its arguments come from ``build``.
        build: makes the input in a scene, and returns the arguments after the command.
        code: exit code; 0 for what is harmless once it is handled as data.
        says: words of the sentence, or of the result where the code is 0.
        locked: code and words under locked mode, where they differ.
        environment: of the command.
        json: whether it is run with ``--json``; without, what a terminal would be shown is looked at.
        only: the mode in which alone it can be tried, empty where in both.
        then: looks at what is there afterwards.
    """

    command: str
    build: "Callable[[Scene], Sequence[object]]"
    code: int
    says: str
    locked: tuple[int, str] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    json: bool = True
    only: str = ""
    then: "Callable[[Scene, Outcome], None] | None" = None

    def promised(self, mode: str) -> tuple[int, str]:
        return self.locked if mode == "locked" and self.locked else (self.code, self.says)


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    status: int
    killed: bool
    seconds: float
    kib: int
    stdout: str
    stderr: str
    seen: list[str]
    modules: list[str]

    @property
    def result(self) -> Any:
        return json.loads(self.stdout)

    @property
    def sentence(self) -> str:
        return self.stderr.splitlines()[-1].removeprefix("medtune: ") if self.stderr.strip() else ""


@dataclass
class Lasting:
    """A child that stays, its notes, and in the end what became of it."""

    process: int
    notes: Path
    outcome: Outcome | None = None

    def first_line(self, seconds: float = 60.0) -> Any:
        """Return the value of the first line of its stdout, once it is there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            written = (self.notes / "stdout").read_text() if (self.notes / "stdout").exists() else ""
            if written.endswith("\n"):
                return json.loads(written.splitlines()[0])
            time.sleep(0.02)
        raise TimeoutError((self.notes / "stderr").read_text())


@dataclass
class Scene:
    """Where a case lays out its input.

    Attributes:
        folder: of the case alone.
        stock: what all cases may copy: ``base``, ``run``, ``rows.jsonl``, ...
        url: of a server that nobody may ask.
    """

    folder: Path
    stock: Path
    url: str

    @property
    def tripwire(self) -> Path:
        """The file that a payload makes."""
        return self.folder.parent / f"{self.folder.name}.executed"

    @property
    def payload(self) -> str:
        """A shell command that no file may get run."""
        return f"touch {self.tripwire}"

    @property
    def code(self) -> str:
        """The same in Python."""
        return f"import os; os.system({self.payload!r}); open({str(self.tripwire)!r}, 'w').close()"

    @property
    def rows(self) -> Path:
        return self.stock / "rows.jsonl"

    def copy(self, name: str, to: str | None = None) -> Path:
        """Return a copy of something of the stock."""
        source, target = self.stock / name, self.folder / (to or name)
        return shutil.copytree(source, target) if source.is_dir() else Path(shutil.copy(source, target))

    def spec(self, **parts: Any) -> Path:
        """Write a spec of two steps with these parts changed."""
        return self.write("spec.json", spec_values(self.stock, self.folder / "out", **parts))

    def write(self, name: str, content: str | bytes | Any) -> Path:
        """Write a file: bytes, text, or a value as JSON."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return file


class Server:
    """A process from which cases are forked."""

    def __init__(self, kind: str, base: Path) -> None:
        self.kind, self.base = kind, base

    @cached_property
    def process(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).with_name("attack_server.py")), self.kind, str(self.base)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, **case: Any) -> dict[str, Any]:
        """Ask the server and return its answer."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        if "process" in vars(self):
            with self.process as process:
                process.stdin.close()
                process.wait(20)


WITHOUT_TORCH = {"check", "score", "import", "cache", "verify", "report", "compare", "plugins", "schema"}
"""Commands that load neither torch nor transformers, whatever they are given."""


class Laboratory:
    """Two servers, a stock of harmless things, and a trap on loopback."""

    def __init__(self, stock: Path, root: Path) -> None:
        self.stock, self.root = stock, root
        self.servers = {kind: Server(kind, stock / "base") for kind in ("light", "heavy")}
        self.trap = socket.create_server(("127.0.0.1", 0))
        self.trap.setblocking(False)
        self.controls: dict[tuple[str, str], Outcome] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.trap.getsockname()[1]}"

    def close(self) -> None:
        for server in self.servers.values():
            server.close()
        self.trap.close()

    def run(
        self,
        command: str,
        arguments: Sequence[object],
        folder: Path,
        mode: str,
        more: dict[str, str],
        *,
        json: bool = True,
        seconds: float = PATIENCE,
    ) -> Outcome:
        """Run a command in a child."""
        kind = "light" if command.split(maxsplit=1)[0] in WITHOUT_TORCH else "heavy"
        asked = self.case(command, arguments, folder, mode, more)
        asked["arguments"] += ["--json"] if json else []
        return Outcome(**self.servers[kind].send(**asked, seconds=seconds))

    def case(
        self, command: str, arguments: Sequence[object], folder: Path, mode: str, more: dict[str, str]
    ) -> dict[str, Any]:
        """Return what a server is asked to do."""
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        at_hub = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": self.url}
        return {
            "arguments": [*command.split(), *map(str, arguments)],
            "folder": str(folder),
            "scratch": str(scratch),
            "environment": {**at_hub, "MEDTUNE_CACHE": str(self.root / "cache"), **LOCKED[mode], **more},
            "path": [str(folder / "site")] if (folder / "site").is_dir() else [],
        }

    @contextlib.contextmanager
    def started(
        self, command: str, arguments: Sequence[object], folder: Path, mode: str, more: dict[str, str]
    ) -> "Iterator[Lasting]":
        """Run a command in a child that stays until the end of the context."""
        server = self.servers["heavy"]
        begun = server.send(**self.case(command, arguments, folder, mode, more), seconds=PATIENCE, stays=True)
        child = Lasting(begun["process"], Path(begun["notes"]))
        try:
            yield child
        finally:
            child.outcome = Outcome(**server.send(end=child.process))

    def is_visited(self) -> bool:
        """Whether somebody connected to the trap."""
        with contextlib.suppress(BlockingIOError):
            connection, _address = self.trap.accept()
            connection.close()
            return True
        return False

    def scene(self, folder: Path) -> Scene:
        folder.mkdir()
        return Scene(folder, self.stock, self.url)


def open_laboratory(root: Path) -> Laboratory:
    """Start the servers and fill the stock."""
    (root / "stock").mkdir()
    laboratory = Laboratory(root / "stock", root)
    fill(laboratory)
    return laboratory
