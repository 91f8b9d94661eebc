"""The process that hostile cases are forked from: all libraries are loaded once, and each case gets a child of its own.

The child watches itself by an audit hook, which no Python code can take out again.
"""

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import medtune

LIGHT = (
    "medtune.cli.app", "medtune.tuner", "medtune.specfile", "pyarrow.parquet", "openpyxl", "medtune.cli.console",
    "medtune.cli.account", "medtune.cli.loss_tables", "medtune.cli.task_tables", "medtune.cli.trust_tables",
    "medtune.plugins.single_file",
)  # fmt: skip
HEAVY = (
    "torch", "transformers", "peft", "medtune.backends.peft", "medtune.backends.generate", "medtune.backends.base_model",
    "medtune.backends.attached", "medtune.workflow.training", "medtune.workflow.adoption", "medtune.workflow.served",
    "medtune.serving.server", "medtune.workflow.exporting.export", "mistral_common.tokens.tokenizers.tekken", "pandas",
    "medtune.backends.sft_trainer", "medtune.backends.fast_generate", "medtune.accel.decode.slots", "medtune.demo",
    "medtune.data.base.architecture", "medtune.data.base.causality", "medtune.data.base.targets",
    "medtune.data.base.sampled",
)  # fmt: skip
ROOM = 4 << 30  # address space above the server's, so that a bomb ends its case and not the machine
LARGEST_FILE = 2 << 30
OWN = str(Path(medtune.__file__).parent) + os.sep
REACHES = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.sendto",
    "socket.sendmsg",
}
CHANGES = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "os.chown",
}
STARTS = {"os.system", "os.exec", "os.posix_spawn", "pty.spawn", "subprocess.Popen"}


class Watch:
    """Notes what a case starts, reaches and runs, and stops it from writing anywhere but in its folders.

    Args:
        folders: whatever is run from a file in one of these is the case's own code.
        kept: further folders in which it may write.
    """

    def __init__(self, folders, kept):
        self.folders = tuple(os.path.realpath(folder) for folder in folders)
        self.writable = (*self.folders, *(os.path.realpath(folder) for folder in kept))
        self.is_armed = True
        self.seen = []

    def __call__(self, event, arguments):
        if not self.is_armed:
            return
        if event in REACHES:
            self.reach(event, arguments)
        elif event in STARTS:
            self.start(event, arguments)
        elif event == "open":
            self.open(event, arguments)
        elif event in CHANGES:
            for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
                self.write(event, path)
        else:
            self.load(event, arguments)

    def open(self, event, arguments):
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if writes and isinstance(arguments[0], str | bytes | os.PathLike):
            self.write(event, arguments[0])

    def load(self, event, arguments):
        if event == "exec":
            self.run(event, getattr(arguments[0], "co_filename", ""))
        elif event == "import":
            self.run(event, str(arguments[1] or ""))
        elif event == "pickle.find_class" and arguments[0].split(".")[0] in ("os", "posix", "subprocess", "builtins"):
            self.seen.append(f"executed: {event} {arguments[0]}.{arguments[1]}")

    def reach(self, event, arguments):
        family = getattr(arguments[0], "family", None)
        if family is None or family.name != "AF_UNIX":
            self.seen.append(f"connected: {event} {arguments[1:] if family else arguments}")

    def start(self, event, arguments):
        command = (
            [str(part) for part in arguments[1]] if event == "subprocess.Popen" and arguments[1] else [str(arguments)]
        )
        is_own = command[0] == sys.executable and any(part.startswith("medtune.") or OWN in part for part in command)
        if not is_own and command != ["uname", "-p"]:  # by Python's own platform module
            self.seen.append(f"executed: {event} {command[:3]}")

    def write(self, event, path):
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        place = str(Path(os.path.realpath(Path(name).parent)) / Path(name).name)
        if place != os.devnull and not place.startswith(self.writable):
            self.seen.append(f"wrote: {event} {name[:200]}")
            raise PermissionError(1, "a hostile case writes in its own folders only", name)

    def run(self, event, file):
        if file.startswith(self.folders):
            self.seen.append(f"executed: {event} of {file}")


