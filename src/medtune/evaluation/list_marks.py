"""Knows the marks that part the labels or items of an answer, Chinese ones too."""

__all__ = ["CERTAIN_MARKS", "ITEM_MARKS", "LABEL_MARKS", "LAST_ITEM_MARKS"]

LABEL_MARKS = (";", "\uff1b", "|", "\n", "\u3001", ",", "\uff0c")
"""What parts labels, the least ambiguous first."""
CERTAIN_MARKS = frozenset(LABEL_MARKS) - {",", "\uff0c"}
"""Marks that stand in hardly any name of a label, as a comma does."""
ITEM_MARKS = ("\n", ";", "\uff1b", "|", "\u3001", ", ")
"""What parts the items of a list, the least ambiguous first; a comma without a blank may stand in a number."""
LAST_ITEM_MARKS = (",", "\uff0c")
"""What parts them where nothing else does; the comma of Chinese parts clauses too, so it takes a user to say that these are lists."""
