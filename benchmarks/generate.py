"""Times generation for evaluation on a base of Starling's shape, and counts differences from plain ``generate``.

    python benchmarks/generate.py --out generate.json            # on a CUDA GPU of 60 GiB or more, about 100 seconds
    python benchmarks/generate.py --out generate.json --tiny     # to try the script out, on a CPU too

The weights are random and made on the device: the work is that of the real model, the answers are not. Every base has a
LoRA adapter attached. Prompts have 90 to 260 tokens, and nothing stops an answer early, except in "ragged" ones, whose
limits are a log-normal draw. Prompts "alike" begin with one of five texts of 73 to 81 tokens, as MedTuned's NER rows do (chat
format and one of five paraphrases); those "unlike" share nothing. Tokens per second count answer tokens over the whole time: reading
the model and the prompts and capturing graphs included. Each figure is one JSON line as soon as it is known, and the file
always holds those so far; a part that fails leaves its error there and the next one begins.
"""

import argparse
import json
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import torch

from medtune.accel.decode.plan import PromptRoom, SlotSize
from medtune.accel.decode.reading import read_decoder, survey
from medtune.accel.decode.slots import Decoding
from medtune.backends import fast_generate as fast
from medtune.backends.peft import PeftAdapter
from medtune.backends.transformers_generate import generate_by_transformers
from medtune.plugins.contracts import GenerationRequest, Loaded
from medtune.specs import EvalSpec, LoraSpec

CUDA = torch.cuda.is_available()
DEVICE = "cuda:0" if CUDA else "cpu"
NEVER = (10**6,)  # an id that no vocabulary has
STARLING = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
}
TINY = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 256,
}
VOCABULARY = 32002
FAMILIES = ("Mistral", "Llama", "Qwen2", "Qwen3")


class Figures:
    """Prints figures and keeps them in a file; runs parts so that none takes the others down."""

    def __init__(self, path, seconds):
        self.path, self.rows, self.depth = path, [], 0
        self.end = time.monotonic() + seconds
        signal.signal(signal.SIGALRM, self._too_late)

    def show(self, **values):
        """Print and keep one line."""
        self.rows.append(values)
        print(json.dumps(values), flush=True)
        if self.path:
            self.path.write_text(json.dumps(self.rows, indent=1))

    def part(self, name, work, *arguments, **options):
        """Run a part; an error or the end of the time becomes a line."""
        left = self.end - time.monotonic()
        if left < 1:
            self.show(part=name, skipped="no time left")
            return None
        self.depth += 1
        signal.setitimer(signal.ITIMER_REAL, left)
        try:
            return work(self, *arguments, **options)
        except Exception as error:  # noqa: BLE001 - the next part shall still run
            self.show(part=name, error=f"{type(error).__name__}: {str(error)[:400]}")
            return None
        finally:
            self.depth -= 1
            if not self.depth:
                signal.setitimer(signal.ITIMER_REAL, 0)

    @staticmethod
    def _too_late(*_):
        raise TimeoutError("no time left")


