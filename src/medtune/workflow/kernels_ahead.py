"""Has the Triton kernels of a run compiled by a process of its own while the base is loaded: a machine's first start waits for both.

What is compiled lies in Triton's cache, where the run finds it. A note beside it says for which kinds of runs that was done, so
that it is done once. Nothing is started for a base that is loaded sooner than the process is up, off a GPU, off the fast path, with several processes, or with backends that are not
medtune's own; and whatever goes wrong in that process costs nothing but its time: kernels are then compiled where they are used.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medtune.machine.own_program import command_of
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec

__all__ = ["cache_folder", "compiled_ahead", "job_for", "note_of"]

_OWN = {"quantizer": ("bitsandbytes", "fp8"), "adapter": ("peft",), "trainer": ("trl",)}
_PROGRAM = Path(__file__).with_name("kernels_program.py")
_SECONDS = 120
"""That it may take beyond loading the base; compiling all kernels takes a third of that."""
_SMALLEST = 3_000_000_000
"""Parameters of a base from which loading takes about as long as compiling. With SmolLM2-135M on an H200 a run waited 35 s for the
process and took 144 s instead of 130."""
_SAME = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")

Tell = Callable[[str], None]


def job_for(
    spec: RunSpec, plan: Plan, config: Mapping[str, Any], memory_gib: float, processes: int = 1
) -> dict[str, Any] | None:
    """Return what the process is to do; None where it has nothing to do.

    Args:
        spec: the run, settled by its plan.
        plan: how it is done.
        config: the base's config.json.
        memory_gib: of the GPU. The process takes less than the run will, and the base is loaded beside it.
        processes: that train together.
    """
    own = all(plan.backends.get(kind) in names for kind, names in _OWN.items())
    if (plan.parameters or 0) < _SMALLEST:
        return None
    if plan.device == "CPU" or plan.path != "fast" or processes > 1 or not own or "vocab_size" not in config:
        return None
    if plan.peak_gib is None or plan.phases_gib["load"] + plan.peak_gib > memory_gib:
        return None
    return {"spec": spec.model_dump(mode="json"), "config": {**config, "num_hidden_layers": 1}}


def note_of(job: Mapping[str, Any], folder: Path) -> Path:
    """Return the note that kernels of such a job lie in a cache: of these widths, settings and versions."""
    spec, config = job["spec"], job["config"]
    kinds = [spec["quant"], spec["lora"], spec["train"]["max_length"], spec["train"]["per_device_batch_size"]]
    kinds += [spec["train"]["recompute"], config.get("model_type"), [config.get(name) for name in _SAME]]
    said = json.dumps([kinds, [version("torch"), version("triton")], _device()], sort_keys=True, default=str)
    return folder / f"medtune-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def cache_folder() -> Path:
    """Return where Triton keeps compiled kernels."""
    return Path(os.environ.get("TRITON_CACHE_DIR") or Path.home() / ".triton" / "cache")


@contextmanager
def compiled_ahead(job: Mapping[str, Any] | None, tell: Tell) -> Iterator[None]:
    """Have a job done beside what is done within, and wait for it at the end; nothing for None or what was done before."""
    if job is None or note_of(job, cache_folder()).is_file():
        yield
        return
    process = _started(job, note_of(job, cache_folder()))
    try:
        if process is not None:
            tell("compiling kernels meanwhile, once on this machine")
        yield
        is_done = process is not None and _is_done(process)
    finally:
        if process is not None:
            process.kill()
            process.wait()
    if not is_done:
        tell("compiling kernels ahead did not work; they are compiled when they are used")


def _started(job: Mapping[str, Any], note: Path) -> subprocess.Popen[str] | None:
    """Return the process at its job, None where none can be started."""
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(  # noqa: S603 - a program of medtune's own
            command_of(_PROGRAM, str(note)), stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, text=True
        )
    except OSError:
        return None
    with suppress(OSError), process.stdin or nullcontext() as stdin:  # it may have ended already
        if stdin is not None:
            stdin.write(json.dumps(job))
    return process


def _is_done(process: subprocess.Popen[str]) -> bool:
    try:
        return process.wait(_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return False


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
