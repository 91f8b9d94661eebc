"""Hands a run's host the tasks as preparation settled them: every later stage scores by the same contracts."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.evaluation.scoring import bind
from medtune.evaluation.source_survey import SourceSurvey, require_told
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec

__all__ = ["settled", "still_told"]


def still_told(record: Mapping[str, Any], spec: RunSpec) -> list[Mapping[str, Any]]:
    """Return the contracts of a run's record but for sources of which the user now says something else."""
    told: list[Mapping[str, Any]] = record.get("preparation", {}).get("tasks", [])
    before = {task["source"]: task for task in record["spec"].get("tasks", [])}
    now = {task.source: task.model_dump(mode="json") for task in spec.tasks}
    changed = {source for source in before.keys() | now.keys() if before.get(source) != now.get(source)}
    return [] if "*" in changed else [contract for contract in told if contract["source"] not in changed]


def settled(host: PluginHost, spec: RunSpec, told: Sequence[Mapping[str, Any]]) -> PluginHost:
    """Return the host with medtune's own tasks bound to what is known of the sources.

    Args:
        host: the plugins.
        spec: declares tasks, which go by themselves where nothing was told.
        told: the contracts of the preparation report, as JSON values; empty for runs of earlier releases.

    Raises:
        UndecidedTaskError: rows are to be scored, and what a source is can only be said by the user.
    """
    found = [TaskContract.from_json(values) for values in told]
    known = {contract.source for contract in found}
    declared = SourceSurvey(spec.tasks).contracts().members
    contracts = Contracts([*found, *(contract for contract in declared if contract.source not in known)])
    if spec.eval.enabled:
        require_told(contracts.members)
    return host.with_tasks(bind(host.all("task"), contracts))
