"""Says how easy the guides are to read: Flesch's reading ease of each page, and the sentences that are the hardest."""

import re
import sys
from pathlib import Path

__all__ = ["GOAL", "guides", "reading_ease", "sentences_of"]

ROOT = Path(__file__).parents[1]
GOAL = 60.0
"""Flesch's reading ease that a guide has at least: 60 to 70 is plain English, below 30 reads like a contract."""
_SHOWN = 20
_GUIDES = re.compile(r"^:caption: Guides$.*?^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)
_NOT_PROSE = re.compile(r"^(?:\||#|<|!\[|\[\w+\]:|:{3}|\(\w[\w-]*\)=).*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_CODE = re.compile(r"`[^`]*`|\{\w+\}`[^`]*`")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+", re.MULTILINE)
_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*|\d[\d.,]*")
_GROUPS = re.compile(r"[aeiouy]+")
_APART = re.compile(r"ua(?=[lt])|[iu]o(?!n|u)|ia(?!l)|eo|iu|ing(?<=[aeiouy]ing)")
"""Vowels beside each other that are spoken apart."""


def guides() -> list[Path]:
    """Return the README, the start page and the pages that it lists as guides."""
    start = ROOT / "docs" / "index.md"
    found = _GUIDES.search(start.read_text())
    names = re.findall(r"^(?:[^<\n]*<)?([\w/-]+)>?$", found[0].partition("\n\n")[2], re.MULTILINE) if found else []
    return [ROOT / "README.md", start, *(ROOT / "docs" / f"{name}.md" for name in names)]


def sentences_of(page: str) -> list[str]:
    """Return the sentences of a page's prose: no code, no tables, no headings; a name in code counts as one short word."""
    text = _ITEM.sub("\n\n", _NOT_PROSE.sub("", _FENCE.sub("", page)))
    text = _CODE.sub("it", _LINK.sub(r"\1", text)).replace("*", "")
    parts = (" ".join(part.split()) for part in _END.split(text))
    return [part for part in parts if len(_WORD.findall(part)) > 1]


def reading_ease(sentences: list[str]) -> float:
    """Return Flesch's reading ease: 206.835 - 1.015 words a sentence - 84.6 syllables a word."""
    words = [word for sentence in sentences for word in _WORD.findall(sentence)]
    if not words:
        return 100.0
    syllables = sum(map(_syllables, words))
    return 206.835 - 1.015 * len(words) / len(sentences) - 84.6 * syllables / len(words)


def _syllables(word: str) -> int:
    """Return about how many syllables a word has; an abbreviation or a number counts as one."""
    if word[0].isdigit() or (word.isupper() and len(word) > 1):
        return 1
    lower = word.lower()
    count = len(_GROUPS.findall(lower)) + len(_APART.findall(lower))
    is_mute = lower.endswith("e") and not lower.endswith(("le", "ee", "ye")) and count > 1
    is_past = lower.endswith("ed") and not lower.endswith(("ted", "ded")) and count > 1
    is_plural = (
        lower.endswith("es") and not lower.endswith(("ses", "ces", "zes", "xes", "ches", "shes", "ges")) and count > 1
    )
    return max(1, count - (is_mute or is_past or is_plural))


def main() -> int:
    """Print a line a page and the hardest sentences; 1 where a guide is below the goal."""
    pages = [Path(name) for name in sys.argv[1:]] or guides()
    worst: list[tuple[float, str, str]] = []
    is_hard = False
    for page in pages:
        sentences = sentences_of(page.read_text())
        ease = reading_ease(sentences)
        is_hard |= ease < GOAL
        print(f"{ease:6.1f}  {page.name}")  # noqa: T201 - a script that prints
        worst += [(reading_ease([each]), page.name, each) for each in sentences if len(each.split()) > 5]  # noqa: PLR2004
    for ease, name, sentence in sorted(worst)[:_SHOWN]:
        print(f"{ease:6.1f}  {name}: {sentence}")  # noqa: T201
    return int(is_hard)


if __name__ == "__main__":
    sys.exit(main())
