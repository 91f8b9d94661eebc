"""Ids are those of the model's own template, supervision covers the answers and nothing else."""

import pytest
from chat_templates import END_OF_TURN, SPECIAL, TEMPLATES, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune import Example
from medtune.data.encode import Encoder
from medtune.errors import DataError, UnsafeArtifactError

HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Co"]), min_size=1, max_size=60),
    st.lists(
        st.sampled_from(
            [*SPECIAL, " ", "\n", "\n\n", "\x00", "🩺", "ﬁ", "مرض", "a\u0301", ":", " : ", "word", "GPT4 Correct User:"]
        ),
        min_size=1,
        max_size=8,
    ).map("".join),
).filter(lambda text: text.strip())


def turns(*contents):
    roles = ["user", "assistant"]
    return [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]


def supervised_ids(encoded):
    return [i for i, s in zip(encoded.input_ids, encoded.supervised, strict=True) if s]


@pytest.mark.parametrize("name", TEMPLATES)
def test_ids_are_those_of_the_template_tokenised_once(tokenizers, name):
    tokenizer = tokenizers[name]
    messages = turns("Label the tokens.\n\nAspirin helps .", "Aspirin : B\nhelps : O\n. : O")
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert Encoder(tokenizer).encode(Example(messages)).input_ids == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_answer_and_its_end_of_turn_are_supervised(tokenizers, name):
    tokenizer = tokenizers[name]
    answer = "Aspirin : B\nhelps : O"
    ids = supervised_ids(Encoder(tokenizer).encode(Example(turns("Label.", answer))))
    assert ids[-1] == tokenizer.convert_tokens_to_ids(END_OF_TURN[name])
    assert tokenizer.decode(ids[:-1]).strip() == answer


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_unsupervised_beginning_is_what_generation_is_given(tokenizers, name):
    encoder = Encoder(tokenizers[name])
    encoded = encoder.encode(Example(turns("Label the tokens.", "None")))
    prompt = encoder.prompt_ids(turns("Label the tokens."))
    assert list(encoded.input_ids[: len(prompt)]) == prompt
    assert encoded.supervised[: len(prompt) + 1] == [0] * len(prompt) + [1]


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_answer_or_the_last_one_is_supervised(tokenizers, name):
    tokenizer = tokenizers[name]
    example = Example(turns("One?", "Aspirin", "Two?", "fever"))
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN[name])
    last = supervised_ids(Encoder(tokenizer).encode(example))
    both = supervised_ids(Encoder(tokenizer, supervise="all").encode(example))
    assert tokenizer.decode(last[:-1]).strip() == "fever"
    assert both.count(end) == 2
    assert both[-len(last) :] == last


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60, deadline=None)
@given(question=HOSTILE, answer=HOSTILE)
def test_hostile_text_is_encoded_as_the_characters_it_is(tokenizers, name, question, answer):
    tokenizer = tokenizers[name]
    encoder = Encoder(tokenizer)
    encoded = encoder.encode(Example(turns(question, answer)))
    rendered = encoder._template.render(turns(question.strip(), answer.strip()))
    assert tokenizer.decode(encoded.input_ids, skip_special_tokens=False) == rendered
    ids = supervised_ids(encoded)
    assert tokenizer.decode(ids[:-1]).strip() == answer.strip()
    assert ids[-1] == tokenizer.convert_tokens_to_ids(END_OF_TURN[name])
    bos = list(encoded.input_ids).count(tokenizer.bos_token_id)
    assert bos == (0 if name == "chatml" else 1)
    controls = {tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    plain = encoder.encode(Example(turns("a", "b")))
    count = sum(i in controls for i in encoded.input_ids)
    assert count == sum(i in controls for i in plain.input_ids)
    assert encoder.prompt_ids(turns(question)) == list(encoded.input_ids[: encoded.supervised.index(1)])


def test_a_word_of_a_hundred_kilobytes_is_encoded_whole(tokenizers):
    word = "x" * 100_000
    tokenizer = tokenizers["starling"]
    encoded = Encoder(tokenizer).encode(Example(turns(word, "yes")))
    assert word in tokenizer.decode(encoded.input_ids)


def test_a_system_turn_has_its_own_form_where_the_template_has_one(tokenizers):
    messages = [{"role": "system", "content": "Be brief."}, *turns("Label.", "None")]
    text = tokenizers["chatml"].decode(Encoder(tokenizers["chatml"]).encode(Example(messages)).input_ids)
    assert "<|im_start|>system\nBe brief.<|im_end|>" in text


@pytest.mark.parametrize("name", ["starling", "mistral-instruct", "gemma", "alpaca"])
def test_a_system_turn_is_folded_into_the_user_s_where_it_has_none(tokenizers, name):
    messages = [{"role": "system", "content": "Be brief."}, *turns("Label.", "None")]
    folded = Encoder(tokenizers[name]).encode(Example(messages))
    assert folded.input_ids == Encoder(tokenizers[name]).encode(Example(turns("Be brief.\n\nLabel.", "None"))).input_ids
    with pytest.raises(DataError, match="has no system turn"):
        Encoder(tokenizers[name], system_turns="refuse").encode(Example(messages))


BROKEN = {
    "no end-of-turn": (TEMPLATES["starling"].replace("<|end_of_turn|>", "\n"), "no end-of-turn token"),
    "doubled BOS": (
        TEMPLATES["starling"].replace("{{ bos_token }}", "{{ bos_token }}{{ bos_token }}"),
        "more than once",
    ),
    "answer trimmed": (
        TEMPLATES["starling"].replace("m['content']", "m['content'][:2]"),
        "exactly once, whole and in order",
    ),
    "order dependent": (
        TEMPLATES["starling"].replace("{% for m in", "{{ messages | length }}{% for m in"),
        "order dependent",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_template_is_refused_by_the_check_meant_for_it(fault):
    template, sentence = BROKEN[fault]
    with pytest.raises(UnsafeArtifactError, match=sentence):
        Encoder(make_tokenizer(template)).encode(Example(turns("Label.", "Aspirin")))


def test_a_template_that_changes_with_the_text_is_refused():
    template = TEMPLATES["starling"].replace(
        "m['content'] +", "('!' if 'Aspirin' in m['content'] else '') + m['content'] +"
    )
    with pytest.raises(UnsafeArtifactError, match="changes its own text"):
        Encoder(make_tokenizer(template)).encode(Example(turns("Label.", "Aspirin")))


def test_a_tokenizer_without_a_template_is_refused():
    with pytest.raises(UnsafeArtifactError, match="no chat template"):
        Encoder(make_tokenizer(None)).encode(Example(turns("Label.", "Aspirin")))


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [(turns("a"), "does not end with an assistant turn"), (turns("a", " "), "empty answer"), ([], "does not end")],
)
def test_an_example_without_an_answer_is_refused_by_its_id(tokenizers, messages, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        Encoder(tokenizers["starling"]).encode(Example(messages, row_id="train-7"))
    assert "train-7" in str(caught.value)


def test_the_stop_ids_are_end_of_turn_and_end_of_text(tokenizers):
    tokenizer = tokenizers["starling"]
    assert Encoder(tokenizer).stop_ids == (tokenizer.convert_tokens_to_ids("<|end_of_turn|>"), tokenizer.eos_token_id)


def test_the_fingerprint_changes_with_template_and_settings(tokenizers):
    prints = {Encoder(t).fingerprint for t in tokenizers.values()}
    prints.add(Encoder(tokenizers["starling"], supervise="all").fingerprint)
    prints.add(Encoder(tokenizers["starling"], system_turns="refuse").fingerprint)
    assert len(prints) == len(tokenizers) + 2
    assert Encoder(tokenizers["gemma"]).fingerprint == Encoder(tokenizers["gemma"]).fingerprint
