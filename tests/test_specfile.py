"""Spec files are read with their mistakes located, and overrides lie over bundles."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune import RunSpec
from medtune.errors import InvalidValueError, SpecError, StorageError, UnknownKeyError
from medtune.specfile import apply_overrides, merge, read_spec_file, validate_spec

SAME = {
    "toml": "seed = 7\n[lora]\nr = 32\n[data]\nsource = 'rows.jsonl'\n",
    "yaml": "seed: 7\nlora:\n  r: 32\ndata:\n  source: rows.jsonl\n",
    "json": '{"seed": 7, "lora": {"r": 32}, "data": {"source": "rows.jsonl"}}',
}
MISTAKE = {
    "toml": ("[train]\nmax_length = 256\n\n[lora]\nalpha = 8\nrankk = 4\n", "line 6"),
    "yaml": ("train:\n  max_length: 256\nlora:\n  alpha: 8\n  rankk: 4\n", "line 5"),
    "json": ('{"train": {"max_length": 256}, "lora": {"alpha": 8, "rankk": 4}}', "lora.rankk"),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_three_formats_say_the_same(tmp_path, kind):
    file = tmp_path / f"run.{kind}"
    file.write_text(SAME[kind])
    spec = validate_spec(read_spec_file(file), file)
    assert (spec.seed, spec.lora.r, spec.data.source) == (7, 32, "rows.jsonl")


@pytest.mark.parametrize("kind", MISTAKE)
def test_an_unknown_key_names_its_place_and_the_keys_there(tmp_path, kind):
    text, place = MISTAKE[kind]
    file = tmp_path / f"run.{kind}"
    file.write_text(text)
    with pytest.raises(UnknownKeyError) as caught:
        validate_spec(read_spec_file(file), file)
    assert place in str(caught.value)
    assert "'alpha'" in str(caught.value)


def test_an_unknown_table_is_located_by_its_header(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("seed = 1\n\n[trian]\nmax_length = 256\n")
    with pytest.raises(UnknownKeyError, match=r"line 3; did you mean 'train'"):
        validate_spec(read_spec_file(file), file)


def test_a_wrong_value_names_its_line_and_the_reason(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[lora]\nr = 0\n")
    with pytest.raises(InvalidValueError, match=r"'lora.r' at .*line 2.*greater than or equal to 1"):
        validate_spec(read_spec_file(file), file)


@pytest.mark.parametrize(
    ("name", "said"), [(None, "the spec cannot be used: train.parallel"), ("run.toml", "run.toml cannot be used: ")]
)
def test_fields_that_do_not_go_together_are_said_of_the_whole_spec(name, said, tmp_path):
    file = None if name is None else tmp_path / name
    if file is not None:
        file.write_text('[train]\nparallel = "fsdp"\n')
    with pytest.raises(InvalidValueError) as caught:
        validate_spec({"train": {"parallel": "fsdp"}} if file is None else read_spec_file(file), file)
    assert said in str(caught.value)
    assert "top level" not in str(caught.value)


def test_epochs_and_steps_exclude_each_other():
    with pytest.raises(InvalidValueError, match="max_steps and num_train_epochs exclude each other"):
        validate_spec({"train": {"max_steps": 5, "num_train_epochs": 1}})


def test_steps_given_over_a_bundle_replace_its_epochs():
    merged = merge({"train": {"num_train_epochs": 1, "learning_rate": 1e-3}}, {"train": {"max_steps": 5}})
    assert merged == {"train": {"learning_rate": 1e-3, "max_steps": 5}}


def test_another_model_does_not_inherit_the_pinned_commit():
    merged = merge({"model": {"name": "a/b", "revision": "c0ffee"}}, {"model": {"name": "x/y"}})
    assert merged == {"model": {"name": "x/y"}}
    assert validate_spec(merged).model.revision is None


def test_the_same_model_keeps_the_pinned_commit():
    below = {"model": {"name": "a/b", "revision": "c0ffee"}}
    assert merge(below, {"model": {"name": "a/b", "path": "here"}})["model"]["revision"] == "c0ffee"


def test_another_data_source_does_not_inherit_revision_or_validation_split():
    below = {"data": {"source": "a/b", "revision": "c0ffee", "validation": "validation"}}
    spec = validate_spec(apply_overrides(below, ["data.source=rows.parquet"]))
    assert (spec.data.revision, spec.data.validation) == (None, None)


def test_merging_leaves_the_spec_underneath_alone():
    below = {"lora": {"r": 8}}
    merge(below, {"lora": {"r": 16}})
    assert below == {"lora": {"r": 8}}


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("lora.r=32", lambda s: s.lora.r == 32),
        ("train.learning_rate=1e-3", lambda s: s.train.learning_rate == 1e-3),
        ("quant.scheme=none", lambda s: s.quant.scheme == "none"),
        ("train.packing=false", lambda s: s.train.packing is False),
        ("data.validation=null", lambda s: s.data.validation is None),
        ("data.exclude_sources=i2b2-2010,MedNLI", lambda s: s.data.exclude_sources == ("i2b2-2010", "MedNLI")),
        ("lora.target_modules=q_proj,v_proj", lambda s: s.lora.target_modules == ("q_proj", "v_proj")),
        ("lora.target_modules=all-linear", lambda s: s.lora.target_modules == "all-linear"),
        ('output_dir="with spaces"', lambda s: s.output_dir == "with spaces"),
    ],
)
def test_overrides_read_values_as_a_person_means_them(override, read):
    assert read(validate_spec(apply_overrides({}, [override])))


def test_an_override_without_a_value_is_refused():
    with pytest.raises(SpecError, match=r"must look like lora\.r=32"):
        apply_overrides({}, ["lora.r"])


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read spec .*No such file"):
        read_spec_file(tmp_path / "none.toml")


@pytest.mark.parametrize(("name", "text"), [("a.toml", "= 3"), ("a.yaml", "a: [1"), ("a.json", "{")])
def test_a_malformed_file_is_one_sentence(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SpecError, match="is not well-formed") as caught:
        read_spec_file(file)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "run.ini"
    file.write_text("[a]")
    with pytest.raises(SpecError, match=r"must end in \.toml"):
        read_spec_file(file)


@given(st.integers(1, 512), st.floats(1e-6, 1.0), st.booleans())
def test_a_spec_survives_its_json_form(r, rate, packing):
    spec = validate_spec({"lora": {"r": r}, "train": {"learning_rate": rate, "packing": packing}})
    assert RunSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


def test_a_misspelt_key_of_a_list_of_tables_is_named_with_its_neighbours():
    with pytest.raises(UnknownKeyError, match=r"unknown key 'tasks.0.knd' at .*; did you mean 'kind'\?"):
        validate_spec({"tasks": [{"source": "s", "knd": "relation"}]})
    with pytest.raises(UnknownKeyError, match=r"did you mean 'weight'\?"):
        validate_spec({"data": {"mix": [{"source": "s", "weigth": 2}]}})


BEYOND = {
    "twice.json": ('{"seed": 1, "seed": 2}', "has the key 'seed' twice"),
    "twice.yaml": ("seed: 1\nseed: 2\n", "has the key 'seed' twice"),
    "infinite.toml": ("seed = inf", "not finite"),
    "deep.yaml": ("a: " + "[" * 100_000, "nested deeper than 64 levels"),
    "nul.json": ('{"output_dir": "a\\u0000b"}', "NUL"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_spec_beyond_a_bound_is_one_sentence(tmp_path, name):
    content, reason = BEYOND[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(SpecError, match=rf"^spec '.*{name}' .*{reason}.*; write it as medtune init does$"):
        read_spec_file(tmp_path / name)


def test_nobody_waits_for_a_spec_that_is_a_pipe_or_never_ends(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "device.yaml"):
        with pytest.raises(SpecError, match="is a pipe, a device or a folder"):
            read_spec_file(tmp_path / name)
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    with pytest.raises(StorageError, match="symbolic links"):
        read_spec_file(tmp_path / "loop.json")


def test_a_mark_before_a_spec_is_read_over(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xef\xbb\xbfseed = 3\n")
    assert read_spec_file(tmp_path / "run.toml") == {"seed": 3}


def test_an_override_beyond_a_bound_is_one_sentence():
    with pytest.raises(SpecError, match="names more than 64 levels"):
        apply_overrides({}, [".".join("a" * 50_001) + "=1"])
    with pytest.raises(SpecError, match="the value of an override holds the number inf"):
        apply_overrides({}, ["seed=inf"])


def test_all_unknown_keys_are_told_at_once_each_with_what_it_means_here(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        "[train]\neval_steps = 50\ncutoff_len = 512\nmax_lenght = 5\n[lora]\nlora_r = 8\nmodules_to_save = ['x']\n"
    )
    with pytest.raises(UnknownKeyError) as caught:
        validate_spec(read_spec_file(file), file)
    told = str(caught.value)
    assert {each.key for each in caught.value.keys} == {
        "train.eval_steps", "train.cutoff_len", "train.max_lenght", "lora.lora_r", "lora.modules_to_save"
    }  # fmt: skip
    for sentence in (
        "line 2; TRL's eval_steps is eval.every here",
        "line 3; LLaMA-Factory's cutoff_len is train.max_length here",
        "line 4; did you mean 'max_length'?",
        "line 6; TRL's lora_r is lora.r here",
        "line 7; TRL's modules_to_save is refused here: whole modules are not trained",
        "medtune init --from",
    ):
        assert sentence in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("max_seq_length", "train.max_length"),
        ("sequence_len", "train.max_length"),
        ("lora_rank", "lora.r"),
        ("micro_batch_size", "train.per_device_batch_size"),
        ("per_device_train_batch_size", "train.per_device_batch_size"),
        ("load_in_4bit", "quant.scheme"),
        ("base_model", "model.name"),
        ("model_name_or_path", "model.name"),
        ("num_epochs", "train.num_train_epochs"),
        ("val_set_size", "data.validation_fraction"),
        ("torch_dtype", "quant.compute_dtype"),
        ("cosine_min_lr_ratio", "train.min_lr_rate"),
    ],
)
def test_what_other_programs_call_a_field_is_known_in_python_too(key, field):
    with pytest.raises(SpecError, match=rf"unknown key '{key}' of RunSpec; .*{field} here"):
        RunSpec.model_validate({key: 1})


@pytest.mark.parametrize(
    "overrides",
    [
        ("lora.r=8", "lora.r=16"),
        ("train.max_steps=5", "train.num_train_epochs=1"),
        ("train.warmup_steps=5", "train.warmup_ratio=0.1"),
    ],
)
def test_overrides_that_contradict_each_other_are_refused(overrides):
    with pytest.raises(SpecError, match=r"overrides (contradict|exclude) each other"):
        apply_overrides({}, overrides)


def test_overrides_that_agree_are_taken():
    assert apply_overrides(
        {}, ["lora.r=8", "lora.r=8", "lora.r=8.0", "train.max_steps=5", "train.num_train_epochs=null"]
    ) == {
        "lora": {"r": 8},
        "train": {"max_steps": 5, "num_train_epochs": None},
    }
