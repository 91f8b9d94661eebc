"""Encoders are fine-tuned on a run's rows: every word gets a label, whatever its subwords and however long its row."""

import gzip
import json
from dataclasses import replace
from importlib.resources import files

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification

from medtune import Example
from medtune.backends.encoder import TransformersEncoder, _chosen
from medtune.backends.encoder_inputs import IGNORED, Inputs
from medtune.backends.encoder_windows import windows
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import BaseDamagedError, BaseUnsuitedError
from medtune.evaluation.baselines.closed_rows import closed_rows, split_by_form
from medtune.evaluation.scoring import score_predictions
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import EncoderJob, EncoderKind, EncoderRow, Prediction
from medtune.specs import EncoderSpec, ModelSpec
from tiny_encoder import tiny_bert

SOURCE = "demo-ner-disease"


@pytest.fixture(scope="module")
def examples():
    """The first 200 tagged rows of the demo that name diseases."""
    with gzip.open(files("medtune.demo").joinpath("rows/train.jsonl.gz"), "rt") as lines:
        rows = [row for row in map(json.loads, lines) if row["source"] == SOURCE][:200]
    asked = [f"{row['instruction']}\n\n{row['input']}" for row in rows]
    return [
        Example(({"role": "user", "content": q}, {"role": "assistant", "content": row["output"]}), SOURCE)
        for q, row in zip(asked, rows, strict=True)
    ]


@pytest.fixture(scope="module")
def closed(examples):
    [split] = split_by_form(examples, examples, provide_tasks())
    return closed_rows(split)


@pytest.fixture(scope="module")
def bert(closed, tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), [" ".join(row.text) for row in closed.rows])


def job_of(bert, closed, **settings):
    spec = EncoderSpec(**{"learning_rate": 3e-3, "epochs": 1, "batch_size": 8, **settings})
    path = ModelSpec(path=str(bert))
    return EncoderJob(path, spec, closed.kind, closed.labels, closed.rows, closed.asked)


def test_a_tiny_encoder_learns_200_rows_by_heart(bert, closed, examples):
    found = TransformersEncoder().fit_and_answer(job_of(bert, closed, epochs=14, learning_rate=5e-3))
    answers = [closed.answer(*each) for each in zip(closed.asked, found.labels, strict=True)]
    predictions = [Prediction(*each) for each in zip(examples, answers, strict=True)]
    score = score_predictions(predictions, provide_tasks(), intervals=False).tasks["ner"]
    assert score.metrics["span_f1_strict"] >= 0.99
    assert (score.metrics["exact_sequence"], score.failures["unaligned_tokens"]) == (1.0, 0.0)
    assert found.facts["max_length"] == 36
    assert found.facts["rows_in_several_windows"] == found.facts["asked_in_several_windows"] > 30


