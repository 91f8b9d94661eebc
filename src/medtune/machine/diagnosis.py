"""Finds out what this machine can run: devices, versions against the floors, and what fails to import."""

import re
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from medtune.errors.locked_mode import is_locked
from medtune.machine.libraries import import_bitsandbytes

__all__ = ["diagnose"]

_HEAVY = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets")
_CUDA_INDEX = "a CUDA build of torch (see pytorch.org for the command that suits your driver)"


def diagnose() -> dict[str, Any]:
    """Return python, locked, cpu_cores, memory_gib, accelerators, packages (version and problem), can_run and advice."""
    packages = {name: _package(name) for name in _HEAVY}
    usable = not packages["torch"]["problem"]
    found: dict[str, Any] = {"python": sys.version.split()[0], "locked": is_locked(), "packages": packages}
    found |= _machine() if usable else {"cpu_cores": None, "memory_gib": 0.0, "accelerators": []}
    broken = [name for name, state in packages.items() if state["problem"]]
    gpu = bool(found["accelerators"])
    found["can_run"] = {"demo": not broken, "7b_nf4": not broken and _largest_gib(found) >= 8}  # noqa: PLR2004
    found["advice"] = [f"{name}: {packages[name]['problem']}" for name in broken]
    if usable and not gpu:
        found["advice"].append(
            f"no CUDA device is visible: `medtune demo` runs, a 7B base does not; install {_CUDA_INDEX} on a machine "
            "with an NVIDIA GPU"
        )
    elif gpu and not found["can_run"]["7b_nf4"]:
        found["advice"].append("a 7B base in nf4 needs a GPU of at least 8 GiB; use a smaller base model")
    return found


def _machine() -> dict[str, Any]:
    from medtune.machine.hardware import describe_machine

    machine = describe_machine()
    accelerators = [
        {"name": a.name, "memory_gib": round(a.memory_gib, 2), "capability": f"{a.capability[0]}.{a.capability[1]}"}
        for a in machine.accelerators
    ]
    return {
        "cpu_cores": machine.cpu_cores,
        "memory_gib": round(machine.memory_gib, 2),
        "accelerators": accelerators,
    }


def _largest_gib(found: dict[str, Any]) -> float:
    return max((a["memory_gib"] for a in found["accelerators"]), default=0.0)


def _package(name: str) -> dict[str, str | None]:
    """Return the installed version, and what is wrong with it in one phrase."""
    floor = _floors().get(name)
    try:
        installed = version(name)
    except PackageNotFoundError:
        return {"version": None, "problem": f"not installed; pip install '{name}{floor or ''}'"}
    if floor is not None and not floor.contains(re.sub(r"\+.*", "", installed), prereleases=True):
        return {"version": installed, "problem": f"too old; pip install '{name}{floor}'"}
    try:
        import_bitsandbytes()
        import_module(name)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what the user must hear of
        return {"version": installed, "problem": f"does not import ({type(error).__name__}: {error})"}
    return {"version": installed, "problem": ""}


def _floors() -> dict[str, SpecifierSet]:
    """Return the versions that medtune's own metadata asks for; none when it runs from a source tree."""
    try:
        wanted = [Requirement(r) for r in requires("medtune") or ()]
    except PackageNotFoundError:
        return {}
    return {r.name: r.specifier for r in wanted}
