"""Whether a kind of model lets its tokens see later ones, shown on a small random model of the same config.

Imported inside functions only: it loads torch and transformers.
"""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from medtune.machine.libraries import quiet_libraries

__all__ = ["sees_later_tokens"]

_WORDS, _PER_HEAD, _LENGTH = 32, 8, 6
_VISIBLE = 1e-4  # change of a logit; rounding in fp32 changes it by less than a thousandth of that


@quiet_libraries()
def sees_later_tokens(config: Any) -> bool:
    """Say whether another last token changes the logits before it.

    Only a config that can be an encoder's (it has ``is_decoder``, unset) is tried; that a base is causal as it is loaded is
    proved on the base itself.
    """
    if getattr(config, "is_decoder", True):
        return False
    small = {
        "vocab_size": _WORDS,
        "num_hidden_layers": 1,
        "hidden_size": _PER_HEAD * int(getattr(config, "num_attention_heads", 1)),
        "intermediate_size": 2 * _PER_HEAD,
        "pad_token_id": 0,
    }
    values = {**config.to_dict(), **small}
    for name in ("model_type", "transformers_version", "quantization_config"):
        values.pop(name, None)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(config.model_type, **values), attn_implementation="eager"
        ).eval()
        ids = torch.arange(2, 2 + _LENGTH)[None]
        other = ids.clone()
        other[0, -1] = _WORDS - 1
        moved = (model(ids).logits[0, :-1] - model(other).logits[0, :-1]).abs().max()
    return bool(moved > _VISIBLE)
