"""Pre-training exercises about what is said: kinds of things, agreement of notes, stated facts, topics."""

from medtune.demo.documents import KINDS, NAMES, Document, exercise
from medtune.demo.draw import Draw, EntityKind
from medtune.demo.hallmarks import HALLMARK_CUES, OTHER_FINDINGS, hallmark_sentence
from medtune.demo.inference import Fact, say, statement_pair
from medtune.demo.relation import FRAMES, RELATION_CUES

__all__ = ["compare", "find_item", "name_topic", "paraphrase", "recall", "tell_kind"]


def tell_kind(draw: Draw) -> Document:
    """Name the kind of an invented word, or the word of a kind."""
    kinds = draw.rng.sample(KINDS, 3)
    cores = [draw.core(kind) for kind in kinds]
    asked = int(draw.rng.random() * 3)
    name = draw.pick(NAMES[kinds[asked]])
    if draw.chance(0.4):
        return exercise(draw, f"What is {cores[asked]} ?", f"{cores[asked]} is a {name} .")
    return exercise(draw, f"Here are {' , '.join(cores)} . Which is the {name} ?", f"the {name} is {cores[asked]} .")


def find_item(draw: Draw) -> Document:
    """Say at which letter of a list something stands."""
    kinds = draw.rng.sample(KINDS, 4)
    cores = [draw.core(kind) for kind in kinds]
    letters = "ABCD" if draw.chance(0.7) else "WXYZ"
    asked = int(draw.rng.random() * 4)
    listed = " ".join(f"{letter} . {core}" for letter, core in zip(letters, cores, strict=True))
    name = draw.pick(NAMES[kinds[asked]])
    if draw.chance(0.5):
        return exercise(
            draw, f"{listed} . Where is the {name} ?", f"the {name} {cores[asked]} stands at {letters[asked]} ."
        )
    return exercise(draw, f"{listed} . Where is {cores[asked]} ?", f"{cores[asked]} stands at {letters[asked]} .")


_VERDICTS = {
    "Entailment": ("they agree .", "the second note repeats the first ."),
    "Contradiction": ("they clash .", "the second note denies the first ."),
    "Neutral": ("they differ in topic .", "the second note adds something new ."),
}


def compare(draw: Draw) -> Document:
    """Say whether a second note agrees with a first."""
    label = draw.pick(list(_VERDICTS))
    first, second = statement_pair(draw, label)
    style = int(draw.rng.random() * 2)
    opening = ("Do the notes agree ?", "What does the second note do ?")[style]
    if draw.chance(0.5):
        return exercise(draw, f"{opening}\nNote 1 - {first}\nNote 2 - {second}", _VERDICTS[label][style])
    return exercise(draw, f"First note , {first} Second note , {second} {opening}", _VERDICTS[label][style])


def recall(draw: Draw) -> Document:
    """Repeat in other words what was said of an entity."""
    person = draw.slot("person")
    kinds: tuple[EntityKind, ...] = ("disease", "chemical")
    facts = [Fact(kind, draw.entity(kind), draw.chance(0.5)) for kind in kinds]
    asked = facts[int(draw.rng.random() * 2)]
    told = f"the {person} {say(draw, facts[0])} and {say(draw, facts[1])} ."
    verdict = "so it is ." if asked.holds else "so it is not ."
    return exercise(draw, f"{told} What about {asked.entity} ?", f"the {person} {say(draw, asked)} , {verdict}")


_TOPICS = dict(
    zip(
        HALLMARK_CUES,
        ("growth", "brakes", "dying", "endless life", "vessels", "spread", "damage", "swelling", "fuel", "defence"),
        strict=True,
    )
)
_PARAPHRASES = dict(
    zip(
        RELATION_CUES,
        (
            "one trouble explains the other",
            "the trouble is being looked into",
            "the trouble was found",
            "the therapy aims at the trouble",
            "the therapy made the trouble",
            "the therapy helped",
            "the therapy was not used",
            "the therapy did not help",
            "the two are not linked",
        ),
        strict=True,
    )
)


def name_topic(draw: Draw) -> Document:
    """Say in a plain word what a finding is about."""
    label = draw.pick(list(_TOPICS))
    finding, topic = draw.pick(HALLMARK_CUES[label]), _TOPICS[label]
    if draw.chance(0.2):
        finding, topic = draw.pick(OTHER_FINDINGS), "nothing special"
    return exercise(draw, f"{hallmark_sentence(draw, [finding])} What is this about ?", f"it is about {topic} .")


def paraphrase(draw: Draw) -> Document:
    """Say in plain words how two things relate."""
    label = draw.pick(list(_PARAPHRASES))
    text = draw.fill(draw.pick(FRAMES).replace("{cue}", draw.pick(RELATION_CUES[label])))
    if draw.chance(0.4):
        for mask, kind in (("@problem$", "{disease}"), ("@treatment$", "{chemical}"), ("@test$", "{test}")):
            text = draw.fill(text.replace(mask, kind))
    return exercise(draw, f"{text} In other words ?", f"{_PARAPHRASES[label]} .")
