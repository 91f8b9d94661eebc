"""What the kit found: a finding per check and thing."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Finding", "Report"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        check: its name.
        subject: what it looked at, such as "formatter 'discharge'".
        state: "passed", "failed", or "not tried" where it does not apply or could not be tried.
        wants: what is wanted.
        found: what was found instead, or why it was not tried; empty where it passed.
    """

    check: str
    subject: str
    state: Literal["passed", "failed", "not tried"]
    wants: str
    found: str = ""

    def __str__(self) -> str:
        return f"{self.subject}, {self.check}: {self.found or self.state} (wanted: {self.wants})"


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about a plugin, or about all plugins of a distribution."""

    plugin: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return tuple(each for each in self.findings if each.state == "failed")

    @property
    def failed_checks(self) -> frozenset[str]:
        """Names of the checks that failed."""
        return frozenset(each.check for each in self.failed)

    @property
    def is_right(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def count(self, state: str) -> int:
        """Return how many findings are of a state."""
        return sum(each.state == state for each in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        counts: Mapping[str, int] = {
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "not_tried": self.count("not tried"),
        }
        return {"plugin": self.plugin, "right": self.is_right, **counts, "findings": [asdict(f) for f in self.findings]}

    def joined(self, others: Iterable["Report"]) -> "Report":
        """Return one report on this and other plugins."""
        return Report(self.plugin, (*self.findings, *(f for other in others for f in other.findings)))
