"""Knows the labels that say "nothing of it", in the languages of clinical texts."""

from collections.abc import Iterable

from medtune.evaluation.plain_text import normal

__all__ = ["NO", "NOTHING", "negative_of", "says_something"]

NOTHING = frozenset({
    "none", "no relation", "no relations", "no_relation", "norelation", "not related", "unrelated", "no interaction",
    "no_interaction", "no-relation", "n/a", "null", "cid:none", "no label", "no finding", "no findings",
    # German, French, Spanish, Italian, Portuguese, Dutch
    "keine", "kein", "keines", "keiner", "keine beziehung", "kein befund", "nichts", "aucun", "aucune", "aucune relation", "ninguno",
    "ninguna", "ninguna relaci\u00f3n", "nessuno", "nessuna", "nessuna relazione", "nenhum", "nenhuma", "geen", "geen relatie",
    # Chinese
    "\u65e0", "\u65e0\u5173\u7cfb", "\u65e0\u5173", "\u6ca1\u6709\u5173\u7cfb", "\u6ca1\u6709",
})  # fmt: skip
"""Labels that say "nothing of it" wherever they stand."""
NO = frozenset({
    "no", "false", "0", "negative", "ddi-false", "absent", "not associated", "non_related", "nein", "falsch", "negativ", "non", "faux",
    "n\u00e9gatif", "falso", "negativo", "n\u00e3o", "nee", "\u5426", "\u4e0d\u662f", "\u9634\u6027",
})  # fmt: skip
"""These say so of relations, and where there are two labels: of three others, "negative" may be a sentiment."""


def negative_of(labels: Iterable[str], *, of_relations: bool = False) -> tuple[str, ...]:
    """Return the labels that say "nothing of it", by their names; "negative" and its like of relations and pairs only."""
    found = list(dict.fromkeys(labels))
    is_pair = len({label.casefold() for label in found}) == 2  # noqa: PLR2004 - two labels
    words = NOTHING | NO if is_pair or of_relations else NOTHING
    return tuple(label for label in found if normal(label).casefold() in words)


def says_something(labels: Iterable[str]) -> list[str]:
    """Return the labels but for those that say "nothing of it"."""
    return [label for label in labels if normal(label).strip().casefold() not in NOTHING]
