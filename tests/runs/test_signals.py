import os
import signal
import threading

import pytest

from medtune.runs.signals import StopNow, StopRequest


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_only_sets_the_reason(name):
    with StopRequest() as stop:
        assert stop.reason is None
        os.kill(os.getpid(), getattr(signal, name))
        assert stop.reason == name


def test_a_second_ctrl_c_leaves_at_once():
    with StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_does_not_cut_the_save_short():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == before


def test_the_time_limit_counts_from_the_start_of_the_block():
    now = [0.0]
    stop = StopRequest(max_minutes=1.5, clock=lambda: now[0])
    now[0] = 1000
    with stop:
        now[0] += 89
        assert stop.reason is None
        now[0] += 1
        assert stop.reason == "time limit of 1.5 minutes"


def test_a_worker_thread_leaves_the_handlers_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with StopRequest() as stop:
            seen.append((signal.getsignal(signal.SIGTERM), stop.reason))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(before, None)]


def test_a_stage_without_steps_is_left_at_once():
    with StopRequest() as stop:
        with pytest.raises(StopNow, match="SIGTERM"), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"


def test_a_stage_that_was_left_at_once_is_followed_by_patience(monkeypatch):
    with StopRequest() as stop:
        with stop.at_once():
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # a step is in progress: it is finished
        assert stop.reason == "SIGTERM"
    with StopRequest() as stop:
        with pytest.raises(StopNow), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.reason == "SIGTERM"  # the first


def test_a_handler_that_python_cannot_put_back_gives_way_to_the_system_s_own(monkeypatch):
    before = signal.getsignal(signal.SIGUSR1)
    stop = StopRequest().__enter__()
    monkeypatch.setitem(stop._previous, signal.SIGUSR1, None)
    stop.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    signal.signal(signal.SIGUSR1, before)


def test_a_stage_is_not_begun_once_there_is_a_reason():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(StopNow, match="SIGUSR1"), stop.at_once():
            raise AssertionError


def test_a_request_to_cancel_is_a_reason_and_a_signal_comes_first():
    asked = []
    with StopRequest(cancels=[lambda: bool(asked)]) as stop:
        assert stop.reason is None
        asked.append("cancel")
        assert stop.reason == "cancel"
        with pytest.raises(StopNow, match="cancel"):
            stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"
