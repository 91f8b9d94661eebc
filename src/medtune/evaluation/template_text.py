"""Knows the marks of chat templates and prompt formats, which have no place in a row's own text."""

import re

__all__ = ["spells_template"]

_MARKS = re.compile(
    r"<\|[A-Za-z_]{3,30}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos)>"
    r"|^#{2,3} ?(?:Instruction|Response|Human|Assistant|User) ?:|GPT4 Correct (?:User|Assistant):",
    re.MULTILINE,
)
_PARTS = (
    "<|", "s>", "INST]", "SYS>>", "_of_turn>", "GPT4 C", *(f"#{space}{name}" for space in ("", " ")
    for name in ("Instr", "Respo", "Human", "Assis", "User")),
)  # fmt: skip
"""One of these is in every mark; looking for them takes a tenth of the time."""


def spells_template(text: str) -> bool:
    """Whether a text holds what a chat template writes around turns, whichever model's: it was formatted before.

    >>> spells_template("Give 5 mg twice a day.<|end_of_turn|>")
    True
    """
    return any(part in text for part in _PARTS) and _MARKS.search(text) is not None
