"""The engine's thread: turns, queue, leaving, failing; a model is a fake that counts."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from medtune.serving.engine import Engine, Work
from medtune.serving.limits import Limits
from medtune.serving.refusals import Refusal


class Sink:
    is_watching = False

    def __init__(self):
        self.ids, self.refusal, self.done = [], None, threading.Event()

    def progress(self, ids):
        self.ids = list(ids)

    def finish(self, ids):
        self.ids = list(ids)
        self.done.set()

    def fail(self, refusal):
        self.refusal = refusal
        self.done.set()


class Models:
    """Fakes of ``ServedRuns`` and its models: an answer to n is n tokens, one a look."""

    context = 100

    def __init__(self, names="ab", slots=2):
        self.models = {name: SimpleNamespace(name=name, answering=self) for name in names}
        self.slots, self.turns, self.error = slots, [], None
        self.may_go = threading.Event()
        self.may_go.set()

    @contextmanager
    def active(self, model):
        self.turns.append(model.name)
        yield

    def answer_from(self, feed, longest):
        assert longest == 100
        inside = {}
        while True:
            new = feed.take(self.slots - len(inside), wait=not inside)
            inside.update({key: [request, []] for key, request in new.items()})
            if not inside:
                return
            if self.error is not None:
                raise self.error
            self.may_go.wait(10)
            time.sleep(0.001)
            for key, (wanted, ids) in list(inside.items()):
                ids.append(1)
                if len(ids) >= wanted:
                    feed.finish(inside.pop(key) and key, ids)
                elif feed.watches(key) and not feed.progress(key, ids):
                    del inside[key]


@contextmanager
def running(models, **limits):
    engine = Engine(models, Limits(**{"slots": 2, "turn_seconds": 0.02, **limits}))
    engine.start()
    yield engine
    models.may_go.set()
    engine.close(5)


def work(models, name, tokens):
    return Work(models.models[name], tokens, Sink())


def until(holds):
    """Wait until the engine's thread has come so far."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def wait(*works):
    for each in works:
        assert each.sink.done.wait(10)


def test_requests_that_come_later_join_those_that_are_answered():
    models = Models("a", slots=8)
    with running(models) as engine:
        works = [work(models, "a", n) for n in (50, 3, 2)]
        for each in works:
            engine.submit([each])
        wait(*works)
    assert [len(each.sink.ids) for each in works] == [50, 3, 2]
    assert models.turns == ["a"]


def test_models_take_turns_though_one_is_asked_all_the_time():
    models = Models()
    models.may_go.clear()
    with running(models, turn_seconds=0) as engine:
        many, other = [work(models, "a", 2) for _ in range(40)], work(models, "b", 1)
        engine.submit(many)
        until(lambda: engine.running == 2)
        engine.submit([other])
        models.may_go.set()
        wait(other, *many)
    assert models.turns == ["a", "b", "a"]


def test_a_queue_that_is_full_refuses_all_or_none():
    models = Models("a")
    models.may_go.clear()
    with running(models, queue=2) as engine:
        engine.submit([work(models, "a", 1) for _ in range(2)])
        until(lambda: engine.running == 2)
        engine.submit([work(models, "a", 1) for _ in range(2)])
        with pytest.raises(Refusal) as told:
            engine.submit([work(models, "a", 1)])
        assert (told.value.status, told.value.headers) == (429, {"retry-after": "1"})


def test_a_client_that_leaves_frees_its_place():
    models = Models("a", slots=1)
    with running(models) as engine:
        long, waiting, last = work(models, "a", 10**9), work(models, "a", 10**9), work(models, "a", 2)
        engine.submit([long, waiting, last])
        engine.leave(waiting)
        until(lambda: engine.running == 1)
        engine.leave(long)
        wait(last)
        assert engine.running == engine.waiting == 0
    assert not waiting.sink.ids


def test_an_answer_that_fails_is_told_without_its_text_and_the_next_is_answered(caplog):
    models = Models("a")
    models.error = ValueError("patient Zyxwv")
    with running(models) as engine:
        lost, later = work(models, "a", 1), work(models, "a", 1)
        engine.submit([lost])
        wait(lost)
        models.error = None
        engine.submit([later])
        wait(later)
    assert lost.sink.refusal.status == 500
    assert later.sink.ids == [1]
    assert "ValueError in answer_from" in caplog.text
    assert "Zyxwv" not in caplog.text + lost.sink.refusal.message


def test_a_model_that_cannot_even_begin_refuses_what_waits_for_it():
    models = Models("a")

    @contextmanager
    def active(_model):
        raise RuntimeError
        yield

    models.active = active
    with running(models) as engine:
        lost = work(models, "a", 1)
        engine.submit([lost])
        wait(lost)
    assert lost.sink.refusal.status == 500


def test_calls_run_between_turns_and_hand_on_what_they_raise():
    models = Models("a")
    with running(models) as engine:
        first = work(models, "a", 30)
        engine.submit([first])
        until(lambda: engine.running == 1)
        assert engine.call(lambda: engine.running).result(10) == 0
        assert first.sink.done.is_set()
        with pytest.raises(ZeroDivisionError):
            engine.call(lambda: 1 / 0).result(10)


def test_closed_it_answers_what_waits_and_takes_no_more():
    models = Models("a")
    with running(models) as engine:
        works = [work(models, "a", 5) for _ in range(6)]
        engine.submit(works)
    wait(*works)
    assert all(each.sink.refusal is None for each in works)
    with pytest.raises(Refusal) as told:
        engine.submit([work(models, "a", 1)])
    assert told.value.status == 503


def test_closed_in_a_hurry_it_says_what_was_lost():
    models = Models("a", slots=1)
    engine = Engine(models, Limits(slots=1))
    engine.start()
    works = [work(models, "a", 10**9), work(models, "a", 1)]
    engine.submit(works)
    until(lambda: engine.running == 1)
    engine.close(0.01)
    wait(*works)
    assert {each.sink.refusal.status for each in works} == {503}
