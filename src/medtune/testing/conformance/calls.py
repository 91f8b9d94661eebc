"""Checks on what was seen while the other checks called a thing; tried last."""

from medtune.plugins.host import KINDS
from medtune.testing.conformance.checks import Case, check

__all__: list[str] = []

_ALL = " ".join((*KINDS, "observer"))


@check("calls-quiet", _ALL, "Called, it prints nothing on stdout, which is medtune's for data.")
def is_quiet(case: Case) -> str | None:
    """Look at what was printed."""
    return _first(case.bench.of(case.label).printed)


@check(
    "calls-redact", _ALL, "The text of a row is in no error that is shown, no log and no print: it may be a patient's."
)
def redacts(case: Case) -> str | None:
    """Look for the text that stood in the rows."""
    return _first(case.bench.of(case.label).quoted)


@check("calls-offline", _ALL, "Called with what is on this machine, it reaches for no network.")
def is_offline(case: Case) -> str | None:
    """Look at refused connections."""
    return _first(case.bench.of(case.label).network)


@check("calls-return", _ALL, "Each call returns or raises an Exception in time; it does not end the process.")
def returns(case: Case) -> str | None:
    """Look for exits and hangs."""
    return _first(case.bench.of(case.label).ended)


@check(
    "calls-leave-no-trace",
    _ALL,
    "Called, it leaves environment, threads, logging, signals and others' code as they were.",
)
def leaves_no_trace(case: Case) -> str | None:
    """Look at what was left behind."""
    return _first(case.bench.of(case.label).left)


def _first(seen: list[str]) -> str | None:
    return seen[0] if seen else None
