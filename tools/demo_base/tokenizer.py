"""Builds the tiny base's tokenizer: byte-level BPE whose words own the space after them."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from demo_base.generator import generate_rows, pretraining_text

__all__ = ["CHAT_TEMPLATE", "SPECIAL_TOKENS", "build_tokenizer"]

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<|end_of_turn|>", "<|pad_0|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ 'GPT4 Correct ' + message['role'].title() + ': ' + "
    "message['content'] + '<|end_of_turn|>'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ 'GPT4 Correct Assistant:' }}{% endif %}"
)
"""Starling-LM-7B-alpha's template, which writes the ``<s>`` itself."""

# A word owns the space behind it, not the one before it, as is usual: in ``token : label`` lines a token follows a line
# break, in the sentence a space, and a model of two million parameters should not have to learn two spellings of every
# word. A colon right behind a word owns none, so that "Assistant:" encodes the same with and without an answer.
_PIECES = r"(?<=\S):|\w+ ?|[^\w\s]+ ?|\s"
_TRAINING_DOCUMENTS = 30_000
_TRAINING_ROWS_PER_SOURCE = 1_500


def build_tokenizer(vocab_size: int = 2048) -> Any:
    """Train the tokenizer on the generator's text and return it as a transformers tokenizer."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_training_text(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        unk_token="<unk>",  # noqa: S106 - a token of text
        bos_token="<s>",  # noqa: S106
        eos_token="<|end_of_turn|>",  # noqa: S106
        pad_token="<|pad_0|>",  # noqa: S106
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _training_text() -> Iterator[str]:
    for text in islice(pretraining_text(0), _TRAINING_DOCUMENTS):
        yield text.replace("<|end_of_turn|>", "\n").replace("</s>", "\n")
    for row in generate_rows("train", _TRAINING_ROWS_PER_SOURCE, 0):
        yield f"{row['instruction']}\n{row['input']}\n{row['output']}"
