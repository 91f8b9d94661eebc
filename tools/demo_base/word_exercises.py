"""Pre-training exercises that go through a sentence word by word: copy it, mark some of its words, pick some out."""

from collections.abc import Callable

from demo_base.documents import KINDS, NAMES, Document, exercise
from demo_base.draw import Draw, EntityKind, Tagged
from demo_base.hallmarks import HALLMARK_CUES
from demo_base.sentences import CLAUSES, tagged_sentence

__all__ = ["copy", "mark", "select"]

_PLURALS: dict[EntityKind, str] = {
    "disease": "diseases",
    "chemical": "chemicals",
    "gene": "genes",
    "test": "examinations",
}
_LABEL_WORDS = [
    "O",
    "B",
    "I",
    "B-PROBLEM",
    "I-PROBLEM",
    "B-TEST",
    "I-TEST",
    "B-TREATMENT",
    "I-TREATMENT",
    "PIP",
    "TeCP",
    "TeRP",
    "TrAP",
    "TrCP",
    "TrIP",
    "TrNAP",
    "TrWP",
    "No",
    "Relations",
    "Entailment",
    "Contradiction",
    "Neutral",
    "None",
    "OPTION",
    "IS",
    "CORRECT",
    "A",
    "B",
    "C",
    "D",
    "yes",
    "no",
    "###Answer:",
    "###Rationale:",
    "###Question:",
    "###Options:",
    "Sentence",
    ":",
    "(",
    ")",
    "&",
    "@problem$",
    "@test$",
    "@treatment$",
    *" ".join(HALLMARK_CUES).replace(",", "").split(),
]
_PLAIN_WORDS = [word for word in " ".join(CLAUSES).split() if word[0] != "{"]

_SEPARATORS = (
    " / ",
    " , ",
    " | ",
    " ; ",
    " - ",
    "\n",
    " ok\n",
    " = x\n",
    " ... ",
    " -> go\n",
    " + ",
    " ) ( ",
    " , then ",
)
_WHOLE_SHARE, _NUMBERED_SHARE = 0.25, 0.15
_REQUESTS = ("Repeat this", "Say it again", "Copy the words", "Spell out the words", "Write it once more")


def copy(draw: Draw) -> Document:
    """Repeat words as they stand, numbered, or with something between them."""
    words = _words(draw)
    text = " ".join(words)
    question = f"{draw.pick(_REQUESTS)} : {text}"
    roll = draw.rng.random()
    if roll < _WHOLE_SHARE:
        answer = text
    elif roll < _WHOLE_SHARE + _NUMBERED_SHARE:
        answer = "\n".join(f"{i} ) {word}" for i, word in enumerate(words, 1))
    else:
        answer = draw.pick(_SEPARATORS).join([*words, "end"])
    return exercise(draw, question, answer)


# How to mark the words of one kind: the request, what stands between word and mark, the marks (other word, first word
# of a mention, its further words), and what follows. None of them is the tagging task's ``token : O`` line.
_MARKINGS: tuple[tuple[str, str, tuple[str, str, str], str], ...] = (
    ("Underline the {kinds}", " ", (".", "__", "_"), " "),
    ("Gloss the {kinds}", " = ", ("plain", "start", "more"), " ; "),
    ("Flag every {kind}", " | ", ("no", "yes", "also"), "\n"),
    ("Stress each {kind}", " ~ ", ("0", "1", "2"), " , "),
    ("Colour the {kinds}", " ( ", ("grey", "red", "pink"), " ) "),
    ("Pick out the {kinds} word by word", " -> ", ("skip", "new", "same"), "\n"),
)


def mark(draw: Draw) -> Document:
    """Give every word a mark that tells whether it belongs to a mention of a kind."""
    request, between, marks, after = _MARKINGS[int(draw.rng.random() * len(_MARKINGS))]
    kind = KINDS[int(draw.rng.random() ** 1.7 * 4)]
    tokens = tagged_sentence(draw, kind if draw.chance(0.8) else None, 5 + int(draw.rng.random() * 8))
    answer = after.join(f"{t.text}{between}{marks[_place(t, kind)]}" for t in tokens)
    question = request.replace("{kinds}", _PLURALS[kind]).replace("{kind}", draw.pick(NAMES[kind]))
    text = " ".join(t.text for t in tokens)
    question = f"{question} : {text}" if draw.chance(0.5) else f"{question} in the text .\n{text}"
    return exercise(draw, question, answer)


def _place(token: Tagged, kind: EntityKind) -> int:
    return 0 if token.kind != kind else 1 if token.first else 2


def select(draw: Draw) -> Document:
    """List the mentions of a kind."""
    kind = KINDS[int(draw.rng.random() * 3)]
    tokens = tagged_sentence(draw, least_words=6 + int(draw.rng.random() * 8))
    found: list[str] = []
    for token in tokens:
        if token.kind == kind:
            found.append(token.text) if token.first else found.append(found.pop() + " " + token.text)
    text = " ".join(token.text for token in tokens)
    return exercise(draw, f"Which {_PLURALS[kind]} are named ?\n{text}", " and ".join(found) or "not any")


def _words(draw: Draw) -> list[str]:
    """Return words to copy: a sentence, or words in no order."""
    if draw.chance(0.6):
        return [t.text for t in tagged_sentence(draw, least_words=4 + int(draw.rng.random() * 10))]
    pools: tuple[Callable[[], str], ...] = (
        lambda: draw.pick(_LABEL_WORDS),
        lambda: draw.core(KINDS[int(draw.rng.random() * 4)]),
        lambda: draw.pick(_PLAIN_WORDS),
    )
    return [pools[int(draw.rng.random() * 3)]() for _ in range(3 + int(draw.rng.random() * 9))]
