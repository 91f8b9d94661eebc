r"""Reads which of the listed options an answer names, as people write it: "b", "(B)", "B, because", "\boxed{B}", its text."""

import re
from collections.abc import Mapping
from functools import lru_cache

from medtune.evaluation.plain_text import normal
from medtune.evaluation.tasks.labels import ANSWER_NAMES, COPULAS, bare_answer
from medtune.evaluation.tasks.mentions import is_denied, stated

__all__ = ["choice_in", "options_in", "says_option"]

_TOLD_APART = r"[*_]*(?:[)\].:]|[ \t]+[-\u2013\u2014](?=[ \t]))[*_]*[ \t]*|[*_]*\u3001[*_]*[ \t]*"
_LISTED = re.compile(
    rf"^[ \t]*(?:[-*+\u2022][ \t]+)?[*_]*[(\[]?([A-Za-z]|\d{{1,2}})(?:{_TOLD_APART})(\S.*)$", re.MULTILINE
)
_BEFORE_TEXT = r"[(\[]?([A-Za-z]|\d{1,2})(?:[)\].:]\s+|\u3001\s*)"
_INLINE = re.compile(
    rf"(?:^|(?<=[\s\u3001\u3002\uff0c\uff1b?\uff1f;]))[*_]*{_BEFORE_TEXT}(\S.*?)(?=[\s\uff0c\uff1b;]+[*_]*{_BEFORE_TEXT.replace('([A', '(?:[A')}|\s*$)"
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_MARKS_OF_LISTS = {
    code: sign for code, sign in _FULL_WIDTH.items() if chr(sign).isalnum() or chr(sign) in "(["
} | dict.fromkeys(map(ord, "\uff0e\uff1a\uff09\uff3d"), "\u3001")
"""Marks of full width, one sign for each: what they are followed by needs no space before it."""
_SENTENCE = re.compile(r"\boption\s+\(?([a-z]|\d{1,2})\)?\s+is\s+correct\b", re.IGNORECASE)
_MARK = r"\(?([A-Za-z]|\d{1,2})\)?"
_ALONE = re.compile(
    rf"(?:(?i:option|choice|answer)\s+|\u9009\u9879\s*|\u6545?\u9009\s*)?{_MARK}[*_]*(?:\s*[.):][*_]*\s.*|\s*\u3001.*|\s*\n.*)?",
    re.DOTALL,
)
_SEVERAL = re.compile(r"\s*(?:[,;&/\u3001\uff0c\uff1b\n]|\band\b)\s*")
_JOINED = re.compile(r"[A-Z](?:\s*[A-Z])+|[a-z]{2,}")
_BOXED = re.compile(r"\\boxed\s*\{\s*(?:\\text\s*\{)?\s*\(?([A-Za-z]|\d{1,2})\)?[.:)]?[^{}]*\}")
_LETTER = r"\**\(?([A-Za-z]|\d{1,2})\)?\**(?![\w'-])"
_MORE = re.compile(r"\s*(?:,|;|&|/|\u3001|and\b|or\b)\s*(?:(?:and|or|option)\s+)*\**\(?([A-Z]|\d{1,2})\)?\**(?![\w'-])")
_LINKS = rf"(?:\s*[*_]*\s*(?:(?:{COPULAS}|would\s+be|must\s+be|should\s+be|but|la|option|choice|letter)\b|[\"']?:|=))*\s*(?:[:=]?\s*|[\"'])"
_CLAIMED = re.compile(
    rf"(?:\b(?:{ANSWER_NAMES}|choose|pick|select|(?:correct|best|right)\s+(?:option|choice)|(?:option|choice)\s+(?:is|would\s+be))\b{_LINKS}|"
    rf"\u7b54\u6848\s*(?:\u662f|\u4e3a)?\s*[:\uff1a]?\s*|\u6545?\u9009\u62e9?\s*){_LETTER}",
    re.IGNORECASE,
)
_SAID = re.compile(
    rf"(?:(?<![\w'-])(?<!or )(?<!and ){_LETTER}(?=\s+is\s+(?:the\s+)?(?:right|correct|true|best)\b)"
    rf"|\b(?:it\s+is|it's|it\s+must\s+be|so|therefore|hence|thus)\s*,?\s+{_LETTER.replace('([A-Za-z]', '((?-i:[A-Z])')}(?=\s*(?:[.,;!)]|$)))",
    re.IGNORECASE,
)
"""An option of which a sentence says that it is right, or that it is what follows: "B is right", "it is B", "so B"."""
_TORN = re.compile(rf"{_MARK}[*_]*[\s.:)\]\u3001(\uff08\u2013\u2014-]+(\S.*?)[)\uff09]?")
_NAMED = re.compile(rf"\b(?:option|choice)\b\s*{_LETTER}", re.IGNORECASE)
_LEADING = re.compile(rf"{_MARK}(?:\s*[,.:;)-]|\s+(?:because|since|as|is)\b)", re.IGNORECASE)
_BRACKETED = re.compile(r"\(([A-Z])\)")
_DENIED = re.compile(
    r"\b(?:not|n't|isn't|never|except|excluding|neither|nor|rather\s+than|instead\s+of|rules?\s+out|ruled\s+out)\s+"
    r"(?:the\s+)?(?:answer\s+|option\s+|choice\s+)?(?:is\s+)?(?:\([A-Za-z]\)|[A-Z](?![\w'])|\d{1,2}\b)",
    re.IGNORECASE,
)


@lru_cache(maxsize=8)
def options_in(question: str) -> Mapping[str, str]:
    """Return the options that a question lists: mark -> text, letters in capitals; empty where it lists none.

    Marks count from A, a, 1 or 0 on, one after the other, each on its line or in one line; of several lists the last.

    >>> dict(options_in("Which? 1. x 2. y"))
    {'1': 'x', '2': 'y'}
    """
    plain = question.translate(_MARKS_OF_LISTS)
    return _run(_LISTED, plain, question) or _run(_INLINE, plain.rstrip(), question)


def choice_in(text: str, options: Mapping[str, str], *, lenient: bool = False) -> str | None:
    r"""Return the mark of the option that ``text`` names, several joined by commas; None when it names none.

    Args:
        text: an answer.
        options: of the question; where it lists none, A to J are taken.
        lenient: whether the option may stand in a sentence: "B, because", "\boxed{B}", "the answer is B", or its text.
    """
    known = options or dict.fromkeys("ABCDEFGHIJ", "")
    composed = normal(text)
    plain = composed if composed.isascii() else composed.translate(_FULL_WIDTH)
    found = _quoted(composed, known) if options else None
    if found is None and _is_torn(composed, known):
        return None
    found = found or _plain(plain, known)
    return found if found is not None or not lenient else _within(plain, known)


def says_option(text: str) -> bool:
    """Whether a text says "option X is correct" of some option."""
    return _SENTENCE.search(text) is not None


def _run(pattern: re.Pattern[str], plain: str, question: str) -> dict[str, str]:
    """Return the last run of marks that count up from a first one, with their texts as the question writes them."""
    best: dict[str, str] = {}
    current: dict[str, str] = {}
    for found in pattern.finditer(plain):
        mark, told = found[1].upper(), question[found.start(2) : found.end(2)].strip()
        if current and mark == _next(next(reversed(current))):
            current[mark] = told
        else:
            current = {mark: told} if mark in ("A", "1", "0") else {}
        best = current if len(current) > 1 else best
    return best


def _next(mark: str) -> str:
    return str(int(mark) + 1) if mark.isdigit() else chr(ord(mark) + 1)


def _quoted(text: str, known: Mapping[str, str]) -> str | None:
    """Read an answer that is an option as a question lists it, with its text, whatever marks it."""
    line = text.strip()
    found = _LISTED.fullmatch(line.translate(_MARKS_OF_LISTS))
    mark = found[1].upper() if found else ""
    return mark if found and known.get(mark) and _key(line[found.start(2) :]) == _key(known[mark]) else None


def _is_torn(text: str, known: Mapping[str, str]) -> bool:
    """Whether an answer is the mark of one option with the text of another."""
    found = _TORN.fullmatch(bare_answer(text).partition("\n")[0].strip())
    if found is None or found[1].upper() not in known:
        return False
    said, own = _key(found[2]), _key(known[found[1].upper()])
    return said != own and said in {_key(told) for told in known.values() if told}


def _plain(text: str, known: Mapping[str, str]) -> str | None:
    """Read an answer that is an option and nothing else."""
    if sentences := _SENTENCE.findall(text):
        return _one({mark.upper() for mark in sentences} & known.keys())
    bare = bare_answer(text)
    same = [mark for mark, told in known.items() if told and _key(told) == _key(bare)]
    if len(same) == 1:
        return same[0]
    marks = [part.strip(" ().*_").upper() for part in _SEVERAL.split(bare)]
    if len(marks) > 1 and all(mark in known for mark in marks):
        return ",".join(sorted(set(marks)))
    if joined := _joined(bare, known):
        return joined
    if (alone := _ALONE.fullmatch(bare)) and alone[1].upper() in known:
        mark = alone[1].upper()
        if is_denied(bare, alone.start(1), alone.end(1)):
            return None
        others = {other for each in _claims(bare[alone.end(1) :], known) for other in each} - {mark}
        return None if others else mark
    return None


def _joined(bare: str, known: Mapping[str, str]) -> str | None:
    """Read letters in one word, "AC"; small ones are only such in order, since words are written in them."""
    marks = "".join(bare.split())
    is_known = _JOINED.fullmatch(bare) and len({*marks}) == len(marks) and all(mark in known for mark in marks.upper())
    return ",".join(sorted(marks.upper())) if is_known and (marks.isupper() or [*marks] == sorted(marks)) else None


def _within(text: str, known: Mapping[str, str]) -> str | None:
    """Read an option out of a sentence; what is denied is not taken, nor one of two between which nothing is said."""
    if boxed := _BOXED.findall(text):
        return _one({boxed[-1].upper()} & known.keys())
    kept = _DENIED.sub(" ", text)
    if claims := _claims(kept, known):
        return ",".join(sorted(claims[-1])) or None
    bare = bare_answer(kept)
    if (leading := _LEADING.match(bare)) and leading[1].upper() in known and not is_denied(bare, 0, leading.end(1)):
        return leading[1].upper()
    if named := _named(kept, known):
        return _one(named)
    places = [found for found in _BRACKETED.finditer(kept) if found[1] in known]
    if bracketed := {found[1] for found in places if not is_denied(kept, found.start(), found.end())}:
        return _one(bracketed)
    told = {_key(option): mark for mark, option in known.items() if option}
    return _one({told[phrase] for phrase in stated(_key(text), told)})


def _named(text: str, known: Mapping[str, str]) -> set[str]:
    """Return the marks behind the word "option", but for those that are denied."""
    return {
        found[1].upper()
        for found in _NAMED.finditer(text)
        if found[1].upper() in known
        and not _is_article(found[1], text[found.end() :])
        and not is_denied(text, found.start(), found.end())
    }


def _claims(text: str, known: Mapping[str, str]) -> list[frozenset[str]]:
    """Return the options of each "the answer is ..." that is not denied; none of one that leaves it open ("A or B")."""
    claims: list[frozenset[str]] = []
    for found in sorted([*_CLAIMED.finditer(text), *_SAID.finditer(text)], key=lambda each: each.end()):
        written = found[1] or found[found.lastindex or 1]
        mark, end = written.upper(), found.end()
        if mark not in known or _is_article(written, text[end:]) or is_denied(text, found.start(), end):
            continue
        marks, is_open = {mark}, False
        while (more := _MORE.match(text, end)) and more[1].upper() in known:
            is_open = is_open or re.search(r"\bor\b|/", more[0]) is not None
            marks, end = marks | {more[1].upper()}, more.end()
        claims.append(frozenset() if is_open else frozenset(marks))
    return claims


def _is_article(mark: str, after: str) -> bool:
    """Whether a letter is the word "a", or the word "I", in a sentence that goes on."""
    return mark in ("a", "I") and re.match(r"\s+[A-Za-z]", after) is not None


def _one(marks: set[str]) -> str | None:
    return marks.pop() if len(marks) == 1 else None


def _key(text: str) -> str:
    return " ".join(normal(text).casefold().split()).strip(" .,;:")
