"""A user can have it shown that samples in one row do not see each other."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from demo_base.generator import generate_rows
from medtune import MedTuner, ModelSpec, hookimpl
from medtune.cli.app import run
from medtune.errors import DataError
from medtune.machine.libraries import quiet_libraries
from medtune.testing.tiny import RandomRows, tiny_base
from medtune.workflow.leak_test import ATTENTIONS, prove_isolation

UNQUANTIZED = {"scheme": "none"}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


def tuner_of(base, **overrides):
    rows = list(generate_rows("train", 3, 0))
    data = {"validation_fraction": 0.0, "accept_loss": True, "source": "rows"}
    train = {"max_length": 2048, **overrides.pop("train", {})}
    return MedTuner.from_bundle(
        "demo", model=ModelSpec(name="tiny", path=str(base)), data=data, train=train, quant=UNQUANTIZED, **overrides
    ), rows


def inspected(base, **overrides):
    tuner, rows = tuner_of(base, **overrides)
    return MedTuner(tuner.spec, plugins=tuner.host, rows=rows).inspect(1, leak_test=True).to_json()["leak_test"]


def test_the_run_s_own_model_is_asked_under_every_attention(base):
    outcome = inspected(base)
    assert outcome["isolated"] is True
    assert (outcome["model"], outcome["rows"]) == (str(base), 2)
    assert set(ATTENTIONS) == {"sdpa", "eager"}
    assert list(outcome["attention"]) == [*ATTENTIONS, "fast path", "fast path, common prefixes once"]
    assert all(f["largest_change"] == 0 < f["control"] for f in outcome["attention"].values())
    assert all(f["control"] > 0.01 for f in outcome["attention"].values())


@pytest.mark.parametrize(
    ("train", "asked"),
    [
        ({"share_prefixes": False}, (*ATTENTIONS, "fast path")),
        pytest.param({"fast_path": "off"}, ATTENTIONS, marks=pytest.mark.proof),
        pytest.param({"precision": "bf16"}, ATTENTIONS, marks=pytest.mark.proof),
    ],
)
def test_the_fast_path_is_asked_as_the_run_takes_it(base, train, asked):
    assert tuple(inspected(base, train=train)["attention"]) == asked


def joined(batch):
    """A layout that forgets where the second piece begins."""
    pieces = torch.cat([batch.offsets[:1], batch.offsets[2:]])
    return replace(batch, offsets=pieces, longest=int(pieces.diff().max()), shared=batch.shared[:, 1:])


def seen_too_far(batch):
    """A layout whose rests of a common prefix see the next rest's first tokens."""
    shared = batch.shared.clone()
    shared[1] += 3 * (shared[1] > shared[0])
    return replace(batch, shared=shared)


@pytest.mark.parametrize(
    ("mistake", "share", "told"),
    [
        (joined, False, r"attention 'fast path': .* among rows 'row-10', 'row-4', 'row-2'; set train\.fast_path=off"),
        (seen_too_far, True, r"common prefixes once': .* set train\.share_prefixes=false"),
    ],
)
def test_a_fast_path_that_lets_samples_see_each_other_is_refused(base, monkeypatch, mistake, share, told):
    from medtune.accel.train import fast_path

    lay_out = fast_path.lay_out

    def wrong(ids, positions, labels, longest):
        batch = lay_out(ids, positions, labels, longest)
        return mistake(batch) if batch.shares == share else batch

    monkeypatch.setattr(fast_path, "lay_out", wrong)
    with pytest.raises(DataError, match=told):
        inspected(base)


def test_unpacked_rows_have_nothing_to_leak(base):
    outcome = inspected(base, train={"packing": False})
    assert outcome == {"isolated": True, "model": "none", "rows": 0, "attention": {}, "fallback": ""}


class Nearsighted:
    """A quantizer whose model forgets the positions, and with them the borders of samples."""

    name = "nearsighted"

    def __init__(self, folder):
        self.folder = folder

    def load(self, model, spec):
        loaded = tiny_base(self.folder)
        forward = loaded.model.forward
        loaded.model.forward = lambda input_ids, position_ids, **others: forward(input_ids=input_ids, **others)
        return loaded


