"""Finds which of some phrases a sentence states: the longest where one holds another, and none that it denies."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from medtune.evaluation.plain_text import NO_SPACES

__all__ = ["is_denied", "stated"]

_CLAUSE = re.compile(
    r"[.;!?\n\u3002\uff1b\uff01\uff1f\uff0c]|\b(?:but|however|although|though|because|since|so|therefore|hence|aber|sondern|mais)\b",
    re.IGNORECASE,
)
_REACH = 160  # characters before and after a phrase that are looked at
_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|no|without|isn't|aren't|doesn't|don't|wouldn't|cannot|can't|except|excluding|excludes?|"
    r"rather\s+than|other\s+than|instead\s+of|rules?\s+out|ruled\s+out|absence\s+of|negative\s+for|free\s+of|lacks?|wrong|"
    r"kein\w{0,2}|nicht|ohne|pas|sans|aucune?|sin|ning\u00fan|niega)\b(?!\s+(?:only|doubt|just|merely)\b)[^\w,]+(?:\w+[^\w,]+){0,4}"
    r"|\b(?:den(?:y|ies|ied|ying))\b.*|(?:\u4e0d\u662f|\u5e76\u975e|\u6ca1\u6709|\u5426\u8ba4|\u6392\u9664|\u65e0|\u672a\u89c1)\W*\w{0,4})$",
    re.IGNORECASE | re.DOTALL,
)
_AFTER = re.compile(
    r"[\s)\]*\"']*(?:(?:(?:is|are|was|were|can|could|has|have|been|be|would|seems|looks|does|do|did|ist|est)\s+)+(?:not|never|nicht)\b"
    r"|(?:(?:is|are|was|were|can|has|have|been|be|would|seems|looks|ist|est)\s+)*"
    r"(?:incorrect|wrong|false|untrue|absent|excluded|denied|unlikely|invalid|inappropriate|ruled\s+out|refuted|falsch|ausgeschlossen|"
    r"not\s+(?:present|seen|found|noted|likely|correct|right|supported|indicated|given))\b"
    r"|(?:is|are|was|were|does|do|can|would)n['\u2019]t\b|\u4e0d|\u9519)",
    re.IGNORECASE,
)


def stated(text: str, phrases: Iterable[str]) -> set[str]:
    """Return the phrases that stand in a text as whole words, of overlapping ones the first and longest, none denied.

    Args:
        text: in one case and normal form, as the phrases are.
        phrases: what is looked for.
    """
    pattern = _any_of(tuple(sorted(filter(None, phrases), key=lambda phrase: (-len(phrase), phrase))))
    if pattern is None:
        return set()
    return {found[0] for found in pattern.finditer(text) if not is_denied(text, found.start(), found.end())}


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the clause around a phrase says that it is not so: "no fever", "neither A nor B", "A is wrong"."""
    before = _CLAUSE.split(text[max(0, start - _REACH) : start])[-1]
    after = _CLAUSE.split(text[end : end + _REACH], maxsplit=1)[0]
    return _BEFORE.search(before) is not None or _AFTER.match(after) is not None


@lru_cache(maxsize=64)
def _any_of(phrases: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(_whole, phrases))) if phrases else None


def _whole(phrase: str) -> str:
    """Return a pattern of a phrase between the ends of words; scripts without spaces have none."""
    begin, end = (re.fullmatch(rf"[\W_{NO_SPACES}]", sign) is not None for sign in (phrase[0], phrase[-1]))
    open_ended = rf"[^\W_{NO_SPACES}]"
    return ("" if begin else f"(?<!{open_ended})") + re.escape(phrase) + ("" if end else f"(?!{open_ended})")
