"""Any number of processes trains the same run, and goes on with what another number saved."""

import shutil
import sys

import pytest
from safetensors.torch import load_file

from medtune.testing.faults import Fault, FaultLab
from medtune.testing.tiny import tiny_base

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="the laboratory that starts ranks needs Linux and a C compiler",
)

EXACT = ("step", "learning_rate", "tokens", "supervised_tokens", "supervised_by_source")
CLOSE = {"loss": 1e-6, "grad_norm": 1e-6, "loss_by_source": 2e-5}  # the last is rounded to six digits
TABLE = [(processes, packed, times) for processes in (2, 3, 4) for packed in (True, False) for times in (1, 2, 4)]


@pytest.fixture(scope="module")
def lab():
    with FaultLab("medtune.testing.tiny_run:tiny_run") as lab:
        yield lab


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


@pytest.fixture
def train(lab, base, tmp_path):
    def run(name, ranks, packed=True, fault=None, count=13, launched=True, **train):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        options = {
            "base": str(base),
            "lora": {"dropout": 0.1},
            "rows": {"packed": packed, "count": count},
            **{key: train.pop(key) for key in ("stop_after", "die", "patience") if key in train},
        }
        options["train"] = {"num_train_epochs": 1, "logging_steps": 1, "learning_rate": 1e-3, **train}
        return lab.run(folder, fault, options, ranks, launched=launched)

    return run


def records(outcome):
    assert set(outcome.status) == {0}, outcome.error
    return [record for record in outcome.result["log"] if "loss" in record]


def adapter_gap(one, other):
    """Return by how much values of the adapters of two runs differ at most."""
    found, wanted = (load_file(folder / "run" / "adapter" / "adapter_model.safetensors") for folder in (one, other))
    assert found.keys() == wanted.keys()
    return max(float((found[name] - wanted[name]).abs().max()) for name in wanted)


def assert_equal(found, wanted):
    assert len(found) == len(wanted) > 1
    for one, other in zip(found, wanted, strict=True):
        assert {key: one[key] for key in EXACT} == {key: other[key] for key in EXACT}
        for key, gap in CLOSE.items():
            assert one[key] == pytest.approx(other[key], rel=0, abs=gap), (one["step"], key)
    assert len({record["loss"] for record in wanted}) == len(wanted)
    assert found[-1]["epoch"] == wanted[-1]["epoch"]  # within an epoch it counts micro-batches


@pytest.mark.parametrize("packed", [True, False])
def test_two_and_three_processes_train_what_one_does(train, tmp_path, packed):
    """Micro-batches of two rows that two processes have to take apart, and a last update of one row, which one of them has."""
    sizes = {"per_device_batch_size": 2, "gradient_accumulation_steps": 3}
    sizes["fast_path"] = "auto" if packed else "off"  # by the fast path, and by the model's own layers
    wanted = records(train("one", 1, packed, **sizes))
    assert [record["step"] for record in wanted] == [1, 2, 3]
    for ranks in (2, 3):
        assert_equal(records(train(str(ranks), ranks, packed, **sizes)), wanted)
        assert adapter_gap(tmp_path / "one", tmp_path / str(ranks)) < 1e-6


@pytest.mark.proof
@pytest.mark.parametrize(("processes", "packed", "times"), TABLE)
def test_the_whole_table(train, tmp_path, processes, packed, times):
    """Each process takes as many micro-batches an update as the table says; 53 rows leave a last update that is short."""
    sizes = {"per_device_batch_size": 1, "gradient_accumulation_steps": times * processes, "num_train_epochs": 2}
    wanted = records(train("one", 1, packed, count=53, **sizes))
    found = records(train("several", processes, packed, count=53, **sizes))
    assert_equal(found, wanted)
    gap = max(abs(one["loss"] - other["loss"]) for one, other in zip(found, wanted, strict=True))
    apart = adapter_gap(tmp_path / "one", tmp_path / "several")
    assert apart < 5e-6  # up to 56 updates of 1e-3: Adam divides a gradient near its epsilon by rounding
    what = f"{processes} processes, packed {packed}, accumulation {times}"
    print(f"{what}: {len(found)} losses differ by {gap:.1e} at most, adapters by {apart:.1e}")


def test_a_run_goes_on_with_more_and_with_fewer_processes(train):
    sizes = {"gradient_accumulation_steps": 6, "logging_steps": 2, "num_train_epochs": 2}
    wanted = records(train("whole", 1, **sizes))
    cut = {"save_steps": 100, **sizes}
    assert train("run", 3, stop_after=3, **cut).status == (75, 75, 75)  # within a logging interval
    assert train("run", 1, stop_after=5, **cut).status == (75,)
    assert_equal(records(train("run", 2, **cut)), wanted)


@pytest.mark.proof
def test_gradients_that_are_sent_in_bf16_differ_by_their_rounding_alone(train):
    sizes = {"gradient_accumulation_steps": 6, "num_train_epochs": 2}
    wanted, exact = records(train("one", 1, **sizes)), records(train("exact", 2, **sizes))
    found = records(train("rounded", 2, reduce_dtype="bf16", **sizes))
    first = abs(found[0]["grad_norm"] - wanted[0]["grad_norm"]) / wanted[0]["grad_norm"]
    apart = max(abs(one["loss"] - other["loss"]) for one, other in zip(found, wanted, strict=True))
    print(f"in bf16: norms of the first gradient differ by {first:.1e}, {len(found)} losses by {apart:.1e} at most")
    assert_equal(exact, wanted)
    assert 1e-6 < first < 2**-8
    assert apart < 1e-3


def test_only_the_first_process_writes(train):
    sizes = {"gradient_accumulation_steps": 2, "max_steps": 2, "num_train_epochs": None}
    outcome = train("run", 2, fault=Fault(rank=1), **sizes)
    assert (outcome.status, outcome.events) == ((0, 0), "")


@pytest.mark.parametrize("how", ["SIGKILL", pytest.param("SIGSTOP", marks=pytest.mark.proof)])
def test_the_others_end_resumably_and_name_a_process_that_is_lost_or_hangs(train, how):
    sizes = {"gradient_accumulation_steps": 6, "save_steps": 1, "num_train_epochs": 2}
    wanted = records(train("whole", 1, **sizes))
    broken = train("run", 3, die=(1, 2, how), patience=3, launched=False, **sizes)
    assert broken.status == (75, -9, 75)
    assert "process 1 of 3 was lost or hangs" in broken.error["message"]
    assert_equal(records(train("run", 2, **sizes)), wanted)
