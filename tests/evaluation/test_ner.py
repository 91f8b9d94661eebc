"""Named entities score what a hand count gives, whatever a model writes."""

import math
import random
from time import process_time

import pytest

from medtune.evaluation.tasks.ner import NerTask

LINES = ["chest : B", "pain : I", ": : O", "no : O", "fever : B", "or : O", "pain : B", ". : O"]
GOLD = "\n".join(LINES)  # three entities: "chest pain", "fever", and the second "pain"


def changed(**lines):
    """Return the gold lines with some replaced, by their number: ``_5="fever : O"``."""
    new = list(LINES)
    for number, line in lines.items():
        new[int(number[1:]) - 1] = line
    return new


# answer -> correct, predicted (of 3 gold), unaligned of 8, surplus of how many lines, invalid labels, paper-compatible F1
ADVERSARIAL = {
    "right": (LINES, 3, 3, 0, (0, 8), 0, 1),
    "trailing spaces": ([f"  {line} \t\r" for line in LINES], 3, 3, 0, (0, 8), 0, 1),
    "lower case labels": ([f"{line[:-1]}{line[-1].lower()}" for line in LINES], 3, 3, 0, (0, 8), 0, 1),
    "upper case tokens": ([line.upper() for line in LINES], 3, 3, 0, (0, 8), 0, 0),
    "markdown fences": (["```text", *LINES, "```"], 3, 3, 0, (2, 10), 0, 1),
    "made-up entity": ([*LINES, "cancer : B"], 3, 4, 0, (1, 9), 0, 1),
    "made-up entity of two tokens": ([*LINES[:3], "lung : B", "cancer : I", *LINES[3:]], 3, 4, 0, (2, 10), 0, 1),
    "repeated word, the first one wrong": (changed(_2="pain : O"), 2, 3, 0, (0, 8), 0, 1),
    "repeated word, the last one wrong": (changed(_7="pain : O"), 2, 2, 0, (0, 8), 0, 4 / 5),
    "colon token forgotten": ([*LINES[:2], *LINES[3:]], 3, 3, 1, (0, 7), 0, 1),
    "colon token labelled": (changed(_3=": : B"), 3, 4, 0, (0, 8), 0, 6 / 7),
    "every line twice": ([line for line in LINES for _ in range(2)], 3, 3, 0, (8, 16), 0, 1),
    "whole answer twice": ([*LINES, *LINES], 3, 3, 0, (8, 16), 0, 1),
    "entity line skipped": ([*LINES[:4], *LINES[5:]], 2, 2, 1, (0, 7), 0, 4 / 5),
    "two lines swapped": ([*LINES[:3], LINES[4], LINES[3], *LINES[5:]], 3, 3, 1, (1, 8), 0, 1),
    "entity moved to the end": ([*LINES[:4], *LINES[5:], LINES[4]], 2, 3, 1, (1, 8), 0, 1),
    "empty": ([], 0, 0, 8, (0, 0), 0, 0),
    "blank": (["  ", ""], 0, 0, 8, (0, 0), 0, 0),
    "refusal": (["I am sorry, I cannot help with that."], 0, 0, 8, (1, 1), 0, 0),
    "labels in a sentence": (["The entities are chest pain : B and fever, pain."], 0, 0, 8, (1, 1), 1, 0),
    "cut off": (LINES[:5], 2, 2, 3, (0, 5), 0, 2 / 5),  # the dict holds the first "pain" against the last one
    "unknown label": (changed(_5="fever : DISEASE"), 2, 2, 0, (0, 8), 1, 4 / 5),
    "typed where bare is asked": (changed(_5="fever : B-DISEASE"), 2, 3, 0, (0, 8), 0, 2 / 3),
    "I where B belongs": (changed(_5="fever : I", _7="pain : I"), 1, 1, 0, (0, 8), 0, None),
    "shorter entity": (changed(_1="chest : O", _2="pain : B"), 2, 3, 0, (0, 8), 0, None),
    "all outside": ([f"{line[:-1]}O" for line in LINES], 0, 0, 0, (0, 8), 0, 0),
    "loop": ([*LINES, *["cancer : B"] * 5000], 3, 4, 0, (5000, 5008), 0, 1),
    "babble of labels": ([f"word{i} : B" for i in range(4000)], 0, 4000, 8, (4000, 4000), 0, 0),
    "babble of prose": (["lorem ipsum dolor sit amet " * 1900], 0, 0, 8, (1, 1), 0, 0),
}


def f1(correct, predicted, gold=3):
    return 2 * correct / (predicted + gold)


@pytest.mark.parametrize("case", ADVERSARIAL)
def test_an_adversarial_answer_scores_what_a_hand_count_gives(case, predict_of):
    lines, correct, predicted, unaligned, (surplus, written), invalid, paper = ADVERSARIAL[case]
    score = NerTask().score([predict_of("\n".join(lines), GOLD)])
    assert score.metrics["span_f1_strict"] == pytest.approx(f1(correct, predicted), abs=1e-12)
    assert score.metrics["span_precision_strict"] == pytest.approx(correct / predicted if predicted else 0, abs=1e-12)
    assert score.metrics["span_recall_strict"] == pytest.approx(correct / 3, abs=1e-12)
    assert score.failures["unaligned_tokens"] == pytest.approx(unaligned / 8)
    assert score.failures["surplus_lines"] == pytest.approx(surplus / written if written else 0)
    assert score.failures["invalid_labels"] == pytest.approx(invalid / written if written else 0)
    assert score.failures["empty"] == (written == 0)
    if paper is not None:
        assert score.metrics["paper_compatible"] == pytest.approx(paper)


