"""Which token ids end an answer: one set for every generator, the prompt contract and exports."""

from collections.abc import Sequence
from typing import Any

from medtune.data.forms import Forms
from medtune.data.hub.models import described
from medtune.errors import HubError, SpecError
from medtune.specs import ModelSpec

__all__ = ["as_ids", "configured_ends", "stop_ids"]

_END_OF_TEXT = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>")
"""Tokens with which base models end a text; a tuned one may still write them."""


def stop_ids(tokenizer: Any, configured: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the ids that end an answer.

    The first is the last supervised token of an answer in the chat template, which need not be the tokenizer's end:
    the tokenizer of a base model often keeps ``<|endoftext|>`` beside a template that ends turns in ``<|im_end|>``.

    Args:
        tokenizer: from ``load_tokenizer``; one without a chat template has no end of a turn.
        configured: what the model itself stops at, from ``configured_ends``.

    Raises:
        UnsafeArtifactError: the template breaks an invariant.
    """
    turn = [Forms(tokenizer, "last").of(("user", "assistant")).answers[-1].end_id] if tokenizer.chat_template else []
    vocabulary = tokenizer.get_vocab()
    special = set(tokenizer.backend_tokenizer.get_added_tokens_decoder())
    of_text = [i for i in map(vocabulary.get, _END_OF_TEXT) if i in special]
    found = (*turn, tokenizer.eos_token_id, *of_text, *configured)
    return tuple(dict.fromkeys(i for i in found if i is not None))


def configured_ends(model: ModelSpec) -> tuple[int, ...]:
    """Return the end ids of a model's ``generation_config.json``, or where it has none of its ``config.json``.

    Empty where it has neither, or they name none.
    """
    from transformers import AutoConfig, GenerationConfig

    try:
        folder = str(described(model))
    except HubError:  # nothing is known of it; loading it will say so
        return ()
    try:
        ends: Any = GenerationConfig.from_pretrained(folder).eos_token_id
    except (TypeError, AttributeError) as error:
        raise SpecError("generation_config.json of the base is no JSON object; get it again, or remove it") from error
    except OSError:
        try:
            config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError):  # no file, or none that names a model: loading it will say so
            return ()
        ends = config.get_text_config().eos_token_id
    return as_ids(ends)


def as_ids(ends: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return end ids as configurations write them, one or several or none, as a tuple."""
    found = () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)
    if not all(type(each) is int and each >= 0 for each in found):
        raise SpecError(
            "eos_token_id of the base's generation_config.json or config.json holds what is no token id; mend it"
        )
    return found
