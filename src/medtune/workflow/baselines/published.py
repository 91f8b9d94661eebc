"""Finds published figures that may stand beside a run's: of the same official split, counted in the same way."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from medtune.evaluation.packs.recipes import split_of
from medtune.evaluation.scoring import Evaluation
from medtune.plugins.contracts import Example

__all__ = ["published_beside"]


def published_beside(asked: Sequence[Example], scored: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Return the published figures of official splits that the asked rows are, by the sizes that they have.

    A source's name says nothing: rows and documents must be as many as one official split has, and no other of its task. Rows
    that tell more types of entities apart than the published figures do are counted otherwise, so nothing stands beside them.

    Args:
        asked: all rows that are scored, with their tasks.
        scored: system, "tuned" included -> its scores.

    Returns:
        ``source``, ``set``, ``split``, ``system``, ``metric``, ``value``, ``citation``, and ``own``: system -> its value of
        that figure on the source.
    """
    rows: dict[tuple[str, str], int] = defaultdict(int)
    documents: dict[tuple[str, str], set[str]] = defaultdict(set)
    for example in asked:
        rows[example.source, example.task or ""] += 1
        documents[example.source, example.task or ""] |= {example.document} - {""}
    found: list[dict[str, Any]] = []
    for (source, task), count in rows.items():
        match = split_of(task, count, len(documents[source, task]))
        if match is None:
            continue
        pack, split = match
        if pack.types and _types(scored["tuned"], source, task) != pack.types:
            continue
        for one in pack.published:
            own = {name: _value(of, source, task, one.metric) for name, of in scored.items()}
            if one.split == split.name and own["tuned"] is not None:
                figure = {"system": one.system, "metric": one.metric, "value": one.value, "citation": one.citation}
                found.append(
                    {"source": source, "task": task, "set": pack.title, "split": split.name, **figure, "own": own}
                )
    return found


def _types(scored: Evaluation, source: str, task: str) -> int:
    """Return how many types of entities the gold answers of a source have."""
    by_task = scored.sources.get(source, {}) if source else scored.tasks
    found = by_task[task].details.get("entity_types", {}) if task in by_task else {}
    return sum(bool(of["support"]) for of in found.values())


def _value(scored: Evaluation, source: str, task: str, metric: str) -> float | None:
    by_task = scored.sources.get(source, {}) if source else scored.tasks
    return by_task[task].metrics.get(metric) if task in by_task else None
