"""What a run would be refused for later is found before a base is loaded, and what is unusual or unknown is said."""

import json

import pytest

from medtune import MedTuner
from medtune.cli.app import run
from medtune.errors import BaseUnsuitedError, DataError, SpecError, StorageError
from medtune.machine.gpus import machine_with
from medtune.planning.preflight import precision_notes
from medtune.plugins.plan import Plan

REFUSED = [
    ({"train": {"optim": "paged_adam_32bit"}}, SpecError, "did you mean 'paged_adamw_32bit'"),
    ({"train": {"optim": "galore_adamw"}}, SpecError, "is not offered"),
    ({"train": {"optim": "stable_adamw"}}, SpecError, "pip install torch-optimi"),
    ({"train": {"optim": "sgd", "adam_beta2": 0.9}}, SpecError, "does not read train.adam_beta2"),
    ({"train": {"max_steps": 10, "warmup_steps": 10}}, SpecError, "is not below the 10 updates"),
    ({"train": {"max_length": 10_000}}, BaseUnsuitedError, "knows 8,192 positions"),
    ({"lora": {"target_modules": ["q_proj", "query"]}}, BaseUnsuitedError, "does not have 'query'"),
    ({"lora": {"target_modules": []}}, BaseUnsuitedError, "gets no adapter"),
    ({"eval": {"keep_best": "nerr"}}, SpecError, "did you mean 'ner'"),
    ({"data": {"source": "nowhere.jsonl"}}, DataError, "no data file at 'nowhere.jsonl'"),
    ({"data": {"validation": "nowhere.jsonl"}}, DataError, "no data file at 'nowhere.jsonl'"),
]


@pytest.mark.parametrize(("overrides", "kind", "sentence"), REFUSED)
def test_what_would_be_refused_later_is_refused_by_check(overrides, kind, sentence):
    with pytest.raises(kind, match=sentence):
        MedTuner.from_defaults(**overrides).check()


@pytest.mark.parametrize(("overrides", "kind", "sentence"), [each for each in REFUSED if each[1] is not DataError])
def test_a_plan_refuses_the_same(overrides, kind, sentence):
    with pytest.raises(kind, match=sentence):
        MedTuner.from_defaults(**overrides).plan("h200")


def test_a_run_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is no folder"):
        MedTuner.from_defaults(output_dir=str(tmp_path / "file" / "run")).check()


def test_rows_that_are_given_need_no_path():
    tuner = MedTuner.from_bundle("demo", data=[{"prompt": "a", "completion": "b"}])
    assert tuner.check() == ()


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({"train": {"learning_rate": 2.0}}, "train.learning_rate 2 "),
        ({"train": {"learning_rate": 2e-9}}, "train.learning_rate 2e-09"),
        ({"train": {"num_train_epochs": 500}}, "train.num_train_epochs"),
        ({"train": {"weight_decay": 5}}, "train.weight_decay"),
        ({"train": {"warmup_ratio": 0.9}}, "train.warmup_ratio"),
        ({"train": {"adam_beta2": 0.5}}, "train.adam_beta2"),
        ({"lora": {"dropout": 0.9}}, "lora.dropout"),
        ({"lora": {"alpha": 4096}}, "multiplied by 512"),
    ],
)
def test_unusual_settings_are_said_and_not_refused(overrides, name):
    tuner = MedTuner.from_defaults(**overrides)
    (note,) = tuner.check()
    assert name in note
    plan = tuner.plan("h200")
    assert plan.notes == (note,)
    assert f"note: {note}" in plan.lines()


@pytest.mark.parametrize("bundle", ["starling-medtuned", "demo"])
def test_nothing_is_unusual_about_the_bundles(bundle):
    assert MedTuner.from_bundle(bundle).check() == ()


def test_fp16_is_pointed_out_where_the_gpu_has_bf16():
    spec = MedTuner.from_defaults(train={"precision": "fp16"}, quant={"compute_dtype": "fp16"}).spec
    (note,) = precision_notes(spec, machine_with("h200"))
    assert note.startswith("train.precision and quant.compute_dtype: fp16 on NVIDIA H200, which has bf16")
    assert not list(precision_notes(spec, machine_with("t4")))
    assert not list(precision_notes(MedTuner.from_defaults().spec, machine_with("h200")))


def test_a_plan_says_what_updates_there_were_without_packing(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [{"instruction": f"question {n}", "input": "", "output": f"answer {n}"} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"source": str(file), "validation": None, "validation_fraction": 0.1}
    train = {"num_train_epochs": 2, "per_device_batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": None}
    plan = MedTuner.from_bundle("demo", data=data, train=train).plan()
    samples = plan.data["rows"]
    assert samples > 30
    assert plan.steps_unpacked == 2 * -(-samples // 2)
    assert plan.steps < plan.steps_unpacked
    assert f"plan: {plan.steps} updates, {plan.steps_unpacked} unpacked, over" in "\n".join(plan.lines())
    unpacked = MedTuner.from_bundle("demo", data=data, train={**train, "packing": False}).plan()
    assert (unpacked.steps, unpacked.steps_unpacked) == (plan.steps_unpacked, None)


def test_a_plan_that_knows_no_dimensions_says_unknown(capsys):
    arguments = ["plan", "--set", "model.name=some/base", "--set", "model.revision=null", "--price-per-hour", "2"]
    assert run([*arguments, "--json", "--strict"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["verdict"], plan["fits"]) == ("unknown", True)
    assert plan["cost"] is None
    assert plan["cost_basis"].startswith("not known: training time is not estimated")
    assert run(arguments) == 0
    table = " ".join(capsys.readouterr().out.split())
    assert "not known: training time is" in table
    assert "not counted:" in table
    assert "unknown: the model's dimensions are unknown" in table


def test_strict_ends_with_2_where_the_run_does_not_fit(capsys):
    arguments = ["plan", "--gpu", "8GiB", "--set", "quant.scheme=none", "--json"]
    assert run([*arguments, "--strict"]) == 2
    assert json.loads(capsys.readouterr().out)["verdict"] == "does not fit"
    assert run(arguments) == 0
    assert run(["plan", "--gpu", "h200", "--strict", "--json"]) == 0


def test_a_disk_without_room_is_no_fit(monkeypatch):
    import shutil

    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: full)
    plan = MedTuner.from_bundle("demo").plan()
    assert not plan.fits
    assert "checkpoints and adapter take" in plan.advice
    assert MedTuner.from_bundle("demo").plan("h200").fits  # whose disk is another one


def test_a_plan_without_figures_is_a_plan():
    plan = Plan({}, {}, True, "", None, None, (), "CPU", "fp32", "none")
    assert (plan.verdict, plan.notes, plan.steps_unpacked) == ("unknown", (), None)
