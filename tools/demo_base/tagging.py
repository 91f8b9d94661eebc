"""Rows that ask for the entities of a sentence: one line per token, ``token : label``."""

from dataclasses import dataclass

from demo_base.draw import Draw, Tagged
from demo_base.sentences import tagged_sentence

__all__ = ["TaggingTask"]

_WORDINGS = (
    (
        "Mark every {what} in the sentence . Write one token per line with its label : B for the first token of a {what} , "
        "I for its other tokens , O for all else ."
    ),
    "Find each {what} name . Label all tokens , one per line : B begins a {what} , I goes on with it , O is outside .",
    "Which tokens name a {what} ? Answer line by line with B at the start of a {what} , I inside and O outside .",
    "Tag the text for the {what} task . Every token gets a line and a label , B or I within a {what} , else O .",
    "Go through the sentence token by token and give B , I or O , where B and I belong to a {what} .",
)
_TYPED_WORDINGS = tuple(text.replace(" .", " , with the type after a hyphen .") for text in _WORDINGS)


@dataclass(frozen=True)
class TaggingTask:
    """Asks for entities.

    Attributes:
        what: how the instruction calls them.
        labels: entity kind -> type after the hyphen of its label; an empty type gives bare ``B`` and ``I``.
    """

    what: str
    labels: dict[str, str]

    def row(self, draw: Draw, wanted_words: int) -> tuple[str, str, str]:
        """Return instruction, input and output of a sentence of about ``wanted_words`` tokens."""
        typed = any(self.labels.values())
        instruction = draw.pick(_TYPED_WORDINGS if typed else _WORDINGS).replace("{what}", self.what)
        kind = draw.pick(list(self.labels)) if draw.chance(0.9) else None
        tokens = tagged_sentence(draw, kind, wanted_words)
        lines = [f"{token.text} : {self._label(token)}" for token in tokens]
        return instruction, " ".join(token.text for token in tokens), "\n".join(lines)

    def _label(self, token: Tagged) -> str:
        if token.kind is None or token.kind not in self.labels:
            return "O"
        kind = self.labels[token.kind]
        return ("B" if token.first else "I") + (f"-{kind}" if kind else "")
