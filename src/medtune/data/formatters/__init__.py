"""The formatters that medtune brings along, one per shape of row, and what it takes to write another."""

from collections.abc import Sequence

from medtune.data.formatters.automatic import FormatterChoice, choose_formatter
from medtune.data.formatters.choice import MedMCQA, MedQA, PubMedQA, QuestionOptions
from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text
from medtune.data.formatters.decorator import formatter
from medtune.data.formatters.instruction import Alpaca, Dolly, MedicalReasoning, QuestionAnswer, SpanAnswer
from medtune.data.formatters.labels import TextLabel, TokenTags
from medtune.data.formatters.turns import Messages, PromptCompletion
from medtune.plugins.contracts import PromptFormatter
from medtune.plugins.hookspecs import hookimpl

__all__ = [
    "FormatterChoice",
    "MalformedRowError",
    "choose_formatter",
    "conversation",
    "formatter",
    "optional_text",
    "provide_formatters",
    "text",
]


@hookimpl
def provide_formatters() -> Sequence[PromptFormatter]:
    """Provide the built-in formatters."""
    return [
        Alpaca(),
        Dolly(),
        MedMCQA("medmcqa", first=0),
        MedMCQA("medmcqa_one_based", first=1),
        MedQA(),
        MedicalReasoning("medical_o1", with_reasoning=True),
        MedicalReasoning("medical_o1_answer", with_reasoning=False),
        Messages("messages", "messages"),
        Messages("sharegpt", "conversations"),
        PromptCompletion(),
        PubMedQA(),
        QuestionAnswer(),
        QuestionOptions("question_options", "options"),
        QuestionOptions("question_choices", "choices"),
        SpanAnswer(),
        TextLabel(),
        TokenTags(),
    ]
