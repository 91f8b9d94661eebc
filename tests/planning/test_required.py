"""What a spec asks of its backends is held against what they take, before anything is loaded."""

import json
from dataclasses import replace
from typing import ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from medtune import MedTuner, QuantSpec, hookimpl
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.generate import TransformersGenerator
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.cli.app import run
from medtune.errors import InvalidValueError, PluginError, SpecError, UnknownKeyError, UnknownNameError
from medtune.plugins.host import create_host


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    group_size: int = Field(default=64, gt=0, description="Weights per scale.")
    inner: dict[str, int] = {}

    @model_validator(mode="after")
    def _even(self):
        if self.group_size % 2:
            raise ValueError("group_size must be even")
        return self


class OwnQuantizer(BitsAndBytesQuantizer):
    name, schemes, options = "own", frozenset({"w8", "w3"}), Options
    bits_per_parameter: ClassVar = {"w8": 8.5}
    given: ClassVar = []

    def load(self, model, spec):
        self.given.append(self.options.model_validate(spec.options).group_size)
        loaded = super().load(model, spec.model_copy_with(scheme="none"))
        return replace(loaded, scheme=spec.scheme)


class OwnAdapter(PeftAdapter):
    name, options = "own", Options


class OwnTrainer(TrlTrainer):
    name, options = "own", Options


class OwnGenerator(TransformersGenerator):
    name, options = "own", Options


class Plugin:
    __hash__ = object.__hash__

    @hookimpl
    def provide_quantizers(self):
        return [OwnQuantizer()]

    @hookimpl
    def provide_adapters(self):
        return [OwnAdapter()]

    @hookimpl
    def provide_trainers(self):
        return [OwnTrainer()]

    @hookimpl
    def provide_generators(self):
        return [OwnGenerator()]


@pytest.fixture(scope="module")
def host():
    return create_host([Plugin()], autoload=False)


def tuner(host, **parts):
    return MedTuner.from_bundle("demo", plugins=host, **parts)


PARTS = ("quant", "lora", "train", "eval")
SCHEME = {"quant": {"scheme": "w8"}}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("asks", ["check", "plan"])
def test_a_backend_takes_what_its_own_model_takes_and_no_more(host, part, asks):
    def asking(**options):
        return getattr(tuner(host, **{part: {"backend": "own", **SCHEME.get(part, {}), "options": options}}), asks)()

    asking(group_size=32)
    with pytest.raises(UnknownKeyError, match=rf"'{part}\.options\.group_sizes'.*did you mean 'group_size'"):
        asking(group_sizes=32)
    with pytest.raises(InvalidValueError, match=rf"'{part}\.options\.group_size' .* greater than 0") as caught:
        asking(group_size=-1)
    assert caught.value.field == f"{part}.options.group_size"
    with pytest.raises(InvalidValueError, match=rf"'{part}\.options\.inner\.a' .* integer"):
        asking(inner={"a": "b"})
    with pytest.raises(InvalidValueError, match=rf"'{part}\.options' .* group_size must be even"):
        asking(group_size=3)


@pytest.mark.parametrize("part", PARTS)
def test_a_backend_without_options_takes_none(host, part):
    with pytest.raises(InvalidValueError, match=rf"'{part}\.options\.speed' .* takes no options") as caught:
        tuner(host, **{part: {"options": {"speed": 2}}}).check()
    assert isinstance(caught.value, SpecError)


def test_options_go_with_the_backend_that_they_were_written_for(host, tmp_path):
    spec = tmp_path / "run.toml"
    spec.write_text('bundle = "demo"\n[lora]\nbackend = "own"\n[lora.options]\ngroup_size = 8\n')
    assert MedTuner.from_file(spec, plugins=host).spec.lora.options == {"group_size": 8}
    MedTuner.from_file(spec, ["lora.options.group_size=16"], plugins=host).check()
    changed = MedTuner.from_file(spec, ["lora.backend=peft"], plugins=host)
    assert changed.spec.lora.options == {}


