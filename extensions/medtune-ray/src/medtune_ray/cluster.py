"""Starts Ray on this machine, for this user alone, or joins the cluster that RAY_ADDRESS names."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune_ray.errors import RayOpenError

__all__ = ["Cluster", "joined"]

_OFFLINE = {
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
"""What every worker is started with: bases and rows are on the machine before the workers are."""
_QUIET = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}
_LOOPBACK = "127.0.0.1"
_LOCAL = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the one switch by which all of Ray's servers keep to loopback
}
_NOWHERE = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}
"""Where Ray's own processes send what they ask of the web: to a port at which nobody listens. With usage reports off, Ray 2.60
still asks the metadata service of clouds (169.254.169.254) who runs the machine."""
_ON_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
"""By which interface workers of one machine speak with each other."""
_LONGEST_FOLDER = 28
"""Characters of the folder's path: what Ray puts behind it for its sockets may have 107 with it."""
_STORE_BYTES = 128 * 2**20  # of shared memory: rows go by files, never through Ray


@dataclass(frozen=True, slots=True)
class Cluster:
    """What Ray has to give: CPU cores and GPUs, and whether it was started here."""

    cpus: int
    gpus: int
    is_own: bool

    def resources(self, workers: int, *, cpu_only: bool) -> dict[str, Any]:
        """Return the ``ScalingConfig`` arguments for so many workers: a GPU for each where there are GPUs."""
        return {"num_workers": workers, "use_gpu": bool(self.gpus) and not cpu_only}


@contextmanager
def joined(workers: int, folder: Path | None = None) -> Generator[Cluster]:
    """Connect this process to Ray until the block ends.

    Without RAY_ADDRESS, Ray is started here and stopped after the block. It listens on loopback, asks for a token that only this
    user can read, and keeps its files in a folder that only this user can enter, removed at the end.

    Args:
        workers: processes that there must be room for.
        folder: where an own Ray keeps its files, which then stay; short, since sockets lie in it.

    Raises:
        RayOpenError: an own Ray would be reached by other machines.
        SpecError: the folder has too long a path.
    """
    os.environ.update(_QUIET)
    if os.environ.get("RAY_ADDRESS"):
        with _others() as cluster:
            yield cluster
        return
    given = folder is not None
    private = _new_folder() if folder is None else folder.absolute()
    if len(str(private)) > _LONGEST_FOLDER:
        raise SpecError(
            f"'{private}' is too long a path for the sockets of Ray; choose one of {_LONGEST_FOLDER} characters"
        )
    try:
        private.mkdir(parents=True, exist_ok=True)
        private.chmod(0o700)  # what Ray makes in it is open to everybody, whatever the umask
        with _own(private, workers) as cluster:
            yield cluster
    finally:
        if not given:
            shutil.rmtree(private, ignore_errors=True)


def _new_folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="mr-"))
    if len(str(made)) <= _LONGEST_FOLDER:
        return made
    made.rmdir()  # TMPDIR of a scheduler can be long
    return Path(tempfile.mkdtemp(prefix="mr-", dir="/tmp"))


@contextmanager
def _others() -> Generator[Cluster]:
    import ray  # pyright: ignore[reportMissingImports]

    ray.init(log_to_driver=False, runtime_env={"env_vars": {**_OFFLINE, **_QUIET}})
    try:
        yield _found(ray.cluster_resources(), is_own=False)
    finally:
        ray.shutdown()


@contextmanager
def _own(private: Path, workers: int) -> Generator[Cluster]:
    token = private / "token"
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    before = {name: os.environ.get(name) for name in (*_LOCAL, *_NOWHERE, *_OFFLINE, "RAY_AUTH_TOKEN_PATH")}
    os.environ.update({**_LOCAL, **_NOWHERE, **_OFFLINE, "RAY_AUTH_TOKEN_PATH": str(token)})
    own_proxies = {name: before[name] or "" for name in _NOWHERE}  # workers have the user's
    import ray  # pyright: ignore[reportMissingImports]

    try:
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            num_cpus=max(workers, os.cpu_count() or 1),
            object_store_memory=_STORE_BYTES,
            runtime_env={"env_vars": {**_OFFLINE, **_QUIET, **_ON_LOOPBACK, **own_proxies}},
            _node_ip_address=_LOOPBACK,
            _temp_dir=str(private / "r"),
        )
        address = str(ray.get_runtime_context().gcs_address)
        if not address.startswith(f"{_LOOPBACK}:"):
            raise RayOpenError(address)
        yield _found(ray.cluster_resources(), is_own=True)
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _found(resources: dict[str, float], *, is_own: bool) -> Cluster:
    return Cluster(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), is_own)
