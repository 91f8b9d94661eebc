"""Pre-trains the tiny base from nothing: ``python -m medtune.demo.pretrain --out DIR`` (about half an hour on 2 cores)."""

import argparse
import sys
import time
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from medtune.demo.batches import Batch, drill_batches, text_batches
from medtune.demo.tokenizer import build_tokenizer

__all__ = ["Pretraining", "main", "pretrain"]


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
    text_steps: int = 1800
    tokens: int = 4096
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
    """Train tokenizer and model, write both to ``out`` and return the mean loss of the last 50 updates."""
    import torch

    torch.manual_seed(spec.seed)
    tokenizer = build_tokenizer(_SHAPE["vocab_size"])
    model = _new_model(tokenizer)
    optimizers = _optimizers(model, spec)
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: _rate(step, spec)) for o in optimizers]
    batches = chain(
        islice(drill_batches(spec.tokens, _SHAPE["vocab_size"], spec.seed), spec.drill_steps),
        islice(text_batches(tokenizer, spec.tokens, spec.seed), spec.text_steps),
    )
    losses: list[float] = []
    started = time.monotonic()
    for step, batch in enumerate(batches, 1):
        loss = _loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % 50 == 0:
            rate = step * spec.tokens / (time.monotonic() - started)
            mean = sum(losses[-50:]) / 50
            sys.stderr.write(f"update {step} of {spec.steps}: loss {mean:.3f}, {rate:.0f} tokens/s\n")
    model.half().save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    return sum(losses[-50:]) / len(losses[-50:])


def main() -> None:
    """Read the command line and pre-train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, config and tokenizer")
    parser.add_argument("--steps", type=int, default=Pretraining.text_steps, help="updates on text, after the drills")
    parser.add_argument("--seed", type=int, default=Pretraining.seed, help="seed of weights and text")
    options = parser.parse_args()
    loss = pretrain(Pretraining(text_steps=options.steps, seed=options.seed), options.out)
    sys.stderr.write(f"wrote {options.out}, final loss {loss:.3f}\n")


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

    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
    )
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def _rate(step: int, spec: Pretraining) -> float:
    return min((step + 1) / spec.warmup_steps, (spec.steps - step) / (spec.steps - spec.warmup_steps))


if __name__ == "__main__":
    main()
