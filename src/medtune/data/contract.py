"""The prompt contract: which prompt an adapter was trained on, with sample ids that prove it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from medtune.data.encode import Encoder
from medtune.errors import UnsafeArtifactError
from medtune.plugins.contracts import Example, Message

__all__ = ["CONTRACT_FILE", "check_contract", "write_contract"]

CONTRACT_FILE = "prompt_contract.json"
_FORMAT = 1

_SAMPLES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "Hello"), ("assistant", "Hi there.")),
    (("user", "Label the tokens.\n\nAspirin helps ."), ("assistant", "Aspirin : B\nhelps : O\n. : O")),
    (("user", "Literal <s> and </s> stay text?"), ("assistant", "Yes: 3 < 5 > 2.")),
    (("user", "One."), ("assistant", "Two."), ("user", "Three?"), ("assistant", "Four…")),
)
"""Synthetic conversations, no row of any data set."""


def write_contract(folder: Path, encoder: Encoder) -> None:
    """Write ``prompt_contract.json``: hashes of template and tokenizer, sample conversations with ids, stop ids."""
    (folder / CONTRACT_FILE).write_text(json.dumps(_contract(encoder), indent=1, ensure_ascii=False), "utf-8")


def check_contract(folder: Path, encoder: Encoder) -> None:
    """Compare the contract in ``folder`` with what ``encoder`` does.

    Raises:
        UnsafeArtifactError: there is no contract, or prompts would now be encoded in another way than in training.
    """
    file = folder / CONTRACT_FILE
    try:
        kept = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnsafeArtifactError(f"'{file}' is missing or damaged, so the adapter's prompt is unknown") from error
    now = _contract(encoder)
    differing = [key for key in now if kept.get(key) != now[key]]
    if kept.get("stop_ids") and set(kept["stop_ids"]) <= set(now["stop_ids"]):  # more of them change no prompt
        differing = [key for key in differing if key != "stop_ids"]
    if "samples" in differing or "stop_ids" in differing:
        raise UnsafeArtifactError(
            f"adapter '{folder}' was trained on other prompts than this tokenizer gives ({', '.join(differing)} differ); "
            "use the tokenizer that lies beside the adapter and the transformers version named in run.json"
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
        "chat_template": tokenizer.chat_template,
        "template_sha256": hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest(),
        "tokenizer_sha256": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "samples": samples,
        "stop_ids": list(encoder.stop_ids),
    }
