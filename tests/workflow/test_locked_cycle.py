"""The whole of medtune under lock, in one process: nothing asks for the network, and another user of the machine reads nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
NOBODY = 65534
STRACE = shutil.which("strace")

CHILD = """
    import io, json, os, signal, sys
    from contextlib import redirect_stdout
    from pathlib import Path

    os.umask(0)  # whoever set it so would have everything read and written by everybody
    from medtune.cli.app import run
    from medtune.machine import network

    folder = Path(sys.argv[1])
    out, rows = folder / "run", folder / "rows.jsonl"
    verdicts = ("Entailment", "Neutral", "Contradiction")
    texts = [f"Sentence 1: Patient {n} has fever.\\\\nSentence 2: Patient {n} is {'ill' * (n % 2)}." for n in range(24)]
    made = [{"instruction": "Relation?", "input": t, "output": verdicts[n % 3], "source": "MedNLI"} for n, t in enumerate(texts)]
    with open(rows, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.writelines(json.dumps(row) + "\\\\n" for row in made)
    settings = {
        "data.source": rows, "data.validation": "null", "data.validation_fraction": 0.2, "train.max_steps": 1, "train.max_length": 192,
        "quant.scheme": "none", "eval.rows_per_source": 2, "eval.max_new_tokens": 4,
    }
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    token = folder / "token"
    with open(token, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write("t" * 40)
    codes, said = {}, {}

    def tell(name, *arguments):
        told = io.StringIO()
        with redirect_stdout(told):
            codes[name] = run([name, *map(str, arguments)])
        said[name] = told.getvalue()

    tell("plan", "--bundle", "demo", *sets, "--json", "--locked")
    tell("train", "--bundle", "demo", *sets, "--out", out, "--json")
    tell("evaluate", out, "--json")
    tell("chat", out, "-m", "Is patient 3 ill?", "--json")
    tell("report", out, "--show-texts")
    tell("preview", "--bundle", "demo", *sets, "--html", folder / "preview.html", "--json")
    tell("export", out, "--to", "merged", "--json")
    tell("verify", out, "--json")
    read, write = os.pipe()
    server = os.fork()
    if server == 0:
        os.dup2(write, 1)
        sys.stdout = os.fdopen(1, "w")
        os._exit(run(["serve", str(out), "--port", "0", "--token-file", str(token), "--json"]))
    url = json.loads(os.fdopen(read).readline())["url"]
    tell("chat", "--url", url, "--token-file", token, "-m", "Is patient 3 ill?", "--json")
    os.kill(server, signal.SIGTERM)
    codes["serve"] = os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])
    print("\\\\n" + json.dumps({
        "codes": codes, "answer": said["chat"], "locked plan": json.loads(said["plan"])["locked"], "url": url,
        "attempts": [str(each) for each in network.attempts()], "record": json.loads((out / "run.json").read_text())["locked"],
    }))
"""


@pytest.fixture(scope="module")
def cycle():
    """Run it in a folder that everybody may enter, as a home often is."""
    folder = Path(tempfile.mkdtemp(prefix="medtune-locked-"))
    folder.chmod(0o755)
    program = folder / "cycle.py"
    program.write_text(textwrap.dedent(CHILD).replace("\\\\n", "\\n"))
    program.chmod(0o600)
    (folder / "home").mkdir(mode=0o755)
    values = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MEDTUNE_", "TRANSFORMERS_"))},
        "HOME": str(folder / "home"), "MEDTUNE_CACHE": str(folder / "home" / "cache"), "PYTHONPATH": str(SOURCE),
        "OMP_NUM_THREADS": "1", "TMPDIR": str(folder),
    }  # fmt: skip
    trace = folder / "trace"
    watched = (
        [STRACE, "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace)] if STRACE else []
    )
    command = [*watched, sys.executable, str(program), str(folder)]
    done = subprocess.run(command, env=values, capture_output=True, text=True, timeout=900, check=False)
    try:
        assert done.returncode == 0, done.stderr[-3000:]
        if STRACE:
            trace.chmod(0o600)
        yield json.loads(done.stdout.splitlines()[-1]) | {
            "folder": folder,
            "trace": trace.read_text() if STRACE else "",
        }
    finally:
        shutil.rmtree(folder)


def test_every_command_does_its_work_under_lock(cycle):
    commands = ("plan", "train", "evaluate", "chat", "report", "preview", "export", "verify", "serve")
    assert cycle["codes"] == dict.fromkeys(commands, 0)
    assert json.loads(cycle["answer"])["answer"]
    assert cycle["locked plan"] is True
    assert cycle["record"] == {"sessions": [True], "refused": []}


def test_nothing_asked_for_the_network_by_the_guards_count(cycle):
    assert cycle["attempts"] == []


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_no_system_call_leaves_this_machine_but_the_clients_to_the_server_beside_it(cycle):
    port = re.search(r":(\d+)/", cycle["url"])[1]
    calls = [line for line in cycle["trace"].splitlines() if "AF_INET" in line]
    own = [line for line in calls if f'sin_port=htons({port}), sin_addr=inet_addr("127.0.0.1")' in line]
    assert calls == own
    assert own  # the client's: what is traced shows


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_reads_nothing_of_a_run_its_rows_and_its_cache(cycle):
    found = read_as(NOBODY, cycle["folder"])
    assert cycle["folder"] / "run" not in found
    library = {"torchinductor_root"}  # of torch: kernels, no rows
    assert {path.relative_to(cycle["folder"]).as_posix() for path in found} - library == {".", "home"}
    assert (cycle["folder"] / "home" / "cache").is_dir()
    assert (cycle["folder"] / "run" / "evaluation" / "predictions-tuned.jsonl").is_file()


def test_what_holds_rows_or_answers_is_for_its_owner_even_in_a_folder_that_is_opened(cycle):
    kept = [*(cycle["folder"] / "run").glob("*"), *(cycle["folder"] / "run" / "evaluation").glob("*")]
    kept += [*(cycle["folder"] / "home" / "cache").rglob("*"), cycle["folder"] / "preview.html"]
    assert len(kept) > 15
    open_to_others = [path.name for path in kept if path.stat().st_mode & 0o077]
    assert open_to_others == []


def read_as(user: int, folder: Path) -> list[Path]:
    """Return what a user of that number can list or read below a folder."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        found = []
        for place, folders, files in os.walk(folder):
            found.append(place)
            for path in (Path(place) / name for name in files):
                try:
                    path.open("rb").close()
                    found.append(str(path))
                except OSError:
                    continue
            folders.sort()
        os.write(write, json.dumps([each for each in found if os.access(each, os.R_OK)]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        paths = json.loads(told.read())
    os.wait()
    return [Path(path) for path in paths]
