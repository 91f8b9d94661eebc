"""The checks as cases of pytest, in a plugin's own repository."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from medtune.errors import SpecError
from medtune.testing.conformance.bench import Bench
from medtune.testing.conformance.checks import Case, Check, all_checks
from medtune.testing.conformance.running import cases_of, tried
from medtune.testing.conformance.subject import subjects_of

__all__ = ["conformance_tests"]


def conformance_tests(
    what: object, *, expected_failed_checks: Mapping[str, str] | None = None, kinds: Iterable[str] | None = None
) -> Callable[..., None]:
    """Return a test function with one case per check and thing; assign it to a name that begins with ``test_``.

    Args:
        what: as of ``check_plugin``.
        expected_failed_checks: name of a check -> why it is known to fail; such a case must fail (a strict xfail).
        kinds: as of ``check_plugin``.

    Raises:
        SpecError: an expected check does not exist.
        PluginError: nothing of that name is installed.
    """
    import pytest

    expected = dict(expected_failed_checks or {})
    checks = {each.name: each for each in all_checks()}
    for name in expected:
        if name not in checks:
            raise SpecError(
                f"no check is named '{name}', which is expected to fail; docs/plugin-kit.md lists all of them"
            )
    wanted, bench, parameters = None if kinds is None else set(kinds), Bench(), list[Any]()
    for subject in subjects_of(what):
        for each, case in cases_of(subject, bench, checks.values()):
            if wanted is None or case.kind in wanted:
                marks = [pytest.mark.xfail(reason=expected[each.name], strict=True)] if each.name in expected else []
                parameters.append(pytest.param(each, case, id=f"{case.name or subject.label}-{each.name}", marks=marks))

    def test(each: Check, case: Case) -> None:
        """Try one check, as ``medtune plugins check`` does."""
        __tracebackhide__ = True
        finding = tried(each, case)
        if finding.state == "not tried":
            pytest.skip(finding.found)
        if finding.state == "failed":
            pytest.fail(str(finding), pytrace=False)

    return pytest.mark.parametrize(("each", "case"), parameters)(test)
