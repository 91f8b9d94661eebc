"""A twin of a tokenizer in which only the chat template can write control tokens."""

import json
import re
import secrets
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from medtune.data.words import WordTokenizer

__all__ = ["PlainTextTokenizer"]

_OPEN, _CLOSE = "\ue0f2", "\ue0f3"
"""Private-use characters around an alias."""
_NEUTRAL = ("\n", "\ue0f4", "x")
"""What a text may be tokenised behind without running into it."""


class PlainTextTokenizer:
    """Encodes text in which control tokens are spelled as aliases; their own spelling is plain text.

    A joint tokenisation of template and content thus gives the ids that the original gives, except that ``<s>`` inside
    a message stays the characters it is.

    Args:
        tokenizer: a transformers tokenizer backed by the tokenizers library.
        markers: template text around turns; an added token in it is a control token even where the tokenizer does not
            declare it special, as some ChatML models do with ``<|im_start|>``.
    """

    def __init__(self, tokenizer: Any, markers: str = "") -> None:
        self._tokenizer, self._markers = tokenizer, markers
        self._nonce = secrets.token_hex(8)  # so that no row can spell an alias

    @cached_property
    def _special(self) -> dict[str, int]:
        """Spelling -> id of the control tokens."""
        added = self._tokenizer.backend_tokenizer.get_added_tokens_decoder()
        return {
            token.content: index
            for index, token in added.items()
            if token.special or (token.content.strip() and token.content in self._markers)
        }

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self._special, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    @cached_property
    def _alias_pattern(self) -> re.Pattern[str]:
        return re.compile(f"{_OPEN}{self._nonce}\\.(\\d+){_CLOSE}")

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """The original's tokenizer.json."""
        settings: dict[str, Any] = json.loads(self._tokenizer.backend_tokenizer.to_str())
        return settings

    @cached_property
    def _words(self) -> WordTokenizer | None:
        """A faster way to the same ids, for tokenizers that have one."""
        controls = {self._alias(index): index for index in self._special.values()}
        return WordTokenizer.of(self._settings, controls, self._twin)

    @cached_property
    def _twin(self) -> Any:
        """The tokenizer with every control token respelled; their ids are new, ``_to_real`` leads back."""
        from tokenizers import AddedToken, Tokenizer

        original = self._tokenizer.backend_tokenizer
        settings = {**self._settings, "added_tokens": []}
        settings["truncation"] = settings["padding"] = settings["post_processor"] = None
        twin = Tokenizer.from_str(json.dumps(settings))
        for index, token in sorted(original.get_added_tokens_decoder().items()):
            flags = {"lstrip": token.lstrip, "rstrip": token.rstrip, "normalized": token.normalized}
            if token.content in self._special:
                twin.add_special_tokens([AddedToken(self._alias(index), single_word=False, **flags)])
            else:
                twin.add_tokens([AddedToken(token.content, single_word=token.single_word, **flags)])
        return twin

    @cached_property
    def _to_real(self) -> Any:
        """Array: id of the twin -> id of the original."""
        import numpy as np

        vocabulary = self._twin.get_vocab(with_added_tokens=True)
        real = np.arange(max(vocabulary.values()) + 1, dtype=np.int32)
        for index, token in self._tokenizer.backend_tokenizer.get_added_tokens_decoder().items():
            spelling = self._alias(index) if token.content in self._special else token.content
            real[vocabulary[spelling]] = index
        return real

    @cached_property
    def _is_control(self) -> Any:
        """Boolean array over real ids: whether it is a control token's."""
        import numpy as np

        flags = np.zeros(max([int(self._to_real.max()), *self._special.values()]) + 1, dtype=bool)
        flags[list(self._special.values())] = True
        return flags

    @cached_property
    def wants_bos(self) -> bool:
        """Whether the tokenizer itself begins every sequence with its beginning-of-sequence token."""
        bos = self._tokenizer.bos_token_id
        return bos is not None and self._tokenizer("a")["input_ids"][:1] == [bos]

    @property
    def bos_alias(self) -> str:
        """How the beginning-of-sequence token is spelled here."""
        return self._alias(self._tokenizer.bos_token_id)

    def spells_control(self, text: str) -> bool:
        """Whether ``text`` holds the characters of a control token."""
        return self._pattern.search(text) is not None

    def aliased(self, text: str) -> str:
        """Spell the control tokens of template text as aliases."""
        return self._pattern.sub(lambda found: self._alias(self._special[found[0]]), text)

    def ids(self, texts: Sequence[str]) -> list[Any]:
        """Return the original's ids of each text as an int32 array [tokens]."""
        if self._words is not None:
            return self._words.encode_batch(texts)
        return [self.real_ids(e) for e in self._twin.encode_batch_fast(list(texts), add_special_tokens=False)]

    def continued(self, prompt: str, rest: str) -> tuple[Any, int] | None:
        """Return the ids of a text whose prompt is tokenised by itself, as generation is given it.

        Some tokenizers put a space before whatever they are given, which does not stand in the text: then the rest is
        tokenised behind a character that is taken off again. What is right is what decodes to the text.

        Returns:
            Ids as an int32 array [tokens], and how many of them are the prompt's; None when no ids decode to the text.
        """
        import numpy as np

        given, whole = self.ids([prompt, prompt + rest])
        wanted = self._decoded(whole)
        for mark in ("", *_NEUTRAL):
            before, both = self.ids([mark, mark + rest])
            found = np.concatenate([given, both[len(before) :]])
            if both[: len(before)].tolist() == before.tolist() and self._decoded(found) == wanted:
                return found, len(given)
        return None

    def _decoded(self, ids: Any) -> str:
        text: str = self._tokenizer.backend_tokenizer.decode(ids.tolist(), skip_special_tokens=False)
        return text

    def encode_batch(self, texts: Sequence[str]) -> list[Any]:
        """Tokenise; the encodings carry the twin's ids and character offsets, which takes longer than ``ids``."""
        encodings: list[Any] = self._twin.encode_batch(list(texts), add_special_tokens=False)
        return encodings

    def real_ids(self, encoding: Any) -> Any:
        """Return the original's ids as an int32 array [tokens]."""
        import numpy as np

        return self._to_real[np.array(encoding.ids, dtype=np.int64)]

    def controls(self, ids: Any) -> Any:
        """Return the places of the control tokens among real ids, in order, whoever wrote them."""
        return self._is_control[ids].nonzero()[0]

    def spelled(self, text: str) -> str:
        """Spell aliases as the control tokens they stand for."""
        names = {index: spelling for spelling, index in self._special.items()}
        return self._alias_pattern.sub(lambda found: names[int(found[1])], text)

    def aliased_ids(self, text: str) -> tuple[int, ...]:
        """Return the ids that the aliases in ``text`` stand for, in order."""
        return tuple(int(number) for number in self._alias_pattern.findall(text))

    def first_alias(self, text: str) -> tuple[int, int] | None:
        """Return offset and id of the first control token in ``text``."""
        found = self._alias_pattern.search(text)
        return (found.start(), int(found[1])) if found else None

    def ids_after_control(self, opening: str) -> tuple[int, ...] | None:
        """Return the ids of ``opening`` after its last control token; None when it has none to hold on to."""
        ends = [found.start() for found in self._alias_pattern.finditer(opening)]
        if not ends:
            return None
        return tuple(self.ids([opening[ends[-1] :]])[0][1:].tolist())

    def _alias(self, index: int) -> str:
        return f"{_OPEN}{self._nonce}.{index}{_CLOSE}"
