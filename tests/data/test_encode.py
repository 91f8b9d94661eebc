"""Ids are those of the model's own template, supervision covers the answers and nothing else."""

import pytest
from chat_templates import END_OF_TURN, SPECIAL, TEMPLATES, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, normalizers

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
def test_the_unsupervised_prefix_is_what_generation_is_given(tokenizers, name):
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
    rendered = tokenizer.apply_chat_template(turns(question.strip(), answer.strip()), tokenize=False)
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
        "m['content'] +", "('!' if m['content'] | length == 7 else '') + m['content'] +"
    )
    with pytest.raises(UnsafeArtifactError, match="changes its own text"):
        Encoder(make_tokenizer(template)).encode(Example(turns("Label.", "Aspirin")))


THINKING = """{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}
{%- if '</think>' in m['content'] %}{{ '<think>\n' + m['content'].split('</think>')[0].split('<think>')[-1].strip() }}
{{- '\n</think>\n\n' + m['content'].split('</think>')[-1].strip() }}
{%- elif loop.last %}{{ '<think>\n\n</think>\n\n' + m['content'] }}{% else %}{{ m['content'] }}{% endif %}
{%- else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""


@pytest.fixture(scope="module")
def thinking():
    tokenizer = make_tokenizer(THINKING)
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


def test_a_template_that_rewrites_reasoning_is_followed(thinking):
    messages = turns("Is it benign?", "<think>It shrank.</think>yes")
    encoded = Encoder(thinking).encode(Example(messages))
    rendered = thinking.apply_chat_template(messages, tokenize=False)
    assert "<think>\nIt shrank.\n</think>\n\nyes" in rendered
    assert encoded.input_ids == thinking(rendered, add_special_tokens=False)["input_ids"]
    assert thinking.decode(supervised_ids(encoded)) == "<think>\nIt shrank.\n</think>\n\nyes<|im_end|>"
    prompt = Encoder(thinking).prompt_ids(messages[:1])
    assert list(encoded.input_ids[: len(prompt)]) == prompt


def test_reasoning_in_earlier_turns_is_what_generation_is_given(thinking):
    messages = turns("One?", "<think>a</think>b", "Two?", "c")
    encoded = Encoder(thinking).encode(Example(messages))
    prompt = Encoder(thinking).prompt_ids(messages[:3])
    assert list(encoded.input_ids[: encoded.supervised.index(1)]) == prompt
    rendered = thinking.apply_chat_template(messages[:3], tokenize=False, add_generation_prompt=True)
    assert prompt == thinking(rendered, add_special_tokens=False)["input_ids"]


def test_a_rewritten_text_that_spells_control_tokens_or_loses_words_is_refused_by_its_id(thinking):
    encoder = Encoder(thinking)
    for answer, sentence in (
        ("<think>a</think><|im_end|>", "spell control tokens"),
        ("a<think>b</think>c", "rewrites its answer"),
    ):
        with pytest.raises(DataError, match=f"row 'r-1': .*{sentence}"):
            encoder.encode(Example(turns("One?", answer), row_id="r-1"))
    with pytest.raises(DataError, match="supervise=all"):
        Encoder(thinking, supervise="all").encode(Example(turns("One?", "<think>a</think>b")))


def test_a_turn_marker_that_is_not_declared_special_cannot_be_written_by_a_message():
    tokenizer = make_tokenizer(TEMPLATES["chatml"].replace("<|im_", "<|turn_"))
    tokenizer.add_tokens(["<|turn_start|>", "<|turn_end|>"])
    encoded = Encoder(tokenizer).encode(Example(turns("a <|turn_start|> b", "c")))
    start, end = tokenizer.convert_tokens_to_ids(["<|turn_start|>", "<|turn_end|>"])
    assert (encoded.input_ids.count(start), encoded.input_ids.count(end)) == (2, 2)
    assert supervised_ids(encoded)[-1] == end


def test_the_default_of_several_templates_is_taken(tokenizers):
    tokenizer = make_tokenizer({"default": TEMPLATES["gemma"], "tool_use": TEMPLATES["chatml"]})
    example = Example(turns("Label.", "None"))
    assert Encoder(tokenizer).encode(example) == Encoder(tokenizers["gemma"]).encode(example)


def test_a_system_turn_that_the_template_puts_beside_the_last_question_is_folded_into_the_first():
    template = (
        TEMPLATES["mistral-instruct"]
        .replace(
            "{% for m in messages %}",
            "{% set system = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}"
            "{% for m in (messages[1:] if system else messages) %}",
        )
        .replace("'[INST] ' +", "'[INST] ' + (system + '\n' if loop.index >= loop.length - 1 and system else '') +")
    )
    encoder = Encoder(make_tokenizer(template))
    system = [{"role": "system", "content": "Be brief."}]
    once, twice = turns("Label.", "None"), turns("One?", "yes", "Label.", "None")
    assert "Be brief.\nLabel." in encoder.tokenizer.decode(encoder.encode(Example(system + once)).input_ids)
    assert "Be brief.\n\nOne?" in encoder.tokenizer.decode(encoder.encode(Example(system + twice)).input_ids)


@pytest.mark.parametrize("normalized", [False, True])
def test_a_tokenizer_that_normalises_text_gives_its_own_ids(normalized):
    tokenizer = make_tokenizer(TEMPLATES["starling"])
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    backend.add_special_tokens([AddedToken("<|end_of_turn|>", normalized=normalized, special=True)])
    messages = turns("Label ﬁbrin.", "Aspirin ﬁ")
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    encoded = Encoder(tokenizer).encode(Example(messages))
    assert encoded.input_ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(supervised_ids(encoded)[:-1]).strip() == "aspirin fi"


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
