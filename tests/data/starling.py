"""Starling's tokenizer, built from the Mistral v1 sentencepiece model that mistral-common carries."""

import importlib.util
import shutil
from pathlib import Path

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ 'GPT4 Correct ' + message['role'].title() + ': ' + "
    "message['content'] + '<|end_of_turn|>'}}{% endfor %}{% if add_generation_prompt %}{{ 'GPT4 Correct Assistant:' }}{% endif %}"
)
GOLDEN_TEXT = "GPT4 Correct User: Hello<|end_of_turn|>GPT4 Correct Assistant:"
GOLDEN_IDS = [1, 420, 6316, 28781, 3198, 3123, 1247, 28747, 22557, 32000, 420, 6316, 28781, 3198, 3123, 21631, 28747]


def sentencepiece_folder(folder: Path) -> Path:
    """Put the sentencepiece model into ``folder`` under the name that transformers looks for."""
    package = Path(importlib.util.find_spec("mistral_common").origin).parent
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(package / "data" / "tokenizer.model.v1", folder / "tokenizer.model")
    return folder


def build(tokenizer_class, folder: Path, **options):
    """Load the sentencepiece model through a tokenizer class and add what Starling adds."""
    tokenizer = tokenizer_class.from_pretrained(sentencepiece_folder(folder), **options)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|end_of_turn|>", "<|pad_0|>"]})
    tokenizer.eos_token = "<|end_of_turn|>"
    tokenizer.chat_template = TEMPLATE
    return tokenizer
