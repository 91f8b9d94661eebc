import re
from collections import Counter
from itertools import islice, pairwise

import pytest

from demo_base.generator import FREE_TEXT_SOURCES, generate_rows, pretraining_text, source_names_of

HALLMARK = re.compile(r"[A-Z][\w &-]+ \([A-Z]{1,3}\)")
RELATIONS = {"PIP", "TeCP", "TeRP", "TrAP", "TrCP", "TrIP", "TrNAP", "TrWP", "No Relations"}
INVENTED = re.compile(r"\b\w+(?:itis|oma|osis|emia|pathy|algia|zine|mycin|statin|pril|dipine|parin|gram|graphy|metry|scopy|scan)\b|\b[A-Z]{3}\d+\b")  # fmt: skip


ORDINARY = {"apoptosis", "diagnosis"}  # end like invented words


def rows_of(split, source, count=60, **options):
    return [row for row in generate_rows(split, count, 3, **options) if row["source"] == source]


def texts(rows):
    return [f"{row['input']}\n{row['output']}" for row in rows]


def entities_in(lines):
    return {word for line in lines for word in INVENTED.findall(line)} - ORDINARY


def entity_mentions(rows):
    """Read the surface forms of whole entities back from the labels of tagging rows."""
    found = set()
    for row in rows:
        mention = []
        for line in [*row["output"].split("\n"), " : O"]:
            token, label = line.rsplit(" : ", 1)
            if label != "I" and mention:
                found.add(" ".join(mention).lower())
                mention = []
            if label != "O":
                mention.append(token)
    return found


def sentences_in(rows):
    """Return the statements of the rows without case, digits and punctuation; question paraphrases are no statements."""
    found = set()
    for row in rows:
        for sentence in re.split(r" \. ?|\n", row["input"].replace("###Question:", "\n")):
            words = re.findall(r"[a-z]+", re.sub(r"^Sentence \d:", "", sentence).lower())
            if (
                len(words) > 3
                and "options" not in words
                and not re.search(r" \?|\bone of the options\b|^ ?Pick", sentence)
            ):
                found.add(" ".join(words))
    return found


@pytest.mark.parametrize("names", ["demo", "medtuned"])
def test_every_row_has_the_four_columns_and_sources_take_turns(names):
    rows = list(generate_rows("train", 3, 0, names))
    assert [row["source"] for row in rows] == list(source_names_of(names)) * 3
    for row in rows:
        assert list(row) == ["instruction", "input", "output", "source"]
        assert all(isinstance(value, str) and value for value in row.values())


@pytest.mark.parametrize("source", ["demo-ner-disease", "demo-ner-chemical"])
def test_a_tagging_answer_has_one_labelled_line_for_every_token_of_the_input(source):
    labels = Counter()
    for row in rows_of("train", source):
        pairs = [line.rsplit(" : ", 1) for line in row["output"].split("\n")]
        assert " ".join(token for token, _label in pairs) == row["input"]
        labels.update(label for _token, label in pairs)
        assert all(after != "I" or before != "O" for (_, before), (_, after) in pairwise(pairs))
    assert set(labels) == {"O", "B", "I"}


def test_some_tagging_rows_hold_a_colon_as_a_token():
    rows = rows_of("train", "demo-ner-disease", 200)
    share = sum(" : " in row["input"] for row in rows) / len(rows)
    assert 0.02 < share < 0.13


def test_typed_tagging_labels_carry_the_event_type():
    rows = rows_of("train", "i2b2-2012", source_names="medtuned")
    labels = {line.rsplit(" : ", 1)[1] for row in rows for line in row["output"].split("\n")}
    assert labels == {"O", *(f"{place}-{kind}" for place in "BI" for kind in ("PROBLEM", "TREATMENT"))} | {"B-TEST"}


def test_a_relation_row_masks_two_concepts_and_answers_with_one_of_the_nine_labels():
    rows = rows_of("train", "demo-relation", 200)
    assert {row["output"] for row in rows} == RELATIONS
    assert all(len(re.findall(r"@(?:problem|test|treatment)\$", row["input"])) == 2 for row in rows)


def test_an_inference_row_holds_two_named_sentences_and_balanced_labels():
    rows = rows_of("train", "demo-nli", 300)
    assert all(re.fullmatch(r"Sentence 1: .+ \.\nSentence 2: .+ \.", row["input"]) for row in rows)
    counts = Counter(row["output"] for row in rows)
    assert set(counts) == {"Entailment", "Contradiction", "Neutral"}
    assert max(counts.values()) / len(rows) < 0.42


