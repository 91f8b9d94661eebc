"""Writes a configuration that was taken over as a spec, with what became of each key."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.errors.masking import masked_values
from medtune.specs.elsewhere.meanings import Finding
from medtune.workflow.taken_over.taking_over import TakenOver
from medtune.workflow.toml import toml_pairs, toml_tables, write_new

__all__ = ["lines_of", "report", "require_accepted", "write_spec"]

_SHOWN = 40
"""Characters of a value in a line."""


def require_accepted(taken: TakenOver, *, accepted: bool) -> None:
    """Refuse to write a spec that trains otherwise than the configuration did, unless that was accepted.

    Raises:
        SpecError: naming what has to be accepted.
    """
    if accepted or not taken.to_accept:
        return
    counts = Counter(each.verdict for each in taken.to_accept)
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    names = ", ".join(dict.fromkeys(each.key for each in taken.to_accept))
    raise SpecError(
        f"'{taken.source}' is not taken over as it is ({told}: {names}); look at these, and say --accept to have the spec written "
        "all the same"
    )


def write_spec(taken: TakenOver, target: Path) -> str:
    """Write the spec and return its text.

    Raises:
        SpecError: ``target`` is there already.
        StorageError: it cannot be written.
    """
    text = "\n".join(_lines(taken)) + "\n"
    write_new(target, text)
    return text


def lines_of(taken: TakenOver) -> Iterator[str]:
    """Yield a line for each key: what became of it, and why."""
    for each in taken.findings:
        field = f" -> {each.field}" if each.field else ""
        why = f": {each.why}" if each.why else ""
        yield f"{each.verdict:<10}  {_written(each)}{field}{why}"


def report(taken: TakenOver, spec: Path | None) -> dict[str, Any]:
    """Return what became of each key in its JSON form; ``spec`` is the file that was written."""
    findings: list[dict[str, Any]] = [
        {**each._asdict(), "value": each.value if _is_json(each.value) else str(each.value)} for each in taken.findings
    ]
    return {
        "program": taken.program.name,
        "spec": None if spec is None else str(spec),
        "values": masked_values(dict(taken.values)),
        "keys": findings,
        "to_accept": [each.key for each in taken.to_accept],
    }


def _lines(taken: TakenOver) -> Iterator[str]:
    yield f"# Written by `medtune init --from` of {taken.program.name}'s '{taken.source.name}'. Of its keys:"
    yield from (f"# {' '.join(line.split())}" for line in lines_of(taken))
    yield from toml_pairs(taken.values)
    yield from toml_tables("", taken.values)


def _written(finding: Finding) -> str:
    if finding.key.startswith("(") and finding.value is None:
        return finding.key
    text = json.dumps(finding.value, ensure_ascii=False) if _is_json(finding.value) else str(finding.value)
    return f"{finding.key} = {text if len(text) <= _SHOWN else text[: _SHOWN - 3] + '...'}"


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
