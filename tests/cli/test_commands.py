"""Commands print what the contract says and end with its exit codes."""

import json
import subprocess
import sys

import pytest

from medtune.cli.app import run

HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "bitsandbytes", "accelerate")


@pytest.fixture
def medtune(capsys):
    """Run a command in this process; returns exit code, stdout and stderr."""

    def call(*arguments):
        code = run([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def loaded_after(code):
    """Return the modules that a fresh interpreter has loaded after running ``code``."""
    script = f"{code}\nimport sys; print(','.join(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.strip().splitlines()[-1].split(","))


def test_importing_medtune_loads_nothing_of_weight():
    loaded = loaded_after("import medtune")
    assert not loaded & {"pydantic", "pluggy", "typer", "rich", "numpy", *HEAVY}


def test_composing_the_default_run_loads_no_machine_learning_library():
    loaded = loaded_after("from medtune import MedTuner; MedTuner.from_defaults()")
    assert not loaded & {"numpy", *HEAVY}
    assert "pydantic" in loaded


def test_checking_a_spec_loads_no_machine_learning_library(tmp_path):
    spec = tmp_path / "run.toml"
    spec.write_text("[lora]\nr = 16\n")
    loaded = loaded_after(f"from medtune.cli.app import run; assert run(['check', {str(spec)!r}]) == 0")
    assert not loaded & set(HEAVY)
    assert "typer" in loaded


def test_help_loads_no_machine_learning_library():
    loaded = loaded_after("from medtune.cli.app import run; assert run(['--help']) == 0")
    assert not loaded & {"pydantic", "numpy", *HEAVY}


def test_check_accepts_the_default_bundle(medtune):
    code, out, _err = medtune("check", "--json")
    assert code == 0
    assert json.loads(out)["spec"]["lora"]["r"] == 8


def test_check_points_at_the_line_of_a_misspelt_key(medtune, tmp_path):
    spec = tmp_path / "run.toml"
    spec.write_text("[train]\nmax_lenght = 256\n")
    code, out, err = medtune("check", spec)
    assert (code, out) == (2, "")
    assert "line 2" in err
    assert "did you mean 'max_length'" in err
    assert err.count("\n") == 1


def test_an_error_is_also_an_object_with_json(medtune):
    code, out, err = medtune("check", "--set", "quant.backend=bnb", "--json")
    error = json.loads(out)["error"]
    assert code == error["exit_code"] == 2
    assert error["type"] == "UnknownNameError"
    assert error["message"] in err
    assert error["docs"].endswith("/troubleshooting.html#unknownnameerror")


def test_an_unknown_command_or_option_ends_with_2(medtune):
    for arguments in (("trian",), ("train", "--sett", "a=b"), ("preview", "-n", "0")):
        code, _out, err = medtune(*arguments)
        assert code == 2
        assert "--help" in err


def test_ctrl_c_ends_with_130_and_a_sentence(medtune, monkeypatch):
    def interrupted(_tuner, *_asked, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("medtune.tuner.MedTuner.plan", interrupted)
    assert medtune("plan") == (130, "", "medtune: stopped by Ctrl-C\n")


def test_a_missing_spec_file_ends_with_6(medtune, tmp_path):
    code, _out, err = medtune("check", tmp_path / "none.toml")
    assert code == 6
    assert "none.toml" in err


def test_spec_and_bundle_exclude_each_other(medtune, tmp_path):
    (tmp_path / "run.toml").write_text("")
    code, _out, err = medtune("check", tmp_path / "run.toml", "--bundle", "demo")
    assert code == 2
    assert "not both" in err


def test_a_spec_file_can_start_from_a_bundle(medtune, tmp_path):
    spec = tmp_path / "run.toml"
    spec.write_text('bundle = "starling-medtuned"\n[train]\nmax_steps = 5\n')
    code, out, _err = medtune("check", spec, "--set", "lora.r=4", "--out", tmp_path / "here", "--json")
    found = json.loads(out)["spec"]
    assert code == 0
    assert (found["train"]["max_steps"], found["train"]["num_train_epochs"], found["lora"]["r"]) == (5, None, 4)
    assert found["output_dir"] == str(tmp_path / "here")


def test_check_names_a_model_folder_that_is_not_there(medtune):
    code, _out, err = medtune("check", "--set", "model.path=nowhere")
    assert code == 2
    assert "'nowhere' is no folder" in err


def test_the_plan_of_the_default_bundle_is_printed_without_a_download(medtune, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, _err = medtune("plan", "--json")
    plan = json.loads(out)
    assert code == 0
    assert plan["memory_gib"]["peak"] > 4
    assert {"backends", "fits", "advice", "steps", "tokens", "licences"} <= plan.keys()


def test_the_schema_describes_every_field(medtune):
    code, out, _err = medtune("schema")
    schema = json.loads(out)
    assert code == 0
    for name, part in schema["$defs"].items():
        for field, facts in part["properties"].items():
            assert "description" in facts, f"{name}.{field}"


def test_plugins_list_names_the_owner_of_everything(medtune):
    code, out, _err = medtune("plugins", "list", "--json")
    listing = json.loads(out)["plugins"]
    assert code == 0
    assert listing["quantizer"]["bitsandbytes"] == "medtune.backends.bitsandbytes"
    assert listing["bundle"].keys() >= {"starling-medtuned"}


def test_doctor_says_what_this_machine_can_run(medtune):
    code, out, _err = medtune("doctor", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["cpu_cores"] >= 1
    assert found["packages"]["torch"] == {"version": found["packages"]["torch"]["version"], "problem": ""}
    assert found["can_run"]["demo"]


def test_a_plan_for_another_gpu_says_what_it_needs_there_and_what_it_costs(medtune):
    code, out, _err = medtune("plan", "--gpu", "rtx4090", "--price-per-hour", "2.5", "--json")
    plan = json.loads(out)
    assert (code, plan["device"], plan["fits"]) == (0, "NVIDIA GeForce RTX 4090", True)
    assert plan["micro_batch_rows"] * plan["gradient_accumulation_steps"] == 4
    assert plan["cost"] == pytest.approx(plan["seconds"] / 3600 * 2.5)
    table = medtune("plan", "--gpu", "rtx4090")[1]
    assert "plain path" not in table
    assert "kept dequantized" not in table


def test_a_plan_says_that_weights_stay_dequantized_and_what_that_takes(medtune):
    table = medtune("plan", "--gpu", "h200")[1]
    assert "kept dequantized while training" in table
    assert "dequantized_weights 13.00" in table


def test_the_setting_that_a_plan_advises_is_one_that_fits_when_it_is_given(medtune):
    long = ("plan", "--gpu", "12GiB", "--set", "train.max_length=8192")
    code, out, _err = medtune(*long, "--set", "train.recompute=none", "--json")
    plan = json.loads(out)
    assert (code, plan["fits"]) == (0, False)
    advised = plan["advice"].split("the nearest setting that fits is ")[1].rpartition(" (")[0].split()
    assert advised[::2] == ["--set"] * (len(advised) // 2)
    assert json.loads(medtune(*long, *advised, "--json")[1])["fits"]


def test_an_unknown_gpu_is_a_usage_error_that_names_the_nearest_one(medtune):
    code, out, err = medtune("plan", "--gpu", "rtx-4090")
    assert (code, out) == (2, "")
    assert "did you mean 'rtx4090'" in err


@pytest.mark.parametrize(
    ("sets", "shown"), [((), True), (("eval.show_texts=false",), False), (("data.limit=8",), False)]
)
def test_the_demo_shows_texts_of_its_own_rows_only(monkeypatch, sets, shown):
    from medtune.cli import demo, train

    specs = []
    monkeypatch.setattr(train, "train_and_print", lambda tuner, *_, **__: specs.append(tuner.spec))
    demo.demo(sets=list(sets))
    assert [spec.eval.show_texts for spec in specs] == [shown]
