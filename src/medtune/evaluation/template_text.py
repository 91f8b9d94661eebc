"""Knows the marks of chat templates and prompt formats, which have no place in a row's own text."""

import re

__all__ = ["spells_template"]

_MARKS = {
    "<": re.compile(r"<(?:\|[A-Za-z_]{3,30}\|>|/?s>|</?SYS>>|(?:start|end)_of_turn>|[be]os>)"),
    "[": re.compile(r"\[/?INST\]"),
    "##": re.compile(r"## ?(?:Instruction|Response|Human|Assistant|User) ?:"),
    "GPT4 C": re.compile(r"GPT4 Correct (?:User|Assistant):"),
}
"""What a mark begins with, which is looked for first, and the marks that begin so."""


def spells_template(text: str) -> bool:
    """Whether a text holds what a chat template writes around turns, whichever model's: it was formatted before.

    >>> spells_template("Give 5 mg twice a day.<|end_of_turn|>")
    True
    """
    return any(beginning in text and marks.search(text) is not None for beginning, marks in _MARKS.items())
