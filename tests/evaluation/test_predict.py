"""Examples become predictions through an encoder and a generator that are passed in."""

import pytest

from medtune.evaluation.predict import predict
from medtune.plugins.contracts import Completion, Example


def example_of(answer, task=None, **facts):
    question = "Tag it .\n\na b c"
    return Example(
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], task=task, **facts
    )


class Recorder:
    """Takes the place of encoder and generator."""

    def __init__(self):
        self.asked, self.requests = [], []

    def prompt_ids(self, messages):
        self.asked.append(list(messages))
        return list(range(30))

    def generate(self, requests):
        self.requests += requests
        return [Completion([1], f" answer {i}\n", truncated=i == 1) for i, _request in enumerate(requests)]


@pytest.fixture
def recorder():
    return Recorder()


def run(recorder, examples, tasks, **more):
    return predict(examples, prompt_ids=recorder.prompt_ids, generate=recorder.generate, tasks=tasks, **more)


def test_each_example_gets_its_answer_and_its_task(recorder, tasks):
    found = run(recorder, [example_of("a : O\nb : B\nc : O"), example_of("Neutral", row_id="r")], tasks)
    assert [p.text for p in found] == ["answer 0", "answer 1"]
    assert [p.truncated for p in found] == [False, True]
    assert [p.example.task for p in found] == ["ner", "nli"]
    assert found[1].example.row_id == "r"


def test_the_gold_answer_is_not_shown_to_the_model(recorder, tasks):
    run(recorder, [example_of("Neutral")], tasks)
    assert recorder.asked == [[{"role": "user", "content": "Tag it .\n\na b c"}]]


def test_the_gold_answer_does_not_set_the_limit(recorder, tasks):
    for task, answers in {"ner": ("a : O", "a : B-CLINICAL_DEPT\n" * 50), "qa": ("tea", "tea " * 500)}.items():
        run(recorder, [example_of(answer, task) for answer in answers], tasks)
    limits = [request.max_new_tokens for request in recorder.requests]
    assert limits[0] == limits[1]
    assert limits[2] == limits[3]


def test_the_limit_comes_from_the_task_unless_it_is_set(recorder, tasks):
    run(recorder, [example_of("Neutral"), example_of("tea")], tasks)
    run(recorder, [example_of("Neutral"), example_of("tea")], tasks, max_new_tokens=7)
    assert [request.max_new_tokens for request in recorder.requests] == [32, 512, 7, 7]


def test_a_row_of_no_task_is_answered_all_the_same(recorder, tasks):
    found = run(recorder, [example_of("x", task="unheard-of")], tasks)
    assert found[0].example.task == "unheard-of"
    assert recorder.requests[0].max_new_tokens == 256


def test_nothing_to_answer_gives_nothing(recorder, tasks):
    assert run(recorder, [], tasks) == []


def test_a_generator_that_loses_a_prompt_is_refused(recorder, tasks):
    with pytest.raises(ValueError, match="shorter"):
        predict([example_of("x")], prompt_ids=recorder.prompt_ids, generate=lambda _requests: [], tasks=tasks)
