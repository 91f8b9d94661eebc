"""Drafts are written with the tokens of training, and what came of them is told beside the scores."""

import json

import pytest

from medtune import Example, MedTuner
from medtune.errors import SpecError
from medtune.plugins.contracts import AnswerForm
from medtune.workflow.drafts import drafts_of
from medtune.workflow.run import Run

QUESTION = "Find each disease name .\n\nno acute dormaalgia , said Fridman ."


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drafts") / "run"
    options = {"rows_per_source": 2, "alpha": None, "every": "never"}
    MedTuner.from_bundle("demo", train={"max_steps": 1}, eval=options, output_dir=str(folder)).train()
    return Run.open(folder)


def example(answer, task="ner"):
    turns = ({"role": "user", "content": QUESTION}, {"role": "assistant", "content": answer})
    return Example(turns, task=task)


class Form:
    name = "ner"

    def __init__(self, form):
        self.draft = lambda _example: form


def test_a_draft_is_what_training_would_learn_from_the_same_text(run):
    encoder, words = run.answering.encoder, QUESTION.rpartition("\n")[2].split()
    lines = [f"{word} : " for word in words]
    form = AnswerForm([lines[0], *(f"\n{line}" for line in lines[1:]), ""], ["O", "B", "B-Disease"])
    for number, label in enumerate(form.choices):
        whole = encoder.encode(example("\n".join(line + label for line in lines)))
        answer = [i for i, is_learnt in zip(whole.input_ids, whole.supervised, strict=True) if is_learnt]
        (draft,) = drafts_of([example("any")], encoder, [Form(form)])
        choice = list(draft.choices[number])
        spelled = list(draft.fixed[0])
        for ids in draft.fixed[1:]:
            spelled += [*choice, *ids]
        assert spelled == answer
    assert len(draft.fixed) == len(words) + 1


@pytest.mark.parametrize("form", [None, AnswerForm([" blank at its ends "]), AnswerForm([""])])
def test_there_is_no_draft_where_no_form_can_be_spelled(run, form):
    assert drafts_of([example("any")], run.answering.encoder, [Form(form)]) == [None]


def test_a_task_without_forms_drafts_nothing(run):
    class Plain:
        name = "ner"

    assert drafts_of([example("any")], run.answering.encoder, [Plain()]) == [None]
    assert drafts_of([example("any", task="another")], run.answering.encoder, [Plain()]) == [None]


def test_the_scores_tell_how_many_drafted_tokens_were_right(run):
    for name in ("base", "tuned"):
        told = json.loads((run.path / "evaluation" / f"{name}.json").read_text())
        found = told["drafts"]["ner"]
        assert found["drafted_tokens"] > 0
        assert 0 <= found["accepted_share"] <= 1
        assert found["answer_tokens"] > 0
        assert told["answering_seconds"] > 0


def test_constrained_answers_are_scored_beside_the_free_ones_and_label_every_word(run):
    options = run.spec.eval.model_copy_with(constrained=True, rows_per_source=4)
    constrained = Run.open(run.path)
    constrained.spec = run.spec.model_copy_with(eval=options)
    found = constrained.evaluate()
    assert set(found["constrained"]) == {"ner"}
    score = found["constrained"]["ner"]
    assert score["decoding"] == "constrained"
    assert score["rows"] == found["tasks"]["ner"]["rows"]
    assert score["details"]["passed_over"] == 0
    assert score["metrics"]["exact_sequence"] == 1.0
    assert not any(score["failures"].values())
    assert found["tasks"]["ner"]["metrics"]["exact_sequence"] < 1.0  # the free answers of a model that learnt one step


def test_constrained_answers_of_another_generator_are_refused(run, monkeypatch):
    from medtune.backends.generate import TransformersGenerator

    monkeypatch.delattr(TransformersGenerator, "generate_constrained")
    with pytest.raises(SpecError, match="cannot constrain answers; use transformers"):
        run.answering.answer_constrained([])
