"""Rows with a letter and its summary, as examples for medtune."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune import Example, PromptFormatter, hookimpl
from medtune.data.formatters import conversation, text


class Letters:
    """Asks for the summary of a letter."""

    name = "letters"
    version = "1"  # change it whenever other examples come of the same rows
    columns = frozenset({"letter", "summary"})
    samples = ({"letter": "Cough for a week.", "summary": "Cough."}, {"letter": "No fever.", "summary": "Afebrile."})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the letter as question and its summary as answer; a column that is missing or empty is refused."""
        return conversation(f"Summarise the letter.\n\n{text(row, 'letter')}", text(row, "summary"), row)


@hookimpl
def provide_formatters() -> Sequence[PromptFormatter]:
    """Provide the formatter."""
    return [Letters()]