def main():
    """Run all parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="file for the figures")
    parser.add_argument("--tiny", action="store_true", help="a shape for trying the script out")
    parser.add_argument("--schemes", nargs="*", default=["none", "nf4"], choices=["none", "nf4"])
    parser.add_argument("--prompts", type=int, default=1024)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument(
        "--static", action="store_true", help="plain generate with a static cache too; minutes to compile"
    )
    parser.add_argument("--seconds", type=float, default=115, help="when the last part is broken off")
    options = parser.parse_args()
    figures = Figures(options.out, options.seconds)
    figures.show(device=torch.cuda.get_device_name() if CUDA else "cpu", torch=torch.__version__)
    for family in FAMILIES:
        figures.part(f"equality {family}", equality, family)
    for scheme in options.schemes:
        loaded = figures.part(f"build {scheme}", starling, scheme, tiny=options.tiny)
        if loaded:
            figures.part(f"speeds {scheme}", speeds, loaded, options)
            figures.part(f"step {scheme}", step_times, loaded, requests(256, options.new))
            if scheme == "none":
                figures.part("against plain", against_plain, loaded, requests(256, options.new))
            if scheme == options.schemes[-1]:
                figures.part("ragged", ragged, loaded, options)
            if scheme == "none" and CUDA and options.static:
                figures.part("plain, static cache", plain_static, loaded, requests(256, options.new))
        del loaded
        free()
    figures.show(part="end", seconds=round(options.seconds - (figures.end - time.monotonic()), 1))


def equality(figures, family):
    """Compare answers of a small fp32 model with those of plain generate, stop ids and limits included."""
    model = build(family, TINY | {"head_dim": 64}, torch.float32, vocabulary=512)
    loaded = adapted(Loaded(model, tokenizer(), DEVICE, "fp32", (3, 5, 77)))
    draw = random.Random(1)
    prompts = [
        GenerationRequest([draw.randrange(6, 512) for _ in range(draw.randint(1, 90))], draw.randint(1, 70))
        for _ in range(120)
    ]
    plain = [until_stop(a, loaded.stop_ids) for a in generate_by_transformers(loaded, prompts, EvalSpec(batch_size=60))]
    own = fast.fast_generate(loaded, prompts, EvalSpec(batch_size=32))
    early = sum(answer[-1] in loaded.stop_ids for answer in own)
    gaps = gaps_where_they_part(loaded, prompts, own, plain)
    figures.show(part="equality in fp32", family=family, early=early, **differences(own, plain), gaps=gaps)


def speeds(figures, loaded, options):
    """Show tokens per second with as many slots as prompts, and with prompts waiting."""
    alike, unlike = (requests(options.prompts, options.new, alike=given) for given in (True, False))
    for prompts in (unlike, alike):
        fast.fast_generate(loaded, prompts[:16], EvalSpec())  # compiles kernels
    for count, slots in [(256, 256), (options.prompts, "auto"), (64, 64)]:
        for name, prompts in (("alike", alike), ("unlike", unlike)):
            figures.part("speed", speed, loaded, prompts[:count], EvalSpec(batch_size=slots), name)
    if loaded.scheme != "none":  # memory for the cache, but not for dequantized weights beside it
        figures.part("speed", speed, loaded, alike[:256], EvalSpec(batch_size=256, memory_gib=14), "alike")


def ragged(figures, loaded, options):
    """Show tokens per second of answers of different lengths."""
    speed(figures, loaded, requests(options.prompts, options.new, ragged=True), EvalSpec(), name="ragged")


def speed(figures, loaded, prompts, spec, name):
    """Time medtune's generation."""
    seconds, answers = timed(lambda: fast.fast_generate(loaded, prompts, spec))
    tokens = sum(map(len, answers))
    figures.show(
        part=name,
        scheme=loaded.scheme,
        slots=spec.batch_size,
        memory_gib=spec.memory_gib,
        prompts=len(prompts),
        tokens=tokens,
        seconds=round(seconds, 3),
        tokens_per_second=round(tokens / seconds, 1),
        peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 1) if CUDA else None,
    )


def step_times(figures, loaded, prompts):
    """Show how long prompts and one step of all sequences take, and where a step's time goes."""
    with torch.inference_mode():
        found = survey(loaded.model, found_dtype(loaded))
        seconds, decoder = timed(lambda: read_decoder(found, found_dtype(loaded), dequantize=True))
        figures.show(part="reading the model", scheme=loaded.scheme, ms=round(1e3 * seconds, 1))
        by_key = dict(enumerate(prompts))
        for run in ("first", "again"):
            decoding = Decoding(decoder, SlotSize(len(prompts), 448), PromptRoom(8192, 4096), NEVER)
            waiting = fast_deque(by_key)
            seconds, _ = timed(lambda d=decoding, w=waiting: d._admit(w, by_key, {}))  # noqa: SLF001
            tokens = sum(len(p.input_ids) for p in prompts)
            figures.show(part="prompts", run=run, tokens=tokens, ms=round(1e3 * seconds, 1))
        step = decoding.steps()
        for run in ("as written", "captured"):
            seconds, _ = timed(lambda: step(len(prompts)))
            figures.show(part="step", run=run, ms=round(1e3 * seconds, 2))
        steps = 40
        seconds, _ = timed(lambda: [step(len(prompts)) for _ in range(steps)])
        figures.show(part="step", run="launched again", scheme=loaded.scheme, ms=round(1e3 * seconds / steps, 3))
        if CUDA:
            figures.part("profile", profile, step, len(prompts), seconds / steps)


