"""Four families, in every form, on more than 200 prompts; the table of the documents is what was measured here."""

from pathlib import Path

import pytest
from tiny_families import make_base

from medtune import MedTuner

pytest.importorskip("xllamacpp")

PAGE = Path(__file__).parents[3] / "docs" / "export.md"
BEGIN, END = "<!-- families -->\n", "<!-- end of families -->\n"
FORMS = (
    ("merged", {"dtype": "bf16"}),
    ("gguf", {"quant": "F16"}),
    ("gguf", {"quant": "Q8_0"}),
    ("gguf-adapter", {"quant": "F16"}),
)
VERDICTS = ("Entailment", "Neutral", "Contradiction")


def tuned(family, folder, rows):
    row = {"instruction": "Relation?", "source": "MedNLI"}
    text = "Sentence 1: Patient {} has fever.\nSentence 2: Patient {} is ill."
    given = [{**row, "input": text.format(n, n), "output": VERDICTS[n % 3]} for n in range(rows)]
    spec = MedTuner.from_defaults(
        model=str(make_base(family, folder / "base")), data={"source": "rows", "validation_fraction": 0.5},
        quant={"scheme": "none"}, eval={"enabled": False, "max_new_tokens": 4}, output_dir=str(folder / "run"),
        train={"max_length": 192, "num_train_epochs": None, "max_steps": 12, "learning_rate": 5e-3},
    ).spec  # fmt: skip
    return MedTuner(spec, rows=given).train()


@pytest.mark.parametrize("family", ["qwen3", pytest.param("gemma2", marks=pytest.mark.proof)])
def test_a_family_is_proved_by_llama_cpp(family, tmp_path):
    proof = tuned(family, tmp_path, 24).export("gguf", tmp_path / "out").facts["proof"]
    assert proof["equal"] + proof["near_ties"] == proof["prompts"]
    assert proof["prompts_equal"] == proof["conversations"] > 0


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_four_families_in_every_form_on_200_prompts(tmp_path):
    lines = [
        "| family | form | prompts | equal | differ at near ties | differ otherwise | logits, share of the largest |"
    ]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for family in ("mistral", "qwen2", "qwen3", "gemma2"):
        run = tuned(family, tmp_path / family, 440)
        for to, options in FORMS:
            exported = run.export(to, tmp_path / family / f"{to}-{options}", **options)
            proof = exported.facts["proof"]
            assert proof["prompts"] > 200
            form = f"{to} {next(iter(options.values()))}"
            counts = f"{proof['prompts']} | {proof['equal']} | {proof['near_ties']} | {proof['differing']}"
            lines.append(f"| {family} | {form} | {counts} | {proof['relative_error']:.1e} |")
            print(lines[-1], flush=True)
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + rest[rest.index(END) :])
