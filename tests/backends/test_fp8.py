"""An fp8 base is stored in e4m3 layer by layer, trains like its rounded weights say, and is refused where it cannot run."""

import pytest
import torch

from medtune import LoraSpec, ModelSpec, QuantSpec, RunSpec
from medtune.accel.train.fp8_linear import Fp8Linear
from medtune.backends import fp8
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.errors import SpecError, UnknownNameError
from medtune.machine.hardware import Accelerator, Machine
from medtune.machine.libraries import quiet_libraries
from medtune.planning.make_plan import make_plan
from medtune.plugins.host import create_host
from medtune.testing.tiny import tiny_base

IDS = torch.arange(2, 22)[None]
H200 = Accelerator("H200", 140.0, (9, 0))
A100 = Accelerator("A100", 80.0, (8, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    with quiet_libraries():
        tiny_base(path).tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def spec(folder):
    return RunSpec(model=ModelSpec(path=str(folder)), quant=QuantSpec(scheme="fp8"))


def load(spec):
    name = spec.quant.quantizer
    return create_host(autoload=False).find("quantizer", name).load(spec.model, spec.quant)


def test_the_default_backend_leaves_the_scheme_to_the_fp8_quantizer(spec):
    assert spec.quant.backend == "bitsandbytes"
    loaded = load(spec)
    assert (loaded.scheme, loaded.device, loaded.compute_dtype) == ("fp8", "cpu", "fp32")
    assert QuantSpec(scheme="fp8", backend="own").quantizer == "own"
    assert QuantSpec().quantizer == "bitsandbytes"


def test_all_layers_but_the_head_are_stored_in_one_byte(spec):
    model = load(spec).model
    layers = [m for m in model.modules() if isinstance(m, Fp8Linear)]
    assert len(layers) == 14
    assert {layer.weight.element_size() for layer in layers} == {1}
    assert type(model.lm_head) is torch.nn.Linear
    assert not any(p.requires_grad for p in model.parameters())


def test_the_rounded_base_answers_nearly_as_the_plain_one(spec):
    plain = BitsAndBytesQuantizer().load(spec.model, QuantSpec(scheme="none"))
    with torch.no_grad():
        found, wanted = (loaded.model(input_ids=IDS).logits for loaded in (load(spec), plain))
    assert 0 < (found - wanted).norm() / wanted.norm() < 0.1


def test_weights_leave_the_host_one_layer_after_the_other(spec, monkeypatch):
    """While a layer is rounded, the layers before it exist in fp8 only."""
    alive = []
    kept = Fp8Linear.__init__

    def count(self, linear, device=None):
        alive.append(sum(type(m) is torch.nn.Linear for m in model.modules()))
        kept(self, linear, device)

    model = BitsAndBytesQuantizer().load(spec.model, QuantSpec(scheme="none")).model
    monkeypatch.setattr(Fp8Linear, "__init__", count)
    fp8.round_layers(model, "cpu")
    assert alive == list(range(15, 1, -1))


def test_an_adapter_is_saved_and_loaded_as_on_any_base(spec, tmp_path):
    torch.manual_seed(0)
    trained = PeftAdapter().attach(load(spec), LoraSpec())
    for parameter in trained.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    trained.save_adapter(tmp_path)
    again = PeftAdapter().attach(load(spec), LoraSpec())
    again.load_adapter(tmp_path)
    with torch.no_grad():
        wanted = trained.model.eval()(input_ids=IDS).logits
        torch.testing.assert_close(again.model(input_ids=IDS).logits, wanted, rtol=0, atol=0)


def test_another_scheme_is_refused(spec):
    with pytest.raises(UnknownNameError, match="fp8"):
        fp8.Fp8Quantizer().load(spec.model, QuantSpec(scheme="nf4"))


def test_a_gpu_without_fp8_products_is_refused_by_loader_and_plan(spec, monkeypatch):
    machine = Machine(4, 64.0, (A100,))
    monkeypatch.setattr("medtune.machine.hardware.describe_machine", lambda: machine)
    with pytest.raises(SpecError, match=r"8\.9.*A100 has 8\.0.*nf4"):
        fp8.Fp8Quantizer().load(spec.model, spec.quant)
    plan = make_plan(spec, create_host(autoload=False), machine=machine)
    assert not plan.fits
    assert "A100 has 8.0" in plan.advice


def test_the_plan_names_the_quantizer_and_counts_a_byte_per_weight_and_copy(spec):
    host = create_host(autoload=False)
    machine = Machine(4, 64.0, (H200,))
    plan = make_plan(spec, host, machine=machine)
    assert (plan.fits, plan.advice, plan.backends["quantizer"]) == (True, "", "fp8")
    slow = spec.model_copy(update={"train": spec.train.model_copy(update={"fast_path": "off"})})
    assert plan.memory_gib["base"] == 2 * make_plan(slow, host, machine=machine).memory_gib["base"]
    assert "emulated" in make_plan(spec, host, machine=Machine(4, 64.0, ())).advice
