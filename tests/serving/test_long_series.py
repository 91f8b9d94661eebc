"""Long series, run by hand: a thousand answers, and ten minutes of many clients, with the demo's model."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serve_process import started
from serving_client import TOKEN, Client, served

from medtune import MedTuner
from medtune.data.prepare import validation_examples
from medtune.plugins.host import create_host
from medtune.serving.limits import Limits
from medtune.workflow.kept_answers import AnswerFiles
from medtune.workflow.run import Run
from medtune.workflow.scoring import assess

SECONDS = float(os.environ.get("MEDTUNE_SOAK_SECONDS", "600"))
NEW = 96


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder of a run of the demo's model, a little trained."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    tuner = MedTuner.from_bundle(
        "demo",
        plugins=create_host(autoload=False),
        quant={"scheme": "none", "compute_dtype": "fp32"},
        train={"max_steps": 40, "num_train_epochs": None, "learning_rate": 3e-3},
        eval={"enabled": False},
        output_dir=str(folder),
    )
    tuner.train()
    return folder


@pytest.fixture(scope="module")
def answered(demo, tmp_path_factory):
    """(model, messages, answer of the evaluation) of 1,000 rows each, of the run and of its base."""
    run, host, folder = Run.open(demo), create_host(autoload=False), tmp_path_factory.mktemp("scores")
    data = run.spec.data.model_copy_with(validation=run.spec.data.source)
    scored = run.spec.eval.model_copy_with(enabled=True, rows_per_source=200, max_new_tokens=NEW)
    spec = run.spec.model_copy_with(data=data, eval=scored)
    examples = validation_examples(spec, host)[:1000]
    assert len(examples) == 1000
    _scores, tuned = assess(run.loaded, examples, spec, host, AnswerFiles(folder, "tuned"))
    with run.loaded.base_only():
        _scores, base = assess(run.loaded, examples, spec, host, AnswerFiles(folder, "base"))
    return [
        (model, list(p.example.messages[:-1]), p.text)
        for model, found in (("demo", tuned), ("base", base))
        for p in found
    ]


@pytest.mark.proof
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("clients", [1, 64])
def test_a_thousand_served_answers_are_those_of_the_evaluation(demo, answered, clients):
    asked = [each for each in answered if clients > 1 or each[0] == "demo"]
    random.Random(clients).shuffle(asked)
    with served({"demo": demo}, Limits(slots=64, tokens=1024)) as client, ThreadPoolExecutor(clients) as pool:
        began = time.monotonic()
        texts = list(pool.map(lambda q: client.text(q[1], q[0], max_tokens=NEW), asked))
        seconds = time.monotonic() - began
    same = sum(text == answer for text, (_model, _messages, answer) in zip(texts, asked, strict=True))
    print(f"{same} of {len(asked)} equal with {clients} clients, {len(asked) / seconds:.1f} answers a second")
    assert same == len(asked)


@pytest.mark.proof
@pytest.mark.timeout(1500)
def test_many_clients_for_long_make_no_error_and_take_no_more_memory(demo, answered):
    with started(demo) as (process, url), ThreadPoolExecutor(64) as pool:
        client, end = Client(url, TOKEN), time.monotonic() + SECONDS

        def ask(number):
            draw, done = random.Random(number), 0
            while time.monotonic() < end:
                model, messages, answer = draw.choice(answered)
                if draw.random() < 0.2:
                    body = {"model": model, "messages": messages, "max_tokens": NEW, "stream": True}
                    status, text = client.send("/v1/chat/completions", body)
                    assert status == 200
                    assert text.endswith("data: [DONE]\n\n")
                    assert '"error"' not in text
                else:
                    assert client.text(messages, model, max_tokens=NEW) == answer
                done += 1
            return done

        works = [pool.submit(ask, number) for number in range(64)]
        sizes = []
        while time.monotonic() < end:
            time.sleep(min(15.0, SECONDS / 10))
            sizes.append(resident_mib(process.pid))
        done = sum(work.result() for work in works)
    third = len(sizes) // 3
    print(f"{done} answers in {SECONDS:.0f} s by 64 clients, no error; resident MiB {[round(size) for size in sizes]}")
    assert max(sizes[-third:]) < 1.02 * max(sizes[:third])  # peaks: between two models' turns the cache is free


def resident_mib(process):
    """Return the memory that a process holds."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
