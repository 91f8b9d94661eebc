"""A process that is forked once a model was used says so at once, where torch would hang."""

import multiprocessing
import os
from threading import RLock

import pytest
import torch

from medtune.errors import ForkedProcessError
from medtune.machine import forked
from medtune.workflow.turns import one_at_a_time


class Asked:
    turn = RLock()

    @one_at_a_time
    def answer(self):
        return "answered"


def asked(queue):
    try:
        queue.put(Asked().answer())
    except ForkedProcessError as error:
        queue.put((error.pid, str(error)))


def in_child(way):
    context = multiprocessing.get_context(way)
    queue = context.Queue()
    child = context.Process(target=asked, args=(queue,))
    child.start()
    told = queue.get(timeout=60)
    child.join()
    return told, child.pid


@pytest.fixture
def threads(monkeypatch):
    """Return what sets the number of torch's threads, with nothing noted before."""
    monkeypatch.setattr(forked, "_THREADED", set())
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_a_child_forked_after_a_model_was_used_is_refused_and_its_parent_is_not(threads):
    threads(2)
    assert in_child("fork")[0] == "answered"  # nothing was used yet
    forked.note_threads()
    (pid, said), child = in_child("fork")
    assert pid == child
    assert pid != os.getpid()
    assert "was forked from one in which a model was used" in said
    assert "get_context('spawn')" in said
    assert Asked().answer() == "answered"


def test_a_child_forked_from_a_process_of_one_thread_may_go_on(threads):
    threads(1)
    forked.note_threads()
    assert in_child("fork")[0] == "answered"