def test_a_model_of_options_that_takes_anything_is_refused(host):
    class Lax(BaseModel):
        pass

    class Adapter(PeftAdapter):
        name, options = "lax", Lax

    class Provider:
        __hash__ = object.__hash__

        @hookimpl
        def provide_adapters(self):
            return [Adapter()]

    with pytest.raises(
        PluginError, match="options of adapter 'lax' must be a pydantic model that forbids extra fields"
    ):
        tuner(host.extended(Provider()), lora={"backend": "lax"}).check()


def test_the_schema_shows_the_options_under_the_backend_s_name(tmp_path, monkeypatch, capsys):
    (tmp_path / "with_options.py").write_text(
        "from pydantic import BaseModel, ConfigDict\nfrom medtune import hookimpl\n"
        "class Options(BaseModel):\n    model_config = ConfigDict(extra='forbid')\n    group_size: int = 64\n"
        "class Trainer:\n    name, options = 'own', Options\n    def fit(self, job): ...\n"
        "@hookimpl\ndef provide_trainers(): return [Trainer()]\n"
    )
    facts = tmp_path / "with_options-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: with-options\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[medtune]\nown = with_options\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["schema"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["x-backend-options"]["trainer"]["own"]["properties"]["group_size"]["default"] == 64
    assert found["$defs"]["TrainSpec"]["properties"]["options"]["type"] == "object"


def test_a_quantizer_has_schemes_of_its_own(host):
    tuner(host, quant={"backend": "own", "scheme": "w3"}).check()
    with pytest.raises(UnknownNameError, match="no scheme of quantizer 'own' named 'nf4'; registered: 'w3', 'w8'"):
        tuner(host, quant={"backend": "own", "scheme": "nf4"}).check()
    with pytest.raises(UnknownNameError, match="no scheme of quantizer 'bitsandbytes' named 'nf5'; did you mean 'nf4'"):
        tuner(host, quant={"scheme": "nf5"}).check()


def test_the_plan_knows_of_a_scheme_what_its_quantizer_says(host):
    plain = tuner(host, quant={"scheme": "none", "compute_dtype": "fp32"}).plan()
    stated = tuner(host, quant={"backend": "own", "scheme": "w8", "compute_dtype": "fp32"}).plan()
    assert stated.memory_gib["base"] == pytest.approx(plain.memory_gib["base"] * 8.5 / 32)
    assert stated.path == "plain"
    assert "quant.scheme is w8" in stated.path_reason
    assert tuner(host, quant={"backend": "own", "scheme": "w8"}).plan("h200").tokens_per_second is None


def test_the_plan_says_that_memory_is_unknown_where_nobody_says_what_a_scheme_takes(host):
    plan = tuner(host, quant={"backend": "own", "scheme": "w3"}).plan()
    assert plan.fits
    assert plan.memory_gib == {}
    assert plan.advice.startswith("quantizer 'own' does not say what a parameter takes in scheme 'w3'")


def test_a_run_is_trained_and_opened_on_a_scheme_of_a_plugin_with_its_options(host, tmp_path):
    rows = [{"instruction": "Say it.", "input": f"word {n}", "output": f"word {n}"} for n in range(12)]
    OwnQuantizer.given.clear()
    done = tuner(
        host, data=rows, quant={"backend": "own", "scheme": "w8", "options": {"group_size": 32}},
        train={"max_steps": 1}, eval={"enabled": False}, output_dir=str(tmp_path / "run"),
    ).train(quiet=True)  # fmt: skip
    assert done.spec.quant.options == {"group_size": 32}
    assert done.loaded.scheme == "w8"
    assert OwnQuantizer.given == [32, 32]
    with pytest.raises(SpecError, match=r"quant\.options\.group_size was 32 and is now 16"):
        MedTuner(
            done.spec.model_copy_with(quant={**done.spec.quant.model_dump(), "options": {"group_size": 16}}),
            plugins=host, rows=rows,
        ).train(quiet=True)  # fmt: skip


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": {1, 2}}])
def test_options_are_values_that_a_record_can_hold(value):
    with pytest.raises(ValueError, match="options must be JSON values"):
        QuantSpec(options={"a": value})
