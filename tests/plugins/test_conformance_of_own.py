"""medtune's own plugins pass the kit that others are checked by."""

import pytest

from medtune.plugins.host import BUILTIN_PLUGINS, KINDS
from medtune.testing.conformance import all_checks, check_plugin

KNOWN = {
    "medtune.backends.vllm": {"calls-leave-no-trace"},  # it tells vLLM by its environment variable to report nothing
}
NEEDS = {
    "medtune.backends.vllm",
    "medtune.export.exporters",
}  # a library that is not here, and a repository to write to


@pytest.mark.parametrize("plugin", BUILTIN_PLUGINS)
def test_an_own_plugin_passes_the_kit(plugin):
    report = check_plugin(plugin)
    assert report.failed_checks <= KNOWN.get(plugin, set()), [str(each) for each in report.failed]
    assert report.count("passed") > 20
    assert (report.count("not tried") > 0) == (plugin in NEEDS)


def test_there_are_many_checks_with_a_sentence_each():
    checks = all_checks()
    assert len(checks) >= 40
    assert len({each.name for each in checks}) == len(checks)
    assert all(each.wants.endswith(".") for each in checks)
    assert {kind for each in checks for kind in each.kinds} == {"plugin", "observer", *KINDS}
