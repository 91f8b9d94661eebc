"""Loads an artifact by plain transformers and peft and answers prompts: a program of its own, which imports no medtune.

``python by_transformers.py JOB.json``: JOB holds ``folder``, ``dtype``, ``device``, ``prompts`` (ids), ``limits``,
``conversations`` (messages) and ``out``; with ``base`` the folder holds an adapter, with ``gguf_file`` a GGUF file.
Answers go to ``out/answers.json`` and the logits after each prompt to ``out/logits.npy``, [prompts, vocabulary] in fp32.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_TOGETHER = 16
"""Prompts of one length that are answered together; those of different lengths never are, so nothing is padded."""


def main(file: str) -> None:
    """Answer what the job asks."""
    import numpy as np
    import torch

    job: dict[str, Any] = json.loads(Path(file).read_text("utf-8"))
    model, tokenizer, ends = _load(job)
    ids: list[list[int]] = [[] for _ in job["prompts"]]
    ended = [False for _ in job["prompts"]]
    logits: list[Any] = [None for _ in job["prompts"]]
    with torch.inference_mode():
        for indices in _groups(job["prompts"], job["limits"]):
            prompts = torch.tensor([job["prompts"][i] for i in indices], device=job["device"])
            after = model(input_ids=prompts, use_cache=False).logits[:, -1].float().cpu().numpy()
            rows = _greedy(model, prompts, job["limits"][indices[0]], ends)
            for index, row, values in zip(indices, rows, after, strict=True):
                logits[index] = values
                ids[index], ended[index] = _cut(row, ends, job["limits"][index])
    out = Path(job["out"])
    np.save(out / "logits.npy", np.stack(logits))
    found = {"ids": ids, "ended": ended, "stop_ids": sorted(ends), "prompts": _prompts(tokenizer, job["conversations"])}
    (out / "answers.json").write_text(json.dumps(found), "utf-8")


def _load(job: Mapping[str, Any]) -> tuple[Any, Any, set[int]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    place = job.get("base") or job["folder"]
    extra = {"gguf_file": job["gguf_file"]} if job.get("gguf_file") else {}
    model: Any = AutoModelForCausalLM.from_pretrained(
        place, dtype=getattr(torch, job["dtype"]), trust_remote_code=False, device_map={"": job["device"]}, **extra
    )
    if job.get("base"):
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, job["folder"])
    if extra:
        return model.eval(), None, set(job.get("stop_ids", ()))
    tokenizer: Any = AutoTokenizer.from_pretrained(job["folder"], trust_remote_code=False)
    ends: set[int] = set(job.get("stop_ids", ()))  # an adapter has none of its own: whoever serves it is told
    if not job.get("base"):
        kept: Any = GenerationConfig.from_pretrained(job["folder"]).eos_token_id
        ends = set([kept] if isinstance(kept, int) else kept or [])
    return model.eval(), tokenizer, ends


def _groups(prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> Iterator[list[int]]:
    """Yield indices of prompts of one length and one limit, some at a time."""
    alike: dict[tuple[int, int], list[int]] = {}
    for index, prompt in enumerate(prompts):
        alike.setdefault((len(prompt), limits[index]), []).append(index)
    for indices in alike.values():
        yield from (indices[n : n + _TOGETHER] for n in range(0, len(indices), _TOGETHER))


def _greedy(model: Any, prompts: Any, limit: int, ends: set[int]) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig

    if limit < 1:
        return [[] for _ in prompts]
    plain = GenerationConfig(do_sample=False, max_new_tokens=limit, eos_token_id=sorted(ends) or None, pad_token_id=0)
    # settings that lie beside a model could change answers
    model.generation_config = plain
    rows = model.generate(
        input_ids=prompts, attention_mask=torch.ones_like(prompts), generation_config=plain, use_cache=True
    )
    return [row[prompts.shape[1] :].tolist() for row in rows]


def _cut(row: Sequence[int], ends: set[int], limit: int) -> tuple[list[int], bool]:
    for place, token in enumerate(row[:limit]):
        if token in ends:
            return list(row[:place]), True
    return list(row[:limit]), False


def _prompts(tokenizer: Any, conversations: Sequence[Any]) -> list[list[int]] | None:
    """Return the ids of conversations up to the answer, by the artifact's own tokenizer and template."""
    if tokenizer is None:
        return None
    rendered = [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in conversations
    ]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in rendered]


if __name__ == "__main__":
    main(sys.argv[1])
