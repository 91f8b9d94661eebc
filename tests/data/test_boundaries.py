"""Where a prompt ends and an answer begins: the prompt is what generation is given, and no row is shown in an error."""

import pytest
import transformers
from chat_templates import TEMPLATES, make_tokenizer
from public_templates import KINDS
from starling import build

from medtune import Example
from medtune.data.answers import completion_of
from medtune.data.encode import Encoder
from medtune.data.preview import token_texts
from medtune.errors import UnusableRowError
from medtune.machine.libraries import quiet_libraries

QUESTION = {"role": "user", "content": "Is it benign?"}
ANSWERS = ["(A) yes", "[see text] yes", "<0.05", "Yes.", ")", "\u00e4hnlich (B)"]


def asked(answer, *before):
    return Example([*before, QUESTION, {"role": "assistant", "content": answer}], row_id="r-1")


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory):
    """Mistral's vocabulary, whose tokens reach over the end of ``[/INST]`` where nothing parts it from the answer."""
    with quiet_libraries():
        tokenizer = build(transformers.LlamaTokenizer, tmp_path_factory.mktemp("sentencepiece"), legacy=True)
    tokenizer.chat_template = KINDS["mistral v0.1"].template
    return tokenizer


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_would_merge_with_its_prompt_begins_after_it(sentencepiece, answer):
    encoder = Encoder(sentencepiece)
    encoded = encoder.encode(asked(answer))
    prompt = encoder.prompt_ids([QUESTION])
    assert list(encoded.input_ids[: len(prompt)]) == prompt
    assert encoded.supervised == [0] * len(prompt) + [1] * (len(encoded.input_ids) - len(prompt))
    decode = sentencepiece.backend_tokenizer.decode
    assert (
        decode(list(encoded.input_ids), skip_special_tokens=False)
        == f"<s>[INST] Is it benign? [/INST]{answer}<|end_of_turn|>"
    )
    read = encoder.read(completion_of(sentencepiece, encoder.stop_ids, list(encoded.input_ids[len(prompt) :])))
    assert (read.text, read.truncated) == (answer, False)


def test_at_least_one_of_these_answers_merges_when_the_row_is_tokenised_in_one_piece(sentencepiece):
    def whole(answer):
        text = f"<s>[INST] Is it benign? [/INST]{answer}<|end_of_turn|>"
        return sentencepiece(text, add_special_tokens=False)["input_ids"]

    merged = [a for a in ANSWERS if list(Encoder(sentencepiece).encode(asked(a)).input_ids) != whole(a)]
    assert "(A) yes" in merged
    assert "Yes." not in merged


def test_such_a_row_is_the_same_among_others(sentencepiece):
    examples = [asked(answer) for answer in ANSWERS]
    together = Encoder(sentencepiece).encode_batch(examples)
    assert together == [Encoder(sentencepiece).encode(example) for example in examples]


def test_where_every_answer_is_supervised_such_a_row_is_refused_without_its_text_or_ids(sentencepiece):
    first = [QUESTION, {"role": "assistant", "content": "(B) no"}]
    with pytest.raises(UnusableRowError) as caught:
        Encoder(sentencepiece, supervise="all").encode(asked("(A) yes", *first))
    assert str(caught.value) == "row 'r-1': a token reaches over the end of a prompt, and data.supervise is all"


def test_a_preview_shows_spaces_as_they_are(sentencepiece):
    text = "<s>GPT4 Correct User: In the  ward, p<0.05\nLabel ."
    ids = sentencepiece(text, add_special_tokens=False)["input_ids"]
    assert "".join(token_texts(sentencepiece, ids)).replace("<s> ", "<s>") == text


def test_a_preview_of_a_byte_level_tokenizer_is_its_text():
    tokenizer = make_tokenizer(TEMPLATES["chatml"])
    text = "<|im_start|>user\n a  b\n\nAspirin helps ."
    assert "".join(token_texts(tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"])) == text
    assert token_texts(tokenizer, []) == []
