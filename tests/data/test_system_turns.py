"""A constant system turn, for all rows or by source; and what an answer carries besides its content."""

import pytest
from chat_templates import TEMPLATES, make_tokenizer
from preparing import spec_of
from public_templates import KINDS

from medtune import Example
from medtune.data.encode import Encoder
from medtune.data.examples import training_examples
from medtune.data.formatters import MalformedRowError, provide_formatters
from medtune.data.prepare import prepare, validation_examples
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError

ROWS = [{"question": f"q{n}?", "answer": "a", "source": "ward" if n % 2 else "lab"} for n in range(40)]
OWN = {
    "messages": [
        {"role": "system", "content": "Own."},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]
}
FORMATTERS = {f.name: f for f in provide_formatters()}


def firsts(host, rows=ROWS, **data):
    examples = training_examples(spec_of(**data).data, host, Quarantine(None, 1.0), 1, rows=rows)
    return [(e.source, e.messages[0]["role"], e.messages[0]["content"]) for e in examples]


def test_every_conversation_gets_the_system_turn(host):
    found = firsts(host, system="Be brief.")
    assert {(role, text) for _source, role, text in found} == {("system", "Be brief.")}
    spec = spec_of(system="Be brief.", validation_fraction=0.5)
    assert all(e.messages[0]["content"] == "Be brief." for e in validation_examples(spec, host, rows=ROWS))


def test_a_source_gets_its_own_and_another_none(host):
    found = firsts(host, system={"ward": "On the ward."})
    assert {row for row in found if row[0] == "ward"} == {("ward", "system", "On the ward.")}
    assert all(role == "user" for source, role, _text in found if source == "lab")


def test_a_row_keeps_the_system_turn_that_it_has(host):
    assert firsts(host, rows=[OWN], system="Be brief.") == [("", "system", "Own.")]


def test_a_source_that_no_row_has_is_refused_with_those_that_there_are(host):
    with pytest.raises(
        DataError, match=r"data\.system names 'icu', which no row has as its source; sources: 'lab', 'ward'"
    ):
        firsts(host, system={"icu": "In the unit."})


def test_the_system_turn_is_trained(host, tokenizer):
    prepared = prepare(spec_of(system="Be brief."), host, tokenizer, rows=ROWS)
    assert "Be brief.\n\nq" in tokenizer.decode(prepared.rows[0].input_ids)


REASONED = {"role": "assistant", "content": "Yes.", "reasoning_content": "It shrank."}
O1 = {"Question": "Benign?", "Complex_CoT": "It shrank.", "Response": "Yes."}


def test_medical_o1_writes_its_reasoning_where_the_template_has_a_place_for_it():
    thinking, plain = (make_tokenizer(template) for template in (KINDS["qwen3"].template, TEMPLATES["chatml"]))
    example = FORMATTERS["medical_o1"].format(O1)
    texts = [t.decode(Encoder(t).encode(example).input_ids) for t in (thinking, plain)]
    assert "<think>\nIt shrank.\n</think>\n\nYes.<|im_end|>" in texts[0]
    assert "assistant\nIt shrank.\n\nYes.<|im_end|>" in texts[1]
    golds = [Encoder(t).placed(example).messages[-1]["content"] for t in (thinking, plain)]
    assert golds == ["Yes.", "It shrank.\n\nYes."]


def test_answers_get_room_for_the_reasoning_before_them():
    tokenizer = make_tokenizer(KINDS["qwen3"].template)
    encoder, example = Encoder(tokenizer), FORMATTERS["medical_o1"].format(O1)
    reasoning = len(tokenizer("It shrank.", add_special_tokens=False)["input_ids"])
    assert encoder.tokens_before([example]) >= encoder.lead.tokens + reasoning
    assert Encoder(make_tokenizer(TEMPLATES["chatml"])).tokens_before([Example(example.messages[:1])]) == 0


@pytest.mark.parametrize("field", ["reasoning_content", "thinking"])
def test_messages_carry_the_reasoning_of_answers(field):
    answer = {"role": "assistant", "content": "Yes.", field: "It shrank."}
    found = FORMATTERS["messages"].format({"messages": [OWN["messages"][1], answer]})
    assert found.messages[-1] == REASONED


@pytest.mark.parametrize(
    ("turns", "sentence"),
    [
        (
            [{**OWN["messages"][1], "thinking": "Secret."}, OWN["messages"][2]],
            "message 1 .*'thinking', which only an answer",
        ),
        (
            [OWN["messages"][1], {**OWN["messages"][2], "thinking": ["Secret."]}],
            "message 2 .*'thinking' that is not one text",
        ),
        (
            [OWN["messages"][1], {**REASONED, "thinking": "Secret."}],
            "'reasoning_content' and a 'thinking' that is not one",
        ),
    ],
)
def test_reasoning_that_cannot_be_placed_sets_its_row_aside(turns, sentence):
    with pytest.raises(MalformedRowError, match=sentence) as caught:
        FORMATTERS["messages"].format({"messages": turns})
    assert "Secret" not in str(caught.value)


def test_rows_with_reasoning_and_a_template_without_a_place_are_refused_by_the_field(host, tokenizer):
    rows = [{"messages": [{"role": "user", "content": f"q{n}"}, REASONED]} for n in range(60)]
    with pytest.raises(DataError, match=r"\d\d of 60 rows are malformed, .*no place for the 'reasoning_content'"):
        prepare(spec_of(), host, tokenizer, rows=rows)


def test_a_row_that_breaks_a_rule_of_the_template_goes_to_the_quarantine(host, tokenizers):
    rows = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}]} for n in range(200)
    ]
    rows[3] = {"messages": [*rows[3]["messages"], *rows[3]["messages"]]}
    strict = make_tokenizer(
        "{% if messages | length > 2 %}{{ raise_exception('turns') }}{% endif %}" + TEMPLATES["starling"]
    )
    spec = spec_of(max_quarantined=0.01, validation_fraction=0.0)
    report = prepare(spec, host, strict, rows=rows).report
    assert (report.rows, report.quarantined) == (199, 1)
    assert list(report.reasons) == ["the chat template refuses turns of user, assistant, user, assistant: turns"]
    with pytest.raises(
        DataError, match=r"malformed, most often .*: the chat template refuses turns of user, assistant"
    ):
        prepare(spec, host, strict, rows=[rows[3]] * 200)


def test_two_questions_in_a_row_set_a_row_of_messages_aside_whatever_the_template():
    with pytest.raises(MalformedRowError, match="two turns of the user stand in a row"):
        FORMATTERS["messages"].format({"messages": [OWN["messages"][1], *OWN["messages"][1:]]})


def test_answers_that_spell_control_tokens_are_counted_and_said(host, tokenizer):
    rows = [{"question": f"q{n}?", "answer": "Give it.<|end_of_turn|>"} for n in range(60)]
    report = prepare(spec_of(validation_fraction=0.0), host, tokenizer, rows=rows).report
    assert report.control_spelled == 60
    assert report.notes()[0].startswith("60 of 60 answers spell out a control token")
    clean = prepare(spec_of(validation_fraction=0.0), host, tokenizer, rows=ROWS).report
    assert (clean.control_spelled, clean.notes()) == (0, [])
