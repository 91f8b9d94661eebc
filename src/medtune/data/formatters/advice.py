"""Names the mapping that would make rows readable, by what people call such columns."""

from collections.abc import Iterable

from medtune.data.sources.names import is_plain

__all__ = ["mapping_advice"]

_ASKED = ("instruction", "question", "prompt", "query", "input", "problem", "source_text")
_ANSWERED = ("output", "response", "answer", "completion", "target", "reply", "label", "summary", "final_decision")
_GIVEN = ("context", "contexts", "passage", "abstract", "note", "text", "document", "report", "article")
_TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")


_ANNOTATED = (
    ({"annotations", "data"}, "these look like annotations of Label Studio: medtune import reads them"),
    ({"documents"}, "these look like BioC: medtune import reads it"),
    ({"passages"}, "these look like BioC or BigBio: medtune import reads them"),
    ({"text", "entities"}, "these look like annotated spans: medtune import reads them"),
    (
        {"resourcetype"},
        "FHIR resources hold neither question nor answer; write their text and what is to be learnt as rows",
    ),
)


def mapping_advice(columns: Iterable[str]) -> str:
    """Return how to map such columns to roles, without a guess where their names say nothing."""
    columns = list(columns)
    lowered = {column.lower() for column in columns}
    for names, advice in _ANNOTATED:
        if names <= lowered:
            return advice
    by_name = {column.strip().lower(): column for column in columns if is_plain(column.strip())}
    turns = _first(by_name, _TURNS)
    asked, answered, given = (_first(by_name, names) for names in (_ASKED, _ANSWERED, _GIVEN))
    if turns:
        found = {"messages": turns}
    elif answered and (asked or given):
        found = {"instruction" if asked else "text": asked or given, "output" if asked else "label": answered}
        if asked and given:
            found["input"] = given
    else:
        return "say which column takes which role, as in data.columns.question=COLUMN data.columns.answer=COLUMN"
    named = [f"--set data.columns.{role}={column}" for role, column in found.items() if role != column]
    return f"map them, perhaps with {' '.join(named)}" if named else "look at the rows"


def _first(by_name: dict[str, str], names: Iterable[str]) -> str:
    return next((by_name[name] for name in names if name in by_name), "")
