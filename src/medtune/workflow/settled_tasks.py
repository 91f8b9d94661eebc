"""Hands a run's host the tasks as preparation settled them: every later stage scores by the same contracts."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.evaluation.scoring import bind
from medtune.evaluation.source_survey import SourceSurvey, require_told
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec

__all__ = ["settled"]


def settled(host: PluginHost, spec: RunSpec, told: Sequence[Mapping[str, Any]]) -> PluginHost:
    """Return the host with medtune's own tasks bound to what is known of the sources.

    Args:
        host: the plugins.
        spec: declares tasks, which go by themselves where nothing was told.
        told: the contracts of the preparation report, as JSON values; empty for runs of earlier releases.

    Raises:
        UndecidedTaskError: rows are to be scored, and what a source is can only be said by the user.
    """
    contracts = Contracts(map(TaskContract.from_json, told)) if told else SourceSurvey(spec.tasks).contracts()
    if spec.eval.enabled:
        require_told(contracts.members)
    return host.with_tasks(bind(host.all("task"), contracts))