class NearsightedPlugin:
    __hash__ = object.__hash__

    def __init__(self, folder):
        self.folder = folder

    @hookimpl
    def provide_quantizers(self):
        return [Nearsighted(self.folder)]


def test_a_model_that_ignores_positions_is_taken_one_by_one_as_in_training(base):
    tuner, rows = tuner_of(base)
    quant = tuner.spec.quant.model_copy_with(backend="nearsighted")
    leaky = MedTuner(tuner.spec.model_copy_with(quant=quant), plugins=[NearsightedPlugin(base)], rows=rows)
    outcome = leaky.inspect(1, leak_test=True).to_json()["leak_test"]
    assert outcome["isolated"] is False
    assert "under attention sdpa and eager, so training takes each by itself (route 'unpacked')" in outcome["fallback"]
    assert outcome["attention"].keys() == set(ATTENTIONS)


FAMILIES = {
    "opt": (
        {"hidden_size": 32, "ffn_dim": 48, "word_embed_proj_dim": 32},
        {"sdpa", "eager"},
    ),  # counts positions itself
    "bloom": ({"hidden_size": 32, "n_layer": 2, "n_head": 4}, {"eager"}),  # bends scores by distance, and has no sdpa
}


@pytest.mark.parametrize("name", ["opt", pytest.param("bloom", marks=pytest.mark.proof)])
def test_a_family_that_training_takes_unpacked_is_told_so(base, tmp_path, name):
    sizes, attentions = FAMILIES[name]
    tokenizer = tiny_base(base).tokenizer
    with quiet_libraries(), torch.random.fork_rng():
        torch.manual_seed(0)
        fields = {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0}
        config = AutoConfig.for_model(name, **{**fields, **sizes})
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path / "base")
        tokenizer.save_pretrained(tmp_path / "base")
    tuner, rows = tuner_of(base)
    spec = tuner.spec.model_copy_with(model=ModelSpec(path=str(tmp_path / "base")))
    outcome = MedTuner(spec, plugins=tuner.host, rows=rows).inspect(1, leak_test=True).leak_test
    assert "route 'unpacked'" in outcome["fallback"]
    assert outcome["attention"].keys() == attentions


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "qwen2", "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584},
        {"model_type": "llama", "num_attention_heads": 32, "num_key_value_heads": 32, "rope_theta": 500000.0},
        {
            "model_type": "gemma3_text",
            "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
            "sliding_window": 512,
            "num_hidden_layers": 6,
        },
    ],
)
def test_without_weights_a_tiny_model_of_the_family_answers(tmp_path, base, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    tuner, _rows = tuner_of(base)
    spec = tuner.spec.model_copy_with(model=ModelSpec(name="tiny", path=str(tmp_path)))
    with quiet_libraries():
        tokenizer = tiny_base(base).tokenizer
    report = prove_isolation(spec, tuner.host, tokenizer, RandomRows())
    assert report.model == f"a tiny random {config['model_type']}"
    assert report.to_json()["isolated"] is True


def test_an_int8_base_is_stood_in_for_since_it_rounds_all_tokens_together(base):
    tuner, rows = tuner_of(base)
    quant = tuner.spec.quant.model_copy_with(scheme="int8")
    outcome = MedTuner(tuner.spec.model_copy_with(quant=quant), plugins=tuner.host, rows=rows).inspect(
        1, leak_test=True
    )
    assert outcome.to_json()["leak_test"]["model"] == "a tiny random mistral"


def test_the_command_prints_what_it_measured(base, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in generate_rows("train", 3, 0)))
    arguments = ["preview", "--bundle", "demo", "-n", "1", "--leak-test"]
    settings = [f"model.path={base}", f"data.source={path}", "data.validation=null", "quant.scheme=none"]
    settings += ["data.accept_loss=true", "data.validation_fraction=0", "train.max_length=2048"]
    arguments += [part for setting in settings for part in ("--set", setting)]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["leak_test"]["isolated"] is True
    assert run(arguments) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert f"leaktest,eager,{base}:changing".replace(" ", "") in shown
