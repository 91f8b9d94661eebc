"""Log-probabilities of answers read in batches equal those of each answer read alone."""

import random

import pytest
import torch
import transformers

from medtune import EvalSpec, LoraSpec
from medtune.backends import answer_scores
from medtune.backends.generate import TransformersGenerator
from medtune.backends.peft import PeftAdapter
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import AnswerRequest, AnswerScorer, Loaded
from medtune.testing.tiny import tiny_base


def ragged(count):
    draw = random.Random(0)

    def ids(most):
        return [draw.randrange(2, 258) for _ in range(draw.randint(1, most))]

    return [AnswerRequest(ids(30), [ids(6) for _ in range(draw.choice((2, 2, 3, 5)))]) for _ in range(count)]


def alone(loaded, prompt, answer):
    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        logits = loaded.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0].tolist()


@pytest.fixture(params=["mistral with adapter", "gpt2"])
def loaded(request, tmp_path):
    torch.manual_seed(0)
    with quiet_libraries():
        base = tiny_base(tmp_path)
        if request.param == "gpt2":
            options = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 258, "bos_token_id": None}
            model = transformers.GPT2LMHeadModel(transformers.GPT2Config(eos_token_id=1, **options)).eval()
            return Loaded(model, base.tokenizer, "cpu", "fp32", (1,))
        tuned = PeftAdapter().attach(base, LoraSpec(dropout=0.5))
    for parameter in tuned.model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0, 0.3)
    tuned.model.eval()
    return tuned


@pytest.mark.parametrize("size", ["auto", 1, 7])
def test_every_token_of_every_answer_is_scored_as_if_read_alone(loaded, size):
    requests = ragged(12)
    expected = [[alone(loaded, request.input_ids, ids) for ids in request.answers] for request in requests]
    loaded.model.train()
    found = TransformersGenerator().log_probabilities(loaded, requests, EvalSpec(batch_size=size))
    assert loaded.model.training
    for rows, others in zip(found, expected, strict=True):
        for row, other in zip(rows, others, strict=True):
            assert row == pytest.approx(other, abs=2e-4)


def test_answers_of_one_token_need_one_pass_only(loaded):
    requests = [AnswerRequest([5, 6, 7], [[8], [9]]), AnswerRequest([5], [[8], [9]])]
    found = TransformersGenerator().log_probabilities(loaded, requests, EvalSpec())
    for request, rows in zip(requests, found, strict=True):
        assert rows == [pytest.approx(alone(loaded, request.input_ids, ids), abs=2e-4) for ids in request.answers]


def test_nothing_asked_is_nothing_answered(loaded):
    assert TransformersGenerator().log_probabilities(loaded, [], EvalSpec()) == []
    assert isinstance(TransformersGenerator(), AnswerScorer)


@pytest.mark.parametrize(("fits", "tried"), [(6, [64, 32, 16, 8, 4]), (2, [64, 32, 16, 8, 4, 2])])
def test_where_memory_is_short_fewer_answers_run_together(loaded, monkeypatch, fits, tried):
    requests, asked = ragged(12), []
    wanted = TransformersGenerator().log_probabilities(loaded, requests, EvalSpec())
    score, batches = answer_scores._score, answer_scores._batches

    def note(requests, wanted, rows):
        asked.append(rows)
        return batches(requests, wanted, rows)

    def bounded(loaded, batch):
        if sum(len(request.answers) for request in batch) > max(fits, len(batch[0].answers) if len(batch) == 1 else 0):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return score(loaded, batch)

    monkeypatch.setattr(answer_scores, "_batches", note)
    monkeypatch.setattr(answer_scores, "_score", bounded)
    found = TransformersGenerator().log_probabilities(loaded, requests, EvalSpec())
    assert asked == tried
    for rows, others in zip(found, wanted, strict=True):
        for row, other in zip(rows, others, strict=True):
            assert row == pytest.approx(other, abs=2e-4)


def test_answers_that_do_not_fit_alone_end_in_the_error_itself(loaded, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(answer_scores, "_score", never)
    loaded.model.train()
    with pytest.raises(torch.OutOfMemoryError):
        TransformersGenerator().log_probabilities(loaded, ragged(3), EvalSpec())
    assert loaded.model.training