def profile(figures, step, rows, step_seconds):
    """Show the kernels of a step by their share, and how long the device waits between them."""
    steps = 5
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        for _ in range(steps):
            step(rows)
        torch.cuda.synchronize()
    kernels = [e for e in seen.key_averages() if e.self_device_time_total > 0]
    kernels.sort(key=lambda e: -e.self_device_time_total)
    busy = sum(e.self_device_time_total for e in kernels) / steps / 1e3
    calls = sum(e.count for e in kernels) // steps
    figures.show(part="profile", busy_ms=round(busy, 3), gaps_ms=round(1e3 * step_seconds - busy, 3), kernels=calls)
    for kernel in kernels[:16]:
        ms = round(kernel.self_device_time_total / steps / 1e3, 3)
        figures.show(kernel=kernel.key[:100], calls=kernel.count // steps, ms=ms)


def against_plain(figures, loaded, prompts):
    """Time plain generate and count the answers that differ, beside how many differ between two of its batch sizes."""
    seconds, plain = timed(lambda: generate_by_transformers(loaded, prompts, EvalSpec(batch_size=len(prompts))))
    rate = round(sum(map(len, plain)) / seconds, 1)
    figures.show(part="plain generate", scheme=loaded.scheme, batch=len(prompts), tokens_per_second=rate)
    own = fast.fast_generate(loaded, prompts, EvalSpec(batch_size=len(prompts)))
    figures.show(part="differences from plain", dtype=loaded.compute_dtype, **differences(own, plain))
    figures.show(part="medtune's tokens, teacher-forced", **teacher_forced(loaded, prompts[:32], own[:32]))
    figures.show(part="plain's own tokens, teacher-forced", **teacher_forced(loaded, prompts[:32], plain[:32]))
    smaller = generate_by_transformers(loaded, prompts[:64], EvalSpec(batch_size=64))
    figures.show(part="plain at batch 64 from plain at 256", **differences(smaller, plain[:64]))


def plain_static(figures, loaded, prompts):
    """Time plain generate with a static cache, which it compiles: its fastest way; the second run counts."""
    from transformers import GenerationConfig

    width, new = max(len(p.input_ids) for p in prompts), prompts[0].max_new_tokens
    ids = torch.tensor([[0] * (width - len(p.input_ids)) + list(p.input_ids) for p in prompts], device=DEVICE)
    config = GenerationConfig(max_new_tokens=new, do_sample=False, pad_token_id=0, cache_implementation="static")
    given = {"input_ids": ids, "attention_mask": (ids != 0).long(), "generation_config": config}
    for run in ("first", "again"):
        with torch.inference_mode():
            seconds, _ = timed(lambda: loaded.model.generate(**given, eos_token_id=NEVER[0]))
        rate = round(len(prompts) * new / seconds, 1)
        figures.show(part="plain, static cache", run=run, batch=len(prompts), tokens_per_second=rate)


def differences(own, plain):
    """Return how many answers differ, and the share of tokens before the first difference."""
    differing = sum(a != b for a, b in zip(own, plain, strict=True))
    alike = sum(
        next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
        for a, b in zip(own, plain, strict=True)
    )
    return {
        "prompts": len(own),
        "differing": differing,
        "alike_until": round(alike / max(1, sum(map(len, plain))), 4),
    }


def gaps_where_they_part(loaded, prompts, own, plain):
    """Return, for each answer that differs, how far apart the two tokens' logits are there, in deviations of all logits.

    What lies within rounding of fp32 (1e-6 or so) is a tie that either way of adding decides.
    """
    gaps = []
    for prompt, one, other in zip(prompts, own, plain, strict=True):
        place = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), None)
        if place is not None:
            ids = torch.tensor([[*prompt.input_ids, *other[:place]]], device=DEVICE)
            with torch.inference_mode():
                logits = loaded.model(input_ids=ids).logits[0, -1].double()
            gaps.append(float(abs(logits[one[place]] - logits[other[place]]) / logits.std()))
    return gaps


