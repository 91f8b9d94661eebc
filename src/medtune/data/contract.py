"""The prompt contract: which prompt an adapter was trained on, with sample ids that prove it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.data.encode import Encoder
from medtune.data.tokenizer import load_tokenizer, pinned_day, splitting, undated
from medtune.errors import TrialFailedError, UnsafeAdapterError
from medtune.plugins.contracts import Example, Message
from medtune.specs import ModelSpec
from medtune.specs.bounded import json_file

__all__ = ["CONTRACT_FILE", "check_contract", "check_tokenizer", "write_contract"]

CONTRACT_FILE = "prompt_contract.json"
_FORMAT = 2
_ADDED = {"special_tokens": "its special tokens", "chat_template": "its template as text"}
"""Parts that contracts of format 1 have not, and what they say."""
_OF_TEMPLATE = ("chat_template", "template_sha256", "day")
_HASHES = ("tokenizer_sha256",)
"""Parts that change with the releases of the libraries: the tokenizer that lies beside the adapter is compared instead."""

_SAMPLES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "Hello"), ("assistant", "Hi there.")),
    (("user", "Label the tokens.\n\nAspirin helps ."), ("assistant", "Aspirin : B\nhelps : O\n. : O")),
    (("user", "Literal <s> and </s> stay text?"), ("assistant", "Yes: 3 < 5 > 2.")),
    (("user", "One."), ("assistant", "Two."), ("user", "Three?"), ("assistant", "Four…")),
)
"""Synthetic conversations, no row of any data set."""


def write_contract(folder: Path, encoder: Encoder) -> None:
    """Write ``prompt_contract.json``: template, tokenizer and special tokens, sample conversations with ids, stop ids."""
    (folder / CONTRACT_FILE).write_text(json.dumps(_contract(encoder), indent=1, ensure_ascii=False), "utf-8")


def check_contract(folder: Path, encoder: Encoder) -> list[str]:
    """Compare the contract in ``folder``, as a whole, with what ``encoder`` does.

    Returns:
        What a contract of an earlier medtune does not say, and so could not be compared.

    Raises:
        UnsafeAdapterError: there is no contract, or prompts would now be encoded, or answers end, in another way than in
            training.
    """
    try:
        kept = json_file(folder / CONTRACT_FILE)
    except (OSError, ValueError):
        kept = None
    if not isinstance(kept, dict) or kept.get("format") not in (1, _FORMAT):
        raise UnsafeAdapterError(
            str(folder), "contract", f"'{CONTRACT_FILE}' is missing or damaged, so its prompt is unknown"
        )
    now, is_former = _contract(encoder), kept["format"] != _FORMAT
    unsaid = {key: what for key, what in _ADDED.items() if is_former and key not in kept}
    differing = [key for key in now if key not in ("format", *_HASHES, *unsaid) and kept.get(key) != now[key]]
    if _differs_by_day_alone(kept, now):
        differing = [key for key in differing if key not in _OF_TEMPLATE]
    ends = kept.get("stop_ids")
    if is_former and ends and isinstance(ends, list) and all(end in now["stop_ids"] for end in ends):
        differing = [key for key in differing if key != "stop_ids"]  # earlier medtunes knew fewer
    if differing:
        raise UnsafeAdapterError(
            str(folder),
            "prompt",
            f"it was trained on other prompts than this tokenizer gives ({', '.join(differing)} differ); use the tokenizer "
            "that lies beside it and the transformers version named in run.json",
        )
    return list(unsaid.values())


def check_tokenizer(folder: Path, tokenizer: Any) -> None:
    """Compare the tokenizer that lies beside an adapter, which whoever loads it without medtune uses, with the base's.

    Raises:
        UnsafeAdapterError: it cannot be loaded, or gives other ids, another prompt or other special tokens.
    """
    try:
        beside = load_tokenizer(ModelSpec(path=str(folder)))
    except TrialFailedError:
        raise
    except Exception as error:  # the tokenizers library raises plain ones
        raise UnsafeAdapterError(
            str(folder), "tokenizer", f"the tokenizer beside it cannot be loaded ({type(error).__name__})"
        ) from error
    parts = {
        "vocabulary": splitting,
        "template": lambda one: undated(_template(one)),
        "special tokens": _special_tokens,
    }
    differing = [name for name, part in parts.items() if part(beside) != part(tokenizer)]
    if differing:
        raise UnsafeAdapterError(
            str(folder), "tokenizer", f"the tokenizer beside it is not the base's ({', '.join(differing)} differ)"
        )


def _contract(encoder: Encoder) -> dict[str, Any]:
    samples: list[dict[str, Any]] = []
    for turns in _SAMPLES:
        messages: list[Message] = [{"role": role, "content": content} for role, content in turns]
        encoded = encoder.encode(Example(messages))
        samples.append(
            {
                "messages": messages,
                "input_ids": list(encoded.input_ids),
                "supervised": list(encoded.supervised),
                "prompt_ids": encoder.prompt_ids(messages[:-1]),
            }
        )
    tokenizer = encoder.tokenizer
    return {
        "format": _FORMAT,
        "chat_template": _template(tokenizer),
        "template_sha256": _digest(_template(tokenizer)),
        "tokenizer_sha256": hashlib.sha256(json.dumps(splitting(tokenizer), sort_keys=True).encode()).hexdigest(),
        "day": pinned_day(_template(tokenizer)),
        "special_tokens": _special_tokens(tokenizer),
        "samples": samples,
        "stop_ids": list(encoder.stop_ids),
    }


def _differs_by_day_alone(kept: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an earlier release worded the pinned day otherwise; which day that writes, the samples show."""
    template = str(kept.get("chat_template"))
    is_other = template != now["chat_template"] and undated(template) == undated(now["chat_template"])
    return is_other and kept.get("template_sha256") == _digest(template)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _template(tokenizer: Any) -> str:
    return str(tokenizer.chat_template)


def _special_tokens(tokenizer: Any) -> dict[str, Any]:
    """Return the tokens that begin, end and pad a text, with their ids."""
    kinds = ("bos", "eos", "pad", "unk")
    return {kind: [getattr(tokenizer, f"{kind}_token"), getattr(tokenizer, f"{kind}_token_id")] for kind in kinds}