def main(kind, base):
    """Serve cases: one JSON object a line on stdin, one outcome a line on stdout; the heavy one makes the tiny base."""
    for name in LIGHT:
        import_module(name)
    if kind == "heavy":
        _load_all(Path(base))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    gc.collect()
    gc.freeze()  # a case that collects garbage need not walk, and so copy, the pages of all libraries
    lasting = {}
    for line in sys.stdin:
        case = json.loads(line)
        if case.get("stays"):
            child, notes = _begun(case)
            lasting[child] = case, notes
            answer = {"process": child, "notes": notes.name}
        elif "end" in case:
            os.kill(case["end"], signal.SIGTERM)
            answer = _ended(case["end"], *lasting.pop(case["end"]))
        else:
            child, notes = _begun(case)
            answer = _ended(child, case, notes)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _load_all(base):
    from medtune.machine.libraries import import_bitsandbytes
    from medtune.plugins.host import create_host
    from medtune.testing.tiny import tiny_base

    import_module("torch").set_num_threads(1)  # threads would not survive a fork
    import_bitsandbytes()
    for name in HEAVY:
        import_module(name)
    create_host(autoload=False)
    tiny_base(base)


def _begun(case):
    """Fork a child for a case; return it, and the folder in which it takes notes."""
    notes = tempfile.TemporaryDirectory(prefix="hostile-")
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = _suffer(case, Path(notes.name))
        finally:
            os._exit(status)
    return child, notes


def _ended(child, case, notes):
    """Wait for a child, and return what became of it.

    Its seconds are those in which it computed, or those in which nobody on the machine had to wait for a processor: a busy
    machine is no hang.
    """
    began, before = time.monotonic(), _stalled()
    status, usage, is_killed = _wait(child, began + case["seconds"])
    undisturbed = time.monotonic() - began - (_stalled() - before)
    with notes as name:
        note = Path(name) / "note.json"
        told = json.loads(note.read_text()) if note.is_file() else {"seen": [], "modules": []}
        return {
            "status": os.waitstatus_to_exitcode(status),
            "killed": is_killed,
            "seconds": max(undisturbed, usage.ru_utime + usage.ru_stime),
            "kib": usage.ru_maxrss,
            "stdout": _text(Path(name) / "stdout"),
            "stderr": _text(Path(name) / "stderr"),
            **told,
        }


def _stalled():
    """Return for how many seconds since its start this machine had fewer processors than somebody wanted."""
    try:
        some = Path("/proc/pressure/cpu").read_text().partition("total=")[2].split()[0]
    except (OSError, IndexError):  # a kernel that does not count it
        return 0.0
    return int(some) / 1e6


def _wait(child, deadline):
    is_killed = False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage, is_killed
        if time.monotonic() > deadline and not is_killed:
            is_killed = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.002)


def _suffer(case, notes):
    """Run the command in this child, write down what became of it, and return its exit code."""
    os.setsid()
    os.chdir(case["folder"])
    os.environ.update(case["environment"])
    tempfile.tempdir = case["scratch"]
    for number, name in ((0, os.devnull), (1, notes / "stdout"), (2, notes / "stderr")):
        file = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    if case.get("stdin"):
        os.dup2(os.open(case["stdin"], os.O_RDONLY), 0)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path[:0] = case["path"]
    watch = Watch((case["folder"], case["scratch"]), (os.environ["MEDTUNE_CACHE"], notes))
    sys.addaudithook(watch)
    from medtune.cli.app import run

    if case["environment"].get("MEDTUNE_LOCKED"):  # as the import of medtune does by the environment
        import_module("medtune.machine.network").lock()
    try:
        code = run(case["arguments"])
    finally:
        watch.is_armed = False
        sys.stdout.flush()
        sys.stderr.flush()
        heavy = [name for name in ("torch", "transformers") if name in sys.modules]
        (notes / "note.json").write_text(json.dumps({"seen": watch.seen, "modules": heavy}))
    return code


def _text(file):
    with file.open("rb") as opened:
        return opened.read(1 << 20).decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main(*sys.argv[1:])
