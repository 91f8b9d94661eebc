"""Writes the model card that lies beside an adapter: what it is, how it was made, under which terms."""

from collections.abc import Sequence
from pathlib import Path

from medtune.specs import RunSpec

__all__ = ["write_card"]


_CARD = """---
{base}library_name: peft
pipeline_tag: text-generation
tags: [lora, medtune]
---

# LoRA adapter for {spec.model.label}

Trained with medtune on `{spec.data.source}`. It is a research artefact: its answers are no medical advice, and it was
not assessed as a medical device.

| setting | value |
| --- | --- |
| base | {spec.model.label}, {origin} |
| storage of the base in training | {spec.quant.scheme} |
| LoRA | r {spec.lora.r}, alpha {spec.lora.alpha:g}, dropout {spec.lora.dropout:g}, targets {spec.lora.target_modules} |
| optimizer | {spec.train.optim}, learning rate {spec.train.learning_rate:g}, {spec.train.lr_scheduler_type} |
| seed | {spec.seed} |

`prompt_contract.json` says which prompt the adapter expects, with sample token ids.

## Terms of model and data

{terms}
"""


def write_card(path: Path, spec: RunSpec, licences: Sequence[str]) -> None:
    """Write the card as Markdown with the front matter that model hubs read; it names the base that was loaded.

    Args:
        path: file to write.
        spec: the run that made the adapter.
        licences: terms of model and data, a sentence each.
    """
    listed = "\n".join(f"- {sentence}" for sentence in licences)
    terms = listed or "- none known to medtune; ask the owners of model and data"
    repository, commit = spec.model.repository, spec.model.commit
    base = f"base_model: {repository}\n" if repository else ""  # hubs read it as a repository's name
    origin = f"revision {commit or 'as given'}" if repository else "a local folder; base.json identifies it"
    path.write_text(_CARD.format(spec=spec, base=base, origin=origin, terms=terms), "utf-8")
