"""Served answers are those of the evaluation, however many are asked for at once."""

import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving_client import served

from medtune.evaluation.predictions import read_predictions
from medtune.serving.limits import Limits
from medtune.workflow.run import Run


def asked(run, kind="tuned"):
    """Return messages and the evaluation's answer of each row."""
    found = read_predictions(run / "evaluation" / f"predictions-{kind}.jsonl")
    return [(list(p.example.messages[:-1]), p.text) for p in found]


@pytest.fixture(scope="module")
def questions(runs):
    """(model, messages, answer), shuffled."""
    found = [
        (model, messages, answer)
        for model, run, kind in [("alpha", "alpha", "tuned"), ("beta", "beta", "tuned"), ("base", "alpha", "base")]
        for messages, answer in asked(runs[run], kind)
    ]
    random.Random(0).shuffle(found)
    return found


def test_three_models_on_one_base_answer_each_row_as_evaluation_did_under_many_requests(client, questions):
    assert len({answer for _model, _messages, answer in questions}) > 10  # they do differ
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda q: client.text(q[1], q[0], max_tokens=16), questions))
    assert answers == [answer for _model, _messages, answer in questions]


def test_the_run_itself_generates_the_same(runs, client):
    run, messages = Run.open(runs["alpha"]), asked(runs["alpha"])[0][0]
    for most in (1, 7, 40):
        assert run.generate(messages, most) == client.text(messages, max_tokens=most)


@pytest.mark.parametrize("stop", [None, ["\n"], "e"])
def test_a_stream_and_a_whole_answer_say_the_same(client, questions, stop):
    more = {} if stop is None else {"stop": stop}
    for model, messages, _answer in questions[:12]:
        body = {"model": model, "messages": messages, "max_tokens": 48, **more}
        whole = client.ask(messages, model, max_tokens=48, **more)["choices"][0]
        status, text = client.send(
            "/v1/chat/completions", body | {"stream": True, "stream_options": {"include_usage": True}}
        )
        assert status == 200
        assert text.endswith("data: [DONE]\n\n")
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        parts = [e["choices"][0] for e in events if e["choices"]]
        assert parts[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(p["delta"].get("content", "") for p in parts) == whole["message"]["content"]
        assert parts[-1]["finish_reason"] == whole["finish_reason"]
        assert events[-1]["usage"]["prompt_tokens"] > 0
        if stop is not None:
            assert not any(s in whole["message"]["content"] for s in stop)


def test_a_completion_of_the_prompt_as_text_and_as_ids_is_what_the_chat_answers(runs, client):
    messages = asked(runs["alpha"])[0][0]
    run = Run.open(runs["alpha"])
    ids = run.answering.prompt_ids(messages)
    text = run.loaded.tokenizer.decode(ids)
    assert run.answering.text_ids(text) == ids
    chat = client.text(messages, max_tokens=16)
    for prompt in (ids, text, [ids, ids], [text]):
        status, found = client.send("/v1/completions", {"model": "alpha", "prompt": prompt, "max_tokens": 16})
        assert status == 200
        assert {choice["text"].strip() for choice in found["choices"]} == {chat}
    assert found["usage"]["prompt_tokens"] == len(ids)


def test_log_probabilities_are_those_of_label_likelihood_scoring(runs, client):
    run, messages = Run.open(runs["alpha"]), asked(runs["alpha"])[0][0]
    prompt = run.answering.prompt_ids(messages)
    label = run.loaded.tokenizer("Neutral", add_special_tokens=False)["input_ids"]
    generator = run._host.find("generator", "transformers")
    from medtune.plugins.contracts import AnswerRequest

    expected = generator.log_probabilities(run.loaded, [AnswerRequest(prompt, [label])], run.spec.eval)[0][0]
    body = {"model": "alpha", "prompt": [prompt + label], "max_tokens": 0, "echo": True, "logprobs": 1}
    status, found = client.send("/v1/completions", body)
    assert status == 200
    given = found["choices"][0]["logprobs"]
    assert given["token_logprobs"][0] is None
    assert len(given["tokens"]) == len(prompt) + len(label)
    assert given["token_logprobs"][-len(label) :] == pytest.approx(expected, abs=1e-4)
    assert client.ask(messages, logprobs=True, top_logprobs=3, max_tokens=4)["choices"][0]["logprobs"]["content"]


def test_the_most_probable_tokens_are_told_in_each_place(runs, client):
    messages = asked(runs["alpha"])[0][0]
    choice = client.ask(messages, logprobs=True, top_logprobs=5, max_tokens=6)["choices"][0]
    told = choice["logprobs"]["content"]
    assert len(told) == 6
    for token in told:
        tops = [each["logprob"] for each in token["top_logprobs"]]
        assert len(tops) == 5
        assert tops == sorted(tops, reverse=True)
        assert token["logprob"] == tops[0]  # greedy


def test_an_adapter_is_added_and_taken_out_while_the_base_stays(runs):
    with served({"alpha": runs["alpha"]}, Limits(slots=4, tokens=512)) as client:
        messages, answer = asked(runs["beta"])[0]
        before = client.text(messages, "base", max_tokens=16)
        assert client.send("/v1/chat/completions", {"model": "beta", "messages": messages})[0] == 404
        status, found = client.send("/admin/adapters", {"run": str(runs["beta"])})
        assert (status, found) == (200, {"models": ["alpha", "beta", "base"]})
        assert client.text(messages, "beta", max_tokens=16) == answer
        assert client.send("/admin/adapters", {"run": str(runs["beta"])})[0] == 400  # the name is taken
        assert client.send("/admin/adapters/beta", method="DELETE")[1] == {"models": ["alpha", "base"]}
        assert client.send("/v1/chat/completions", {"model": "beta", "messages": messages})[0] == 404
        assert client.text(messages, "base", max_tokens=16) == before
        assert client.send("/admin/adapters/base", method="DELETE")[0] == 400
        status, found = client.send("/admin/adapters", {"run": str(runs["beta"] / "nowhere"), "name": "x"})
        assert status == 400
        assert "no run" in found["error"]["message"] or "run.json" in found["error"]["message"]


def test_a_damaged_adapter_is_refused_and_leaves_the_server_as_it_was(runs, client, tmp_path):
    messages, answer = asked(runs["alpha"])[0]
    folder = shutil.copytree(runs["beta"], tmp_path / "gamma")
    file = folder / "adapter" / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    status, found = client.send("/admin/adapters", {"run": str(folder)})
    assert status == 400
    assert found["error"]["code"] == "DamagedArtifactError"
    assert [model["id"] for model in client.send("/v1/models")[1]["data"]] == ["alpha", "beta", "base"]
    assert client.text(messages, "alpha", max_tokens=16) == answer


def test_models_health_and_figures(client):
    status, found = client.send("/v1/models")
    assert status == 200
    assert [model["id"] for model in found["data"]] == ["alpha", "beta", "base"]
    assert client.send("/v1/models/beta")[1]["id"] == "beta"
    assert client.send("/health") == (200, {"status": "ok"})
    client.text([{"role": "user", "content": "fever helps"}], max_tokens=3)
    status, text = client.send("/metrics")
    assert status == 200
    assert 'medtune_requests_total{path="/v1/chat/completions",status="200"}' in text
    assert 'medtune_tokens_total{model="alpha",kind="answer"}' in text
    assert "fever" not in text
