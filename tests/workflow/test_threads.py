"""A run is asked by many threads at once, and answers each as it answers one."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from medtune.workflow.run import Run
from medtune.workflow.training import train

QUESTIONS = [[{"role": "user", "content": f"Fever in patient {number}?"}] for number in range(50)]
TOKENS = 3


@pytest.fixture
def trained(asked, tmp_path):
    train(asked(eval={"enabled": True}))
    return tmp_path / "run"


def all_at_once(work, threads):
    """Return what each of several threads got, which begin together."""
    gate = threading.Barrier(threads)

    def begin(number):
        gate.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


@pytest.mark.parametrize(("threads", "times"), [(8, 10), pytest.param(32, 50, marks=pytest.mark.proof)])
def test_many_threads_that_ask_many_times_get_the_answers_of_one(trained, threads, times):
    one = Run.open(trained)
    wanted = [one.generate(question, TOKENS) for question in QUESTIONS[:times]]
    assert len(set(wanted)) > 1
    run = Run.open(trained)  # nothing of it is loaded yet

    def ask(number):
        order = [(number + place) % times for place in range(times)]
        found = {place: run.generate(QUESTIONS[place], TOKENS) for place in order}
        return [found[place] for place in range(times)]

    assert all_at_once(ask, threads) == [wanted] * threads


def test_threads_load_the_model_once(trained):
    run = Run.open(trained)
    assert len({id(model) for model in all_at_once(lambda _: run.loaded, 8)}) == 1
    assert len({id(asked) for asked in all_at_once(lambda _: run.answering, 8)}) == 1


def test_threads_that_each_open_the_run_for_themselves_load_it_one_after_the_other(trained):
    wanted = Run.open(trained).generate(QUESTIONS[0], TOKENS)
    found = all_at_once(lambda _: Run.open(trained).generate(QUESTIONS[0], TOKENS), 6)
    assert found == [wanted] * 6


def test_answers_stay_those_of_the_adapter_while_another_thread_scores_the_base(trained):
    run = Run.open(trained)
    wanted = [run.generate(question, TOKENS) for question in QUESTIONS[:6]]
    scores = Run.open(trained).evaluate(baseline=True)

    def work(number):
        return run.evaluate(baseline=True) if number == 0 else [run.generate(q, TOKENS) for q in QUESTIONS[:6]]

    found = all_at_once(work, 4)
    assert found[1:] == [wanted] * 3
    assert {**found[0], "seconds": 0} == {**scores, "seconds": 0}


def test_no_thread_comes_in_while_the_base_answers_in_the_adapter_s_place(trained):
    run = Run.open(trained)
    answered = threading.Event()

    def ask():
        run.generate(QUESTIONS[0], 1)
        answered.set()

    with run.turn, run.loaded.base_only():
        threading.Thread(target=ask).start()
        assert not answered.wait(0.5)
    assert answered.wait(60)


def test_what_libraries_say_stays_silenced_until_the_last_thread_is_done(monkeypatch):
    from transformers.utils import logging as theirs

    from medtune.machine import libraries
    from medtune.machine.libraries import quiet_libraries

    own = libraries._Shared(libraries._silent_transformers, libraries._ignore_warnings)
    monkeypatch.setattr(libraries, "_TRANSFORMERS", own)  # a server of another test may keep them silenced
    monkeypatch.setattr(logging.getLogger("transformers"), "level", logging.INFO)
    before = theirs.get_verbosity()
    began, may_end = threading.Event(), threading.Event()

    @quiet_libraries()
    def long():
        began.set()
        may_end.wait(30)
        return theirs.get_verbosity()

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(long)
        assert began.wait(30)
        with quiet_libraries():
            time.sleep(0)
        assert theirs.get_verbosity() != before
        may_end.set()
        assert found.result() != before
    assert theirs.get_verbosity() == before
