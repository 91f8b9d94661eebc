"""Times generation for evaluation on a base of Starling's shape, and counts differences from plain ``generate``.

    python benchmarks/generate.py                      # on a CUDA GPU of 40 GiB or more
    python benchmarks/generate.py --tiny --schemes none

The weights are random: the work is that of the real model, the answers are not. Every line printed is one JSON object.
Prompts have 90 to 260 tokens, like MedTuned's NER rows; "even" answers have 128 tokens each and nothing stops earlier,
"ragged" ones end where a log-normal draw says. Tokens per second count answer tokens over the whole time, reading the
prompts and capturing graphs included.
"""

import argparse
import json
import random
import time
from types import SimpleNamespace

import torch

from medtune.backends.fast_generate import fast_generate
from medtune.backends.peft import PeftAdapter
from medtune.backends.stock_generate import stock_generate
from medtune.plugins.contracts import GenerationRequest, Loaded
from medtune.specs import EvalSpec, LoraSpec

NEVER = (10**6,)  # an id that no vocabulary has
SHAPES = {
    "starling": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
    },
    "tiny": {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 256,
    },
}
VOCABULARY = 32002
FAMILIES = ("Mistral", "Llama", "Qwen2", "Qwen3")


def main():
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiny", action="store_true", help="a shape for trying the script out")
    parser.add_argument("--schemes", nargs="*", default=["none", "nf4"], choices=["none", "nf4"])
    parser.add_argument("--slots", nargs="*", type=int, default=[64, 256, 512])
    parser.add_argument("--prompts", type=int, default=1024)
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--plain", nargs="*", type=int, default=[256], help="batch sizes of plain generate")
    parser.add_argument("--small-memory", type=float, default=2.0, help="GiB for the frugal run of a 4-bit base")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    with torch.device(device):  # models are made where they run
        warm_up(device)
        for family in FAMILIES:
            show(part="equality in fp32", **equality(family, device))
        for scheme in options.schemes:
            loaded = starling(scheme, device, tiny=options.tiny)
            speeds(loaded, options)
            del loaded
            if device != "cpu":
                torch.cuda.empty_cache()


def speeds(loaded, options):
    """Print the figures of one base."""
    even = requests(options.prompts, options.new)
    ragged = requests(options.prompts, options.new, ragged=True)
    fast_generate(loaded, even[:8], EvalSpec())  # compiles kernels
    for slots in options.slots:
        time_fast(loaded, "even", even[: max(slots, 256)], EvalSpec(batch_size=slots))
    time_fast(loaded, "even, all prompts", even, EvalSpec())
    time_fast(loaded, "ragged, all prompts", ragged, EvalSpec())
    if loaded.scheme != "none":
        time_fast(loaded, "even, frugal", even[:256], EvalSpec(memory_gib=options.small_memory))
    if options.profile:
        profile(loaded, even[:256])
    for size in options.plain:
        seconds, answers = timed(lambda n=size: stock_generate(loaded, even[:n], EvalSpec(batch_size=n)))
        show(
            part="plain generate",
            scheme=loaded.scheme,
            batch=size,
            tokens_per_second=round(sum(map(len, answers)) / seconds, 1),
        )
        fast = fast_generate(loaded, even[:size], EvalSpec(batch_size=size))
        show(part="against plain", scheme=loaded.scheme, dtype=loaded.compute_dtype, **differences(fast, answers))
        show(part="teacher-forced", scheme=loaded.scheme, **teacher_forced(loaded, even[: len(fast)][:64], fast[:64]))


def time_fast(loaded, name, prompts, spec):
    """Time medtune's generation and print one line."""
    seconds, answers = timed(lambda: fast_generate(loaded, prompts, spec))
    tokens = sum(map(len, answers))
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0
    show(
        part=name,
        scheme=loaded.scheme,
        slots=spec.batch_size,
        prompts=len(prompts),
        tokens=tokens,
        seconds=round(seconds, 3),
        tokens_per_second=round(tokens / seconds, 1),
        peak_gib=round(peak, 1),
    )


def equality(family, device):
    """Compare answers of a small fp32 model with those of plain generate, stop ids and limits included."""
    model = build(family, SHAPES["tiny"] | {"head_dim": 64}, torch.float32, vocabulary=512)
    loaded = adapted(Loaded(model, tokenizer(), device, "fp32", (3, 5, 77)))
    draw = random.Random(1)
    prompts = [
        GenerationRequest([draw.randrange(6, 512) for _ in range(draw.randint(1, 90))], draw.randint(1, 70))
        for _ in range(300)
    ]
    plain = [until_stop(a, loaded.stop_ids) for a in stock_generate(loaded, prompts, EvalSpec(batch_size=100))]
    fast = fast_generate(loaded, prompts, EvalSpec(batch_size=64))
    return {"family": family, "early": sum(a[-1] in loaded.stop_ids for a in fast), **differences(fast, plain)}


