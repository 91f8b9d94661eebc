"""Python processes for tests that begin with all libraries loaded: children of one process that loaded them once.

Each is a process of its own, with its own ``__main__``, folder, environment and files; what it is spared are the seconds in which
torch, transformers and peft are imported. Whether something is right from an interpreter's first line, as what imports and
what is printed meanwhile, is to be asked of a fresh one.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path

LIBRARIES = (
    "torch", "transformers", "peft", "medtune.cli.app", "medtune.backends.peft", "medtune.backends.generate",
    "medtune.backends.base_model", "medtune.backends.sft_trainer", "medtune.workflow.training",
    "mistral_common.tokens.tokenizers.tekken",
)  # fmt: skip


def run_warm(arguments, *, cwd, env=None, timeout=300):
    """Run ``python ARGUMENTS`` (-c CODE ... or -m MODULE ...) and return what ``subprocess.run`` would, texts captured.

    ``env`` is added to this process's environment; what takes longer than ``timeout`` seconds ends by SIGALRM.
    """
    with tempfile.TemporaryDirectory(prefix="warm-python-") as folder:
        asked = {"arguments": [*map(str, arguments)], "cwd": str(cwd), "env": {**os.environ, **(env or {})}}
        server = _server()
        server.stdin.write(json.dumps({**asked, "notes": folder, "timeout": timeout}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        told = [(Path(folder) / name).read_text("utf-8", "replace") for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(arguments, code, *told)


@cache
def _server():
    """Start the process once for all tests of this one."""
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, server)
    return server


def _end(server):
    server.stdin.close()
    server.wait()
    server.stdout.close()


def main():
    """Serve processes: one JSON object a line on stdin, one exit code a line on stdout."""
    from medtune.machine.libraries import import_bitsandbytes, quiet_libraries

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import_module("torch").set_num_threads(1)  # threads would not survive a fork
    import_bitsandbytes()
    with quiet_libraries():
        for name in LIBRARIES:
            import_module(name)
    gc.collect()
    gc.freeze()  # a child that collects garbage need not walk, and so copy, the pages of all libraries
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _live(asked)
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


def _live(asked):
    """Be that process, and end."""
    code = 1
    try:
        os.setsid()
        signal.alarm(asked["timeout"])
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        tempfile.tempdir = None
        for number, name in ((0, os.devnull), (1, f"{asked['notes']}/stdout"), (2, f"{asked['notes']}/stderr")):
            file = os.open(name, os.O_RDWR | os.O_CREAT)
            os.dup2(file, number)
            os.close(file)
        code = _run(asked["arguments"])
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _run(arguments):
    """Run as ``__main__``; return the exit code."""
    kind, what, *rest = arguments
    sys.argv = [kind, *rest]
    sys.path.insert(0, "")
    try:
        if kind == "-c":
            module = type(sys)("__main__")
            sys.modules["__main__"] = module
            exec(compile(what, "<string>", "exec"), module.__dict__)  # noqa: S102 - as the interpreter does
        else:
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - the interpreter shows any
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
