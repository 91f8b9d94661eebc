"""Every kind of public template trains what generation is asked for, and a perfect answer in it scores 1.0."""

import pytest
from chat_templates import make_tokenizer
from public_templates import KINDS
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from medtune import Example
from medtune.data.answers import completion_of
from medtune.data.encode import Encoder
from medtune.data.samples import Sample
from medtune.data.shipped_templates import with_options
from medtune.errors import UnsafeArtifactError, UnusableRowError
from medtune.evaluation.tasks import provide_tasks
from medtune.workflow.perfect_answers import PerfectAnswers

QUESTION = {"role": "user", "content": "Label the tokens.\n\nAspirin helps ."}
TAGS = {"role": "assistant", "content": "Aspirin : B\nhelps : O\n. : O"}
REASONED = {**TAGS, "reasoning_content": "Aspirin is a drug."}
SYSTEM = {"role": "system", "content": "Be brief."}
KNOWN = [name for name, kind in KINDS.items() if not kind.refused]


@pytest.fixture(scope="module")
def tokenizer_of():
    """Return what makes the tokenizer of a kind: the same small vocabulary, and the kind's own tokens."""
    backend = make_tokenizer(None).backend_tokenizer.to_str()

    def make(kind):
        fast = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(backend),
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
            pad_token="<pad>",
        )
        fast.add_tokens(list(kind.special), special_tokens=True)
        fast.add_tokens(list(kind.added))
        fast.chat_template = with_options(kind.template, kind.options)
        return fast

    return make


@pytest.fixture(scope="module")
def encoders(tokenizer_of):
    return {name: Encoder(tokenizer_of(KINDS[name])) for name in KNOWN}


def supervised(encoded):
    return [i for i, s in zip(encoded.input_ids, encoded.supervised, strict=True) if s]


def faults(encoder, *examples):
    samples = [Sample(e, *next(encoder.encode_spans([e]))) for e in examples]
    return PerfectAnswers(provide_tasks()).faults(samples, encoder, every=True)


def test_there_are_many_kinds():
    assert len(KINDS) >= 50


@pytest.mark.parametrize("name", KNOWN)
def test_answer_and_end_are_supervised_after_what_generation_is_given(encoders, name):
    kind, encoder = KINDS[name], encoders[name]
    encoded = encoder.encode(Example([QUESTION, TAGS]))
    prompt = encoder.prompt_ids([QUESTION])
    assert list(encoded.input_ids[: len(prompt)]) == prompt
    assert encoded.supervised[: len(prompt) + 1] == [0] * len(prompt) + [1]
    ids = supervised(encoded)
    assert encoder.tokenizer.convert_ids_to_tokens(ids[-1]) == kind.end
    assert ids[-1] == encoder.stop_ids[0]
    text = encoder.tokenizer.decode(ids[:-1], skip_special_tokens=False).strip()
    assert text == kind.answer + text.removeprefix(kind.answer)
    assert text.removeprefix(kind.answer).strip() == TAGS["content"]
    assert encoder.lead.text == kind.answer


@pytest.mark.parametrize("name", KNOWN)
def test_a_perfect_answer_scores_one(encoders, name):
    letter = {"role": "assistant", "content": "###Answer: OPTION B IS CORRECT."}
    bracketed = {"role": "assistant", "content": "(B) <0.05> [see text]"}
    examples = [Example([QUESTION, answer]) for answer in (TAGS, letter, bracketed)]
    assert faults(encoders[name], *examples) == ["", "", ""]


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(
    "messages",
    [[SYSTEM, QUESTION, TAGS], [QUESTION, TAGS, QUESTION, TAGS], [QUESTION, QUESTION, TAGS], [QUESTION, REASONED]],
    ids=["system", "two questions", "user twice", "reasoning"],
)
def test_other_conversations_are_trained_whole_or_refused_by_row(encoders, name, messages):
    encoder, example = encoders[name], Example(messages, row_id="r-7")
    try:
        encoded = encoder.encode(example)
    except UnusableRowError as error:
        assert (error.row_id, messages[0] == SYSTEM) == ("r-7", False)
        assert "Aspirin" not in str(error)
        return
    text = encoder.tokenizer.decode(encoded.input_ids, skip_special_tokens=False)
    assert all(message["content"] in text for message in messages)
    assert messages[-1].get("reasoning_content", "") in text
    prompt = encoder.prompt_ids(messages[:-1])
    assert list(encoded.input_ids[: len(prompt)]) == prompt
    assert faults(encoder, example) == [""]


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(KNOWN)))
def test_a_template_that_cannot_be_trained_is_refused_with_the_reason(tokenizer_of, name):
    with pytest.raises(UnsafeArtifactError, match=KINDS[name].refused):
        Encoder(tokenizer_of(KINDS[name])).encode(Example([QUESTION, TAGS]))


TAKES_REASONING = [
    "qwen3", "qwen3, always thinking", "qwq", "deepseek r1", "harmony", "magistral", "nemotron nano", "minimax m2",
]  # fmt: skip


@pytest.mark.parametrize("name", TAKES_REASONING)
def test_reasoning_is_trained_before_the_answer_and_taken_off_after(encoders, name):
    encoder = encoders[name]
    ids = supervised(encoder.encode(Example([QUESTION, REASONED])))
    text = encoder.tokenizer.decode(ids, skip_special_tokens=False)
    assert 0 <= text.index(REASONED["reasoning_content"]) < text.index(TAGS["content"])
    read = encoder.read(completion_of(encoder.tokenizer, encoder.stop_ids, ids))
    assert (read.text, read.truncated) == (TAGS["content"], False)
    cut = completion_of(encoder.tokenizer, encoder.stop_ids, ids[: len(ids) // 4])
    assert encoder.read(cut).truncated


@pytest.mark.parametrize("name", ["chatml", "mistral v1", "llama 3", "starling"])
def test_reasoning_without_a_place_is_refused_by_the_name_of_its_field(encoders, name):
    with pytest.raises(UnusableRowError, match="no place for the 'reasoning_content'"):
        encoders[name].encode(Example([QUESTION, REASONED]))


def test_the_first_form_of_deepseek_r1_drops_reasoning_that_is_part_of_a_content_so_the_row_is_refused(encoders):
    answer = {"role": "assistant", "content": "<think>It shrank.</think>yes"}
    with pytest.raises(UnusableRowError, match="rewrites its answer"):
        encoders["deepseek r1, first form"].encode(Example([QUESTION, answer]))
    ids = supervised(encoders["deepseek r1"].encode(Example([QUESTION, answer])))
    assert encoders["deepseek r1"].tokenizer.decode(ids[:-1]) == "It shrank.\n</think>\n\nyes"