def differences(fast, plain):
    """Return how many answers differ, and the share of tokens before the first difference."""
    differing = [(a, b) for a, b in zip(fast, plain, strict=True) if a != b]
    alike = sum(
        next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
        for a, b in zip(fast, plain, strict=True)
    )
    return {
        "prompts": len(fast),
        "differing": len(differing),
        "alike_until": round(alike / max(1, sum(map(len, plain))), 4),
    }


def teacher_forced(loaded, prompts, answers):
    """Return the share of chosen tokens that plain forward passes over the same text do not choose, and by how much.

    Random weights leave the two best tokens closer together than a trained model does, so this is an upper bound.
    """
    other = total = 0
    worst = 0.0
    with torch.inference_mode():
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([[*prompt.input_ids, *answer[:-1]]], device=loaded.device)
            logits = loaded.model(input_ids=ids, logits_to_keep=len(answer)).logits[0].float()
            chosen = torch.tensor(answer, device=loaded.device)
            gap = logits.max(-1).values - logits.gather(1, chosen[:, None])[:, 0]
            other += int((gap > 0).sum())
            total += len(answer)
            worst = max(worst, float(gap.max() / logits.std()))
    return {"other_choice": round(other / total, 5), "worst_gap_in_deviations": round(worst, 4)}


def profile(loaded, prompts):
    """Print where the time of a decode goes, by kernel."""
    short = [GenerationRequest(p.input_ids, 40) for p in prompts]
    spec = EvalSpec(batch_size=256)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        fast_generate(loaded, short, spec)
    rows = sorted(seen.key_averages(), key=lambda e: -e.self_device_time_total)
    total = sum(e.self_device_time_total for e in rows)
    show(part="profile", scheme=loaded.scheme, steps=39, device_ms=round(total / 1e3, 1))
    for row in rows[:22]:
        show(kernel=row.key[:90], calls=row.count, ms=round(row.self_device_time_total / 1e3, 2))


def starling(scheme, device, *, tiny):
    """Return a base of Starling's shape with random weights and a LoRA adapter that matters."""
    dtype = torch.bfloat16 if device != "cpu" else torch.float32
    model = build("Mistral", SHAPES["tiny" if tiny else "starling"], dtype)
    if scheme == "nf4":
        quantize(model, dtype)
    name = "bf16" if dtype == torch.bfloat16 else "fp32"
    return adapted(Loaded(model, tokenizer(), device, name, NEVER, scheme))


def build(family, shape, dtype, vocabulary=VOCABULARY):
    """Return a random model; deviations are those of transformers' initialisation."""
    import transformers

    config = getattr(transformers, f"{family}Config")(
        vocab_size=vocabulary, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, **shape
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
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
                    small = Linear4bit(
                        linear.in_features,
                        linear.out_features,
                        bias=False,
                        compute_dtype=dtype,
                        quant_type="nf4",
                        device="meta",
                    )
                    small.support_avx512bf16_for_cpu = False
                    small.weight = Params4bit(
                        linear.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
                    )
                    setattr(part, name, small.to(linear.weight.device))
    model.is_loaded_in_4bit = True


def adapted(loaded):
    """Attach an adapter whose update is about a tenth of the weights' size."""
    loaded = PeftAdapter().attach(loaded, LoraSpec())
    torch.manual_seed(1)
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.02)
    loaded.model.eval()
    return loaded


def requests(count, new, *, ragged=False):
    """Return NER-like prompts."""
    draw = random.Random(0)
    limits = [min(400, max(16, int(draw.lognormvariate(4.7, 0.55)))) if ragged else new for _ in range(count)]
    return [GenerationRequest([draw.randrange(3, 32000) for _ in range(draw.randint(90, 259))], n) for n in limits]


def until_stop(ids, stops):
    """Cut an answer after its first stop id."""
    end = next((i for i, token in enumerate(ids) if token in stops), len(ids))
    return ids[: end + 1]


def tokenizer():
    """Return what generation needs of a tokenizer here."""
    return SimpleNamespace(pad_token_id=0)


def warm_up(device):
    """Let libraries set themselves up."""
    torch.mm(torch.ones(8, 8, device=device), torch.ones(8, 8, device=device))


def timed(work):
    """Return seconds and result."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def show(**values):
    """Print one line of figures."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
