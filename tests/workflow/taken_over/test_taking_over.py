"""A configuration of another program becomes a spec, and none of its keys goes without a word."""

import json
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest

from medtune import RunSpec
from medtune.cli.app import run
from medtune.errors import SpecError
from medtune.specfile import read_spec_file, validate_spec
from medtune.specs.elsewhere.meanings import CHANGED, NOT_NEEDED, REFUSED, SAME, UNKNOWN
from medtune.specs.elsewhere.programs import PROGRAMS
from medtune.workflow.taken_over.taking_over import take_over
from medtune.workflow.taken_over.writing import write_spec

AXOLOTL = """\
    base_model: org/base
    load_in_4bit: true
    adapter: qlora
    datasets:
      - {path: org/rows, type: chat_template, name: part, new_key: 1}
      - {path: org/more, type: chat_template}
    val_set_size: 0.1
    sequence_len: 2048
    sample_packing: true
    lora_r: 32
    lora_alpha: 16
    lora_target_linear: true
    gradient_accumulation_steps: 4
    micro_batch_size: 2
    num_epochs: 3
    optimizer: adamw_bnb_8bit
    lr_scheduler: cosine
    cosine_min_lr_ratio: 0.1
    learning_rate: 2e-4
    bf16: auto
    warmup_steps: 10
    adam_beta2: 0.95
    lora_model_dir:
    flash_attention: true
    neftune_noise_alpha: 5
"""
LLAMA_FACTORY = """\
    model_name_or_path: org/base
    stage: sft
    finetuning_type: lora
    lora_rank: 16
    lora_target: q_proj,v_proj
    quantization_bit: 4
    dataset: notes
    template: llama3
    cutoff_len: 1024
    per_device_train_batch_size: 1
    gradient_accumulation_steps: 8
    learning_rate: 1.0e-4
    lr_scheduler_type: cosine
    warmup_ratio: 0.1
    max_steps: 300
    num_train_epochs: 3.0
    val_size: 0.1
"""
MS_SWIFT = """\
    # one GPU
    NPROC_PER_NODE=4 CUDA_VISIBLE_DEVICES=0 swift sft \\
        --model org/base --tuner_type lora \\
        --dataset 'org/rows:part#500' other.jsonl \\
        --quant_bits 8 --quant_method bnb \\
        --num_train_epochs 1 --learning_rate 1e-4 --lora_rank 8 --lora_alpha 32 \\
        --max_length 2048 --loss_scale last_round --warmup_ratio 0.05 --output_dir $OUT
    echo done --really --not
"""
UNSLOTH = """\
    from unsloth import FastLanguageModel
    length = 1024
    model, tokenizer = FastLanguageModel.from_pretrained("org/base", max_seq_length=length, token="hf_not_to_be_seen")
    model = FastLanguageModel.get_peft_model(model, r=16, target_modules=["q_proj"], lora_alpha=32, random_state=1)
    trainer = SFTTrainer(
        model=model, train_dataset=rows,
        args=SFTConfig(warmup_steps=5, max_steps=60, learning_rate=2e-4, optim="adamw_8bit", seed=7,
                       fp16=not is_bfloat16_supported(), bf16=is_bfloat16_supported(), weight_decay=decay()),
    )
"""
TRL = """\
    model_name_or_path: org/base
    dataset_name: org/rows
    use_peft: true
    lora_r: 32
    lora_alpha: 64
    lora_target_modules: all-linear
    load_in_4bit: true
    learning_rate: 2.0e-4
    num_train_epochs: 1
    packing: true
    lr_scheduler_type: cosine_with_min_lr
    lr_scheduler_kwargs: {min_lr: 2.0e-5}
    warmup_steps: 20
    eval_strategy: steps
    eval_steps: 50
    gradient_checkpointing: true
"""
CONFIGS = {
    "axolotl": ("config.yml", AXOLOTL),
    "llama-factory": ("sft.yaml", LLAMA_FACTORY),
    "ms-swift": ("train.sh", MS_SWIFT),
    "unsloth": ("train.py", UNSLOTH),
    "trl": ("sft.yaml", TRL),
}
MEANT = {
    "axolotl": {
        "model.name": "org/base", "data.source": "org/rows", "data.subset": "part", "data.validation_fraction": 0.1,
        "quant.scheme": "nf4", "lora.r": 32, "lora.alpha": 16, "lora.dropout": 0.0, "lora.target_modules": "all-linear",
        "train.max_length": 2048, "train.packing": True, "train.per_device_batch_size": 2,
        "train.gradient_accumulation_steps": 4, "train.num_train_epochs": 3, "train.optim": "adamw_bnb_8bit",
        "train.min_lr_rate": 0.1, "train.learning_rate": 2e-4, "train.warmup_steps": 10, "train.adam_beta2": 0.95,
        "train.precision": "auto", "data.supervise": "all",
    },
    "llama-factory": {
        "model.name": "org/base", "data.source": "notes", "quant.scheme": "nf4", "lora.r": 16, "lora.alpha": 32,
        "lora.dropout": 0.0, "lora.target_modules": ("q_proj", "v_proj"), "train.max_length": 1024,
        "train.gradient_accumulation_steps": 8, "train.learning_rate": 1e-4, "train.lr_scheduler_type": "cosine",
        "train.warmup_ratio": 0.1, "train.max_steps": 300, "train.num_train_epochs": None, "train.packing": False,
        "data.validation_fraction": 0.1, "train.optim": "adamw_torch_fused", "data.supervise": "all",
    },
    "ms-swift": {
        "model.name": "org/base", "data.source": "org/rows", "data.subset": "part", "quant.scheme": "int8", "lora.r": 8,
        "lora.alpha": 32, "train.num_train_epochs": 1, "train.learning_rate": 1e-4, "train.warmup_ratio": 0.05,
        "train.max_length": 2048, "train.weight_decay": 0.1, "train.adam_beta2": 0.95, "data.supervise": "last",
        "train.per_device_batch_size": 1, "train.gradient_accumulation_steps": 16, "train.lr_scheduler_type": "cosine",
    },
    "unsloth": {
        "model.name": "org/base", "quant.scheme": "nf4", "lora.r": 16, "lora.alpha": 32, "lora.dropout": 0.0,
        "lora.target_modules": ("q_proj",), "train.max_length": 1024, "train.warmup_steps": 5, "train.max_steps": 60,
        "train.learning_rate": 2e-4, "train.optim": "adamw_8bit", "seed": 7, "train.per_device_batch_size": 4,
        "train.gradient_accumulation_steps": 2, "train.precision": "auto", "train.lr_scheduler_type": "linear",
    },
    "trl": {
        "model.name": "org/base", "data.source": "org/rows", "quant.scheme": "nf4", "quant.double_quant": False,
        "lora.r": 32, "lora.alpha": 64, "lora.dropout": 0.05, "train.learning_rate": 2e-4, "train.num_train_epochs": 1,
        "train.packing": True, "train.min_lr_rate": 0.1, "train.warmup_steps": 20, "train.max_length": 1024,
        "train.per_device_batch_size": 8, "train.gradient_accumulation_steps": 1, "eval.every": 50,
    },
}  # fmt: skip
VERDICTS = {
    "axolotl": {
        "neftune_noise_alpha": REFUSED,
        "lora_model_dir": NOT_NEEDED,
        "datasets.0.new_key": UNKNOWN,
        "sequence_len": SAME,
    },
    "llama-factory": {
        "cutoff_len": CHANGED,
        "template": CHANGED,
        "num_train_epochs": NOT_NEEDED,
        "dataset notes": CHANGED,
    },
    "ms-swift": {"output_dir": CHANGED, "NPROC_PER_NODE": CHANGED, "CUDA_VISIBLE_DEVICES": NOT_NEEDED},
    "unsloth": {"train_dataset": CHANGED, "weight_decay": CHANGED, "bf16": SAME, "token": NOT_NEEDED},
    "trl": {"(validation)": CHANGED, "gradient_checkpointing": NOT_NEEDED, "(loss)": CHANGED, "eval_steps": SAME},
}


