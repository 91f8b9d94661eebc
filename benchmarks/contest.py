"""What all contestants of compare.py share: rows, adapters, the clock, the figures of a run, the checkpoint on disk."""

import itertools
import json
import statistics
import time
import zlib
from functools import cache
from pathlib import Path

import torch
from shapes import chosen
from starling_shape import CUDA, make_base, make_batch, useful_work

PEAK = 790e12  # bf16 products per second that an H200 reaches; MFU is counted against it for all bases
GIB = 2**30
DISCARDED = 4
"""Steps before the timed ones; as many as there are different batches, so that each size was met once."""
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0}
RATE = 1e-5
OPTIMIZER = "adamw_torch_fused" if CUDA else "adamw_torch"
IGNORED = -100


@cache
def make_batches(rows, length, texts=0):
    """Return the batches that every engine meets in turn, each as its tensors and the lengths of its samples."""
    return [make_batch(rows, length, seed, texts) for seed in range(DISCARDED)]


def rows_in_order(batches, steps):
    """Return ids, labels and lengths of the samples of all rows of a run, in the order in which they are met.

    What fills a row up after its samples counts as one of them here.
    """
    found = []
    for step in range(steps):
        ids, positions, labels = batches[step % len(batches)][0]
        for row, place in enumerate(positions):
            begins = (place == 0).nonzero().flatten().tolist()
            lengths = [end - begin for begin, end in itertools.pairwise([*begins, len(place)])]
            found.append((ids[row].tolist(), labels[row].tolist(), lengths))
    return found


def fill_adapters(model):
    """Give every adapter weight the same value in every engine, whatever its type and the engine's names around it.

    Second factors are not zero, so that the gradient of the first ones is none.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            where = name[name.index("layers.") :].replace(".default", "")
            draw = torch.Generator().manual_seed(zlib.crc32(where.encode()))
            parameter.data.copy_(torch.randn(parameter.shape, generator=draw) * 0.01)


class Clock:
    """Notes the end of every step on the device, without waiting for it."""

    def __init__(self):
        self._ends = []
        if CUDA:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()

    def tick(self):
        """Call at the end of a step."""
        if CUDA:
            end = torch.cuda.Event(enable_timing=True)
            end.record()
        else:
            end = time.perf_counter()
        self._ends.append(end)

    def seconds(self):
        """Return the seconds of each timed step."""
        if CUDA:
            torch.cuda.synchronize()
        pairs = itertools.pairwise(self._ends[DISCARDED - 1 :])
        return [one.elapsed_time(other) / 1e3 if CUDA else other - one for one, other in pairs]


def figures(model, batches, clock, first):
    """Return what a run is judged by.

    Args:
        model: the peft model.
        batches: as ``make_batches`` returns them.
        clock: that of the run.
        first: ``loss`` and ``grad_norm`` of the first step.
    """
    seconds = clock.seconds()
    median = statistics.median(seconds)
    tokens = statistics.mean(sum(lengths) for _tensors, lengths in batches)
    work = statistics.mean(
        useful_work(model, lengths, int((labels[:, 1:] != IGNORED).sum())) for (_i, _p, labels), lengths in batches
    )
    return {
        "tokens": tokens,
        "step_s": round(median, 5),
        "all_s": [round(s, 4) for s in seconds],
        "tokens_per_second": round(tokens / median),
        "mfu": round(work / median / PEAK, 4),
        "peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2) if CUDA else None,
        "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2) if CUDA else None,
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        **{name: float(value) for name, value in first.items()},
    }


class Checkpoint:
    """Writes the base to disk, for the engines that load it from there."""

    def __init__(self, order):
        self._order = order

    def run(self, _setting, _shape):
        """Write it."""
        write_checkpoint(self._order["checkpoint"], self._order["tiny"])
        return {}


def write_checkpoint(folder, tiny):
    """Write the base into ``folder``, unless it is there, with a tokenizer that stands in for its own."""
    folder = Path(folder)
    wanted = {"tiny": tiny, "model": chosen()}
    if (folder / "done.json").exists():
        there = {"model": "starling", **json.loads((folder / "done.json").read_text())}
        if there != wanted:
            raise SystemExit(f"'{folder}' holds another base ({there}); give another folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = make_base(tiny), stand_in_tokenizer()
    for config in (model.config, model.generation_config):
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder, max_shard_size="5GB")
    tokenizer.save_pretrained(folder)
    (folder / "done.json").write_text(json.dumps(wanted))


def stand_in_tokenizer():
    """Return a tokenizer of as many words as the model has, with Starling's special tokens: engines insist on one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {0: "<unk>", 1: "<s>", 2: "</s>", 32000: "<|end_of_turn|>", 32001: "<|pad_0|>"}
    words = Tokenizer(models.WordLevel({special.get(i, f"word{i}"): i for i in range(32002)}, unk_token=special[0]))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token=special[0],
        bos_token=special[1],
        eos_token=special[32000],
        pad_token=special[32001],
    )
