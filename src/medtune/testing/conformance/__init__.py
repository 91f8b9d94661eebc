"""The conformance kit: what a plugin must do, as checks that its author runs."""

from medtune.testing.conformance.checks import Check, all_checks
from medtune.testing.conformance.new_package import write_package
from medtune.testing.conformance.pytest_cases import conformance_tests
from medtune.testing.conformance.report import Finding, Report
from medtune.testing.conformance.running import check_plugin

__all__ = ["Check", "Finding", "Report", "all_checks", "check_plugin", "conformance_tests", "write_package"]