@pytest.fixture
def config(tmp_path):
    """Return a function that writes a program's configuration."""

    def write(program, *more):
        name, text = CONFIGS[program]
        file = tmp_path / name
        file.write_text(dedent(text) + "".join(f"{line}\n" for line in more))
        return file

    return write


def of_field(spec, dotted):
    part, _dot, name = dotted.partition(".")
    return getattr(getattr(spec, part), name) if name else getattr(spec, part)


@pytest.mark.parametrize("program", CONFIGS)
def test_a_configuration_is_told_apart_and_means_what_its_program_does(config, program, tmp_path):
    taken = take_over(config(program))
    assert taken.program.name == PROGRAMS[program].name
    out = tmp_path / "run.toml"
    write_spec(taken, out)
    spec = validate_spec(read_spec_file(out), out)
    assert {field: of_field(spec, field) for field in MEANT[program]} == MEANT[program]
    found = {each.key: each.verdict for each in taken.findings}
    assert {key: found.get(key) for key in VERDICTS[program]} == VERDICTS[program]


@pytest.mark.parametrize("program", CONFIGS)
def test_every_key_is_listed_with_a_word_why_where_it_is_not_the_same(config, program):
    taken = take_over(config(program))
    keys = {key for each in taken.findings for key in each.key.split()}
    for line in dedent(CONFIGS[program][1]).splitlines():
        key = line.partition(":")[0]
        if program in ("axolotl", "llama-factory", "trl") and key.isidentifier():
            assert key in keys
    assert all(each.why for each in taken.findings if each.verdict != SAME)


