"""Tiny random models of many families of transformers, built offline; the one list of them that tests share."""

import inspect
from dataclasses import replace
from functools import cache

import torch

from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Job, Loaded
from medtune.specs import LoraSpec, RunSpec
from medtune.testing.tiny import RandomRows

VOCABULARY = 97
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}
IDS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}

FAMILIES = {
    "apertus": {},
    "arcee": {},
    "bert": {},
    "bert causal": {"is_decoder": True},
    "biogpt": {},
    "bloom": {},
    "codegen": {"rotary_dim": 4},
    "cohere": {},
    "cohere2": {},
    "deepseek_v2": {**ROUTED, **LATENT, "num_key_value_heads": 4},
    "deepseek_v3": {**ROUTED, **LATENT, "num_key_value_heads": 4},
    "diffllama": {},
    "electra": {"embedding_size": 32},
    "ernie4_5": {},
    "exaone4": {},
    "falcon": {"head_dim": None, "new_decoder_architecture": False},
    "falcon alibi": {"head_dim": None, "alibi": True},
    "falcon_h1": {
        "lm_head_multiplier": 0.5,
        "mamba_d_ssm": 32,
        "mamba_n_heads": 4,
        "mamba_d_head": 8,
        "mamba_d_state": 8,
    },
    "falcon_mamba": {},
    "flex_olmo": {"num_experts": 4, "num_experts_per_tok": 2},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "glm": {},
    "glm4": {},
    "glm4_moe": {**ROUTED},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gpt_neox": {},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gptj": {"rotary_dim": 4},
    "granite": {"logits_scaling": 4.0},
    "granitemoe": {"num_local_experts": 4},
    "helium": {},
    "hunyuan_v1_dense": {},
    "jamba": {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8},
    "jetmoe": {},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "llama": {},
    "mistral window": {"sliding_window": 7},
    "mamba": {},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2, "state_size": 8},
    "ministral": {"sliding_window": 7, "layer_types": ["full_attention", "sliding_attention"]},
    "mistral": {},
    "mixtral": {"num_local_experts": 4},
    "modernbert-decoder": {},
    "mpt": {},
    "nemotron": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "openai-gpt": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": {"num_local_experts": 4},
    "qwen2": {},
    "qwen2 window": {"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3": {},
    "qwen3_5_text": {**DELTA},
    "qwen3_moe": {**EXPERTS},
    "qwen3_next": {**EXPERTS, **DELTA, "shared_expert_intermediate_size": 16},
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 16, "block_types": ["recurrent", "attention"]},
    "roberta": {},
    "rwkv": {},
    "seed_oss": {},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
    "vaultgemma": {},
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4},
    "xlm-roberta": {},
}
"""Name of a row, which begins with the model type -> what its config sets beside the common sizes."""


TARGETS = {
    "falcon_h1": ["q_proj", "v_proj", "down_proj"],
    "falcon_mamba": ["in_proj", "x_proj"],
    "mamba": ["in_proj", "x_proj"],
    "mamba2": ["in_proj"],
}
"""Layers that adapters change where peft does not take all linear ones."""


def is_installed(name):
    """Return whether the installed release of transformers has a family."""
    from transformers import CONFIG_MAPPING

    return model_type(name) in CONFIG_MAPPING


def model_type(name):
    """Return the model type of a row."""
    return name.partition(" ")[0]


def config_of(name):
    """Return the config of a tiny model."""
    from transformers import CONFIG_MAPPING

    own = FAMILIES[name]
    kind = CONFIG_MAPPING[model_type(name)]
    known = {key for each in kind.__mro__ for key in vars(each).get("__annotations__", {})}
    known |= set(inspect.signature(kind.__init__).parameters) | set(kind.attribute_map)
    sizes = {key: value for key, value in SIZES.items() if key in known}
    fields = {**IDS, **sizes, **own}
    return kind(**{key: value for key, value in fields.items() if value is not None})


@quiet_libraries()
def build_base(name):
    """Return a tiny random model of a family, frozen, whose norms and biases are not what they are at first."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_config(config_of(name), dtype=torch.float32)
        for key, parameter in base.named_parameters():
            if parameter.ndim == 1 and ("norm" in key or "bias" in key):
                parameter.data += 0.1 * torch.randn_like(parameter)
            elif "head" in key or "embed" in key or "wte" in key:
                parameter.data *= 5  # so that what is said depends on what was read
    return base.eval().requires_grad_(requires_grad=False)


@quiet_libraries()
def attach(base, **lora):
    """Return a loaded model with a fresh adapter on its linear layers, on the CPU."""
    from medtune.backends.peft import PeftAdapter

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dtype = {torch.float32: "fp32", torch.bfloat16: "bf16"}[base.dtype]
        return PeftAdapter().attach(Loaded(base, tokenizer(), "cpu", dtype, (2,)), LoraSpec(dropout=0.0, **lora))


def job_of(name, base=None, **train):
    """Return the job of training a tiny model of a family on a few packed rows."""
    spec = RunSpec.model_validate({"train": {"max_length": 96, "max_steps": 2, "num_train_epochs": None, **train}})
    loaded = attach(build_base(name) if base is None else base, target_modules=TARGETS.get(name, "all-linear"))
    return Job(spec, loaded, Rows(max_length=96), None, 2)


class Rows(RandomRows):
    """Packed rows of ids that the models know."""

    def __getitem__(self, index):
        row = super().__getitem__(index)
        return replace(row, input_ids=[3 + token % (VOCABULARY - 3) for token in row.input_ids])


@cache
def tokenizer():
    """Return a tokenizer of words that are the numbers of their ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({str(number): number for number in range(VOCABULARY)}, unk_token="3"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="0", bos_token="1", eos_token="2")
