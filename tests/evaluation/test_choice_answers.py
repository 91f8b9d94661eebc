"""Options are read as people write them, and what is denied is not taken."""

import random

import pytest

from medtune.evaluation.tasks.choices import choice_in, options_in
from medtune.evaluation.tasks.qa import QaTask

LETTERED = "###Question: Which drug ?\n###Options:\nA. aspirin\nB. warfarin\nC. tap water\nD. heparin"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (LETTERED, {"A": "aspirin", "B": "warfarin", "C": "tap water", "D": "heparin"}),
        ("Which?\na) x\nb) y", {"A": "x", "B": "y"}),
        ("Which? 1. x 2. y 3. z", {"1": "x", "2": "y", "3": "z"}),
        ("Which? (A) left lung (B) right lung", {"A": "left lung", "B": "right lung"}),
        ("Vitamin A. is good. I think so", {}),
        ("1. Read this.\n2. Answer.\n\nA. x\nB. y\nC. z", {"A": "x", "B": "y", "C": "z"}),
        ("no options here", {}),
        (
            "\n".join(f"{letter}. option {letter}" for letter in "ABCDEFGHIJKL"),
            {letter: f"option {letter}" for letter in "ABCDEFGHIJKL"},
        ),
    ],
)
def test_options_are_found_by_lines_or_in_one_line(question, expected):
    assert dict(options_in(question)) == expected


@pytest.mark.parametrize(
    "text",
    ["B", "b", "(b)", "B.", "B)", "b. warfarin", "B: warfarin", "(B) warfarin", "Option B", "OPTION B IS CORRECT", "Answer: B",
     "The answer is B.", "warfarin", "Warfarin.", "**B**",
     "B\n\nIt works well.", "**Answer:** B", "**Answer**: B", "#### B", "### Final answer: **B**", "B\nRationale: option A is wrong",
     "Antwort: B", "Die richtige Antwort ist B.", "La respuesta correcta es B", "La bonne r\u00e9ponse est la B", "La risposta \u00e8 B",
     "A resposta \u00e9 B", "Het juiste antwoord is B", "Ans. B", "Ans: B",
     "\uff22", "\uff08\uff22\uff09", "B\u3001warfarin", "\u7b54\u6848\uff1aB", "\u7b54\u6848\u662fB\u3002", "\u9009B"],
)  # fmt: skip
def test_an_option_alone_is_read_strictly(text):
    assert choice_in(text, options_in(LETTERED)) == "B"


@pytest.mark.parametrize(
    "text",
    ["B, because it thins blood", r"So we get \boxed{B}", r"\boxed{\text{B. warfarin}}", "I think the answer is B",
     "Looking at all of them, the correct answer is (B).", "B because of its half-life", "It must be warfarin here",
     "A is too weak. The answer: B", "not A, so the answer is B", "The best choice would be option B.",
     "It is B, not A.", "A is wrong; B is right", "It can't be A, C or D, so B", "Option B is the correct one", '{"answer": "B"}',
     "Ich denke, die Antwort ist B", "Creo que la respuesta es B", "I would say that B is true"],
)  # fmt: skip
def test_an_option_in_a_sentence_is_read_leniently_only(text):
    options = options_in(LETTERED)
    assert choice_in(text, options) is None
    assert choice_in(text, options, lenient=True) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "not B",
        "The answer is not B",
        "It is not warfarin",
        "anything but not (B)",
        "I do not know",
        "A or B",
        "",
        "The answer is a bit unclear",
        "B is incorrect",
        "B is not right",
        "Option B is wrong",
        "option (B) can be excluded",
        "The answer B is wrong",
        "The answer is A or B",
        "neither A nor B",
        "There is no warfarin here",
        "warfarin is ruled out",
        "\u7b54\u6848\u4e0d\u662fB",
        "Die Antwort ist nicht B",
        "La respuesta no es B",
        "A or B is right",
        "neither A nor B is right",
        "B. aspirin",
        "B) aspirin",
        "B (aspirin)",
        "Answer: B - heparin.",
        "so a bit of B and A",
    ],
)
def test_what_is_denied_or_open_names_no_option(text):
    assert choice_in(text, options_in(LETTERED), lenient=True) is None


