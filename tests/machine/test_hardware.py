"""Figures of this machine and this process."""

import subprocess
import sys

import pytest

from medtune.machine.hardware import local_device

PEAK = "from medtune.machine.hardware import resident_peak_gib; print(resident_peak_gib())"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count a process by itself")
def test_a_process_is_not_counted_what_the_one_that_started_it_held():
    held = bytearray(200 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert 0.005 < float(done.stdout) < 0.15


def test_every_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    found = []
    for process in (None, "0", "3"):
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        if process is not None:
            monkeypatch.setenv("LOCAL_RANK", process)
        found.append(local_device())
    assert found == ["cuda:0", "cuda:0", "cuda:3"]