def test_the_same_seed_gives_the_same_answers_and_nothing_is_left_on_disk(bert, closed, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    few = replace(job_of(bert, closed), rows=closed.rows[:16], asked=closed.asked[:4])
    first, again = (TransformersEncoder().fit_and_answer(few) for _ in range(2))
    assert first.labels == again.labels
    assert first.facts["train_loss"] == again.facts["train_loss"]
    assert list(tmp_path.iterdir()) == []


def test_a_kept_encoder_holds_safetensors_and_no_pickle(bert, closed, tmp_path):
    job = replace(job_of(bert, closed), rows=closed.rows[:16], asked=closed.asked[:4], keep=tmp_path / "kept")
    found = TransformersEncoder().fit_and_answer(job)
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    again = AutoModelForTokenClassification.from_pretrained(tmp_path / "kept")
    assert list(again.config.id2label.values()) == closed.labels
    assert len(found.labels) == 4


WORDS = ["ward", "knee", "heart", "lung"]


@pytest.fixture(scope="module")
def label_job(tmp_path_factory):
    """Texts with the word that their label is; every third is longer than the encoder takes."""
    texts = [f"{WORDS[n % 4]} {'note ' * 36 * (n % 3 == 0)}{WORDS[n % 4]}" for n in range(48)]
    bert = tiny_bert(tmp_path_factory.mktemp("texts"), texts)
    spec = EncoderSpec(learning_rate=5e-3, epochs=8, batch_size=8)
    rows = [EncoderRow([text], [n % 4]) for n, text in enumerate(texts)]
    asked = [EncoderRow(row.text) for row in rows]
    return EncoderJob(ModelSpec(path=str(bert)), spec, EncoderKind.LABEL, WORDS, rows, asked)


def test_a_label_is_learned_and_long_texts_are_read_in_windows(label_job):
    found = TransformersEncoder().fit_and_answer(label_job)
    assert [labels for [labels] in found.labels] == [n % 4 for n in range(48)]
    assert found.facts["asked_in_several_windows"] == 16


@pytest.mark.proof
def test_any_number_of_labels_is_learned(label_job):
    several = [
        EncoderRow(row.text, [0, 1] if n % 4 == 1 else list(row.labels) * (n % 4 > 1))
        for n, row in enumerate(label_job.rows)
    ]
    spec = label_job.spec.model_copy_with(epochs=25)
    job = replace(label_job, kind=EncoderKind.LABELS, rows=several, spec=spec)
    found = TransformersEncoder().fit_and_answer(job)
    assert [list(labels) for labels in found.labels] == [list(row.labels) for row in several]


@pytest.mark.parametrize("may_be_empty", [True, False])
def test_an_answer_without_labels_is_given_only_where_there_is_one(may_be_empty):
    job = EncoderJob(ModelSpec(), EncoderSpec(), EncoderKind.LABELS, WORDS, [], [], may_be_empty=may_be_empty)
    windows_of_nothing = torch.tensor([[-2.0, -1.0, -3.0, -4.0]])
    assert _chosen(windows_of_nothing, job) == ([] if may_be_empty else [1])
    assert _chosen(torch.tensor([[2.0, -1, -3, -4], [-1, -1, -3, 4.0]]), job) == [0, 3]


@given(st.integers(1, 12), st.sampled_from([0.0, 0.25, 0.5]), st.data())
def test_windows_fit_and_answer_for_each_unit_once(room, overlap, data):
    lengths = data.draw(st.lists(st.integers(1, room), max_size=40))
    found = windows(lengths, room, overlap)
    assert all(sum(lengths[window.start : window.end]) <= room for window in found)
    assert all(window.start <= window.first <= window.last <= window.end for window in found)
    assert [unit for window in found for unit in range(window.first, window.last)] == list(range(len(lengths)))


def test_the_first_subword_of_each_word_carries_its_label_and_no_word_is_lost(bert):
    tokenizer = load_tokenizer(ModelSpec(path=str(bert)))
    inputs = Inputs(tokenizer, EncoderKind.TAGS, 12, 0.25)
    words = ["turgaemia", "\u200b", ":", "x" * 60, "fever", "a : b", "of", "the", "arm"]
    row = EncoderRow(words, list(range(9)))
    pieces = inputs.pieces([row])
    assert inputs.cut_words == 1
    assert all(len(piece.ids) <= 12 for piece in pieces)
    seen = []
    for piece in pieces:
        targets = inputs.targets(piece, row, 9)
        assert [place for place, target in enumerate(targets) if target != IGNORED] == list(piece.heads)
        seen += [targets[head] for head in piece.heads]
        for number, head in enumerate(piece.heads, piece.first):
            whole = tokenizer(f" {words[number]}", add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id]
            assert piece.ids[head] == whole[0]
    assert seen == list(range(9))


def test_an_encoder_with_a_random_body_is_refused(bert, closed, tmp_path):
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in weights if name.endswith("attention.self.query.weight"))
    save_file({name: value for name, value in weights.items() if name != lost}, tmp_path / "model.safetensors")
    with pytest.raises(BaseDamagedError, match=r"lacks 1 tensors of its architecture"):
        TransformersEncoder().fit_and_answer(job_of(tmp_path, closed))


def test_pickled_weights_and_models_without_such_a_head_are_refused(bert, closed, tmp_path):
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BaseUnsuitedError, match=r"pickles only \('pytorch_model\.bin'\)"):
        TransformersEncoder().fit_and_answer(job_of(tmp_path, closed))
    with pytest.raises(BaseUnsuitedError, match=r"takes no 200 tokens; set max_length lower"):
        TransformersEncoder().fit_and_answer(job_of(bert, closed, max_length=200))