def test_several_options_are_read_whatever_their_order():
    options = options_in(LETTERED)
    assert choice_in("A, C", options) == choice_in("c and a", options) == choice_in("C;A", options) == "A,C"
    assert choice_in("AC", options) == choice_in("CA", options) == choice_in("ac", options) == "A,C"
    assert choice_in("A C", options) == choice_in("A\u3001C", options) == choice_in("A\nC", options) == "A,C"
    assert choice_in("I think the answer is A and C", options, lenient=True) == "A,C"
    assert choice_in("ca", options) is None
    assert choice_in("AB", options_in("Group ?\nA. A\nB. B\nC. AB\nD. O")) == "C"


@pytest.mark.parametrize(
    "style",
    ["{m}\uff0e{t}", "{m}\u3001{t}", "{m}\uff0e {t}", "- {m}. {t}", "* {m}) {t}", "{m} - {t}", "**{m}.** {t}", "**{m}**. {t}", "\uff08{m}\uff09{t}",
     "{m}\uff1a{t}", "{m}: {t}"],
)  # fmt: skip
@pytest.mark.parametrize("parted", ["\n", "\uff1b ", " "])
def test_options_are_found_whatever_marks_them(style, parted):
    told = ["\u80ba\u708e", "\u54ee\u5598", "\u6d41\u611f"]
    if style[0] in "-*" or " - " in style:
        parted = "\n"  # in one line these are no marks
    lines = [style.format(m=m, t=t) for m, t in zip("ABC", told, strict=True)]
    options = options_in("\u54ea\u4e00\u4e2a\uff1f" + ("\n" if parted == "\n" else " ") + parted.join(lines))
    assert dict(options) == dict(zip("ABC", told, strict=True))
    assert choice_in(told[1], options) == choice_in(lines[1], options) == "B"


def test_the_longer_of_two_options_is_the_one_that_a_sentence_states():
    options = options_in("Which ?\nA. pneumonia\nB. bacterial pneumonia\nC. flu")
    assert choice_in("This must be bacterial pneumonia here", options, lenient=True) == "B"
    assert choice_in("This must be pneumonia here", options, lenient=True) == "A"
    assert choice_in("This is not bacterial pneumonia, it is pneumonia", options, lenient=True) == "A"


def test_an_answer_that_takes_itself_back_is_not_read_strictly():
    options = options_in(LETTERED)
    assert choice_in("A\nNo, the answer is B", options) is None
    assert choice_in("A\nNo, the answer is B", options, lenient=True) == "B"


def test_strict_and_lenient_accuracy_stand_side_by_side(predict_of):
    texts = ["B", "B, because", "the answer is not B", "C"]
    metrics = QaTask().score([predict_of(text, "B", question=LETTERED) for text in texts]).metrics
    assert (metrics["choice_accuracy"], metrics["choice_accuracy_lenient"]) == (0.25, 0.5)


WAYS = ["{m}", "({m})", "{m}.", "{m}. {t}", "{t}", "Answer: {m}", "option {m}", "OPTION {m} IS CORRECT."]
SAID = ["{m}, because of that", "\\boxed{{{m}}}", "I am sure that the answer is {m}", "The correct answer is ({m})."]


def agree_with_what_was_written(cases, seed):
    rng = random.Random(seed)
    for _ in range(cases):
        size, style = rng.randint(2, 8), rng.choice(["{m}. {t}", "{m}) {t}", "({m}) {t}"])
        marks = rng.choice(["ABCDEFGH", "abcdefgh", "12345678"])[:size]
        told = [f"{rng.choice(['acute', 'late', 'mild'])} disease {rng.randrange(10**6)}x" for _ in marks]
        lines = [style.format(m=m, t=t) for m, t in zip(marks, told, strict=True)]
        options = options_in("Which one ?\n" + "\n".join(lines))
        right = rng.randrange(size)
        written = {"m": rng.choice([marks[right], marks[right].upper()]), "t": told[right]}
        assert choice_in(rng.choice(WAYS).format(**written), options) == marks[right].upper()
        assert choice_in(rng.choice(SAID).format(**written), options, lenient=True) == marks[right].upper()
        assert choice_in(f"not {marks[right].upper()}", options, lenient=True) is None


def test_options_written_in_any_way_are_read_back():
    agree_with_what_was_written(300, 0)


@pytest.mark.proof
def test_options_written_in_any_way_are_read_back_in_20000_cases():
    agree_with_what_was_written(20_000, 1)


def test_blood_groups_are_no_contradiction():
    options = options_in("Which ?\nA. A\nB. B\nC. AB\nD. O")
    assert [choice_in(text, options) for text in ("C. AB", "A. A", "B", "D) O", "C")] == ["C", "A", "B", "D", "C"]
    assert choice_in("A. O", options, lenient=True) is None