def test_further_data_sets_are_mixed_in(config):
    assert take_over(config("axolotl")).values["data"]["mix"] == [{"source": "org/more", "split": "train"}]


def test_no_secret_and_nothing_that_is_computed_is_written(config, tmp_path):
    text = write_spec(take_over(config("unsloth")), tmp_path / "run.toml")
    assert "hf_not_to_be_seen" not in text
    assert "decay() (not known before it is run)" in text


def test_a_script_is_not_run(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(
        f"open({str(tmp_path / 'made')!r}, 'w')\nSFTConfig(learning_rate=__import__('os').getpid(), seed=1)\n"
    )
    taken = take_over(file)
    assert not (tmp_path / "made").exists()
    assert {each.key: each.verdict for each in taken.findings}["learning_rate"] == CHANGED


@pytest.mark.parametrize(
    ("program", "line", "sentence"),
    [
        ("axolotl", "rl: dpo", "trains by preferences"),
        ("llama-factory", "reward_model: x\nstage: dpo", "twice"),
        ("axolotl", "sequence_len: 9", "twice"),
    ],
)
def test_what_is_not_offered_at_all_or_no_settings_is_refused(config, program, line, sentence):
    with pytest.raises(SpecError, match=sentence):
        take_over(config(program, line))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.yaml", "colour: red\n", "no program that is known"),
        ("a.ini", "x", "no configuration that is known"),
        ("a.py", "print(1)\n", "calls none of"),
        ("a.py", "def (\n", "no Python"),
        ("a.sh", "echo hello\n", "holds no command"),
        ("a.json", "[1]", "must hold keys"),
        ("a.py", "-" * 200_000 + "1", "no Python"),
        ("a.py", "f(" * 30_000, "nested more"),
        ("a.yaml", "x: " + "[" * 100 + "]" * 100, "nested deeper"),
        ("a.sh", "swift sft --a 'b --c", "not well-formed"),
    ],
)
def test_a_file_that_is_no_configuration_is_said(tmp_path, name, text, sentence):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SpecError, match=sentence):
        take_over(file)


def test_a_key_that_nobody_knows_is_listed_and_has_to_be_accepted(config):
    taken = take_over(config("trl", "colour: red"))
    assert next(each for each in taken.to_accept if each.key == "colour").verdict == UNKNOWN


