"""Rows whose answer is a label of a text, or a label for each of its tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text
from medtune.data.formatters.marks import holds_marks
from medtune.plugins.contracts import Example

__all__ = ["TextLabel", "TokenTags"]

_TAGGING = (
    "Write every token of the sentence on a line of its own, followed by its label: B-TYPE for the first token of an "
    "entity, I-TYPE for its other tokens, O for all others."
)


class TextLabel:
    """``text`` and ``label``, perhaps with an ``instruction``: what a classifier is trained on."""

    name = "text_label"
    columns = frozenset({"text", "label"})
    optional_columns = frozenset({"instruction", "system"})
    label_columns = ("label",)
    class_columns = ("label",)
    further_text = "instruction"
    gives_way = True

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return instruction and text as the question; the answer is the label's name, or several with commas."""
        value = row.get("label")
        if holds_marks(value):
            raise _marked()  # as tables keep the marks of annotation tools
        if isinstance(value, list):
            value = _joined_labels(cast("Sequence[Any]", value))
        if isinstance(value, int | float):
            raise _unnamed("label")
        instruction = optional_text(row, "instruction").strip()
        question = "\n\n".join(filter(None, (instruction, text(row, "text").strip())))
        return conversation(question, value if isinstance(value, str) and value else text(row, "label"), row)


class TokenTags:
    """``tokens`` and ``ner_tags`` of equal length, perhaps with an ``instruction``: a token classifier's rows."""

    name = "token_tags"
    columns = frozenset({"tokens", "ner_tags"})
    optional_columns = frozenset({"instruction", "system"})
    label_columns = ("ner_tags",)
    further_text = "instruction"
    gives_way = True

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return instruction and sentence; the answer is a line ``token : label`` for each token."""
        words, labels = _list(row, "tokens"), _list(row, "ner_tags")
        if len(words) != len(labels):
            raise MalformedRowError("columns 'tokens' and 'ner_tags' are not of equal length")
        if any(isinstance(label, int | float) for label in labels):
            raise _unnamed("ner_tags")
        if not all(isinstance(part, str) and part and not any(c.isspace() for c in part) for part in words + labels):
            raise MalformedRowError("columns 'tokens' and 'ner_tags' hold something else than words")
        instruction = optional_text(row, "instruction").strip() or _TAGGING
        lines = (f"{word} : {label}" for word, label in zip(words, labels, strict=True))
        return conversation(f"{instruction}\n\n{' '.join(words)}", "\n".join(lines), row)


def _list(row: Mapping[str, Any], column: str) -> list[Any]:
    value = row.get(column)
    if not isinstance(value, list) or not value:
        raise MalformedRowError(f"column '{column}' {'is not a list' if column in row else 'is missing'}")
    return list(cast("Sequence[Any]", value))


def _joined_labels(labels: Sequence[Any]) -> str:
    if not labels:
        raise MalformedRowError("column 'label' is an empty list: the text has no label")
    if any(isinstance(label, list | dict) for label in labels):
        raise _marked()
    if any(isinstance(label, int | float) for label in labels):
        raise _unnamed("label")
    return ", ".join(map(str, labels))


def _unnamed(column: str) -> MalformedRowError:
    return MalformedRowError(f"column '{column}' holds numbers; data.labels.{column} names them")


def _marked() -> MalformedRowError:
    return MalformedRowError(
        "column 'label' holds spans of the text, as annotation tools write them: export them as JSON for medtune import"
    )
