"""Tokenising word by word gives the tokenizer's own ids, or is not done."""

import json
import random

import pytest
from chat_templates import TEMPLATES, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from starling import build
from tokenizers import Tokenizer

from medtune.data import words as words_module
from medtune.data.plaintext import PlainTextTokenizer
from medtune.data.words import WordTokenizer

SPACE = "\u2581"
PREPEND = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ],
}
FORMS = {
    "always": ({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": False}, None),
    "first": ({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False}, None),
    "never": ({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "never", "split": False}, None),
    "normaliser": (None, PREPEND),
    "replacing normaliser": (None, PREPEND["normalizers"][1]),
}
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            [" ", "  ", "\n", "\n\n", SPACE, SPACE * 3, "\x01", "\t", "\x00", "🩺", "مرض", "</s>", "\ue0f2"]
        ),
        st.sampled_from(["Aspirin", " : O", "BRCA1", "a\u0301", "1,234", "<0x0A>", "<|end_of_turn|>"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    ),
    max_size=12,
).map("".join)


@pytest.fixture(scope="module")
def starling(tmp_path_factory):
    from transformers import LlamaTokenizer

    return build(LlamaTokenizer, tmp_path_factory.mktemp("starling"), legacy=True)


@pytest.fixture(scope="module")
def pairs(starling):
    """Form -> the tokenizer, and its word-by-word form."""
    settings_ = json.loads(starling.backend_tokenizer.to_str())
    found = {}
    for name, (borders, normalizer) in FORMS.items():
        changed = {**settings_, "pre_tokenizer": borders, "normalizer": normalizer, "post_processor": None}
        tokenizer = Tokenizer.from_str(json.dumps(changed))
        controls = {token["content"]: token["id"] for token in changed["added_tokens"]}
        found[name] = (tokenizer, WordTokenizer.of(changed, controls, tokenizer))
    return found


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(HOSTILE, min_size=1, max_size=3))
def test_ids_are_the_tokenizer_s_own_whatever_the_text(pairs, form, texts):
    tokenizer, words = pairs[form]
    own = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert [ids.tolist() for ids in words.encode_batch(texts)] == own


def test_words_met_before_and_after_the_memory_was_emptied_are_the_same(pairs, monkeypatch):
    tokenizer, words = pairs["always"]
    draw = random.Random(0)
    texts = [" ".join(f"w{draw.randrange(400)}" for _ in range(60)) for _ in range(40)]
    own = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    monkeypatch.setattr(words_module, "_KEPT_WORDS", 50)
    for text, ids in zip(texts, own, strict=True):
        assert words.encode_batch([text])[0].tolist() == ids
    assert len(words._known) < 200


def test_very_long_words_are_not_kept(pairs):
    tokenizer, words = pairs["always"]
    text = "x" * 100_000 + " y"
    assert words.encode_batch([text])[0].tolist() == tokenizer.encode(text, add_special_tokens=False).ids
    assert max(map(len, words._known)) < 100


def test_the_model_s_own_tokenizer_is_run_word_by_word(starling):
    plain = PlainTextTokenizer(starling)
    assert plain._words is not None
    text = plain.aliased("<s>GPT4 Correct User: Tag </s> this.<|end_of_turn|>")
    assert plain.ids([text])[0].tolist() == plain.real_ids(plain.encode_batch([text])[0]).tolist()


def changed_settings(starling, **changes):
    settings_ = json.loads(starling.backend_tokenizer.to_str())
    model = {**settings_["model"], **changes.pop("model", {})}
    return {**settings_, "model": model, **changes}


def of(settings_, tokenizer=None):
    """Only a tokenizer that is not refused by its settings is asked for ids."""
    controls = {token["content"]: token["id"] for token in settings_["added_tokens"] if token["special"]}
    return WordTokenizer.of(settings_, controls, tokenizer)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"byte_fallback": False}},
        {"model": {"ignore_merges": True}},
        {"model": {"dropout": 0.1}},
        {"normalizer": {"type": "NFKC"}},
        {"pre_tokenizer": {**FORMS["always"][0], "split": True}},
        {"pre_tokenizer": {"type": "Whitespace"}},
    ],
    ids=str,
)
def test_a_tokenizer_that_does_anything_else_is_left_as_it_is(starling, changes):
    assert of(changed_settings(starling, **changes)) is None


def test_a_merge_over_a_space_forbids_words(starling):
    model = json.loads(starling.backend_tokenizer.to_str())["model"]
    vocabulary = {**model["vocab"], f"s{SPACE}": 40000}
    assert (
        of(changed_settings(starling, model={"vocab": vocabulary, "merges": [*model["merges"], ["s", SPACE]]})) is None
    )


def test_a_merge_over_a_line_break_joins_lines_only(starling):
    model = json.loads(starling.backend_tokenizer.to_str())["model"]
    vocabulary = {**model["vocab"], "\n": 40000, "O\n": 40001}
    settings_ = changed_settings(starling, model={"vocab": vocabulary, "merges": [["O", "\n"], *model["merges"]]})
    tokenizer = Tokenizer.from_str(json.dumps(settings_))
    words = of(settings_, tokenizer)
    expected = tokenizer.encode("a O\nb : O\n", add_special_tokens=False).ids
    assert 40001 in expected
    assert words.encode_batch(["a O\nb : O\n"])[0].tolist() == expected


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip"])
def test_a_control_token_that_takes_of_the_text_beside_it_forbids_words(starling, flag):
    settings_ = changed_settings(starling)
    assert of({**settings_, "added_tokens": [{**token, flag: True} for token in settings_["added_tokens"]]}) is None


def test_a_control_token_looked_for_after_normalising_forbids_words_only_where_there_is_a_normaliser(starling):
    tokens = [{**token, "normalized": True} for token in changed_settings(starling)["added_tokens"]]
    with_one = changed_settings(starling, added_tokens=tokens, normalizer=PREPEND, pre_tokenizer=None)
    assert of(with_one) is None
    without = changed_settings(starling, added_tokens=tokens)
    assert of(without, Tokenizer.from_str(json.dumps(without))) is not None


def test_an_added_token_that_is_no_control_token_forbids_words(starling):
    settings_ = changed_settings(starling)
    added = {**settings_["added_tokens"][-1], "content": "<think>", "id": 32002, "special": False}
    assert of({**settings_, "added_tokens": [*settings_["added_tokens"], added]}) is None


def test_a_tokenizer_of_bytes_is_left_as_it_is():
    assert PlainTextTokenizer(make_tokenizer(TEMPLATES["llama-3"]))._words is None