def test_a_name_of_llama_factory_is_found_in_its_list(config, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text('{"notes": {"file_name": "notes.json"}}')
    (tmp_path / "data" / "notes.json").write_text("[]")
    values = take_over(config("llama-factory")).values
    assert values["data"]["source"] == str(tmp_path / "data" / "notes.json")


def test_every_field_that_a_table_names_is_one():
    fields = {
        f"{part}.{name}"
        for part, field in RunSpec.model_fields.items()
        for name in getattr(field.annotation, "model_fields", ())
    }
    fields |= {*RunSpec.model_fields, ""}
    for program in PROGRAMS.values():
        assert {meaning.field for meaning in program.keys.values()} <= fields, program.name
        assert program.defaults.keys() <= fields
        assert program.marks <= program.keys.keys(), program.name
        assert all(meaning.why for meaning in program.keys.values() if meaning.verdict != SAME), program.name


def test_the_command_ends_with_2_until_what_differs_is_accepted(config, tmp_path, capsys):
    out = tmp_path / "run.toml"
    arguments = ["init", "--from", str(config("trl")), "--out", str(out)]
    assert run([*arguments, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["exit_code"] == 2
    assert "(loss)" in told["to_accept"]
    assert not out.exists()
    assert run([*arguments, "--accept", "--set", "seed=9"]) == 0
    assert read_spec_file(out)["seed"] == 9
    assert run([*arguments, "--accept"]) == 2  # it is there already
    assert run(["init"]) == 2
    assert run(["init", str(out), "--accept"]) == 2


def test_the_page_on_migration_names_what_the_tables_have():
    page = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
    table = page.partition("| here |")[2].partition("\n\n")[0].splitlines()
    names = [cell.strip() for cell in table[0].strip("|").split("|") if cell.strip()]
    programs = {program.name: program for program in PROGRAMS.values()}
    assert set(names) == programs.keys()
    for line in table[2:]:
        field, *keys = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        for name, key in zip(names, keys, strict=True):
            assert not key or programs[name].keys[key].field == field, (name, key)


def test_a_script_of_trl_has_the_defaults_of_the_classes_that_it_calls(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(
        dedent("""\
        base = AutoModelForCausalLM.from_pretrained("org/base", quantization_config=BitsAndBytesConfig(load_in_4bit=True))
        trainer = SFTTrainer(model=base, train_dataset=rows, peft_config=LoraConfig(target_modules=["q_proj"]),
                             args=SFTConfig("out", learning_rate=1e-4, save_strategy="best"))
        """)
    )
    taken = take_over(file)
    assert taken.program.name == "TRL"
    assert taken.values["quant"] == {"scheme": "fp4", "double_quant": False}
    assert {name: taken.values["lora"][name] for name in ("r", "alpha", "dropout")} == {
        "r": 8,
        "alpha": 8,
        "dropout": 0.0,
    }
    assert (taken.values["model"]["name"], taken.values["output_dir"]) == ("org/base", "out")
    found = {each.key: each.verdict for each in taken.findings}
    assert UNKNOWN not in found.values()
    assert (found["save_strategy"], found["(data set)"]) == (CHANGED, CHANGED)


def test_a_base_that_is_not_quantized_there_is_not_here(config):
    assert take_over(config("trl")).values["quant"]["scheme"] == "nf4"
    file = config("trl")
    file.write_text(file.read_text().replace("load_in_4bit: true", "load_in_4bit: false"))
    assert take_over(file).values["quant"]["scheme"] == "none"


def test_a_value_that_no_spec_can_have_is_left_out_and_said(config):
    taken = take_over(config("axolotl", "logging_steps: 0", "weight_decay: -1"))
    assert "weight_decay" not in taken.values["train"]
    refused = {each.key: each for each in taken.findings if each.verdict == REFUSED}
    assert {"(weight_decay)", "(logging_steps)"} <= refused.keys()
    assert "greater than or equal to 0" in refused["(weight_decay)"].why


def test_a_schedule_that_is_not_offered_is_refused_under_its_own_name(config):
    file = config("axolotl")
    file.write_text(
        file.read_text().replace("lr_scheduler: cosine", "lr_scheduler: rex").replace("cosine_min_lr_ratio: 0.1", "")
    )
    found = [each.verdict for each in take_over(file).findings if each.key == "lr_scheduler"]
    assert found == [REFUSED]


def test_a_long_sum_in_a_script_is_only_said_to_be_computed(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(
        f"SFTConfig(learning_rate={'+'.join(['x'] * 900)}, seed={'+'.join(['1'] * 30_000)}, max_steps='9' * 9)\n"
    )
    with suppress(SpecError):  # of what a Python cannot parse
        found = {each.key: each.verdict for each in take_over(file).findings}
        assert (found["learning_rate"], found["seed"], found["max_steps"]) == (CHANGED, CHANGED, CHANGED)
