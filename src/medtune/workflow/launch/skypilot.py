"""A task for SkyPilot's managed jobs: spot machines, whose loss a run survives."""

import shlex

from medtune.errors import SpecError
from medtune.workflow.launch.job import ENVIRONMENT, GO_ON, Job, spec_text
from medtune.workflow.launch.shell import SPEC_FILE, training
from medtune.workflow.launch.yaml_text import yaml_of

__all__ = ["skypilot"]

_ACCELERATORS = {
    "a100-40": "A100",
    "a100-80": "A100-80GB",
    "h100": "H100",
    "h200": "H200",
    "l4": "L4",
    "l40s": "L40S",
    "rtx3090": "RTX3090",
    "rtx4090": "RTX4090",
    "t4": "T4",
}
"""medtune's names of GPUs -> SkyPilot's."""
_END = "MEDTUNE_SPEC_ENDS"
"""A line that JSON cannot hold."""


def skypilot(job: Job) -> dict[str, str]:
    """Return a task whose run folder lies in a bucket that outlives its machines.

    Raises:
        SpecError: GPU, image or volume are missing, SkyPilot has no such GPU, or a path does not lie on the volume.
    """
    job.require("skypilot", "gpu", "image", "volume")
    volume, gpu = job.require_on_volume(), (job.gpu or "").strip().lower()
    if gpu not in _ACCELERATORS:
        raise SpecError(
            f"--skypilot rents a GPU by its name, which '{job.gpu}' is not; known: {', '.join(_ACCELERATORS)}"
        )
    head = ["--nnodes", str(job.nodes), "--nproc-per-node", str(job.gpus), "--rdzv-backend", "c10d"]
    head += ["--rdzv-endpoint", '"$head:29500"', "--rdzv-id", job.name]
    spec = f'"$HOME/{job.name}-{SPEC_FILE}"'
    lines = [
        "set -u",
        "umask 077",
        f"cat > {spec} <<'{_END}'",
        spec_text(job.spec).rstrip("\n"),
        _END,
        f"cd -- {shlex.quote(volume.path)} || exit 6",
        'head=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)',
        f"exec {' '.join(training(job, head, spec))}",
    ]
    recovery = {"max_restarts_on_errors": 0, "recover_on_exit_codes": [GO_ON]}
    task = {
        "name": job.name,
        "num_nodes": job.nodes,
        "resources": {
            "accelerators": {_ACCELERATORS[gpu]: job.gpus},
            "image_id": f"docker:{job.image}",
            "job_recovery": recovery,
            "use_spot": True,
        },
        "file_mounts": {volume.path: {"name": volume.name, "mode": "MOUNT"}},
        "envs": {**ENVIRONMENT, "HF_HOME": f"{volume.path}/huggingface"},
        "run": "\n".join(lines) + "\n",
    }
    return {"train-sky.yaml": yaml_of([task])}
