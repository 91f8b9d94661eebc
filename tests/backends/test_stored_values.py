"""What an export takes for the base's weights is what the loaded base computes with, bit for bit, under every storage scheme."""

import pytest
import torch
from safetensors.torch import load_file

from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.fp8 import Fp8Quantizer
from medtune.specs import ModelSpec, QuantSpec
from medtune.testing.tiny import tiny_base

pytestmark = pytest.mark.filterwarnings("ignore:.*MatMul8bitLt.*")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


def by_effect(layer, dtype):
    """Return the weight that a layer multiplies by, from what its backward makes of each unit vector.

    Its forward shows the same but for int8, which rounds what goes in as well.
    """
    given = torch.eye(layer.out_features, layer.in_features, dtype=dtype, requires_grad=True)
    layer(given).backward(torch.eye(layer.out_features, dtype=dtype))
    return given.grad


@pytest.mark.parametrize("compute", ["fp32", "bf16"])
@pytest.mark.parametrize("scheme", ["nf4", "fp4", "nf4 once", "int8", "fp8"])
def test_exported_values_are_those_that_the_base_computes_with(base, scheme, compute):
    quantizer = Fp8Quantizer() if scheme == "fp8" else BitsAndBytesQuantizer()
    spec = QuantSpec(scheme=scheme.split()[0], double_quant="once" not in scheme, compute_dtype=compute)
    model = ModelSpec(path=str(base))
    loaded, stored_as = quantizer.load(model, spec), quantizer.stored_as(model, spec)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[compute]
    files, rounded = load_file(base / "model.safetensors"), 0
    for name, layer in loaded.model.named_modules():
        if not name.endswith("_proj"):
            continue
        exported = stored_as(f"{name}.weight", files[f"{name}.weight"])
        assert torch.equal(exported.to(dtype), by_effect(layer, dtype)), name
        if scheme != "int8":
            with torch.inference_mode():
                assert torch.equal(layer(torch.eye(layer.in_features, dtype=dtype)).T, exported.to(dtype)), name
        rounded += not torch.equal(exported.float(), files[f"{name}.weight"].float())
    assert rounded == 14
