"""Writes the model card that lies beside an adapter or an exported artifact: what it is, how it was made, under which terms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.plugins.contracts import ExportSource
from medtune.specs import RunSpec

__all__ = ["write_card", "write_export_card"]


_CARD = """---
{base}library_name: peft
pipeline_tag: text-generation
tags: [lora, medtune]
---

# LoRA adapter for {spec.model.label}

{made} It is a research artefact: its answers are no medical advice, and it was
not assessed as a medical device.

| setting | value |
| --- | --- |
| base | {spec.model.label}, {origin} |
| storage of the base | {spec.quant.scheme} |
| LoRA | r {spec.lora.r}, alpha {spec.lora.alpha:g}, dropout {spec.lora.dropout:g}, targets {spec.lora.target_modules} |
{training}

`prompt_contract.json` says which prompt the adapter expects, with sample token ids.

## Terms of model and data

{terms}
"""


_TRAINED = "Trained with medtune on `{spec.data.source}`."
_TRAINING = """| optimizer | {spec.train.optim}, learning rate {spec.train.learning_rate:g}, {spec.train.lr_scheduler_type} |
| seed | {spec.seed} |"""
_ADOPTED = (
    "Trained elsewhere and taken over by medtune, which scored it on `{spec.data.source}`; on which rows it was trained is "
    "not known, so scored rows may be among them."
)


def write_card(path: Path, spec: RunSpec, licences: Sequence[str], adopted: Mapping[str, Any] | None = None) -> None:
    """Write the card as Markdown with the front matter that model hubs read; it names the base that was loaded.

    Args:
        path: file to write.
        spec: the run that made the adapter.
        licences: terms of model and data, a sentence each.
        adopted: what the files of an adapter that was trained elsewhere say of that; None for one that medtune trained.
    """
    listed = "\n".join(f"- {sentence}" for sentence in licences)
    terms = listed or "- none known to medtune; ask the owners of model and data"
    repository, commit = spec.model.repository, spec.model.commit
    base = f"base_model: {repository}\n" if repository else ""  # hubs read it as a repository's name
    origin = f"revision {commit or 'as given'}" if repository else "a local folder; base.json identifies it"
    made, training = (_TRAINED, _TRAINING) if adopted is None else (_ADOPTED, _told(adopted))
    texts = {"made": made.format(spec=spec), "training": training.format(spec=spec)}
    path.write_text(_CARD.format(spec=spec, base=base, origin=origin, terms=terms, **texts), "utf-8")


def _told(adopted: Mapping[str, Any]) -> str:
    """Return what an adapter's files say of its training, as a row of the table; braces would be taken for fields."""
    facts = {**adopted, **adopted.get("trainer_state", {})}
    said = ", ".join(f"{key} {value}" for key, value in facts.items() if isinstance(value, str | int | float))
    return f"| its files say | {said or 'nothing'} |".replace("{", "(").replace("}", ")").replace("\n", " ")


_EXPORT_CARD = """---
{base}library_name: {library}
pipeline_tag: text-generation
tags: [medtune]
---

# {label}, tuned: {to}

Written by medtune from a LoRA run on `{data}`. It is a research artefact: its answers are no medical advice, and it was not
assessed as a medical device. {state}

| setting | value |
| --- | --- |
| base | {label} |
| precision | {precision} |
{facts}
{usage}
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
            library="peft" if export["to"] in ("vllm", "sglang", "hub") else "transformers",
            label=source.spec.model.label,
            to=export["to"],
            data=source.spec.data.source,
            state=_STATES[export["state"]],
            precision=export["precision"],
            facts=facts,
            usage=usage,
            terms=terms or "- none known to medtune; ask the owners of model and data",
        ),
        "utf-8",
    )


def _proof_rows(proof: Mapping[str, Any]) -> dict[str, Any]:
    if "reader" not in proof:  # nothing loaded it, or nothing could
        return {}
    found: dict[str, Any] = {
        "loaded again by": proof["reader"],
        "greedy answers equal": f"{proof['equal']} of {proof['prompts']} prompts, {proof['near_ties']} more differ at near ties",
        "largest logit difference": f"{proof['relative_error']:.2g} of the largest logit",
    }
    for task, score in proof.get("scores", {}).get("artifact", {}).items():
        interval = score["interval"]
        within = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
        adapter = proof["scores"]["adapter"][task]["value"]
        found[f"{task}, {score['metric']}"] = f"{score['value']:.3f}{within}; the adapter {adapter:.3f}"
        found |= _difference_row(task, proof["scores"]["difference"].get(task))
    return found


def _difference_row(task: str, difference: Mapping[str, Any] | None) -> dict[str, str]:
    """Return by how much the artifact scores otherwise than the adapter on the same rows; nothing where that is not compared."""
    if difference is None:
        return {}
    interval = difference["interval"]
    within = f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
    return {f"{task}, artifact less adapter": f"{difference['difference']:+.3f}{within}, {difference['rows']} rows"}


def _is_short(value: Any) -> bool:
    return isinstance(value, str | int | float)
