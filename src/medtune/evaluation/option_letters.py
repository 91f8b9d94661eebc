"""Compares the options that a question lists with the one that its answer names."""

import re

from medtune.evaluation.recognition import answer_of, question_of
from medtune.plugins.contracts import Example

__all__ = ["names_no_option"]

_LISTED = re.compile(r"^[ \t]*[(\[]?([A-J])[)\].:][ \t]+\S", re.MULTILINE)
_NAMED = re.compile(
    r"\boption\s+\(?([A-J]|\d+)\)?\s+is\s+correct\b|(?:^|\banswer\s*:)\s*\(?([A-J]|\d+)\)?[\s.]*$", re.IGNORECASE
)


def names_no_option(example: Example) -> bool:
    """Whether the question lists lettered options and the answer names one, by a letter or number, that is not listed.

    An answer in words is not judged.
    """
    listed = _LISTED.findall(question_of(example))
    if len(listed) < 2 or listed[0] != "A":  # noqa: PLR2004 - one letter may begin any line
        return False
    found = _NAMED.search(answer_of(example))
    return found is not None and (found[1] or found[2]).upper() not in listed
