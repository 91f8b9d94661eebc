"""The model, the rows and the useful work of the training benchmark: the chosen shape, Starling's by default, with random weights."""

import gc

import numpy as np
import torch
from shapes import chosen, config_of

from medtune.accel.train.fp8_linear import Fp8Linear
from medtune.data.pack import best_fit

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


def make_base(tiny):
    """Return the model with random weights in bf16, the same ones every time on the same kind of device."""
    from transformers import AutoConfig, AutoModelForCausalLM

    values = config_of(chosen(), tiny=tiny)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(DEVICE):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    finally:
        torch.set_default_dtype(torch.float32)
    return model.requires_grad_(requires_grad=False)


def make_model(base, tiny, dropout=0.0):
    """Return a peft model with random weights whose frozen layers are stored as ``base``."""
    from peft import LoraConfig, get_peft_model

    model = make_base(tiny)
    if base != "bf16":
        for part in [p for layer in model.model.layers for p in (layer.self_attn, layer.mlp)]:
            for name, linear in list(part.named_children()):
                if type(linear) is torch.nn.Linear and (base != "fp8" or Fp8Linear.suits(linear)):
                    setattr(part, name, Fp8Linear(linear) if base == "fp8" else four_bit(linear))
    lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=dropout, task_type="CAUSAL_LM", target_modules="all-linear")
    model = get_peft_model(model, lora).train()
    for parameter in model.parameters():
        if parameter.requires_grad:  # second factors are not zero, so that all gradients are checked
            parameter.data = torch.randn_like(parameter, dtype=torch.float32) * 0.01
    free()
    return model


def four_bit(linear):
    """Return the layer in NF4 with double quantization."""
    import bitsandbytes as bnb

    new = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=False,
        compute_dtype=torch.bfloat16,
        quant_type="nf4",
        device="meta",
    )
    new.support_avx512bf16_for_cpu = False
    new.weight = bnb.nn.Params4bit(
        linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True, module=new
    )
    new.weight, new.bias = new.weight.to(DEVICE), linear.bias
    return new


_SAMPLES = 4000
"""Samples that a batch's rows are packed from: as many as make packing as full as that of a real set."""


def make_batch(rows, length, seed, texts=0):
    """Return ids, positions and labels of packed rows, and the lengths of their samples.

    With ``texts`` every sample whose prompt is long enough begins with one of so many of 73 to 81 tokens, as MedTuned's do:
    chat format and instruction.
    """
    rng = np.random.default_rng(seed)
    drawn = np.clip(rng.lognormal(5.6, 0.55, _SAMPLES), 40, length).astype(int).tolist()
    samples = [[drawn[i] for i in row] for row in best_fit(drawn, length, seed)[:rows]]
    ids = torch.from_numpy(rng.integers(3, 32000, (rows, length)))
    known = np.random.default_rng(0)
    begins = [torch.from_numpy(known.integers(3, 32000, known.integers(73, 82))) for _ in range(texts)]
    positions, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, lengths in enumerate(samples):
        start = 0
        for n in lengths:
            positions[row, start : start + n] = torch.arange(n)
            answer = start + n - int(n * 0.45)
            if begins and len(begin := begins[rng.integers(texts)]) < answer - start:
                ids[row, start : start + len(begin)] = begin
            labels[row, answer : start + n] = ids[row, answer : start + n]
            start += n
        positions[row, start:] = torch.arange(length - start)
    return (ids, positions, labels), [n for lengths in samples for n in lengths]


def useful_work(model, lengths, supervised):
    """Return the floating point operations that a step is worth; recomputing is none."""
    config = model.get_base_model().config
    head = config.vocab_size * config.hidden_size
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    block = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size)
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    attention = 2 * queries * config.num_hidden_layers * sum(n * n for n in lengths)
    tokens = sum(lengths)
    return tokens * (4 * block * config.num_hidden_layers + 6 * adapter) + 4 * head * supervised + 3 * attention


def free():
    """Give back memory that nobody holds."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
