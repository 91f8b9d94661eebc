"""Checks on what importing a plugin does, in a process of its own."""

from collections.abc import Callable, Mapping
from typing import Any

from medtune.testing.conformance.checks import Case, NotTriedError, check

__all__ = ["loaded_apart"]

Phase = Mapping[str, Any]


@check("load-works", "plugin", "It can be imported, and its provide_... functions called, without an error.")
def loads(case: Case) -> str | None:
    """Import it and ask it."""
    if case.subject.broken and not case.subject.target:
        return case.subject.broken
    return _first(case, lambda phase: phase.get("ended") or (f"raised {phase['error']}" if phase["error"] else None))


@check("load-light", "plugin", "Importing it imports no machine learning library; these belong inside methods.")
def is_light(case: Case) -> str | None:
    """Look for heavy modules."""
    return _first(case, lambda phase: f"imported {', '.join(phase['heavy'])}" if phase["heavy"] else None)


@check("load-quiet", "plugin", "Importing it prints nothing.")
def is_quiet(case: Case) -> str | None:
    """Look at stdout and stderr."""
    return _first(case, lambda phase: "printed text" if phase["printed"] else None)


@check("load-no-warnings", "plugin", "Importing it warns of nothing, and changes no filter of warnings.")
def warns_not(case: Case) -> str | None:
    """Look for warnings."""

    def look(phase: Phase) -> str | None:
        if phase["warned"]:
            return f"warned of {', '.join(sorted(set(phase['warned'])))}"
        return "changed the filters of warnings" if phase["filtered"] else None

    return _first(case, look)


@check("load-no-network", "plugin", "Importing it reaches for no network.")
def is_offline(case: Case) -> str | None:
    """Look at Python's audit events."""
    return _first(case, lambda phase: f"did {', '.join(phase['network'])}" if phase["network"] else None)


@check("load-no-files", "plugin", "Importing it writes, moves and removes no file.")
def writes_nothing(case: Case) -> str | None:
    """Look at Python's audit events."""
    return _first(case, lambda phase: f"did {', '.join(phase['files'])}" if phase["files"] else None)


@check("load-no-processes", "plugin", "Importing it starts no process.")
def starts_nothing(case: Case) -> str | None:
    """Look at Python's audit events."""
    return _first(case, lambda phase: f"did {', '.join(phase['processes'])}" if phase["processes"] else None)


def _trace_check(name: str, kind: str, wants: str) -> None:
    def look(case: Case) -> str | None:
        return _first(case, lambda phase: f"changed {sentence}" if (sentence := phase["traces"].get(kind)) else None)

    look.__module__ = __name__
    check(name, "plugin", wants)(look)


_trace_check(
    "load-environment", "environment", "Importing it changes no environment variable, nor the working directory."
)
_trace_check("load-no-threads", "threads", "Importing it leaves no thread running.")
_trace_check("load-logging", "logging", "Importing it configures no logging; that is the application's.")
_trace_check("load-no-patches", "patches", "Importing it puts nothing in the place of others' functions and classes.")
_trace_check("load-signals", "signals", "Importing it installs no signal handler.")
_trace_check(
    "load-interpreter", "interpreter", "Importing it leaves hooks, paths, limits and locale of Python as they are."
)
_trace_check("load-random", "random", "Importing it neither seeds nor draws from shared random generators.")


def _first(case: Case, look: Callable[[Phase], str | None]) -> str | None:
    """Return what the first phase with a finding did."""
    told = loaded_apart(case)
    for name, phase in told["phases"].items():
        found = look(phase)
        if found is not None:
            return f"{name} {found}"
    return None


def loaded_apart(case: Case) -> Any:
    """Return what the probe wrote down of this plugin."""
    if case.subject.probed is None:
        raise NotTriedError("it was handed over as an object, which cannot be imported again")
    return case.subject.probed