def test_a_hallmark_answer_is_none_or_labels_joined_by_commas_and_no_constant_answer_scores():
    rows = rows_of("train", "demo-hallmarks", 400)
    answers = [row["output"] for row in rows]
    labels = {label for answer in answers if answer != "None" for label in answer.split(", ")}
    assert len(labels) == 10
    assert all(HALLMARK.fullmatch(label) for label in labels)
    assert 0.01 < sum(", " in answer for answer in answers) / len(answers) < 0.08
    assert max(Counter(answers).values()) / len(answers) < 0.3


def test_a_question_row_ends_in_an_option_or_in_yes_or_no():
    rows = rows_of("train", "demo-qa", 100)
    ends = Counter()
    for row in rows:
        assert row["input"].startswith("###Question: ")
        answer = row["output"].rsplit("\n\n###Answer: ", 1)[1]
        assert answer in {"yes", "no"} or re.fullmatch(r"OPTION [ABCD] IS CORRECT\.", answer)
        ends[answer] += 1
    assert len(ends) == 6


def test_every_source_has_five_paraphrases_of_its_instruction():
    for source in source_names_of():
        assert len({row["instruction"] for row in rows_of("train", source)}) == 5


def test_the_same_arguments_give_the_same_rows_and_another_seed_gives_others():
    first = list(generate_rows("train", 20, 1))
    assert first == list(generate_rows("train", 20, 1))
    assert first == list(generate_rows("train", 30, 1))[: len(first)]
    assert not {row["input"] for row in first} & {row["input"] for row in generate_rows("train", 20, 2)}


def test_rows_are_the_same_on_every_machine():
    row = next(iter(generate_rows("test", 1, 7)))
    assert row["input"] == (
        "the baker developed familial krespenoma after six months , and 73 cases of chondulitis were seen at the laboratory ."
    )


@pytest.mark.parametrize("held_out", ["validation", "test"])
@pytest.mark.parametrize("options", [{}, {"source_names": "medtuned", "length": "medtuned"}])
def test_no_entity_and_no_sentence_of_a_held_out_split_occurs_in_train(held_out, options):
    train = list(generate_rows("train", 400, 1, **options))
    other = list(generate_rows(held_out, 80, 2, **options))
    cores = entities_in(texts(other))
    assert len(cores) > 100
    assert not cores & entities_in(texts(train))
    sources = ("demo-ner-disease", "demo-ner-chemical", "NCBI-disease", "BC5CDR-chem")
    mentions = entity_mentions([row for row in other if row["source"] in sources])
    assert len(mentions) > 40
    assert not mentions & entity_mentions([row for row in train if row["source"] in sources])
    sentences = sentences_in(other)
    assert len(sentences) > 300
    assert not sentences & sentences_in(train)


def test_pretraining_text_holds_no_held_out_entity_no_tagging_line_and_no_instruction():
    text = "\n".join(islice(pretraining_text(0), 3000))
    for held_out in ("validation", "test"):
        rows = list(generate_rows(held_out, 150, 0))
        assert not entities_in([text]) & entities_in(texts(rows))
        assert not {row["instruction"] for row in rows if row["instruction"] in text}
        assert not {row["input"] for row in rows if row["input"] in text}
    assert not re.search(r" : [OBI]\n", text)


def test_pretraining_text_depends_on_its_seed_only():
    assert list(islice(pretraining_text(5), 50)) == list(islice(pretraining_text(5), 50))
    assert list(islice(pretraining_text(5), 50)) != list(islice(pretraining_text(6), 50))


def sizes_of(sources):
    rows = generate_rows("train", 300, 0, "medtuned", "medtuned", sources)
    return sorted(sum(len(row[part].encode()) for part in ("instruction", "input", "output")) for row in rows)


def test_medtuned_lengths_are_a_kilobyte_in_free_text_with_a_long_tail_and_shorter_elsewhere():
    free = sizes_of(FREE_TEXT_SOURCES)
    assert 1000 < sum(free) / len(free) < 1400
    assert free[-1] > 4000
    tagged = sizes_of(["NCBI-disease", "BC5CDR-chem", "BC2GM"])
    assert 500 < tagged[len(tagged) // 2] < 700
    assert sizes_of(["MedNLI"])[-1] < 1500


def test_rows_of_chosen_sources_are_those_among_all():
    every = generate_rows("train", 5, 0, "medtuned", "medtuned")
    chosen = list(generate_rows("train", 5, 0, "medtuned", "medtuned", FREE_TEXT_SOURCES))
    assert chosen == [row for row in every if row["source"] in FREE_TEXT_SOURCES]
