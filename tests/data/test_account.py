"""Nothing of a row vanishes in silence: every column is read, declared metadata, or named with its share of the text."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from preparing import file_of, spec_of

from medtune import DataSpec
from medtune.data.account import Account
from medtune.data.examples import training_examples
from medtune.data.formatters import conversation, formatter, provide_formatters
from medtune.data.prepare import prepare, preview
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError, UnknownNameError
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.host import create_host

WORDS = ["the", "patient", "was", "given", "a", "drug", "for", "fever", "on", "the", "ward", "and", "went", "home"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


def prose(number, extra=""):
    return f"{extra}{number} {' '.join(WORDS)} {number}"


SHAPES = {
    "alpaca": lambda i: {"instruction": prose(i), "input": prose(i, "i"), "output": prose(i, "o")},
    "dolly": lambda i: {"instruction": prose(i), "context": prose(i, "c"), "response": prose(i, "r")},
    "messages": lambda i: {"messages": [{"role": "user", "content": prose(i)}, {"role": "assistant", "content": prose(i, "a")}]},
    "sharegpt": lambda i: {"conversations": [{"from": "human", "value": prose(i)}, {"from": "gpt", "value": prose(i, "a")}]},
    "question_answer": lambda i: {"question": prose(i), "context": prose(i, "c"), "answer": prose(i, "a")},
    "question_options": lambda i: {"question": prose(i), "options": [f"x{i}", "y"], "answer": "A"},
    "question_choices": lambda i: {"question": prose(i), "choices": [f"x{i}", "y"], "answer": "y"},
    "medqa_usmle": lambda i: {"question": prose(i), "options": {"A": f"x{i}", "B": "y"}, "answer_idx": "A", "answer": f"x{i}"},
    "medmcqa": lambda i: {"question": prose(i), "opa": "p", "opb": "q", "opc": "r", "opd": "s", "cop": i % 4, "exp": prose(i, "e")},
    "pubmedqa": lambda i: {"question": prose(i), "context": {"contexts": [prose(i, "c")], "labels": ["AIM"]}, "long_answer": prose(i, "l"), "final_decision": "Yes"},
    "medical_o1": lambda i: {"Question": prose(i), "Complex_CoT": prose(i, "c"), "Response": prose(i, "r")},
    "squad": lambda i: {"question": prose(i), "context": prose(i, "c"), "answers": {"text": [f"c{i}"], "answer_start": [0]}},
    "text_label": lambda i: {"text": prose(i), "label": "yes"},
    "token_tags": lambda i: {"tokens": prose(i).split(), "ner_tags": ["O"] * (len(WORDS) + 2)},
    "prompt_completion": lambda i: {"prompt": prose(i), "completion": prose(i, "c")},
}  # fmt: skip
"""Formatter that "auto" chooses -> a row that it reads whole."""


def read(rows, host, **spec):
    """Return the account of rows that are read with a spec."""
    account = Account()
    quarantine = Quarantine(None, 0.0, account=account)
    examples = list(training_examples(DataSpec(source="rows", **spec), host, quarantine, 0, rows=rows))
    return examples, account.to_json()[0]


def states(account):
    return {column["column"]: column["state"] for column in account["columns"]}


def test_every_shape_that_is_chosen_by_its_columns_is_tried_here():
    assert set(SHAPES) == {f.name for f in provide_formatters() if getattr(f, "columns", ())}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_formatter_puts_all_text_that_it_declares_into_the_example(host, shape):
    _examples, account = read([SHAPES[shape](i) for i in range(60)], host)
    assert account["formatter"] == shape
    unread = {c["column"]: c["state"] for c in account["columns"] if c["unread_share"]}
    assert not unread


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    column=st.sampled_from(["rationale", "history", "note", "extra_text", "Anamnese", "vitals"]),
    nested=st.sampled_from([lambda t: t, lambda t: [t], lambda t: {"text": t}, lambda t: [{"part": [t]}]]),
)
def test_any_further_column_with_text_is_refused_by_name_with_its_share_and_the_mapping(host, shape, column, nested):
    rows = [{**SHAPES[shape](i), column: nested(f"never {i} seen {' '.join(reversed(WORDS))}")} for i in range(60)]
    with pytest.raises(DataError, match=rf"% of the text .* is read by nothing: '{column}.*'.*{column}") as refused:
        read(rows, host)
    assert "never" not in str(refused.value)
    path = str(refused.value).rsplit("data.columns.metadata=", 1)[1]
    _examples, account = read(rows, host, columns={"metadata": [path]})
    assert "metadata" in states(account).values()


@pytest.mark.parametrize("shape", [name for name in SHAPES if name not in ("pubmedqa", "medical_o1")])
def test_the_mapping_that_a_refusal_names_reads_the_column(host, shape):
    rows = [{**SHAPES[shape](i), "history": f"never {i} seen {' '.join(reversed(WORDS))}"} for i in range(60)]
    with pytest.raises(DataError, match="is read by nothing") as refused:
        read(rows, host)
    role, columns = str(refused.value).split("--set data.columns.")[1].split(",  or ")[0].split(", or ")[0].split("=")
    examples, account = read(rows, host, columns={role: columns})
    assert all(f"never {i} seen" in " ".join(m["content"] for m in e.messages) for i, e in enumerate(examples))
    assert not any(column["unread_share"] for column in account["columns"])


def test_a_field_of_a_message_that_nobody_reads_is_refused_by_its_path(host):
    rows = [SHAPES["messages"](i) for i in range(60)]
    for i, row in enumerate(rows):
        row["messages"][-1]["afterthought"] = f"since {i} shrank over a year"
    with pytest.raises(DataError, match=r"'messages\[\]\.afterthought' \(\d+%\).*metadata=messages\.afterthought"):
        read(rows, host)


def test_words_of_one_word_each_are_text_and_codes_are_not(host):
    drugs = [f"{a}{b}ol" for a in ("Aten", "Biso", "Cara", "Dobu", "Esmo", "Filo", "Gali", "Hexo") for b in "abcdefgh"]
    rows = [
        {"question": f"Best for case {i}?", "answer": "D", "A": drugs[i], "B": drugs[-1 - i], "code": f"{i:04x}-{i}"}
        for i in range(60)
    ]
    with pytest.raises(DataError, match=r"is read by nothing: 'A' .*'B'") as refused:
        read(rows, host)
    assert "code" not in str(refused.value)


def test_labels_identifiers_and_numbers_are_listed_and_not_refused(host):
    rows = [
        {**SHAPES["alpaca"](i), "category": f"Internal medicine {i % 3}", "url": f"https://h.org/{i}", "age": i, "seen": "2020-01-02 03:04"}
        for i in range(60)
    ]  # fmt: skip
    found = states(read(rows, host)[1])
    assert found["category"] == "label, unread"
    assert found["url"] == found["seen"] == "identifier, unread"
    assert found["age"] == "numbers, unread"


def test_a_system_text_that_is_always_the_same_is_no_label(host):
    rows = [{**SHAPES["alpaca"](i), "system_prompt": "You are the ward's own careful pharmacist."} for i in range(60)]
    with pytest.raises(DataError, match="'system_prompt'"):
        read(rows, host)
    examples, _account = read(rows, host, columns={"system": "system_prompt"})
    assert examples[0].messages[0] == {"role": "system", "content": "You are the ward's own careful pharmacist."}


def test_a_column_that_repeats_like_a_patient_s_number_is_pointed_out_until_it_is_named(host):
    rows = [{**SHAPES["alpaca"](i), "subject_id": i // 10} for i in range(100)]
    _examples, account = read(rows, host)
    assert "set data.document=subject_id" in account["advice"][0]
    examples, account = read(rows, host, document="subject_id")
    assert [e.document for e in examples[::10]] == [str(i) for i in range(10)]
    assert not account["advice"]
    with pytest.raises(
        DataError, match=r"data\.document names 'subjectid', which no row .* has; it has .*'subject_id'"
    ):
        read(rows, host, document="subjectid")


def test_rows_of_one_document_are_held_out_together(host):
    rows = [{**SHAPES["alpaca"](i), "note_id": f"n{i // 10}"} for i in range(200)]
    spec = DataSpec(source="rows", document="note_id", validation_fraction=0.1)
    sides = [
        {e.document for e in training_examples(spec, host, Quarantine(None, 0.0), 0, rows=rows, part=part)}
        for part in ("learned", "held out")
    ]
    assert len(sides[1]) == 2
    assert not sides[0] & sides[1]


def test_another_s_formatter_is_believed_for_the_columns_that_it_looks_at(rows):
    @formatter("shouted", ["asked", "told"], version="1")
    def shouted(row):
        return conversation(row["asked"].upper(), row.get("told").upper(), row)

    class Plugin:
        @hookimpl
        def provide_formatters(self):
            return [shouted]

    host = create_host([Plugin()], autoload=False)
    whole = [{"asked": prose(i), "told": prose(i, "t")} for i in range(60)]
    assert set(states(read(whole, host)[1]).values()) == {"read"}
    with pytest.raises(DataError, match=r"'aside' \(\d+%\); take a formatter that reads it"):
        read([{**row, "aside": prose(i, "never seen ")} for i, row in enumerate(whole)], host)


MIXTURES = st.lists(st.sampled_from(["question_answer", "medqa_usmle", "alpaca", "messages"]), min_size=40, max_size=60)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=MIXTURES)
def test_any_mixture_of_shapes_is_refused_with_counts(host, kinds):
    rows = [SHAPES[kind](i) for i, kind in enumerate(kinds)]
    if len(set(kinds)) == 1:
        assert read(rows, host)[1]["formatter"] == kinds[0]
        return
    with pytest.raises(DataError, match=rf"the columns of {len(kinds)} rows fit different formatters") as refused:
        read(rows, host)
    for kind in set(kinds):
        assert f"'{kind}' {kinds.count(kind)}" in str(refused.value)


def test_a_row_of_another_shape_far_behind_is_set_aside_and_counted(host):
    rows = [SHAPES["question_answer"](i) for i in range(1500)]
    rows[1400] = SHAPES["medqa_usmle"](1400)
    quarantine = Quarantine(None, 0.01)
    assert len(list(training_examples(DataSpec(source="rows"), host, quarantine, 0, rows=rows))) == 1499
    assert dict(quarantine.reasons) == {
        "its columns fit another formatter than 'question_answer', which most rows fit": 1
    }


def test_options_that_are_counted_from_one_are_named_as_that(host):
    rows = [{**SHAPES["medmcqa"](i), "cop": i % 4 + 1} for i in range(60)]
    with pytest.raises(
        DataError, match=r"holds 1 to 4 and never 0: these are 1-based, .*data\.formatter=medmcqa_one_based"
    ):
        read(rows, host)
    examples, _account = read(rows, host, formatter="medmcqa_one_based")
    assert "OPTION A IS CORRECT" in examples[0].messages[-1]["content"]
    few = [{**SHAPES["medmcqa"](i), "cop": i % 2 + 1} for i in range(8)]
    assert len(read(few, host)[0]) == 8  # which may be chance


def test_what_stands_for_nothing_is_missing_and_counted(host):
    rows = [
        {**SHAPES["alpaca"](i), "input": nothing}
        for i, nothing in enumerate(["nan", "<noinput>", float("nan"), " NaN "])
    ]
    examples, account = read(rows, host)
    assert [e.messages[0]["content"] for e in examples] == [prose(i) for i in range(4)]
    assert {c["column"]: c["missing"] for c in account["columns"]} == {"instruction": 0, "input": 4, "output": 0}
    quarantine = Quarantine(None, 1.0)
    list(training_examples(DataSpec(source="rows"), host, quarantine, 0, rows=[{**rows[0], "output": "nan"}]))
    assert dict(quarantine.reasons) == {"column 'output' holds 'nan', which stands for a missing value": 1}


def test_a_source_to_include_or_exclude_that_no_row_has_is_refused(host):
    rows = [{**SHAPES["alpaca"](i), "source": ("ward", "MedNLI")[i % 2]} for i in range(20)]
    for setting in ("include_sources", "exclude_sources"):
        with pytest.raises(DataError, match=rf"data\.{setting} names 'mednli', .* the sources are 'MedNLI', 'ward'"):
            read(rows, host, **{setting: "mednli,ward"})
    many = [{**SHAPES["alpaca"](i), "source": f"secret {i % 60}"} for i in range(180)]
    with pytest.raises(DataError, match="there are 60 sources") as refused:
        read(many, host, exclude_sources="mednli")
    assert "secret" not in str(refused.value)


def test_a_source_per_row_is_refused_without_its_values(host, tokenizer):
    rows = [{**SHAPES["alpaca"](i), "source": f"secret {i}"} for i in range(100)]
    with pytest.raises(DataError, match=r"column 'source' has \d+ values .* data\.columns\.metadata=source") as refused:
        prepare(spec_of(), host, tokenizer, rows=rows)
    assert "secret" not in str(refused.value)
    assert prepare(spec_of(columns={"metadata": "source"}), host, tokenizer, rows=rows).report.rows > 90


def test_answers_without_loss_duplicates_and_files_left_out_are_counted(host, tokenizer, tmp_path):
    rows = [
        {"messages": [*SHAPES["messages"](i)["messages"], *SHAPES["messages"](-i)["messages"]]} for i in range(1, 41)
    ]
    (tmp_path / "data").mkdir()
    file_of(tmp_path / "data", [*rows, rows[0]], "train.jsonl")
    file_of(tmp_path / "data", rows, "cardiology.jsonl")
    (tmp_path / "data" / "notes.txt").write_text("not rows")
    report = prepare(spec_of(str(tmp_path / "data"), columns={}), host, tokenizer).report
    assert report.answers_without_loss == 41
    account = report.account[0]
    assert sum(found["repeated"] for found in report.duplicates["training"].values()) == 1
    assert account["files_left_out"] == {
        "cardiology.jsonl": "named by no split, and others are",
        "notes.txt": "of a kind that is not read",
    }
    every = prepare(spec_of(str(tmp_path / "data"), supervise="all"), host, tokenizer).report
    assert every.answers_without_loss == 0
    assert every.supervised_tokens > report.supervised_tokens


def test_an_answer_of_weight_zero_carries_no_loss_and_a_row_of_such_answers_is_set_aside(host, tokenizer):
    def row(first, last):
        given = [
            ("user", 1, "Dose?"),
            ("assistant", first, "wrong draft"),
            ("user", 1, "Sure?"),
            ("assistant", last, "right"),
        ]
        return {"messages": [{"role": r, "content": c, "weight": w} for r, w, c in given]}

    spec = spec_of(supervise="all", validation_fraction=0, max_quarantined=0.6)
    for example in preview(spec, host, tokenizer, 1, rows=[row(0, 1)]):
        learned = tokenizer.decode([i for i, s in zip(example.input_ids, example.supervised, strict=True) if s])
        assert "right" in learned
        assert "wrong" not in learned
    report = prepare(spec, host, tokenizer, rows=[row(0, 1), row(0, 0)]).report
    assert (report.rows, report.quarantined) == (1, 1)
    assert "no answer that carries loss" in next(iter(report.reasons))


def test_a_role_that_no_formatter_reads_and_a_column_that_no_row_has_are_refused(host):
    rows = [SHAPES["alpaca"](i) for i in range(5)]
    with pytest.raises(UnknownNameError, match=r"no role of data\.columns named 'inputs'; did you mean 'input'"):
        read(rows, host, columns={"inputs": "input"})
    with pytest.raises(DataError, match=r"data\.columns\.system names 'nothing', which no row .* has; it has 'input'"):
        read(rows, host, columns={"system": "nothing"})


def test_a_preview_of_rows_that_are_all_malformed_raises(host, tokenizer):
    with pytest.raises(DataError, match=r"3 of 3 rows are malformed, .*; the first at rows\[0\], rows\[1\], rows\[2\]"):
        preview(spec_of(), host, tokenizer, 1, rows=[{"instruction": "a", "output": None}] * 3)


def test_a_file_of_malformed_rows_that_goes_is_not_named(host, tokenizer, tmp_path):
    source = file_of(tmp_path, [{"instruction": "a", "output": None}] * 3)
    with pytest.raises(DataError, match=r"the first at .*rows\.jsonl:1") as refused:
        prepare(spec_of(source), host, tokenizer)
    assert "staging" not in str(refused.value)


def test_an_account_is_kept_with_the_prepared_set(host, tokenizer, tmp_path):
    spec = spec_of(file_of(tmp_path, [SHAPES["alpaca"](i) for i in range(20)]))
    made, found = (prepare(spec, host, tokenizer).report for _ in range(2))
    assert found.from_cache
    assert json.loads(json.dumps(found.account)) == made.account
