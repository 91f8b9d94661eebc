"""Times LoRA training steps of a Starling-shaped model with random weights on one GPU, by medtune's fast path.

Usage: python benchmarks/train.py OUT.json [--quick] [--budget SECONDS] [--tiny] [--no-profile] [--no-record]
       [--dropout P] [--bases NAME ...]

Rows, packing and counting follow docs/speed: packed rows of samples with log-normal lengths, 45 % of each supervised,
r 8 on all seven linear layers, AdamW, bf16 compute, samples isolated. A step is forward, backward, clipping and update.
The first steps record the sizes that come and are discarded; the figure is the median of the rest. Before that the loss
and the gradient norm are compared with plain eager peft on the same weights. A line per configuration as it is done;
OUT.json is rewritten each time. ``--quick`` runs seven configurations, ``--tiny`` a small model, also on a CPU.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
import traceback
from pathlib import Path
from types import MethodType

import torch
from starling_shape import CUDA, DEVICE, free, make_batch, make_model, useful_work

from medtune.accel import train as kernels
from medtune.backends.losses import supervised_loss

PEAK = 790e12  # bf16 products per second that this GPU reaches
BATCHES = 4
GIB = 2**30
# base, recompute, rows, length, and whether a 4-bit base stays restored; those that matter most first
QUICK = [
    ("nf4", "none", 16, 512, "keep"),
    ("nf4", "offload", 16, 512, "each_pass"),
    ("nf4", "none", 4, 512, "keep"),
    ("nf4", "none", 16, 512, "each_pass"),
    ("nf4", "none", 4, 512, "each_pass"),
    ("fp8", "none", 16, 512, "each_pass"),
    ("bf16", "none", 16, 512, "each_pass"),
]
ALL = [
    ("nf4", "none", 16, 512, "keep"),
    ("nf4", "none", 16, 512, "each_pass"),
    ("nf4", "offload", 16, 512, "each_pass"),
    ("nf4", "all", 16, 512, "each_pass"),
    ("nf4", "none", 4, 512, "keep"),
    ("nf4", "none", 4, 512, "each_pass"),
    ("nf4", "none", 4, 2048, "keep"),
    ("nf4", "none", 1, 8192, "keep"),
    ("fp8", "none", 16, 512, "each_pass"),
    ("fp8", "all", 16, 512, "each_pass"),
    ("fp8", "none", 4, 512, "each_pass"),
    ("bf16", "none", 16, 512, "each_pass"),
    ("bf16", "all", 16, 512, "each_pass"),
    ("bf16", "none", 1, 8192, "each_pass"),
]


def compare(model, tiny):
    """Return how far loss and gradients of the fast path lie from plain eager peft's, in the same precision."""
    batch, _lengths = make_batch(2, 64 if tiny else 512, 99)
    trained = [p for p in model.parameters() if p.requires_grad]
    base, found = model.get_base_model(), []

    def take(loss):
        loss.backward()
        grads = [p.grad.float().flatten() for p in trained]
        found.append((loss.item(), torch.cat(grads)))
        model.zero_grad(set_to_none=True)

    base.forward = MethodType(supervised_loss, base)
    try:
        with torch.autocast(DEVICE, torch.bfloat16):
            take(
                model(**dict(zip(("input_ids", "position_ids", "labels"), (t.to(DEVICE) for t in batch), strict=True)))[
                    "loss_sum"
                ]
            )
    finally:
        del base.__dict__["forward"]
    path = kernels.enable(model, recompute="none", record=False)
    take(path.loss_sum(*batch))
    path.disable()
    (plain_loss, plain), (fast_loss, fast) = found
    return {
        "plain_loss": plain_loss,
        "fast_loss": fast_loss,
        "plain_grad_norm": plain.norm().item(),
        "fast_grad_norm": fast.norm().item(),
        "gradient_error": ((fast - plain).norm() / plain.norm()).item(),
    }


def time_steps(model, shape, arguments):
    """Return the figures of one configuration."""
    recompute, rows, length, restored = shape
    record = not arguments.no_record
    path = kernels.enable(model, recompute=recompute, keep_dequantized=restored == "keep", cuda_graphs=record)
    if isinstance(path, kernels.Refusal):
        raise TypeError(str(path))
    try:
        made = [make_batch(rows, length, seed) for seed in range(BATCHES)]
        batches = [path.lay_out(*batch) for batch, _lengths in made]
        batches = [b.pin_memory() if CUDA else b for b in batches]
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=CUDA)

        def step(number):
            batch = batches[number % BATCHES]
            loss = path.loss_of(batch) / len(batch.targets)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return loss.detach(), norm

        seconds, last = clocked(step, BATCHES + 1 + (2 if arguments.tiny else 2 * BATCHES), BATCHES + 1)
        median = statistics.median(seconds[BATCHES + 1 :])
        tokens = statistics.mean(sum(lengths) for _batch, lengths in made)
        work = statistics.mean(
            useful_work(model, lengths, len(b.targets)) for (_b, lengths), b in zip(made, batches, strict=True)
        )
        return {
            "steps": path.steps,
            "record_failure": path.failure,
            "tokens": tokens,
            "step_s": round(median, 5),
            "first_s": [round(s, 3) for s in seconds[: BATCHES + 1]],
            "tokens_per_second": round(tokens / median),
            "mfu": round(work / median / PEAK, 4),
            "peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2) if CUDA else 0,
            "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2) if CUDA else 0,
            "loss": last[0].item(),
            "grad_norm": last[1].item(),
            **({} if arguments.no_profile or not CUDA else {"profile": profile_of(lambda: step(0))}),
        }
    finally:
        path.disable()


