"""Writes the model card that lies beside an adapter: what it is, how it was made, under which terms."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.data.identifiers.counts import counts_in_words
from medtune.export.audit_section import card_section
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec

__all__ = ["write_card"]

_CARD = """---
{base}{library}pipeline_tag: text-generation
tags: [{tags}]
---

# {title} for {spec.model.label}

{made} It is a research artefact: its answers are no medical advice, and it was
not assessed as a medical device.

| setting | value |
| --- | --- |
| base | {spec.model.label}, {origin} |
| storage of the base | {spec.quant.scheme} |
| {kind} | r {spec.lora.r}, alpha {spec.lora.alpha:g}, dropout {spec.lora.dropout:g}, targets {spec.lora.target_modules} |
{training}
{made_by}

`prompt_contract.json` says which prompt the adapter expects, with sample token ids.

{audit}

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


def write_card(path: Path, spec: RunSpec, plan: Plan, adopted: Mapping[str, Any] | None = None) -> None:
    """Write the card as Markdown with the front matter that model hubs read; it names the base that was loaded.

    What the adapter is, and by which library it loads, is what its backend says.

    Args:
        path: file to write.
        spec: the run that made the adapter.
        plan: which plugins made it, and the terms of model and data.
        adopted: what the files of an adapter that was trained elsewhere say of that; None for one that medtune trained.
    """
    listed = "\n".join(f"- {sentence}" for sentence in plan.licences)
    terms = listed or "- none known to medtune; ask the owners of model and data"
    repository, commit = spec.model.repository, spec.model.commit
    base = f"base_model: {repository}\n" if repository else ""  # hubs read it as a repository's name
    origin = f"revision {commit or 'as given'}" if repository else "a local folder; base.json identifies it"
    made, training = (_TRAINED, _TRAINING) if adopted is None else (_ADOPTED, _told(adopted))
    looked = counts_in_words(plan.data.get("identifiers", {}))
    training = training.format(spec=spec) + (f"\n| identifiers | {looked} |" if looked and adopted is None else "")
    texts = {"made": made.format(spec=spec), "training": training}
    adapter = {key: _plain(value) for key, value in plan.description("adapter").items() if isinstance(value, str)}
    kind, library = adapter.get("kind", ""), adapter.get("library", "")
    said = {
        "library": f"library_name: {library}\n" if library else "",
        "tags": ", ".join(dict.fromkeys(filter(None, [kind.lower(), "medtune"]))),
        "title": f"{kind} adapter" if kind else "Adapter",
        "kind": kind or f"adapter, as asked of '{spec.lora.backend}'",
        "audit": card_section("" if adopted else plan.canaries, {}),
        "made_by": "\n".join(_made_by(plan, ("quantizer", "adapter") if adopted else tuple(plan.backends))),
    }
    path.write_text(_CARD.format(spec=spec, base=base, origin=origin, terms=terms, **texts, **said), "utf-8")


def _made_by(plan: Plan, kinds: Sequence[str]) -> Iterator[str]:
    """Yield a row of the table for each backend in use: its name, what it says of itself, and who brought it."""
    for plugin in plan.plugins:
        for kind, names in plugin["provides"].items():
            if kind in kinds and plan.backends[kind] in names:
                facts = plugin["describes"].get(kind, {})
                told = [f"{key} {value}" for key, value in facts.items() if isinstance(value, str | int | float)]
                origin = f"{plugin['distribution']} {plugin['version']}".strip() or "an object handed over in Python"
                code = "" if plugin["sha256"] is None else f" (code {plugin['sha256'][:12]})"
                yield _plain(f"| {kind} | {', '.join([plan.backends[kind], *told])}; of {origin}{code} |")


def _plain(text: str) -> str:
    return text.replace("{", "(").replace("}", ")").replace("\n", " ")


def _told(adopted: Mapping[str, Any]) -> str:
    """Return what an adapter's files say of its training, as a row of the table; braces would be taken for fields."""
    facts = {**adopted, **adopted.get("trainer_state", {})}
    said = ", ".join(f"{key} {value}" for key, value in facts.items() if isinstance(value, str | int | float))
    return _plain(f"| its files say | {said or 'nothing'} |")
