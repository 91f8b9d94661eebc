"""A bench trains a few real steps on random weights and says what was predicted and what was measured."""

import json
from types import ModuleType

import pytest

from medtune import LoraSpec, ModelSpec, QuantSpec, RunSpec, TrainSpec, hookimpl
from medtune.errors import SpecError
from medtune.planning.memory import Shape
from medtune.plugins.host import create_host
from medtune.workflow.bench import BenchRows, bench
from warm_python import run_warm

TINY = {
    "model_type": "mistral",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 300,
}


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    return tmp_path


def small(folder, scheme="none", **train):
    values = {"max_length": 64, "gradient_accumulation_steps": 2, **train}
    return RunSpec(model=ModelSpec(path=str(folder)), quant=QuantSpec(scheme=scheme), train=TrainSpec(**values))


def test_rows_of_a_bench_are_full_and_alike_in_layout_only():
    rows = BenchRows(3, 512, 1000)
    assert [len(row.input_ids) for row in (rows[0], rows[1])] == [512, 512]
    assert rows[0].lengths == rows[1].lengths
    assert sum(rows.lengths) == len(rows.supervised) == 512
    assert rows[0].input_ids != rows[1].input_ids
    assert 0.4 < sum(rows.supervised) / 512 < 0.45
    assert max(rows[0].input_ids) < 1000
    with pytest.raises(IndexError):
        rows[3]


@pytest.mark.parametrize("length", [16, 40, 79, 100, 2048])
def test_rows_of_any_length_are_filled(length):
    assert sum(BenchRows(1, length, 300).lengths) == length


def test_a_bench_trains_what_the_plan_says_and_leaves_nothing(host, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = bench(small(folder), host, steps=3)
    assert report.settings["micro_batch_rows"] * report.settings["gradient_accumulation_steps"] == 2
    assert report.steps == 1
    assert report.measured["tokens_per_second"] > 0
    assert report.measured["step_seconds"] == pytest.approx(2 * 64 / report.measured["tokens_per_second"])
    assert report.predicted["peak_gib"] > 0
    assert report.peak_error is None
    assert json.loads(json.dumps(report.to_json()))["device"] == "CPU"
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("scheme", ["none", "nf4", "fp8"])
def test_a_random_base_has_the_shape_of_its_config_and_is_stored_as_asked(host, folder, scheme):
    quant = QuantSpec(scheme=scheme)
    loaded = host.find("quantizer", quant.quantizer).load_random(TINY, ModelSpec(path=str(folder)), quant)
    kinds = {type(m).__name__ for n, m in loaded.model.named_modules() if n.endswith("_proj")}
    assert kinds == {{"none": "Linear", "nf4": "Linear4bit", "fp8": "Fp8Linear"}[scheme]}
    assert not any(p.is_meta or p.requires_grad for p in loaded.model.parameters())
    assert not any(b.is_meta for b in loaded.model.buffers())
    if scheme == "none":
        assert sum(p.numel() for p in loaded.model.parameters()) == Shape.of(TINY).parameters


def test_a_bench_on_four_bits_without_the_fast_path_trains_through_peft_s_own_layers(host, folder):
    spec = small(folder, "nf4", fast_path="off").model_copy_with(lora=LoraSpec(r=4))
    report = bench(spec, host, steps=3)
    assert report.settings["scheme"] == "nf4"
    assert "off" in report.path


def test_a_bench_keeps_the_dequantized_weights_of_four_bits_when_asked(host, folder, monkeypatch):
    from medtune.backends import losses

    asked, kept = [], losses.enable
    monkeypatch.setattr(
        losses, "enable", lambda model, **how: (asked.append(how["keep_dequantized"]), kept(model, **how))[1]
    )
    reports = [
        bench(small(folder, "nf4", dequantized_weights=wanted), host, steps=3) for wanted in ("keep", "each_pass")
    ]
    assert [report.settings["dequantized_weights"] for report in reports] == [
        "keep",
        "each_pass",
    ]
    assert asked == [True, False]
    assert all("is on" in report.path for report in reports)


def test_a_bench_says_what_it_lacks(host, folder):
    with pytest.raises(SpecError, match="more than 2 steps"):
        bench(small(folder), host, steps=2)
    with pytest.raises(SpecError, match=r"config\.json is not on this machine"):
        bench(RunSpec(model=ModelSpec(name="nobody/nothing")), host)
    (folder / "config.json").write_text(json.dumps({**TINY, "model_type": "mystery"}))
    with pytest.raises(SpecError, match=r"of type 'mystery', which transformers \S+ does not know"):
        bench(small(folder), host)


class Borrowed:
    """A quantizer that loads, and makes nothing at random."""

    name = "borrowed"

    def load(self, model, spec):
        raise AssertionError("a bench loads no weights")


def test_a_quantizer_that_makes_no_random_base_is_named(host, folder):
    plugin = ModuleType("borrowing")
    plugin.provide_quantizers = hookimpl(lambda: [Borrowed()], specname="provide_quantizers")
    spec = small(folder).model_copy_with(quant={"scheme": "none", "backend": "borrowed"})
    with pytest.raises(SpecError, match=r"quantizer 'borrowed' cannot make the random base .*backend=bitsandbytes"):
        bench(spec, host.extended(plugin), steps=3)


@pytest.mark.slow
def test_the_command_prints_one_object_for_the_demo(tmp_path):
    command = ["-m", "medtune", "bench", "--bundle", "demo", "--steps", "3", "--json", "--set", "train.max_length=64"]
    done = run_warm(command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measured"]["tokens_per_second"] > 0