def clocked(step, count, discarded):
    """Return the seconds of each of ``count`` steps, and what the last returned.

    The first ``discarded`` are waited for one by one. The rest follow each other as in training, where nothing waits for
    the device between steps: events on the device bound them.
    """
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds, last, events = [], None, []
    for number in range(count):
        begin = time.perf_counter()
        last = step(number)
        if CUDA and number >= discarded - 1:
            events.append(torch.cuda.Event(enable_timing=True))
            events[-1].record()
        elif CUDA:
            torch.cuda.synchronize()
        if not CUDA or number < discarded:
            seconds.append(time.perf_counter() - begin)
    if CUDA:
        torch.cuda.synchronize()
        seconds += [one.elapsed_time(other) / 1e3 for one, other in itertools.pairwise(events)]
    return seconds, last


def profile_of(step):
    """Return the milliseconds of the kernels that a step spends most time in, and how long the GPU waits between."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        step()
        torch.cuda.synchronize()
    found = [e for e in recorded.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    spans = sorted((e.time_range.start, e.time_range.end, e.name) for e in found)
    totals, busy, reached = {}, 0.0, spans[0][0]
    for start, end, name in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
        count, total = totals.get(name[:70], (0, 0.0))
        totals[name[:70]] = (count + 1, total + (end - start) / 1e3)
    top = sorted(totals.items(), key=lambda item: -item[1][1])[:22]
    span = (reached - spans[0][0]) / 1e3
    return {
        "span_ms": round(span, 2),
        "gaps_ms": round(span - busy / 1e3, 2),
        "launches": len(spans),
        "top": [[name, count, round(ms, 2)] for name, (count, ms) in top],
    }


def show(row):
    """Print one result as a line, its profile below."""
    profile = row.get("profile")
    print(json.dumps({k: v for k, v in row.items() if k != "profile"}), flush=True)
    if profile:
        print(f"   span {profile['span_ms']} ms, gaps {profile['gaps_ms']} ms, {profile['launches']} launches")
        for name, count, ms in profile["top"]:
            print(f"   {ms:8.2f} ms {count:5d} x {name}", flush=True)


def attempt(row, work, *given):
    """Return what ``work`` returns, or None; ``row`` keeps the failure."""
    try:
        return work(*given)
    except Exception as error:  # noqa: BLE001 - one configuration must not cost the others
        row["failed"] = f"{type(error).__name__}: {str(error)[:400]}"
        print("\n".join(traceback.format_exc().splitlines()[-7:]), file=sys.stderr, flush=True)
        return None
    finally:
        free()


def main():
    """Run the configurations in order, as long as the budget lasts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", type=float, default=140, help="seconds after which no further configuration starts")
    parser.add_argument(
        "--dropout", type=float, default=0.0, help="of the adapters' inputs; the comparison is left out then"
    )
    parser.add_argument("--bases", nargs="*", default=["nf4", "fp8", "bf16"], help="leave out the others")
    for flag in ("--quick", "--tiny", "--no-profile", "--no-record"):
        parser.add_argument(flag, action="store_true")
    arguments = parser.parse_args()
    began, rows, model, stored = time.monotonic(), [], None, None
    for base, *shape in QUICK if arguments.quick else ALL:
        if base not in arguments.bases:
            continue
        row = {"base": base, **dict(zip(("recompute", "rows", "length", "dequantized_weights"), shape, strict=True))}
        rows.append(row)
        if time.monotonic() - began > arguments.budget:
            row["failed"] = "not run: the budget was used up"
        else:
            if stored != base:
                model = None
                free()
                model, stored = attempt(row, make_model, base, arguments.tiny, arguments.dropout), base
                if model is not None and not arguments.dropout:
                    row.update(attempt(row, compare, model, arguments.tiny) or {})
            if model is not None:
                row.update(attempt(row, time_steps, model, shape, arguments) or {})
        row["at_s"] = round(time.monotonic() - began, 1)
        show(row)
        arguments.out.write_text(json.dumps({"rows": rows}, indent=1))


if __name__ == "__main__":
    main()
