"""A tuner composes bundles, files and overrides into one spec, and keeps what was not swapped."""

import pytest

from medtune import DataSpec, EvalSpec, Example, LoraSpec, MedTuner, ModelSpec, QuantSpec, RunSpec, TrainSpec
from medtune.errors import InvalidValueError, SpecError, UnknownKeyError, UnknownNameError
from medtune.plugins.host import create_host
from medtune.specs.data import MEDTUNED, MEDTUNED_REVISION
from medtune.specs.model import STARLING, STARLING_REVISION


class Shout:
    """A formatter object of a user."""

    name = "shout"

    def format(self, row):
        return Example(messages=[{"role": "user", "content": row["q"]}, {"role": "assistant", "content": row["a"]}])


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


def test_the_default_bundle_is_the_specs_defaults_with_one_epoch(host):
    defaults = RunSpec()
    expected = defaults.model_copy_with(
        train=defaults.train.model_copy_with(num_train_epochs=1.0),
        data=defaults.data.model_copy_with(accept_loss=True),
    )
    assert MedTuner.from_defaults(plugins=host).spec == expected


def test_the_default_bundle_pins_model_and_data(host):
    spec = MedTuner.from_defaults(plugins=host).spec
    assert (spec.model.name, spec.model.revision) == (STARLING, STARLING_REVISION)
    assert (spec.data.source, spec.data.revision) == (MEDTUNED, MEDTUNED_REVISION)


def test_one_part_is_swapped_and_the_rest_kept(host):
    spec = MedTuner.from_defaults(plugins=host, lora=LoraSpec(r=32), quant={"scheme": "none"}, seed=7).spec
    assert (spec.lora.r, spec.quant.scheme, spec.seed) == (32, "none", 7)
    assert spec.train.learning_rate == 2e-4


def test_a_spec_part_replaces_the_bundle_s_part_whole(host):
    spec = MedTuner.from_defaults(plugins=host, train=TrainSpec(max_steps=50)).spec
    assert (spec.train.max_steps, spec.train.num_train_epochs) == (50, None)


def test_a_mapping_is_laid_over_the_bundle_s_part(host):
    spec = MedTuner.from_defaults(plugins=host, train={"max_steps": 50, "packing": False}).spec
    assert (spec.train.max_steps, spec.train.packing, spec.train.optim) == (50, False, "paged_adamw_32bit")


def test_a_model_is_named_by_repository_or_by_folder(host, tmp_path):
    assert MedTuner.from_defaults(plugins=host, model="org/name").spec.model == ModelSpec(
        name="org/name", revision=None
    )
    local = MedTuner.from_defaults(plugins=host, model=tmp_path).spec.model
    assert (local.path, local.revision) == (str(tmp_path), None)


def test_data_is_a_path_a_spec_or_rows(host):
    assert MedTuner.from_defaults(plugins=host, data="rows.jsonl").spec.data.source == "rows.jsonl"
    assert MedTuner.from_defaults(plugins=host, data=DataSpec(source="x/y", split="all")).spec.data.split == "all"
    rows = [{"instruction": "a", "input": "b", "output": "c"}]
    assert MedTuner.from_defaults(plugins=host, data=rows).spec.data.revision is None


def test_a_formatter_object_is_registered_under_its_name(host):
    tuner = MedTuner.from_defaults(plugins=host, formatter=Shout())
    assert tuner.spec.data.formatter == "shout"
    assert isinstance(tuner.host.find("formatter", "shout").__wrapped__, Shout)
    assert "shout" not in host.provided("formatter")


def test_a_part_that_does_not_exist_is_refused(host):
    with pytest.raises(UnknownKeyError, match="unknown key 'loora' at the overrides of a bundle; did you mean 'lora'"):
        MedTuner.from_defaults(plugins=host, loora=3)


def test_an_unknown_bundle_is_answered_with_the_registered_ones(host):
    with pytest.raises(UnknownNameError, match=r"no bundle named 'starling'.*'starling-medtuned'"):
        MedTuner.from_bundle("starling", plugins=host)


def test_a_file_and_overrides_make_a_spec(host, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[lora]\nr = 16\n[eval]\nenabled = false\n")
    spec = MedTuner.from_file(file, overrides=["lora.r=32"], plugins=host).spec
    assert (spec.lora.r, spec.eval.enabled) == (32, False)


def test_a_tuner_is_made_from_a_spec_alone():
    spec = RunSpec(quant=QuantSpec(scheme="int8"), eval=EvalSpec(rows_per_source=5))
    assert MedTuner(spec).spec is spec


def test_specs_cannot_be_changed(host):
    tuner = MedTuner.from_defaults(plugins=host)
    with pytest.raises(ValueError, match="frozen"):
        tuner.spec.lora.r = 3


@pytest.mark.parametrize("key", ["train", "source", "validation"])
def test_rows_inside_of_a_mapping_are_refused_with_how_they_are_given(key):
    rows = [{"question": "SECRET", "answer": "b"}]
    with pytest.raises(
        SpecError, match=rf"data\.{key} cannot hold rows: a mapping names files.*as data=ROWS"
    ) as refused:
        MedTuner.from_bundle("demo", data={key: rows})
    assert "SECRET" not in str(refused.value)
    with pytest.raises(InvalidValueError):
        MedTuner.from_bundle("demo", data={"source": 5})
