"""A server in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys

from serving_client import TOKEN


@contextlib.contextmanager
def started(folder, *more, token=TOKEN):
    """Run ``medtune serve`` in a process; yields it and its URL once it answers."""
    environment = {key: value for key, value in os.environ.items() if key != "MEDTUNE_SERVE_TOKEN"}
    if token is not None:
        environment["MEDTUNE_SERVE_TOKEN"] = token
    command = [sys.executable, "-m", "medtune", "serve", str(folder), "--port", "0", "--json", *more]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)["url"]
        finally:
            if process.poll() is None:
                process.kill()