def teacher_forced(loaded, prompts, answers):
    """Return the share of chosen tokens that plain forward passes over the same text do not choose, and by how much.

    Random weights leave the two best tokens closer together than a trained model does, so this is an upper bound.
    """
    other = total = 0
    worst = 0.0
    with torch.inference_mode():
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([[*prompt.input_ids, *answer[:-1]]], device=DEVICE)
            logits = loaded.model(input_ids=ids, logits_to_keep=len(answer)).logits[0].float()
            gap = logits.max(-1).values - logits.gather(1, torch.tensor(answer, device=DEVICE)[:, None])[:, 0]
            other += int((gap > 0).sum())
            total += len(answer)
            worst = max(worst, float(gap.max() / logits.std()))
    return {"other_choice": round(other / total, 5), "worst_gap_in_deviations": round(worst, 4)}


def starling(figures, scheme, *, tiny):
    """Return a base of Starling's shape with random weights and a LoRA adapter that matters."""
    dtype = torch.bfloat16 if CUDA else torch.float32
    start = time.monotonic()
    model = build("Mistral", TINY if tiny else STARLING, dtype)
    if scheme == "nf4":
        quantize(model, dtype)
    loaded = adapted(Loaded(model, tokenizer(), DEVICE, "bf16" if CUDA else "fp32", NEVER, scheme))
    figures.show(part="build", scheme=scheme, seconds=round(time.monotonic() - start, 1))
    return loaded


def build(family, shape, dtype, vocabulary=VOCABULARY):
    """Return a random model; deviations are those of transformers' initialisation."""
    import transformers

    config = getattr(transformers, f"{family}Config")(
        vocab_size=vocabulary, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, **shape
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(DEVICE):
            model = getattr(transformers, f"{family}ForCausalLM")(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return model.eval().requires_grad_(requires_grad=False)


def quantize(model, dtype):
    """Replace the linear layers of all blocks by NF4 ones with double quantization."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, torch.nn.Linear):
                    size = linear.in_features, linear.out_features
                    small = Linear4bit(*size, bias=False, compute_dtype=dtype, quant_type="nf4", device="meta")
                    small.support_avx512bf16_for_cpu = False
                    small.weight = Params4bit(
                        linear.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
                    )
                    setattr(part, name, small.to(DEVICE))
    model.is_loaded_in_4bit = True


def adapted(loaded):
    """Attach an adapter whose update is about a tenth of the weights' size."""
    loaded = PeftAdapter().attach(loaded, LoraSpec())
    torch.manual_seed(1)
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.02)
    loaded.model.to(DEVICE).eval()
    return loaded


def requests(count, new, *, ragged=False, alike=False):
    """Return NER-like prompts; those that are ``alike`` begin with one of five texts."""
    draw = random.Random(0)
    texts = [[draw.randrange(3, 32000) for _ in range(n)] for n in (73, 75, 76, 77, 81)] if alike else [[]]
    limits = [min(400, max(16, int(draw.lognormvariate(4.7, 0.55)))) if ragged else new for _ in range(count)]
    prompts = []
    for limit in limits:
        text, length = draw.choice(texts), draw.randint(90, 259)
        own = [draw.randrange(3, 32000) for _ in range(length - len(text))]
        prompts.append(GenerationRequest([*text, *own], limit))
    return prompts


def until_stop(ids, stops):
    """Cut an answer after its first stop id."""
    end = next((i for i, token in enumerate(ids) if token in stops), len(ids))
    return ids[: end + 1]


def found_dtype(loaded):
    """Return the compute type."""
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[loaded.compute_dtype]


def fast_deque(by_key):
    """Return the keys as the queue that sequences are admitted from."""
    from collections import deque

    return deque(sorted(by_key, key=lambda k: -len(by_key[k].input_ids)))


def tokenizer():
    """Return what generation needs of a tokenizer here."""
    return SimpleNamespace(pad_token_id=0)


def free():
    """Give unused memory back."""
    if CUDA:
        torch.cuda.empty_cache()


def timed(work):
    """Return seconds and result."""
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = work()
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
