"""Imports a plugin in a process of its own and writes down what that does: `python -B -m ... probe QUESTION ANSWER`."""

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["HEAVY", "main"]

HEAVY = (
    "torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "accelerate", "vllm", "tensorflow", "jax",
    "sklearn", "scipy", "pandas", "matplotlib",
)  # fmt: skip
"""What takes a second or more to import; each belongs inside a method."""

_NETWORK = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.bind",
    "socket.sendto",
    "urllib.Request",
)
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn")
_FILES = (
    "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "shutil.rmtree",
    "shutil.copyfile", "shutil.move", "tempfile.mkstemp", "tempfile.mkdtemp", "sqlite3.connect",
)  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


class _Audit:
    """Notes what Python says of network, files and processes."""

    def __init__(self) -> None:
        self.on = False
        self.network: list[str] = []
        self.files: list[str] = []
        self.processes: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in _NETWORK:
            self.network.append(event)
        elif event in _PROCESSES:
            self.processes.append(event)
        elif event in _FILES or (event == "open" and _is_writing(arguments)):
            self.files.append(f"{event} of {Path(str(arguments[0])).name}" if arguments else event)


def _is_writing(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = arguments
    if str(path).startswith("/dev/") or isinstance(path, int):
        return False
    return any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(int(flags or 0) & _WRITES)


def main(question: str, answer: str) -> None:
    """Import the plugin that ``question`` (JSON) names, ask its hooks, and write what was seen into ``answer``."""
    asked = json.loads(question)
    sys.path[:] = asked["path"]
    # It filters warnings as it is imported, and plugins may import it.
    import numpy  # noqa: F401, ICN001 # pyright: ignore[reportUnusedImport]

    from medtune.plugins.host import create_host

    host = create_host(autoload=False)
    for kind in ("formatter", "task", "bundle"):
        host.all(kind)
    audit = _Audit()
    sys.addaudithook(audit)
    told: dict[str, Any] = {"phases": {}}
    plugin: list[Any] = []
    _phase(told, audit, "its import", lambda: plugin.append(_imported(asked["target"])))
    if plugin:
        _phase(told, audit, "its provide_... functions", lambda: _ask(plugin[0]))
    Path(answer).write_text(json.dumps(told), "utf-8")


def _phase(told: dict[str, Any], audit: _Audit, name: str, work: Callable[[], Any]) -> None:
    from medtune.errors import PluginFileError
    from medtune.testing.conformance.traces import left_behind, traces

    loaded, before, error = set(sys.modules), traces(), ""
    sizes = _written()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        audit.on = True
        try:
            work()
        except (Exception, SystemExit, KeyboardInterrupt, GeneratorExit) as raised:  # noqa: BLE001 - foreign code
            error = type(raised).__name__
            if isinstance(raised, PluginFileError):
                error = f"{error}: {raised.reason}"
        audit.on = False
        filtered = list(warnings.filters) != filters
    after = traces()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    seen = {kind: left_behind(before, after, (kind,)) for kind in before}
    told["phases"][name] = {
        "error": error,
        "heavy": sorted({module.split(".")[0] for module in set(sys.modules) - loaded} & set(HEAVY)),
        "printed": _written() > sizes,
        "warned": [each.category.__name__ for each in warned],
        "filtered": filtered,
        **{name: vars(audit)[name][:3] for name in ("network", "files", "processes")},
        "traces": {kind: sentence for kind, sentence in seen.items() if sentence},
    }


def _written() -> int:
    """Return how many bytes stand in the files that stdout and stderr are led to."""
    return sum(os.fstat(number).st_size for number in (1, 2))


def _imported(target: str) -> Any:
    if target.endswith(".py"):
        from medtune.plugins.single_file import load_plugin_file

        return load_plugin_file(target)
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found


def _ask(plugin: Any) -> None:
    from medtune.testing.conformance.subject import hooks_of

    for name, function in hooks_of(plugin).items():
        if name.startswith("provide_"):
            function()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
