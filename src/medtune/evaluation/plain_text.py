"""Texts as they are compared: one normal form, and words of any script."""

import re
import unicodedata

__all__ = ["NO_SPACES", "normal", "words"]

NO_SPACES = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Thai and Lao, Tibetan, Burmese, Khmer, kana and Han: scripts that write words without spaces between them."""
_WORD = re.compile(rf"[{NO_SPACES}]|[^\W_{NO_SPACES}]+")
_ASCII_WORD = re.compile(r"[^\W_]+", re.ASCII)


def normal(text: str) -> str:
    """Return the text in Unicode's composed form (NFC), so that two ways to write an accent are one, and the micro sign as mu.

    Keyboards write the one, and tokenizers of compatible forms (NFKC) make it the other.

    >>> normal("cafe\u0301") == "caf\u00e9"
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text).replace("\u00b5", "\u03bc")


def words(text: str) -> list[str]:
    """Return runs of letters and digits in lower case; of scripts without spaces each character by itself.

    >>> words("CT检查 x")
    ['ct', '检', '查', 'x']
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return [word for word in _WORD.findall(normal(text).lower()) if unicodedata.category(word[0])[0] in "LMN"]
