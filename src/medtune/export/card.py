"""Writes the model card that lies beside an adapter: what it is, how it was made, under which terms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.specs import RunSpec

__all__ = ["write_card"]

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
