"""Runs the checks on a plugin and gathers what they find."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from medtune.errors import MedtuneError, SpecError
from medtune.plugins.host import KINDS
from medtune.testing.conformance.bench import Bench
from medtune.testing.conformance.checks import Case, Check, NotTriedError, all_checks
from medtune.testing.conformance.report import Finding, Report
from medtune.testing.conformance.subject import Subject, subjects_of
from medtune.testing.conformance.warming import warm_up
from medtune.testing.conformance.watching import TooSlowError, watched

__all__ = ["cases_of", "check_plugin", "tried"]

_SECONDS = 60.0
"""What a check may take before the plugin counts as hung; the slowest of a right one takes a tenth of that."""

Listener = Callable[[Finding], None]


def check_plugin(
    what: object,
    *,
    kinds: Iterable[str] | None = None,
    without: Iterable[str] = (),
    on_finding: Listener = lambda _finding: None,
    seconds: float = _SECONDS,
) -> Report:
    """Try every check on a plugin.

    Args:
        what: name of a distribution or module, path of a file, or a plugin itself: a module or an object.
        kinds: check only these: "plugin" (as a whole), kinds of things, "observer"; None checks all.
        without: names of checks that are left out.
        on_finding: called with each finding as it is made.
        seconds: that one check may take before the plugin counts as hung.

    Raises:
        PluginError: nothing of that name is installed.
        SpecError: a kind or a check of that name does not exist.
    """
    checks = _chosen(without)
    known = {"plugin", "observer", *KINDS}
    wanted = known if kinds is None else set(kinds)
    if not wanted <= known:
        raise SpecError(f"no kind '{min(wanted - known)}' is checked; kinds: {', '.join(sorted(known))}")
    bench = Bench()
    try:
        findings: list[Finding] = []
        for subject in subjects_of(what):
            for each, case in cases_of(subject, bench, checks):
                if case.kind in wanted:
                    findings.append(tried(each, case, seconds))
                    on_finding(findings[-1])
    finally:
        bench.close()
    label = what if isinstance(what, str | Path) else getattr(what, "__name__", type(what).__name__)
    return Report(str(label), tuple(findings))


def cases_of(subject: Subject, bench: Bench, checks: Iterable[Check]) -> Iterator[tuple[Check, Case]]:
    """Yield each check with each thing of a plugin that it is for."""
    for case in _things_of(subject, bench):
        yield from ((each, case) for each in checks if case.kind in each.kinds)


def _things_of(subject: Subject, bench: Bench) -> Iterator[Case]:
    yield Case(subject, bench, "plugin", "", subject.plugin)
    if subject.plugin is None:
        return
    for kind in KINDS:
        for thing in subject.things(kind):
            yield Case(subject, bench, kind, str(getattr(thing, "name", "")), thing)
    if subject.observes:
        yield Case(subject, bench, "observer", "", subject.plugin)


def tried(each: Check, case: Case, seconds: float = _SECONDS) -> Finding:
    """Return what a check finds."""
    state, found = _outcome(each, case, seconds)
    return Finding(each.name, case.label, state, each.wants, found)


def _outcome(each: Check, case: Case, seconds: float) -> tuple[Literal["passed", "failed", "not tried"], str]:
    if each.is_heavy:
        warm_up()
    try:
        with watched(case.bench.of(case.label), seconds):
            found = each.test(case)
    except NotTriedError as reason:
        return "not tried", str(reason)
    except TooSlowError:
        return "failed", f"it did not end within {seconds:.0f} s"
    except MedtuneError as error:
        return "failed", f"it raised {type(error).__name__}: {error}"
    except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001 - foreign code; no text, it may quote a row
        return "failed", f"it raised {type(error).__name__} in {_place(error)}"
    return ("passed", "") if found is None else ("failed", found)


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame."""
    trace: Any = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "code of its own" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _chosen(without: Iterable[str]) -> list[Check]:
    checks: Mapping[str, Check] = {each.name: each for each in all_checks()}
    left_out = set(without)
    if not left_out <= checks.keys():
        raise SpecError(f"no check is named '{min(left_out - checks.keys())}'; docs/plugin-kit.md lists all of them")
    return [each for name, each in checks.items() if name not in left_out]
