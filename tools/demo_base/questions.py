"""Rows that ask a question: multiple choice and yes or no in pmc_llama's shapes, and long free text in chatdoctor's."""

from demo_base.draw import Draw, EntityKind
from demo_base.inference import Fact, say
from demo_base.sentences import paragraph

__all__ = ["KIND_NAMES", "consultation_row", "question_row"]

KIND_NAMES: dict[EntityKind, str] = {
    "disease": "disease",
    "chemical": "medicine",
    "gene": "gene",
    "test": "procedure",
}
_LETTERS = "ABCD"
_WORDINGS = (
    "Answer the medical question .",
    "Read the question and answer it with a reason .",
    "Reply to this question as a medical expert would .",
    "Give your rationale if there is one , then the answer .",
    "Solve the medical exam question .",
)
_CHOICE_QUESTIONS = (
    "Which of these is a {kind} ?",
    "Only one of the options is a {kind} . Which one ?",
    "Pick the {kind} .",
)
_CONSULT_WORDINGS = (
    "If you are a doctor , please answer the medical questions based on the patient's description .",
    "You are a doctor . Answer the patient's question .",
    "As a physician , reply to the patient .",
    "A patient writes to you . Answer as their doctor would .",
    "Act as a doctor and advise the patient .",
)


def question_row(draw: Draw, wanted_words: int) -> tuple[str, str, str]:
    """Return instruction, input and output of a choice or, as often, a yes or no question."""
    question, output = _choice(draw) if draw.chance(0.5) else _yes_or_no(draw)
    missing = wanted_words - len(question.split())
    context = f"{paragraph(draw, missing // 2)} " if missing > len(question.split()) else ""
    reason = f"{paragraph(draw, missing // 2)} " if context else ""
    return draw.pick(_WORDINGS), f"###Question: {context}{question}", output.replace("{reason}", reason)


def consultation_row(draw: Draw, wanted_words: int) -> tuple[str, str, str]:
    """Return a patient's message and a doctor's free-text reply, as chatdoctor rows have them."""
    message = f"Hello doctor , {paragraph(draw, wanted_words // 2)} What should I do ?"
    reply = f"Hello , {paragraph(draw, wanted_words // 2)} I hope this helps ."
    return draw.pick(_CONSULT_WORDINGS), message, reply


def _choice(draw: Draw) -> tuple[str, str]:
    kinds = list(KIND_NAMES)
    draw.rng.shuffle(kinds)
    options = [draw.core(kind) for kind in kinds]
    right = int(draw.rng.random() * len(kinds))
    name = KIND_NAMES[kinds[right]]
    listed = " ".join(f"{letter} . {option}" for letter, option in zip(_LETTERS, options, strict=True))
    question = draw.pick(_CHOICE_QUESTIONS).replace("{kind}", name)
    reason = f"###Rationale: {{reason}}{options[right]} is a {name} ."
    return f"{question}\n###Options: {listed} .", f"{reason}\n\n###Answer: OPTION {_LETTERS[right]} IS CORRECT."


def _yes_or_no(draw: Draw) -> tuple[str, str]:
    person = draw.slot("person")
    kinds: tuple[EntityKind, ...] = ("disease", "chemical")
    facts = [Fact(kind, draw.entity(kind), draw.chance(0.5)) for kind in kinds]
    asked = facts[int(draw.rng.random() * 2)]
    verb = "have" if asked.kind == "disease" else "take"
    told = f"the {person} {say(draw, facts[0])} and {say(draw, facts[1])} ."
    found = f"the {person} {say(draw, asked)} ."
    answer = "yes" if asked.holds else "no"
    return f"{told} Does the {person} {verb} {asked.entity} ?", f"{{reason}}{found}\n\n###Answer: {answer}"
