"""Pre-training exercises that compare statements: agreement of two, many checks of one, stated facts, named entities."""

from demo_base.documents import Document, exercise, series
from demo_base.draw import Draw, EntityKind
from demo_base.inference import LABELS, Fact, draw_fact, say, statement_pair

__all__ = ["check", "compare", "is_named", "recall"]

_PAIRS = (
    "Note 1 - {0}\nNote 2 - {1}",
    "First note , {0} Second note , {1}",
    "{0}\n{1}",
    "He wrote : {0} She wrote : {1}",
    "A ) {0}\nB ) {1}",
    "Line 1 : {0}\nLine 2 : {1}",
    "We read {0} Then we read {1}",
)
_VERDICTS = (
    ("Do the two agree ?", {"Entailment": "agreed", "Contradiction": "clash", "Neutral": "apart"}),
    ("What does the second one do ?", {"Entailment": "repeat", "Contradiction": "deny", "Neutral": "add"}),
    ("Compare the two .", {"Entailment": "same", "Contradiction": "opposite", "Neutral": "unlike"}),
    ("Can both be right ?", {"Entailment": "surely", "Contradiction": "never", "Neutral": "perhaps"}),
    ("Does the first one support the second ?", {"Entailment": "full", "Contradiction": "against", "Neutral": "open"}),
)


_LOOKUPS = (
    ("What of {0} ?", {"Entailment": "present", "Contradiction": "denied", "Neutral": "unknown"}),
    ("And {0} ?", {"Entailment": "there", "Contradiction": "gone", "Neutral": "untold"}),
    ("{0} :", {"Entailment": "plus", "Contradiction": "minus", "Neutral": "nothing"}),
)
_CHECKS = ("{0}", "Next : {0}", "And this - {0}", "We also read {0}", "Then {0}")
_MOST_CHECKS = 5


def is_named(draw: Draw) -> Document:
    """Say whether an entity occurs in a text."""
    kinds: tuple[EntityKind, ...] = ("disease", "chemical")
    first, second, other = (draw.entity(kinds[int(draw.rng.random() * 2)]) for _ in range(3))
    text = draw.fill(f"the {{person}} and the {{person}} speak of {first} and {second} .")
    named = draw.chance(0.5)
    asked = draw.pick([first, second]) if named else other
    question = f"Is {asked} named ?\n{text}" if draw.chance(0.3) else f"{text} Is there {asked} ?"
    return exercise(draw, question, "there it is" if named else "missing")


def compare(draw: Draw) -> Document:
    """Say whether a second statement agrees with a first."""
    question, verdicts = _VERDICTS[int(draw.rng.random() * len(_VERDICTS))]
    label = draw.pick(list(verdicts))
    first, second = statement_pair(draw, label, facts=1 if draw.chance(0.4) else 2)
    pair = draw.pick(_PAIRS).format(first, second)
    text = f"{question}\n{pair}" if draw.chance(0.6) else f"{pair} {question}"
    return exercise(draw, text, verdicts[label])


def check(draw: Draw) -> Document:
    """Hold several statements, or names of things alone, against one note; each verdict is a word to learn from."""
    person = draw.slot("person")
    facts = [draw_fact(draw) for _ in range(1 + int(draw.rng.random() * 5))]
    note = f"the {person} {' and '.join(say(draw, fact) for fact in facts)} ."
    is_lookup = draw.chance(0.35)
    question, verdicts = draw.pick(_LOOKUPS if is_lookup else _VERDICTS)
    form = question if is_lookup else draw.pick(_CHECKS)
    pairs: list[tuple[str, str]] = []
    left = draw.rng.sample(
        facts, len(facts)
    )  # each is asked about once: a verdict must not be told from an earlier one
    for _ in range(2 + int(draw.rng.random() * (_MOST_CHECKS - 1))):
        label = draw.pick(LABELS) if left else "Neutral"
        told = draw_fact(draw) if label == "Neutral" else left.pop()
        if is_lookup and label != "Neutral":
            label = "Entailment" if told.holds else "Contradiction"
        elif label == "Contradiction":
            told = told._replace(holds=not told.holds)
        pairs.append((form.format(told.entity if is_lookup else f"the {person} {say(draw, told)} ."), verdicts[label]))
    opening = note if is_lookup else f"{question}\n{note}"
    return series(draw, [(f"{opening}\n{pairs[0][0]}", pairs[0][1]), *pairs[1:]])


def recall(draw: Draw) -> Document:
    """Repeat in other words what was said of an entity."""
    person = draw.slot("person")
    kinds: tuple[EntityKind, ...] = ("disease", "chemical")
    facts = [Fact(kind, draw.entity(kind), draw.chance(0.5)) for kind in kinds]
    asked = facts[int(draw.rng.random() * 2)]
    told = f"the {person} {say(draw, facts[0])} and {say(draw, facts[1])} ."
    verdict = "so it is ." if asked.holds else "so it is not ."
    return exercise(draw, f"{told} What about {asked.entity} ?", f"the {person} {say(draw, asked)} , {verdict}")
