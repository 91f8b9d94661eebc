"""Loads an encoder with a fresh head: safetensors only, no code of its own, and nothing of its body left random."""

import re
from typing import Any

from medtune.data.base.inspection import CHECKS, inspect_base
from medtune.data.hub.models import loadable
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import BaseDamagedError, BaseUnsuitedError
from medtune.plugins.contracts import EncoderJob, EncoderKind
from medtune.specs import ModelSpec, RunSpec

__all__ = ["load_encoder", "usable_length"]

_NAMES = {
    "place", "adapter", "presence", "config", "code", "config values", "weight files", "inside", "complete", "finite", "zeros",
}  # fmt: skip
_CHECKS = tuple(check for check in CHECKS if check.name in _NAMES)
"""What holds of any model's files; the others are about models that write text."""
_POOLER = re.compile(r"(^|\.)pooler\.")
"""Part of a body that many published encoders come without: it is learned with the head."""
_LONGEST = 512
"""Longer windows cost more than they help; ``max_length`` says otherwise."""


def load_encoder(job: EncoderJob) -> tuple[Any, Any]:
    """Return model and tokenizer of an encoder, on the CPU, in fp32, with a head for the job's labels.

    Raises:
        BaseUnsuitedError: it is no encoder that transformers can put such a head on.
        BaseDamagedError: its files are damaged, or lack what its body needs.
        SpecError: it has no tokenizer that can be loaded.
        HubError: the files are neither local nor given by the hub.
    """
    folder = loadable(job.model)
    inspect_base(RunSpec(model=ModelSpec(path=str(folder))), loading=True, checks=_CHECKS)
    tokenizer = load_tokenizer(job.model)
    model, found = _read(str(folder), job, tokenizer.pad_token_id)
    body = f"{model.base_model_prefix}."
    lost = sorted({*found["missing_keys"], *(name for name, *_shapes in found["mismatched_keys"])})
    lost = [name for name in lost if name.startswith(body) and not _POOLER.search(name)]
    if lost:
        problem = f"lacks {len(lost)} tensors of its architecture, such as {lost[0]}"
        raise BaseDamagedError("tensors", job.model.label, problem, "get config.json and weights from the same place")
    rows = int(model.get_input_embeddings().weight.shape[0])
    if len(tokenizer) > rows:
        problem = f"has a tokenizer of {len(tokenizer):,} tokens and an embedding of {rows:,}"
        raise BaseDamagedError("vocabulary", job.model.label, problem, "get both from the same place")
    return model, tokenizer


def usable_length(model: Any, tokenizer: Any, wanted: int | str) -> int:
    """Return the tokens that a window may have, found out by running one: what config.json says may be a little too much.

    Raises:
        BaseUnsuitedError: the encoder does not take as many as were asked for.
    """
    import torch

    stated = int(getattr(model.config, "max_position_embeddings", 0) or _LONGEST)
    longest = min(stated, int(tokenizer.model_max_length))
    most = min(longest, _LONGEST) if wanted == "auto" else int(wanted)
    token = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else 0
    model.eval()
    behind_pad = most - (tokenizer.pad_token_id or 0) - 1  # where RoBERTa's positions begin
    for length in dict.fromkeys((most, behind_pad)):
        try:
            with torch.inference_mode():
                model(input_ids=torch.full((1, length), token), attention_mask=torch.ones(1, length, dtype=torch.long))
        except (IndexError, RuntimeError):
            continue
        if wanted in ("auto", length):
            return length
    raise BaseUnsuitedError("positions", model.name_or_path, f"takes no {most} tokens", "set max_length lower")


def _read(folder: str, job: EncoderJob, pad: int) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

    of_tags = job.kind is EncoderKind.TAGS
    kind: Any = AutoModelForTokenClassification if of_tags else AutoModelForSequenceClassification
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if type(config) not in kind._model_mapping:  # noqa: SLF001 - transformers' own list of what it has such a head for
        problem = f"is of type '{config.model_type}', for which transformers has no head for labels"
        raise BaseUnsuitedError("head", job.model.label, problem, "take an encoder such as BERT, RoBERTa or DeBERTa")
    config.id2label = dict(enumerate(job.labels))
    config.label2id = {label: number for number, label in enumerate(job.labels)}
    config.pad_token_id = pad
    if not of_tags:
        multi = job.kind is EncoderKind.LABELS
        config.problem_type = "multi_label_classification" if multi else "single_label_classification"
    options = {"config": config, "trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
    for attention in ("sdpa", "eager"):  # named: a name in the config could otherwise load kernels from the hub
        try:
            found: tuple[Any, Any] = kind.from_pretrained(
                folder, attn_implementation=attention, dtype="float32", ignore_mismatched_sizes=True, **options
            )
        except ValueError:
            if attention == "eager":
                raise
            continue
        return found
    raise AssertionError("one of the two is there")  # pragma: no cover
