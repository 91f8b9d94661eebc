"""Options of a question under letters, and the letters that an answer names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from medtune.data.formatters.columns import MalformedRowError

__all__ = ["LETTERS", "lettered", "option_letters"]

LETTERS = tuple("ABCDEFGHIJ")
_BETWEEN = re.compile(r"\s*(?:[,;/&+]|\band\b|\s)\s*", re.IGNORECASE)
"""What stands between the letters of several right options."""


def lettered(given: Any, column: str) -> dict[str, str]:
    """Return letter -> option, whichever way a column holds them; empty when it holds none."""
    if isinstance(given, Mapping):
        given = cast("Mapping[str, Any]", given)
        texts, labels = given.get("text"), given.get("label")
        if isinstance(texts, list) and isinstance(labels, list):  # as ARC has them
            given = _by_label(cast("Sequence[Any]", labels), cast("Sequence[Any]", texts), column)
        if set(given) <= set(LETTERS):
            found = {key: given[key] for key in sorted(given) if given[key] is not None}
        else:
            found = dict(zip(LETTERS, given.values(), strict=False))
    elif isinstance(given, list):
        elements = [_option_text(option) for option in cast("Sequence[Any]", given)]
        if len(elements) > len(LETTERS):
            raise MalformedRowError(f"column '{column}' holds more than {len(LETTERS)} options")
        found = dict(zip(LETTERS, elements, strict=False))
    elif given is None:
        return {}
    else:
        raise MalformedRowError(f"column '{column}' is not a list of options")
    if not all(isinstance(option, str) and option.strip() for option in found.values()):
        raise MalformedRowError(f"column '{column}' holds options that are not text")
    return found


def _by_label(labels: Sequence[Any], texts: Sequence[Any], column: str) -> dict[str, Any]:
    """Return label -> text; labels that may be taken for options, or are not one for each, name nothing."""
    found = dict(zip(map(str, labels), texts, strict=False))
    if not len(found) == len(labels) == len(texts):
        raise MalformedRowError(f"column '{column}' has not a label of its own for each text")
    if not set(found) <= set(LETTERS) and not set(found).isdisjoint(map(str, texts)):
        raise MalformedRowError(f"column '{column}' has labels that are texts of options as well")
    return found


def _option_text(option: Any) -> Any:
    """Return the text of an option that may be an object of letter and text."""
    if not isinstance(option, Mapping):
        return str(option) if isinstance(option, int | float) and not isinstance(option, bool) else option
    held = cast("Mapping[str, Any]", option)
    return next((held[key] for key in ("text", "value", "option") if key in held), None)


def option_letters(answer: Any, options: Mapping[str, str], column: str) -> str:
    """Return the letter of an answer, which is a letter or the text of an option; of several, in order, with commas.

    Several are a list, letters with something between them, or letters in order without it, such as "AC".

    Raises:
        MalformedRowError: it names none, or is a number.
    """
    answers: Sequence[Any] = cast("Sequence[Any]", answer) if isinstance(answer, list) and answer else [answer]
    return ", ".join(sorted({letter for one in answers for letter in _letters_of(one, options, column)}))


def _letters_of(answer: Any, options: Mapping[str, str], column: str) -> Sequence[str]:
    if isinstance(answer, int | float):
        raise MalformedRowError(f"column '{column}' is a number, and options may be counted from 0 or from 1")
    if not isinstance(answer, str) or not answer.strip():
        raise MalformedRowError(f"column '{column}' is empty, missing or null")
    wanted = answer.strip()
    same = [letter for letter, option in options.items() if option.strip().casefold() == wanted.casefold()]
    named = wanted.strip("().").upper()
    if named in options and (not same or same == [named]):
        return [named]
    if len(same) == 1 and named not in options:
        return same
    if not same and (several := _several(wanted, options)):
        return several
    raise MalformedRowError(f"column '{column}' names {'more than one' if same else 'no'} option")


def _several(wanted: str, options: Mapping[str, str]) -> Sequence[str]:
    """Return the letters that a text is made of and nothing else, none for another text."""
    letters = [part.strip("().") for part in _BETWEEN.split(wanted)]
    if len(letters) == 1:  # capitals in order: "AC" is A and C, and "CAB" may be a word
        letters = list(wanted) if list(wanted) == sorted(set(wanted)) else []
    return letters if len(letters) > 1 and all(letter in options for letter in letters) else []
