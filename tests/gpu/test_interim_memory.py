"""Scores during training stay below the memory that training takes."""

import random

import pytest
import torch
import transformers

from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.plugins.contracts import Example, Job
from medtune.plugins.host import create_host
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base

STEPS = 6


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Folder of a random model that is large enough for its activations to outweigh what libraries take."""
    folder = tmp_path_factory.mktemp("base")
    sizes = {"vocab_size": 258, "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 1024}
    config = transformers.MistralConfig(**sizes, **heads, pad_token_id=0, bos_token_id=None, eos_token_id=1)
    transformers.MistralForCausalLM(config).save_pretrained(folder)
    return folder


def fit(base, folder, recompute, *, scored):
    """Train a 4-bit model and return its peak in GiB and its losses."""
    from medtune.workflow.scoring import score_briefly

    train = {"max_steps": STEPS, "per_device_batch_size": 16, "gradient_accumulation_steps": 1, "max_length": 512}
    more = {"optim": "adamw_torch", "logging_steps": 1, "save_strategy": "no", "recompute": recompute}
    spec = RunSpec.model_validate({"train": {**train, **more}, "eval": {"every": 2 if scored else "never"}})
    seed_all(spec.seed)
    loaded = PeftAdapter().attach(tiny_base(base, "nf4", "cuda:0"), spec.lora)
    host, draw, logs = create_host(autoload=False), random.Random(0), []
    examples = [
        Example(
            messages=[
                {"role": "user", "content": "".join(draw.choices("abcdefgh ", k=draw.randint(20, 200)))},
                {"role": "assistant", "content": "Entailment"},
            ],
            source="MedNLI",
            row_id=str(number),
        )
        for number in range(96)
    ]

    def score(_step):
        logs.append({"macro": score_briefly(loaded, examples, spec, host)["macro"]})
        return logs[-1]["macro"]

    rows = RandomRows(count=64, max_length=512)
    job = Job(spec, loaded, rows, folder / "run", STEPS, on_log=logs.append, on_evaluate=score if scored else None)
    torch.cuda.empty_cache()
    result = TrlTrainer().fit(job)
    assert sum("macro" in record for record in logs) == (2 if scored else 0)
    return result.peak_memory_gib, [record["loss"] for record in logs if "loss" in record]


@pytest.mark.parametrize("recompute", [pytest.param("none", marks=pytest.mark.proof), "all"])
def test_scores_on_the_way_do_not_raise_the_peak(base, tmp_path, recompute, figures, caplog):
    fit(base, tmp_path, recompute, scored=True)  # kernels are compiled, libraries take their memory
    without, losses = fit(base, tmp_path, recompute, scored=False)
    with_scores, again = fit(base, tmp_path, recompute, scored=True)
    figures(recompute=recompute, without_gib=round(without, 4), with_scores_gib=round(with_scores, 4))
    assert with_scores <= without * 1.01
    assert again == pytest.approx(losses, rel=1e-3)
    assert not [line for line in caplog.messages if "one answer at a time" in line]