def test_a_line_without_the_spaced_separator_is_no_label(predict_of):
    score = NerTask().score([predict_of("\n".join(line.replace(" : ", ":") for line in LINES), GOLD)])
    assert score.metrics["span_f1_strict"] == 0
    assert score.failures["unaligned_tokens"] == 1


@pytest.mark.parametrize("spelling", ["{p}-{t}", "{t}-{p}", "{p}_{t}"])
def test_typed_labels_count_in_every_spelling(spelling, predict_of):
    gold = "mild : B-PROBLEM\ncough : I-PROBLEM\nafter : O\nsurgery : B-TREATMENT"
    b, i, t = (spelling.format(p=p, t=t) for p, t in (("B", "PROBLEM"), ("I", "PROBLEM"), ("B", "TREATMENT")))
    score = NerTask().score([predict_of(f"mild : {b}\ncough : {i}\nafter : O\nsurgery : {t}", gold)])
    assert score.metrics["span_f1_strict"] == score.metrics["span_f1_lenient"] == 1
    assert score.details["entity_types"]["PROBLEM"] == {"precision": 1, "recall": 1, "f1": 1, "support": 1}


def test_a_wrong_type_is_a_wrong_span_of_both_types(predict_of):
    score = NerTask().score([predict_of("cough : B-TEST", "cough : B-PROBLEM")])
    assert score.metrics["span_f1_strict"] == score.metrics["span_f1_partial"] == 0
    assert score.details["entity_types"]["TEST"]["support"] == 0
    assert score.details["entity_types"]["PROBLEM"]["recall"] == 0


def test_lenient_and_partial_figures_forgive_what_they_say(predict_of):
    inside = NerTask().score([predict_of("\n".join(changed(_5="fever : I", _7="pain : I")), GOLD)]).metrics
    assert (inside["span_f1_strict"], inside["span_f1_lenient"]) == (pytest.approx(0.5), 1)
    shorter = NerTask().score([predict_of("\n".join(changed(_1="chest : O", _2="pain : B")), GOLD)]).metrics
    assert shorter["span_f1_lenient"] == pytest.approx(2 / 3)
    assert shorter["span_f1_partial"] == 1


def test_who_hallucinates_in_every_row_scores_what_span_f1_says(predict_of):
    rows = []
    for i in range(1000):
        disease = i < 853
        gold = f"row{i} : O\nhad : O\n{'fever' if disease else 'water'} : {'B' if disease else 'O'}\n. : O"
        rows.append(predict_of(f"{gold}\nmelanoma : B", gold))
    metrics = NerTask().score(rows).metrics
    assert metrics["span_recall_strict"] == 1
    assert metrics["span_f1_strict"] == pytest.approx(2 * 853 / (2 * 853 + 1000))  # 0.63
    assert metrics["paper_compatible"] == 1  # what the published way of counting makes of it


def test_a_token_may_hold_the_separator(predict_of):
    gold = "ratio : B\n1 : 2 : I\n: : I\nup : O"
    score = NerTask().score([predict_of(gold.replace("up : O", "up : B"), gold)])
    assert score.metrics["exact_sequence"] == 1
    assert (score.metrics["span_precision_strict"], score.metrics["span_recall_strict"]) == (0.5, 1)
    assert score.failures["invalid_labels"] == 0


def test_a_mention_that_the_answer_claims_already_is_not_made_up_again(predict_of):
    metrics = NerTask().score([predict_of(f"{GOLD}\nfever : I", GOLD)]).metrics
    assert metrics["span_f1_lenient"] == 1


def test_exact_sequence_compares_tokens_not_labels(predict_of):
    others = predict_of("\n".join(changed(_5="fever : O")), GOLD)
    upper = predict_of(GOLD.upper(), GOLD)
    assert NerTask().score([others]).metrics["exact_sequence"] == 1
    assert NerTask().score([upper]).metrics["exact_sequence"] == 0


def test_a_cut_off_answer_is_counted(predict_of):
    score = NerTask().score([predict_of("\n".join(LINES[:5]), GOLD, truncated=True), predict_of(GOLD, GOLD)])
    assert score.failures["truncated"] == 0.5


def test_a_gold_line_that_cannot_be_read_counts_as_outside_and_is_reported(predict_of):
    score = NerTask().score([predict_of("a : O\nb : B", "a\nb : B")])
    assert score.metrics["span_f1_strict"] == 1
    assert score.details["unreadable_gold_lines"] == 1


def test_fifty_kilobytes_of_repeated_tokens_take_no_time(predict_of):
    rng = random.Random(0)
    words = ["pain", "fever", "cough", "no", "or", "."]
    gold = "\n".join(f"{rng.choice(words)} : O" for _ in range(300))
    babble = "\n".join(f"{rng.choice(words)} : B" for _ in range(5000))
    begin = process_time()
    NerTask().score([predict_of(babble, gold)])
    assert process_time() - begin < 2


def test_the_room_for_an_answer_is_a_fifth_more_than_the_input_and_its_labels(predict_of):
    question = "Tag it .\n\n" + "abcd " * 10  # 50 of 60 characters are the sentence
    example = predict_of("", GOLD, question=question).example
    assert NerTask().max_new_tokens(example, 30) == math.ceil(1.2 * 30 * 50 / 60) + 6 * 10 + 16


def test_room_for_an_answer_comes_from_the_words_of_the_input(predict_of):
    question = "Tag the tokens of this sentence .\n\n" + " ".join(f"w{i}" for i in range(20))
    example = predict_of("", GOLD, question=question).example
    answer = "\n".join(f"w{i} : B" for i in range(20))
    tokens = math.ceil(len(answer) / 2)  # a tokenizer that reads two characters at a time
    assert tokens <= NerTask().max_new_tokens(example, len(question) // 2) <= 3 * tokens
