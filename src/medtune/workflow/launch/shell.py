"""Shell files: a line for torchrun, and a batch script for Slurm."""

import shlex
import sys
from collections.abc import Iterable, Mapping

from medtune.workflow.launch.job import ENVIRONMENT, GO_ON, Job, spec_text

__all__ = ["SPEC_FILE", "exports", "slurm", "torchrun", "training"]

SPEC_FILE = "spec.json"
_ENTRY = "medtune.workflow.launch.torchrun"
_RESTARTS = 100
"""Times that a job is put back into the queue at most."""
_CORES = 8
"""Of a machine, for each GPU: libraries read and encode rows with them."""


def training(job: Job, rendezvous: Iterable[str], spec: str, python: str = "python") -> list[str]:
    """Return the words of the command that starts a machine's processes.

    Args:
        job: what is launched.
        rendezvous: arguments of torchrun that say how the machines find each other; words of the shell.
        spec: where the machine reads the spec; a word of the shell.
        python: likewise the interpreter.
    """
    if job.processes == 1:
        return [python, "-m", "medtune", "train", spec]
    stopping = ["--signals-to-handle", "SIGTERM,SIGINT,SIGUSR1", "--shutdown-timeout", str(job.grace - 20)]
    start = [python, "-m", _ENTRY, *rendezvous, "--max-restarts", "0", *stopping]
    return [*start, "-m", "medtune", "train", spec]


def exports(environment: Mapping[str, str] = ENVIRONMENT) -> list[str]:
    """Return lines that set the environment of a run."""
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]


def torchrun(job: Job) -> dict[str, str]:
    """Return a script that trains on this machine's GPUs."""
    rendezvous = ["--standalone", "--nproc-per-node", str(job.gpus)]
    words = training(job, rendezvous, _quoted_spec(job), shlex.quote(sys.executable))
    lines = [
        "#!/bin/bash",
        f"# {job.gpus} processes on one machine; exit code {GO_ON}: interrupted, the same again goes on",
        "umask 077",
        *exports(),
        f"cd -- {shlex.quote(str(job.here))} || exit 6",
        f"exec {' '.join(words)}",
    ]
    return {"train.sh": "\n".join(lines) + "\n", SPEC_FILE: spec_text(job.spec)}


def slurm(job: Job) -> dict[str, str]:
    """Return a batch script: told to stop before the limit, it saves, and goes back into the queue."""
    head = ["--nnodes", str(job.nodes), "--nproc-per-node", str(job.gpus), "--rdzv-backend", "c10d"]
    head += ["--rdzv-endpoint", '"$head:$port"', "--rdzv-id", '"$SLURM_JOB_ID"']
    words = training(job, head, _quoted_spec(job), shlex.quote(sys.executable))
    lines = [*_directives(job), "set -u", "umask 077", *exports(), f"cd -- {shlex.quote(str(job.here))} || exit 6"]
    lines += [
        'export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"',
        'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)' if job.processes > 1 else "",
        "port=$((20000 + SLURM_JOB_ID % 20000))" if job.processes > 1 else "",
        "step=",
        "# the limit is near, or somebody cancels: the processes finish their update and save",
        """trap '[ -z "$step" ] || kill -TERM "$step"' TERM USR1""",
        f"srun --kill-on-bad-exit=0 --wait={job.grace} {' '.join(words)} &",
        "step=$!",
        "while :; do",
        '  wait "$step"',
        "  code=$?",
        '  kill -0 "$step" 2>/dev/null || break  # a signal ends wait, and not the step',
        "done",
        f'if [ "$code" -eq {GO_ON} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {_RESTARTS} ]; then',
        '  scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$code"',
    ]
    return {"train.sbatch": "\n".join(line for line in lines if line) + "\n", SPEC_FILE: spec_text(job.spec)}


def _directives(job: Job) -> list[str]:
    days, minutes = divmod(job.limit, 1440)
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={job.name}",
        f"#SBATCH --nodes={job.nodes}",
        "#SBATCH --ntasks-per-node=1",
    ]
    if job.on_gpu:
        lines.append(f"#SBATCH --gpus-per-node={job.gpus}")
    lines += [
        f"#SBATCH --cpus-per-task={(_CORES if job.on_gpu else 1) * job.gpus}",
        f"#SBATCH --mem={job.host_gib}G",
        f"#SBATCH --time={days}-{minutes // 60:02}:{minutes % 60:02}:00",
        f"#SBATCH --signal=B:TERM@{job.grace}",
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        f"#SBATCH --output={job.name}-%j.log",
    ]
    return lines


def _quoted_spec(job: Job) -> str:
    return shlex.quote(str(job.folder / SPEC_FILE))
