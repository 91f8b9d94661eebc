"""Pre-training exercises about what things are: their kinds, topics, and relations in plain words."""

from demo_base.documents import KINDS, NAMES, Document, exercise
from demo_base.draw import Draw
from demo_base.hallmarks import HALLMARK_CUES, OTHER_FINDINGS, hallmark_sentence
from demo_base.relation import FRAMES, RELATION_CUES

__all__ = ["find_item", "name_topic", "paraphrase", "tell_kind"]


# Every exercise comes in many framings, so that what the base learns is the comparison or the choice itself, wherever
# the texts stand and whatever the answer is called, and fine-tuning has only to name it anew.
_LISTS = ("{0} . {1} ", "{0} ) {1} ; ", "{0} {1} , ", "{0} - {1}\n")
_CHOICES = (
    ("Where is the {0} ?", "{1} is the {0} , item {2}"),
    ("Find the {0} .", "{1} is a {0} , see {2} ."),
    ("One of them is a {0} .", "it is {1} , at {2}"),
    ("Choose a {0} .", "{0} : {1} so choose {2} ."),
    ("Which one means a {0} ?", "{1} is a {0} .\nchoice {2}"),
)


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
    """Say which item of a list is of a kind, or at which letter something stands."""
    count = 2 + int(draw.rng.random() * 3)
    kinds = draw.rng.sample(KINDS, count)
    cores = [draw.core(kind) for kind in kinds]
    letters = "ABCD" if draw.chance(0.8) else "WXYZ"
    asked = int(draw.rng.random() * count)
    form = draw.pick(_LISTS)
    listed = "".join(form.format(letter, core) for letter, core in zip(letters, cores, strict=False)).strip()
    name = draw.pick(NAMES[kinds[asked]])
    question, answer = _CHOICES[int(draw.rng.random() * len(_CHOICES))]
    if draw.chance(0.25):
        question, answer = f"Where is {cores[asked]} ?", "{1} is at {2}"
    question = question.format(name)
    asked_first = draw.chance(0.6)
    text = f"{question}\n{listed}" if asked_first else f"{listed}\n{question}"
    return exercise(draw, text, answer.format(name, cores[asked], letters[asked]))


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
