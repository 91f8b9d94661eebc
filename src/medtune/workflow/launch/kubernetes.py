"""YAML for Kubernetes: a Job on one machine, a TrainJob of Kubeflow Trainer on several."""

from typing import Any

from medtune.workflow.launch.job import ENVIRONMENT, GO_ON, REFUSED, Job, spec_text
from medtune.workflow.launch.shell import SPEC_FILE, training
from medtune.workflow.launch.yaml_text import yaml_of

__all__ = ["kubernetes"]

_FOLDER = "/etc/medtune"
_RESTARTS = 100
_TRAINER = "trainer.kubeflow.org"
_DISRUPTED = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
_REFUSED = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [*REFUSED]}}
_INTERRUPTED = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [GO_ON]}}


def kubernetes(job: Job) -> dict[str, str]:
    """Return one file: the spec, and what runs it; it restarts what was interrupted, and not what would fail again.

    Raises:
        SpecError: image or volume are missing, or a path of the spec does not lie on the volume.
    """
    job.require("kubernetes", "image", "volume")
    job.require_on_volume()
    spec = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": job.name},
        "data": {SPEC_FILE: spec_text(job.spec)},
    }
    return {"train.yaml": yaml_of([spec, *([_job(job)] if job.nodes == 1 else _train_job(job))])}


def _job(job: Job) -> dict[str, Any]:
    rendezvous = ["--standalone", "--nproc-per-node", str(job.gpus)]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.name},
        "spec": {
            "backoffLimit": _RESTARTS,
            "podFailurePolicy": {"rules": [_INTERRUPTED, _DISRUPTED, _REFUSED]},
            "template": {"spec": _pod(job, rendezvous)},
        },
    }


def _train_job(job: Job) -> list[dict[str, Any]]:
    """Return a runtime, which says what restarts, and the job; machines learn of each other by PET_* variables."""
    step = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    replicas = {
        "name": "node",
        "template": {
            "metadata": {"labels": step},
            "spec": {
                "backoffLimit": 0,  # all machines begin anew together
                "podFailurePolicy": {"rules": [_REFUSED]},
                "template": {"spec": _pod(job, [])},
            },
        },
    }
    refused = {"name": "refused", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    runtime = {
        "apiVersion": f"{_TRAINER}/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {"name": job.name, "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": {
            "mlPolicy": {"numNodes": job.nodes, "torch": {}},
            "template": {
                "spec": {
                    "failurePolicy": {"maxRestarts": _RESTARTS, "rules": [refused]},
                    "replicatedJobs": [replicas],
                }
            },
        },
    }
    train = {
        "apiVersion": f"{_TRAINER}/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": job.name},
        "spec": {
            "runtimeRef": {"apiGroup": _TRAINER, "kind": "TrainingRuntime", "name": job.name},
            "trainer": {"numNodes": job.nodes, "numProcPerNode": job.gpus, "resourcesPerNode": _resources(job)},
        },
    }
    return [runtime, train]


def _pod(job: Job, rendezvous: list[str]) -> dict[str, Any]:
    volume = job.require_on_volume()
    environment = {**ENVIRONMENT, "HF_HOME": f"{volume.path}/huggingface", "HOME": "/tmp"}  # noqa: S108 - of the container
    container = {
        "name": "node",
        "image": job.image,
        "command": training(job, rendezvous, f"{_FOLDER}/{SPEC_FILE}"),
        "workingDir": volume.path,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": _resources(job),
        "volumeMounts": [
            {"name": "spec", "mountPath": _FOLDER, "readOnly": True},
            {"name": "runs", "mountPath": volume.path},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - through which processes exchange
        ],
    }
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": job.grace + 30,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [
            {"name": "spec", "configMap": {"name": job.name}},
            {"name": "runs", "persistentVolumeClaim": {"claimName": volume.name}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }


def _resources(job: Job) -> dict[str, Any]:
    memory = f"{job.host_gib}Gi"
    gpus = {"nvidia.com/gpu": str(job.gpus)} if job.on_gpu else {}
    return {"limits": {"memory": memory, **gpus}, "requests": {"cpu": str(job.gpus), "memory": memory}}
