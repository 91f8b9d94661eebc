"""A process that begins with its libraries loaded ends as a fresh one would."""

import os
import subprocess
import sys

import pytest

from warm_python import run_warm

LIVES = {
    "says where it is": "import os, sys; print(os.getcwd(), os.environ['WHO'], __name__, sys.argv, os.getsid(0) == os.getpid())",
    "exits": "import sys; print('told', file=sys.stderr); sys.exit(3)",
    "refuses": "import sys; sys.exit('a sentence')",
    "ends at its end": "import atexit; atexit.register(print, 'the end'); print('before')",
    "is killed": "import os; os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("life", LIVES)
def test_a_warm_process_ends_as_a_fresh_one(life, tmp_path):
    arguments = ["-c", LIVES[life], "one", "two"]
    warm = run_warm(arguments, cwd=tmp_path, env={"WHO": "me"})
    fresh = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env={**os.environ, "WHO": "me"}, capture_output=True, text=True,
        check=False, start_new_session=True,
    )  # fmt: skip
    assert (warm.returncode, warm.stdout, warm.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)


def test_what_a_warm_process_raises_is_shown_and_the_next_one_knows_nothing_of_it(tmp_path):
    failed = run_warm(["-c", "import json; json.made_up = 1; 1 / 0"], cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert run_warm(["-c", "import json; print(hasattr(json, 'made_up'))"], cwd=tmp_path).stdout == "False\n"


def test_a_warm_process_that_never_ends_is_ended(tmp_path):
    assert run_warm(["-c", "while True: pass"], cwd=tmp_path, timeout=1).returncode == -14
