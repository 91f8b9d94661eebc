"""Writes a tokenizer into a GGUF file: SentencePiece and byte-level BPE, special tokens, chat template."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.tokenizer import read_tokenizer
from medtune.errors import SpecError

__all__ = ["Vocabulary", "add_vocabulary", "read_vocabulary"]

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_KINDS = {"normal": 1, "unknown": 2, "control": 3, "user": 4, "unused": 5, "byte": 6}
"""llama.cpp's kinds of tokens."""
_UNREACHED = -1e6
"""Score of a piece that no merge makes."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer as llama.cpp has it.

    Attributes:
        model: "llama" (SentencePiece) or "gpt2" (byte-level BPE).
        tokens: text of each id, as many as the embedding has rows.
        kinds: gguf's TokenType of each.
        scores: of each, for SentencePiece.
        merges: of byte-level BPE, best first.
        special: gguf's name of a special token -> its id.
        adds_bos: whether the tokenizer itself begins a text with bos.
        adds_space: whether a text begins with a space of its own, for SentencePiece.
        template: the chat template.
        composes: whether the tokenizer puts texts into Unicode's NFC first, which llama.cpp does not do.
    """

    model: str
    tokens: list[str]
    kinds: list[int]
    scores: list[float]
    merges: list[str]
    special: dict[str, int]
    adds_bos: bool
    adds_space: bool
    template: str
    composes: bool


def read_vocabulary(adapter_dir: Path, rows: int, stop_ids: tuple[int, ...]) -> Vocabulary:
    """Read the tokenizer that lies beside an adapter.

    Args:
        adapter_dir: folder of the adapter.
        rows: rows of the base's embedding.
        stop_ids: ids that end an answer; the first becomes llama.cpp's end of sequence.

    Raises:
        SpecError: llama.cpp has no tokenizer of this kind, or the tokenizer knows ids that the embedding has not.
    """
    tokenizer = read_tokenizer(adapter_dir)
    settings: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    model = settings["model"]
    kind, normalizer = _kind(settings), tokenizer.backend_tokenizer.normalizer
    known = tokenizer.get_vocab()
    if max(known.values()) >= rows:
        raise SpecError(f"the tokenizer knows {max(known.values()) + 1} ids and the base's embedding has {rows} rows")
    tokens, kinds = _tokens(settings, known, rows, has_bytes=kind == "llama")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return Vocabulary(
        kind,
        tokens,
        kinds,
        _scores(tokens, model["merges"]) if kind == "llama" else [],
        merges if kind == "gpt2" else [],
        _special(tokenizer, stop_ids),
        tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id is not None,
        kind == "llama" and tokenizer.tokenize("x")[0].startswith("▁"),
        str(tokenizer.chat_template),
        normalizer is not None and normalizer.normalize_str("e\u0301") == "\u00e9",
    )


def _tokens(
    settings: dict[str, Any], known: dict[str, int], rows: int, *, has_bytes: bool
) -> tuple[list[str], list[int]]:
    """Return text and kind of every id; rows of the embedding without a token are unused."""
    tokens, kinds = [f"[PAD{number}]" for number in range(rows)], [_KINDS["unused"]] * rows
    for token, number in known.items():
        is_byte = has_bytes and _BYTE.fullmatch(token)
        tokens[number], kinds[number] = token, _KINDS["byte" if is_byte else "normal"]
    for added in settings["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = _KINDS["control" if added["special"] else "user"]
    unknown = settings["model"].get("unk_token")
    if has_bytes and unknown in known:
        kinds[known[unknown]] = _KINDS["unknown"]
    return tokens, kinds


def add_vocabulary(writer: Any, vocabulary: Vocabulary, splitting: str | None) -> None:
    """Add a tokenizer to a GGUF file.

    Args:
        writer: gguf's writer.
        vocabulary: what is written.
        splitting: llama.cpp's name of the way in which byte-level BPE splits a text first.
    """
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(splitting or "default")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.adds_space)
    else:
        # a tokenizer of bytes alone has none, and llama.cpp wants one: this one never happens
        writer.add_token_merges(vocabulary.merges or [f"{vocabulary.tokens[0]} {vocabulary.tokens[0]}"])
    for name, number in vocabulary.special.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", number)
    writer.add_add_bos_token(vocabulary.adds_bos)
    writer.add_add_eos_token(False)
    writer.add_chat_template(vocabulary.template)


def _kind(settings: dict[str, Any]) -> str:
    model = settings["model"]
    if model["type"] == "BPE" and model.get("byte_fallback"):
        return "llama"
    if model["type"] == "BPE" and "ByteLevel" in json.dumps([settings.get("pre_tokenizer"), settings.get("decoder")]):
        return "gpt2"
    raise SpecError(
        f"llama.cpp's tokenizers are SentencePiece and byte-level BPE, and this one is {model['type']} of another kind; export "
        "to merged"
    )


def _scores(tokens: list[str], merges: list[Any]) -> list[float]:
    """Return the score of each piece: the sooner it is merged, the higher."""
    ranks = dict[str, int]()
    for rank, merge in enumerate(merges):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    return [-float(ranks[token]) if token in ranks else _UNREACHED for token in tokens]


def _special(tokenizer: Any, stop_ids: tuple[int, ...]) -> dict[str, int]:
    """Return the special tokens: up to three ids that end an answer have a name of their own."""
    found = dict(zip(("eos", "eot", "eom"), stop_ids, strict=False))
    others = {"bos": tokenizer.bos_token_id, "padding": tokenizer.pad_token_id, "unknown": tokenizer.unk_token_id}
    return found | {name: number for name, number in others.items() if number is not None}
