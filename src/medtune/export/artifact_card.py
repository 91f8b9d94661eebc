"""Writes the model card that lies beside an exported artifact: what it is, what was proved of it, what it scores, under which terms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from medtune.data.sources.paths import is_local
from medtune.export.audit_section import AUDIT_FILE, card_section
from medtune.plugins.contracts import ExportSource
from medtune.specs.bounded import json_file

__all__ = ["write_export_card"]

_EXPORT_CARD = """---
{base}library_name: {library}
pipeline_tag: text-generation
tags: [medtune]
{index}---

# {label}, tuned: {to}

Written by medtune from a run on {data}. It is a research artefact: its answers are no medical advice, and it was not
assessed as a medical device. {state}

| setting | value |
| --- | --- |
| base | {label} |
| precision | {precision} |
{facts}
{scores}{usage}
{remembered}

## Terms of model and data

{terms}
"""
_STATES = {
    "proved": "It was loaded again and compared with the tuned model before this card was written; `export.json` has the figures.",
    "unproved": "**It was not proved**: nothing loaded it again after it was written.",
    "refused": "**Do not use it: it does not answer as the tuned model.** `export.json` says why.",
}


def write_export_card(path: Path, source: ExportSource, export: Mapping[str, Any]) -> None:
    """Write the card of an exported artifact.

    Args:
        path: file to write.
        source: the run.
        export: content of ``export.json``.
    """
    repository = source.spec.model.repository
    rows = {**export["facts"], **_proof_rows(export["proof"])}
    facts = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in rows.items() if _is_short(value))
    usage = "\n".join(["", "```text", *export["usage"], "```", ""]) if export["usage"] else ""
    licences: Sequence[str] = source.record.get("plan", {}).get("licences", ())
    terms = "\n".join(f"- {sentence}" for sentence in licences)
    path.write_text(
        _EXPORT_CARD.format(
            base=f"base_model: {repository}\n" if repository else "",
            library=_library(path.parent),
            index=_model_index(source, export["to"]),
            scores=_scores(source.record),
            label=source.spec.model.label,
            to=export["to"],
            data=_data_name(source),
            state=_STATES[export["state"]],
            precision=export["precision"],
            facts=facts,
            usage=usage,
            remembered=_remembered(source),
            terms=terms or "- none known to medtune; ask the owners of model and data",
        ),
        "utf-8",
    )


def _library(folder: Path) -> str:
    """Return what hubs call that which loads an artifact."""
    if (folder / "adapter_config.json").is_file():
        return "peft"
    return "gguf" if any(folder.glob("*.gguf")) else "transformers"


def _data_name(source: ExportSource) -> str:
    """Return the data set's name on the hub; of a file here nothing is told."""
    return "local rows" if is_local(source.spec.data.source) else source.spec.data.source


def _remembered(source: ExportSource) -> str:
    """Return that a run holds canaries, and what an audit of it found."""
    file = source.run_dir / "evaluation" / AUDIT_FILE
    found: Mapping[str, Any] = json_file(file) if file.is_file() else {}
    return card_section(str(source.record.get("plan", {}).get("canaries", "")), found)


def _scores(record: Mapping[str, Any]) -> str:
    """Return the run's scores of base and adapter, as a table."""
    found: Mapping[str, Any] = record.get("scores", {})
    compared: Mapping[str, Any] = record.get("comparison", {}).get("tasks", {})
    if not found:
        return ""
    lines = ["", "| task | metric | base | tuned | difference | rows |", "| --- | --- | --- | --- | --- | --- |"]
    for task, score in found.items():
        interval = compared.get(task, {}).get("interval")
        figures = f"{score['base']:.3f} | {score['tuned']:.3f} | {score['tuned'] - score['base']:+.3f}{_within(interval, '+')}"
        lines.append(f"| {task} | {score['metric']} | {figures} | {score['rows']} |")
    return "\n".join([*lines, "", "Scored by medtune on the run's validation rows; intervals are of 95 %.", ""])


def _model_index(source: ExportSource, to: str) -> str:
    """Return the scores as hubs read them, in the front matter's YAML."""
    found: Mapping[str, Any] = source.record.get("scores", {})
    if not found:
        return ""
    data = _data_name(source)
    results = [
        {
            "task": {"type": "text-generation", "name": task},
            "dataset": {"type": data, "name": data, "split": "validation"},
            "metrics": [{"type": score["metric"], "name": score["metric"], "value": round(float(score["tuned"]), 6)}],
        }
        for task, score in found.items()
    ]
    index = [{"name": f"{source.spec.model.label}, tuned: {to}", "results": results}]
    return str(yaml.safe_dump({"model-index": index}, sort_keys=False))


def _proof_rows(proof: Mapping[str, Any]) -> dict[str, Any]:
    if "reader" not in proof:  # nothing loaded it, or nothing could
        return {}
    found: dict[str, Any] = {
        "loaded again by": proof["reader"],
        "greedy answers equal": f"{proof['equal']} of {proof['prompts']} prompts, {proof['near_ties']} more differ at near ties",
        "largest logit difference": f"{proof['relative_error']:.2g} of the largest logit",
    }
    for task, score in proof.get("scores", {}).get("artifact", {}).items():
        adapter = proof["scores"]["adapter"][task]["value"]
        found[f"{task}, {score['metric']}"] = (
            f"{score['value']:.3f}{_within(score['interval'])}; the adapter {adapter:.3f}"
        )
        found |= _difference_row(task, proof["scores"]["difference"].get(task))
    return found


def _difference_row(task: str, difference: Mapping[str, Any] | None) -> dict[str, str]:
    """Return by how much the artifact scores otherwise than the adapter on the same rows; nothing where that is not compared."""
    if difference is None:
        return {}
    within = _within(difference["interval"], "+")
    return {f"{task}, artifact less adapter": f"{difference['difference']:+.3f}{within}, {difference['rows']} rows"}


def _within(interval: Sequence[float] | None, sign: str = "") -> str:
    """Return an interval as it stands behind its figure, empty where there is none."""
    return f" [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]" if interval else ""


def _is_short(value: Any) -> bool:
    return isinstance(value, str | int | float)
