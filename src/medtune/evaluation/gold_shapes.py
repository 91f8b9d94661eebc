"""What a single gold answer looks like, beside its question: tags, a label of marked concepts, JSON, an option, a text."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from medtune.evaluation.list_marks import ITEM_MARKS
from medtune.evaluation.medtuned import HALLMARKS, RELATIONS
from medtune.evaluation.spans import read_label

__all__ = ["Shape", "list_separator", "shape_of"]

Shape = Literal["tagging", "relation", "inference", "hallmarks", "json", "rest"]

_MARKED = re.compile(r"@[A-Za-z][\w-]*\$|<e[12]>|\[E[12]\]")
_PAIR = re.compile(
    r"^\W*(?:Sentence 1|Premise|Text 1)\s*:.*^\W*(?:Sentence 2|Hypothesis|Text 2)\s*:",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_HALLMARK_WORDS = re.compile(r"\bhallmarks?\b", re.IGNORECASE)
_SHORT = 60
_COVERED = 0.8
"""Share of the letters from the first to the last tagged token that the tagged tokens must be."""
_SEPARATORS = re.compile(r"\s*[,;|\n]\s*")


@lru_cache(maxsize=8)  # every task asks about the same example, one right after the other
def shape_of(question: str, answer: str) -> Shape:
    """Return the most specific shape that an answer has."""
    lines = [line.strip() for line in answer.split("\n") if line.strip()]
    if not lines:
        return "rest"
    if lines[0][0] in "{[`" and _is_json(answer):
        return "json"
    if _labels_every_token(question, lines):
        return "tagging"
    if len(lines) == 1 and len(lines[0]) <= _SHORT:
        if len(_MARKED.findall(question)) > 1 or ("@" in question and lines[0] in RELATIONS and "$" in question):
            return "relation"
        if _PAIR.search(question):
            return "inference"
    parts = set(_SEPARATORS.split(lines[0]))
    asked = _HALLMARK_WORDS.search(question) is not None
    if parts <= {*HALLMARKS, "None"} and (asked or parts & {*HALLMARKS}):
        return "hallmarks"
    return "rest"


def list_separator(answer: str) -> str:
    """Return what parts the items of a list, the least ambiguous first; empty for a text that is none."""
    return next((sign for sign in ITEM_MARKS if sign in answer.strip()), "")


def _is_json(answer: str) -> bool:
    text = answer.strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json")
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _labels_every_token(question: str, lines: Sequence[str]) -> bool:
    """Say whether the lines give every token of a text a label, in order.

    Labels of rarer schemes are also words, and so are single lines: there the tokens must have been asked about.
    """
    parts = [line.rpartition(" : ") if " : " in line else line.rpartition("\t") for line in lines]
    labels = [read_label(label.strip()) for _token, _separator, label in parts]
    if not all(token and label for (token, _separator, _label), label in zip(parts, labels, strict=True)):
        return False
    tokens = ["".join(token.split()) for token, _separator, _label in parts]
    asked = "".join(question.split())
    if not all(token in asked for token in tokens):
        is_plain = len(parts) > 1 and all(label.prefix in "BIO" for label in labels if label)
        return is_plain and any(label.prefix == "O" for label in labels if label)
    return _are_a_text(tokens, asked)


def _are_a_text(tokens: Sequence[str], asked: str) -> bool:
    """Whether the tokens follow each other in what was asked, with little between them; its end is looked at first."""
    if "".join(tokens) in asked:
        return True
    begin = end = len(asked)
    for place, token in enumerate(reversed(tokens)):
        begin = asked.rfind(token, 0, begin)
        if begin < 0:
            return False
        end = begin + len(token) if place == 0 else end
    return sum(map(len, tokens)) >= _COVERED * (end - begin)
