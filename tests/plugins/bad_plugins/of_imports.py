"""Files that do one wrong thing as they are imported."""

from bad_plugins.making import Bad

_TAIL = """
from medtune import hookimpl

@hookimpl
def step_logged(record):
    pass
"""

_IN_A_HOOK = """
from medtune import hookimpl

@hookimpl
def provide_formatters():
    from pathlib import Path

    Path("formatters.txt").write_text("asked")
    return []
"""


def importing(fault, check, source, tail=_TAIL):
    return Bad(fault, "plugin", check, f"{source}\n{tail}")


BAD = [
    importing("misses a module", "load-works", "import a_module_that_is_nowhere"),
    importing("exits", "load-works", "raise SystemExit(3)"),
    importing("ends the process", "load-works", "import os; os._exit(5)"),
    importing("imports torch", "load-light", "import torch"),
    importing("prints", "load-quiet", "print('acme plugin 1.0')"),
    importing("warns", "load-no-warnings", "import warnings; warnings.warn('acme is young', stacklevel=2)"),
    importing("filters warnings", "load-no-warnings", "import warnings; warnings.simplefilter('ignore')"),
    importing("looks a server up", "load-no-network", "import socket\ntry: socket.getaddrinfo('localhost', 80)\nexcept OSError: pass"),
    importing("writes a file", "load-no-files", "import pathlib; pathlib.Path('acme.log').write_text('here')"),
    importing("makes a folder", "load-no-files", "import os; os.mkdir('acme-cache')"),
    importing("starts a process", "load-no-processes", "import subprocess; subprocess.run(['true'])"),
    importing("sets a variable", "load-environment", "import os; os.environ['OMP_NUM_THREADS'] = '3'"),
    importing("changes the folder", "load-environment", "import os; os.chdir('/')"),
    importing("leaves a thread", "load-no-threads",
              "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"),
    importing("configures logging", "load-logging", "import logging; logging.basicConfig(level=10)"),
    importing("silences medtune", "load-logging", "import logging; logging.getLogger('medtune').setLevel(50)"),
    importing("patches json", "load-no-patches", "import json; json.loads = lambda text: {}"),
    importing("patches medtune", "load-no-patches",
              "from medtune.plugins.host import PluginHost; PluginHost.find = lambda *a: None"),
    importing("catches signals", "load-signals", "import signal; signal.signal(signal.SIGTERM, lambda *a: None)"),
    importing("raises the limit of recursion", "load-interpreter", "import sys; sys.setrecursionlimit(99_000)"),
    importing("adds a path", "load-interpreter", "import sys; sys.path.insert(0, '/tmp')"),
    importing("seeds the generator", "load-random", "import random; random.seed(0)"),
    importing("writes a file when it is asked", "load-no-files", "", _IN_A_HOOK),
]  # fmt: skip
