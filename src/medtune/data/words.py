"""Tokenises word by word, each word once, where the vocabulary proves that this gives the same ids."""

import json
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

__all__ = ["WordTokenizer"]

_SPACE = "\u2581"
"""How sentencepiece-like vocabularies spell a space."""
_CUT = "\x01"
"""Marks where a text is cut; texts that hold it themselves are cut by a pattern instead."""
_KEPT_WORDS = 300_000  # about 60 MB
_KEPT_LENGTH = 64  # characters; longer words hardly come again
_ENTANGLING = ("single_word", "lstrip", "rstrip")
_PROBES = (
    "Aspirin : O\nhelps : B", " a", "  two  spaces ", "\n\n b\n", "tab\tand\x01", "\u2581\u2581x \u2581", "\U0001fa7a\u0301 \u0645",
    "x", " ", "\n", "1 234 , 56.7 (p < 0.05)", "\ue0f2 \ue0f3", "no-break\u00a0space\u3000wide \x00 nul",
)  # fmt: skip


class WordTokenizer:
    """A byte-pair tokenizer without word borders of its own, run on one word at a time.

    Such a tokenizer (Llama 2, Mistral and Starling have one) merges over the whole text, though no merge in its table
    reaches over a space or a line break. Then every word's ids are the same in any text, and can be kept.

    Use ``of``, which looks whether that is so.

    Args:
        model: the bare model, without normaliser, word borders and added tokens.
        controls: alias -> id of the control tokens.
        prefix: "always", "missing" or "first": which pieces of text get a space in front. "missing" are those that do
            not begin with one, "first" the same at the beginning of the whole text only.
        breaks_lines: whether a line break begins a word too.
    """

    def __init__(self, model: Any, controls: Mapping[str, int], prefix: str, *, breaks_lines: bool) -> None:
        self._model, self._prefix, self._breaks_lines = model, prefix, breaks_lines
        self._controls = {alias: array("i", [index]).tobytes() for alias, index in controls.items()}
        self._aliases = re.compile("(" + "|".join(map(re.escape, controls)) + ")")
        opening, body = (f"[{_SPACE}\n]{_SPACE}*", f"[^{_SPACE}\n]") if breaks_lines else (f"{_SPACE}+", f"[^{_SPACE}]")
        self._words = re.compile(f"{opening}{body}*|{body}+")
        self._known: dict[str, bytes] = {"": b"", **self._controls}

    @classmethod
    def of(cls, settings: Mapping[str, Any], controls: Mapping[str, int], twin: Any) -> "WordTokenizer | None":
        """Return one that gives the ids of ``twin``; None where that cannot be told from the vocabulary.

        Args:
            settings: of the original, as in its tokenizer.json.
            controls: alias -> id of its control tokens.
            twin: the tokenizer in which control tokens are spelled as aliases.
        """
        prefix = _prefix_of(settings)
        model = settings["model"]
        if prefix is None or not controls or not _has_borders(model):
            return None
        if len(settings["added_tokens"]) != len(controls) or any(map(_is_entangled, settings["added_tokens"])):
            return None
        if settings["normalizer"] and any(token["normalized"] for token in settings["added_tokens"]):
            return None
        breaks_lines = not any(right.startswith("\n") for _left, right in _merges(model))
        words = cls(_bare(model), controls, prefix, breaks_lines=breaks_lines)
        alias = next(iter(controls))
        probes = [*_PROBES, *(f"{alias}{probe}{alias}{alias}{probe}" for probe in _PROBES)]
        expected = twin.encode_batch(probes, add_special_tokens=False)
        ids = {twin.token_to_id(a): index for a, index in controls.items()}
        same = (
            own.tolist() == [ids.get(i, i) for i in given.ids]
            for own, given in zip(words.encode_batch(probes), expected, strict=True)
        )
        return words if all(same) else None

    def encode_batch(self, texts: Sequence[str]) -> list[Any]:
        """Return the ids of each text as a read-only int32 array [tokens]."""
        import numpy as np

        texts_words = [self._cut(text) for text in texts]
        long = self._learn(texts_words)
        found: Callable[[str], bytes] = self._known.__getitem__
        ids = [np.frombuffer(b"".join(map(found, words)), dtype=np.int32) for words in texts_words]
        for word in long:
            del self._known[word]
        return ids

    def _cut(self, text: str) -> list[str]:
        """Return words and aliases, in order."""
        words: list[str] = []
        for number, piece in enumerate(self._aliases.split(text)):
            if number % 2:
                words.append(piece)
            elif piece:
                words += self._cut_piece(piece, first=number == 0)
        return words

    def _cut_piece(self, piece: str, *, first: bool) -> list[str]:
        missing = piece[0] not in (" ", _SPACE) and (self._prefix == "missing" or (self._prefix == "first" and first))
        gets_space = self._prefix == "always" or missing
        if "  " in piece or _SPACE in piece or _CUT in piece or (gets_space and piece[0] == " "):
            found: list[str] = self._words.findall((_SPACE if gets_space else "") + piece.replace(" ", _SPACE))
            return found
        marked = piece.replace(" ", _CUT + _SPACE)
        if self._breaks_lines:
            marked = marked.replace("\n", _CUT + "\n")
        words = marked.split(_CUT)
        if gets_space:
            words[0] = _SPACE + words[0]
        return words

    def _learn(self, texts_words: Sequence[list[str]]) -> list[str]:
        """Tokenise the words that are not known, and return those too long to keep."""
        if len(self._known) > _KEPT_WORDS:
            self._known = {"": b"", **self._controls}
        unknown = list(set(chain.from_iterable(texts_words)).difference(self._known))
        encodings = self._model.encode_batch_fast(unknown, add_special_tokens=False)
        for word, encoding in zip(unknown, encodings, strict=True):
            self._known[word] = array("i", encoding.ids).tobytes()
        return [word for word in unknown if len(word) > _KEPT_LENGTH]


def _prefix_of(settings: Mapping[str, Any]) -> str | None:
    """Say which pieces of text get a space in front; None for a tokenizer that does anything else to a text."""
    normalizer, borders = settings["normalizer"], settings["pre_tokenizer"]
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    front = {"type": "Prepend", "prepend": _SPACE}
    if borders is None and normalizer == {"type": "Sequence", "normalizers": [front, spaces]}:
        return "always"
    if borders is None and normalizer == spaces:
        return "never"
    if normalizer is None and borders and borders["type"] == "Metaspace" and not borders["split"]:
        schemes = {"always": "missing", "first": "first", "never": "never"}
        return schemes.get(borders["prepend_scheme"]) if borders["replacement"] == _SPACE else None
    return None


def _has_borders(model: Mapping[str, Any]) -> bool:
    """Whether the model is byte-pair merging in which no merge reaches over a space."""
    if model["type"] != "BPE" or model.get("dropout") or model.get("ignore_merges"):
        return False
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return False
    whole = model.get("byte_fallback") and all(f"<0x{byte:02X}>" in model["vocab"] for byte in range(256))
    return bool(whole) and not any(right[0] == _SPACE and left.strip(_SPACE) for left, right in _merges(model))


def _is_entangled(token: Mapping[str, Any]) -> bool:
    """Whether an added token changes with the text beside it."""
    return any(token[flag] for flag in _ENTANGLING)


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the merge table; older files write a merge as one string."""
    pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
    return [(left, right) for left, right in pairs]


def _bare(model: Mapping[str, Any]) -> Any:
    from tokenizers import Tokenizer

    unused = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return Tokenizer.from_str(
        json.dumps({"version": "1.0", "added_tokens": [], **dict.fromkeys(unused), "model": model})
    )
