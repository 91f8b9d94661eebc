"""A plan says what is proved before training, and with ``prove`` what comes of it; the run folder stays as it is."""

import json
from dataclasses import asdict
from types import ModuleType

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from medtune import MedTuner, hookimpl
from medtune.accel.model.tolerances import TOLERANCES, WAYS, Tolerance
from medtune.cli.app import run
from medtune.errors import SpecError, UnprovenBaseError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.plan_in_words import proof_in_words
from medtune.testing.tiny import tiny_base

NOTHING_PASSES = Tolerance(loss=0.0, gradient=0.0, scale=0.0, leak=-1.0, foresight=1.0)


@pytest.fixture(scope="module")
def leaky(base, tmp_path_factory):
    """Return the folder of an OPT, which counts positions itself and so lets packed samples see each other."""
    folder = tmp_path_factory.mktemp("opt")
    tokenizer = tiny_base(base).tokenizer
    sizes = {"hidden_size": 32, "ffn_dim": 48, "word_embed_proj_dim": 32, "num_hidden_layers": 2}
    with quiet_libraries(), torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model("opt", vocab_size=len(tokenizer), num_attention_heads=4, pad_token_id=0, **sizes)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def tuner_of(asked, rows, **parts):
    request = asked(**parts)
    return MedTuner(request.spec, plugins=request.host, rows=rows)


def test_a_plan_announces_the_ways_and_the_bounds_and_loads_nothing(asked, rows, tmp_path):
    plan = tuner_of(asked, rows).plan()
    assert plan.proof == {"ways": list(WAYS), "bounds": asdict(TOLERANCES["fp32"])}
    (said,) = proof_in_words(plan.proof)
    assert said.startswith(
        "the fast path, else what is right, beside the model's own forward on the first micro-batch; "
    )
    assert said.endswith("loss within 1e-05, gradients 0.0001, other samples and later tokens 1e-05")
    assert not (tmp_path / "run").exists()


def test_bounds_are_those_of_storage_and_type(asked, rows):
    bounds = tuner_of(asked, rows).plan("h200").proof["bounds"]
    assert bounds == asdict(TOLERANCES["bf16"])
    request = asked()
    spec = request.spec.model_copy_with(quant=request.spec.quant.model_copy_with(scheme="int8"))
    stored = MedTuner(spec, plugins=request.host, rows=rows).plan("h200").proof["bounds"]
    assert stored["leak"] == TOLERANCES["int8"].leak > bounds["leak"]


def test_a_local_base_is_proved_and_the_run_folder_stays_as_it_is(asked, rows, files, tmp_path):
    tuner = tuner_of(asked, rows)
    plan = tuner.plan(prove=True)
    assert plan.proof["route"] == "fast path"
    assert 0 < plan.proof["gradient_error"] < 1e-4
    assert plan.with_proof({}) == plan
    assert not (tmp_path / "run").exists()
    tuner.train(quiet=True)
    proof = files("run.json")["proof"]
    untimed = {key: value for key, value in plan.proof.items() if key not in ("ways", "bounds", "seconds")}
    assert untimed == {key: value for key, value in proof.items() if key != "seconds"}
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*")}
    assert tuner.plan(prove=True).proof["route"] == "fast path"
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*")} == before


def test_a_base_that_lets_samples_see_each_other_is_told_to_be_taken_unpacked(asked, rows, leaky):
    proof = tuner_of(asked, rows, model=str(leaky)).plan(prove=True).proof
    assert proof["route"] == "unpacked"
    assert proof["leak"] <= 1e-5
    said = proof_in_words(proof)
    assert any(line.startswith("unpacked, in ") for line in said)
    assert any("passed over: plain path, since" in line and "see each other" in line for line in said)


def test_the_bounds_that_are_told_are_those_that_the_proof_is_held_to(asked, rows, monkeypatch):
    monkeypatch.setitem(TOLERANCES, "fp32", NOTHING_PASSES)
    tuner = tuner_of(asked, rows)
    assert tuner.plan().proof["bounds"] == asdict(NOTHING_PASSES)
    with pytest.raises(UnprovenBaseError, match="unpacked"):
        tuner.plan(prove=True)


def test_the_command_prints_the_proof(base, rows, leaky, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [f"model.path={leaky}", f"data.source={path}", "data.validation=null", "quant.scheme=none"]
    settings += ["data.validation_fraction=0.2", "train.max_length=192"]
    arguments = ["plan", "--prove", "--out", str(tmp_path / "run")]
    arguments += [part for setting in settings for part in ("--set", setting)]
    assert run([*arguments, "--json"]) == 0
    proof = json.loads(capsys.readouterr().out)["proof"]
    assert proof["route"] == "unpacked"
    assert proof.keys() >= {"ways", "bounds", "loss_error", "gradient_error", "seconds", "passed_over"}
    assert run(arguments) == 0
    assert "proof │ unpacked, in " in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "run").exists()


class Trusting:
    """A trainer that proves nothing."""

    name = "trusting"

    def fit(self, job):
        raise NotImplementedError


def test_what_cannot_be_proved_here_is_refused_in_one_sentence(asked, rows, base, tmp_path):
    tuner = tuner_of(asked, rows)
    with pytest.raises(SpecError, match="prove without --gpu"):
        tuner.plan("h200", prove=True)
    plugin = ModuleType("trusting")
    plugin.provide_trainers = hookimpl(lambda: [Trusting()], specname="provide_trainers")
    trusting = tuner_of(asked, rows, plugin=plugin, train={"backend": "trusting"})
    assert trusting.plan().proof == {}
    with pytest.raises(SpecError, match="trainer 'trusting' proves nothing"):
        trusting.plan(prove=True)
    for file in base.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(SpecError, match="are not on this machine, so nothing can be proved"):
        tuner_of(asked, rows, model=str(tmp_path)).plan(prove=True)
