"""Every adapter that a spec can ask for: made, moved, saved, and loaded by plain peft in a process of its own."""

import itertools
import json
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from medtune import LoraSpec, ModelSpec, QuantSpec
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.fp8 import Fp8Quantizer
from medtune.backends.peft import PeftAdapter
from medtune.errors import SpecError
from medtune.machine.libraries import quiet_libraries
from medtune.testing.tiny import tiny_base

SCHEMES = ("none", "nf4", "fp4", "int8", "fp8")
INITS = ("default", "gaussian", "pissa", "olora", "orthogonal", "loftq")
KINDS = {"LoRA": (False, False), "rsLoRA": (True, False), "DoRA": (False, True), "rsLoRA and DoRA": (True, True)}
BIASES = ("none", "all", "lora_only")
IDS = torch.arange(2, 22)[None]
MOST = 1e-6

RELOAD = """
import json, sys, warnings
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from safetensors.torch import load_file
warnings.simplefilter("ignore")
torch.set_num_threads(1)
ids = torch.arange(2, 22)[None]

def base_of(base, scheme):
    if scheme == "fp8":  # the one storage that transformers has not
        from medtune import ModelSpec, QuantSpec
        from medtune.backends.fp8 import Fp8Quantizer
        return Fp8Quantizer().load(ModelSpec(path=base), QuantSpec(scheme="fp8")).model
    four = dict(bnb_4bit_quant_type=scheme, bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32)
    kinds = {"none": None, "int8": dict(load_in_8bit=True)}
    kind = kinds.get(scheme, dict(load_in_4bit=True, **four))
    quantization = None if kind is None else BitsAndBytesConfig(**kind)
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, quantization_config=quantization, device_map={"": "cpu"}
    )
    for module in model.modules():  # some CPUs would repack 4-bit weights, and multiply in bf16
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model

def logits(base, scheme, adapter):
    with torch.no_grad():
        return PeftModel.from_pretrained(base_of(base, scheme), adapter).eval()(input_ids=ids).logits

found = {}
for name, (base, scheme, adapter) in json.load(sys.stdin).items():
    wanted = load_file(adapter + ".safetensors")["logits"]
    found[name] = float((logits(base, scheme, adapter) - wanted).abs().max() / wanted.abs().max())
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Asked:
    """A cell of the table."""

    scheme: str
    init: str
    use_rslora: bool
    use_dora: bool
    bias: str

    @property
    def spec(self):
        return LoraSpec(r=4, dropout=0, **{key: value for key, value in asdict(self).items() if key != "scheme"})

    @property
    def name(self):
        kind = next(name for name, flags in KINDS.items() if flags == (self.use_rslora, self.use_dora))
        return f"{self.scheme} {self.init} {kind} {self.bias}"


def every():
    return [Asked(s, i, *k, b) for s, i, k, b in itertools.product(SCHEMES, INITS, KINDS.values(), BIASES)]


def make_base(folder):
    """One layer whose linear layers all have biases, none of them zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=258, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                num_key_value_heads=2, max_position_embeddings=64, attention_bias=True, mlp_bias=True,
                pad_token_id=0, bos_token_id=None, eos_token_id=1,
            )
        ).save_pretrained(folder)  # fmt: skip
        values = load_file(folder / "model.safetensors")
        moved = {n: v + 0.1 * torch.randn_like(v) if n.endswith("bias") else v for n, v in values.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    tiny_base(folder.parent / "tokenizer").tokenizer.save_pretrained(folder)
    return folder


def base_of(folder, scheme):
    quantizer = Fp8Quantizer() if scheme == "fp8" else BitsAndBytesQuantizer()
    return quantizer.load(ModelSpec(path=str(folder)), QuantSpec(scheme=scheme, backend=quantizer.name))


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def move(model):
    """Move every trainable value, as training would."""
    torch.manual_seed(4)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)


def make(base, folder, asked):
    """Save a moved adapter and its logits; return how far ``base_only`` is off, or the sentence that refuses it."""
    alone = base_of(base, asked.scheme)
    try:
        PeftAdapter().check(asked.spec, asked.scheme, alone.device)
    except SpecError as error:
        return str(error)
    before = logits(alone.model)
    torch.manual_seed(3)
    made = PeftAdapter().attach(alone, asked.spec)
    move(made.model)
    wanted = logits(made.model)
    assert (wanted - before).abs().max() > 1e-2
    with made.base_only():
        off = float((logits(made.model) - before).abs().max())
    torch.testing.assert_close(logits(made.model), wanted, rtol=0, atol=0)
    made.save_adapter(folder / asked.name)
    save_file({"logits": wanted.contiguous()}, f"{folder / asked.name}.safetensors")
    return off


def reload_all(base, folder, cells):
    """Return how far logits are off, as a share of the largest, for each adapter loaded in one fresh process."""
    places = {asked.name: (str(base), asked.scheme, str(folder / asked.name)) for asked in cells}
    done = subprocess.run(
        [sys.executable, "-c", RELOAD], input=json.dumps(places), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def try_all(base, folder, cells):
    """Return name -> the largest of both errors, or the sentence that refuses the adapter."""
    with quiet_libraries():
        made = {asked: make(base, folder, asked) for asked in cells}
    loaded = reload_all(base, folder, [asked for asked, off in made.items() if not isinstance(off, str)])
    return {a.name: off if isinstance(off, str) else max(off, loaded[a.name]) for a, off in made.items()}


def cell(found):
    if isinstance(found, str):
        return "GPU" if "needs a CUDA GPU" in found else "no"
    return "yes" if found <= MOST else f"{found:.0e}"


def markdown(found):
    """Return the table as it stands in the documents: in a cell the biases none, all and lora_only."""
    lines = [f"| scheme | init | {' | '.join(KINDS)} |", f"| --- | --- |{' --- |' * len(KINDS)}"]
    for scheme, init in itertools.product(SCHEMES, INITS):
        cells = (", ".join(cell(found[f"{scheme} {init} {kind} {bias}"]) for bias in BIASES) for kind in KINDS)
        lines.append(f"| `{scheme}` | `{init}` | {' | '.join(cells)} |")
    return "\n".join(lines)
