"""Pre-trains the tiny base from nothing: ``python -m demo_base.pretrain --out DIR`` (minutes on a GPU, else hours)."""

import argparse
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from demo_base.batches import Batch, drill_batches, text_batch
from demo_base.comparisons import compare
from demo_base.draw import Draw
from demo_base.tokenizer import build_tokenizer

__all__ = ["Pretraining", "main", "pretrain"]


_REPORT_EVERY = 50
_PROBES = 300


@dataclass(frozen=True)
class Pretraining:
    """How the base is made.

    Attributes:
        drill_steps: updates on random words to copy, before the text.
        text_steps: updates on text.
        tokens: tokens per update.
        learning_rate: peak, for Muon (scaled to AdamW's update size) and AdamW alike.
        warmup_steps: updates of linear rise; afterwards the rate falls linearly to nothing.
        seed: of weights and text.
    """

    drill_steps: int = 250
    text_steps: int = 2000
    tokens: int = 16384
    learning_rate: float = 4e-3
    warmup_steps: int = 50
    seed: int = 0

    @property
    def steps(self) -> int:
        """Updates in all."""
        return self.drill_steps + self.text_steps


# Every input width is a multiple of 64, bitsandbytes' block of one scale. Small heads: finding the place to copy from
# needs many of them more than wide ones.
_SHAPE: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "sliding_window": None,
    "tie_word_embeddings": True,
}


def pretrain(spec: Pretraining, out: Path) -> float:
    """Train tokenizer and model, write both to ``out`` and return the share of held-out comparisons it gets right."""
    import torch

    torch.manual_seed(spec.seed)
    tokenizer = build_tokenizer(_SHAPE["vocab_size"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _new_model(tokenizer).to(device)
    optimizers = _optimizers(model, spec)
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: _rate(step, spec)) for o in optimizers]
    batches = chain(
        islice(drill_batches(spec.tokens, _SHAPE["vocab_size"], spec.seed), spec.drill_steps),
        _text(tokenizer, spec),
    )
    losses: list[Any] = []
    started = time.monotonic()
    for step, batch in enumerate(batches, 1):
        loss = _loss(model, batch.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        if step % _REPORT_EVERY == 0:
            mean = float(sum(losses) / len(losses))
            rate = step * spec.tokens / (time.monotonic() - started)
            right = _comparisons_right(model, tokenizer)
            report = f"loss {mean:.3f}, comparisons right {right:.2f}, {rate:.0f} tokens/s"
            sys.stderr.write(f"update {step} of {spec.steps}: {report}\n")
            losses.clear()
    right = _comparisons_right(model, tokenizer)
    model.half().cpu().save_pretrained(out)
    tokenizer.save_pretrained(out)
    return right


def main() -> None:
    """Read the command line and pre-train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, config and tokenizer")
    parser.add_argument("--steps", type=int, default=Pretraining.text_steps, help="updates on text, after the drills")
    parser.add_argument("--seed", type=int, default=Pretraining.seed, help="seed of weights and text")
    options = parser.parse_args()
    right = pretrain(Pretraining(text_steps=options.steps, seed=options.seed), options.out)
    sys.stderr.write(f"wrote {options.out}, {right:.2f} of held-out comparisons right\n")


def _text(tokenizer: Any, spec: Pretraining) -> Iterable[Batch]:
    """Return the batches of text, made ahead by other processes; each depends on its number alone."""
    from torch.utils.data import DataLoader

    def make(indices: list[int]) -> Batch:
        return text_batch(tokenizer, spec.tokens, spec.seed, indices[0])

    steps: Any = range(spec.text_steps)
    return DataLoader(steps, batch_size=1, collate_fn=make, num_workers=min(8, (os.cpu_count() or 1) - 1))


def _new_model(tokenizer: Any) -> Any:
    from transformers import GenerationConfig, MistralConfig, MistralForCausalLM

    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = MistralForCausalLM(MistralConfig(**_SHAPE, **ids))
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("</s>")]
    model.generation_config = GenerationConfig(**{**ids, "eos_token_id": ends}, do_sample=False)
    return model


def _optimizers(model: Any, spec: Pretraining) -> list[Any]:
    """Return Muon for the matrices and AdamW for embedding and norms; Muon needs about half of AdamW's updates here."""
    import torch

    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]  # noqa: PLR2004 - rows and columns
    others = [p for name, p in named if p.ndim != 2 or "embed" in name]  # noqa: PLR2004
    rate = spec.learning_rate
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _loss(model: Any, batch: Batch) -> Any:
    """Return the weighted mean of the next-token losses."""
    import torch

    with torch.autocast(batch.ids.device.type, torch.bfloat16):
        logits = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
    )
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def _comparisons_right(model: Any, tokenizer: Any) -> float:
    """Return the share of comparisons about unseen entities whose verdict the model gives, a base of 1/3 by chance."""
    import torch

    documents = [compare(Draw(f"probe/{index}", "validation")) for index in range(_PROBES)]
    contexts, answers = (tokenizer(list(parts))["input_ids"] for parts in zip(*documents, strict=True))
    rows = [[tokenizer.bos_token_id, *c, *a] for c, a in zip(contexts, answers, strict=True)]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows], device=model.device)
    with torch.no_grad():
        guesses = model(input_ids=ids, use_cache=False).logits.argmax(-1).tolist()
    right = [g[len(c) : len(c) + len(a)] == a for g, c, a in zip(guesses, contexts, answers, strict=True)]
    return float(sum(right) / len(right))


def _rate(step: int, spec: Pretraining) -> float:
    return min((step + 1) / spec.warmup_steps, (spec.steps - step) / (spec.steps - spec.warmup_steps))


if __name__ == "__main__":
    main()
