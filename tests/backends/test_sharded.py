"""Two processes that share a base, each with its rows of every layer, train what one trains that has it whole."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medtune import Run
from medtune.runs.folder import RunFolder
from medtune.testing.faults import FaultLab
from medtune.testing.tiny import tiny_base

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="the laboratory that starts processes needs Linux and a C compiler",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


@pytest.fixture(scope="module")
def lab():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        with FaultLab("sharded_ranks:act") as lab:
            yield lab


@pytest.fixture
def act(lab, base, tmp_path):
    def act(what, name=".", processes=2, status=(0,), train=None, **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        train = {"gradient_accumulation_steps": 2, "logging_steps": 1, **(train or {})}
        given = {"do": what, "base": str(base), "train": train, **options}
        run = lab.run(folder, options=given, ranks=processes)
        assert set(run.status) == set(status), run
        return run.result

    return act


@pytest.mark.parametrize("scheme", ["none", "fp8"])
def test_each_process_holds_its_rows_of_every_layer_and_says_what_a_whole_base_says(act, scheme):
    found = act("look", scheme=scheme)
    assert found["kinds"] == ["DTensor"]
    assert len(found["rows"]) == 2 * 9  # seven linear layers and two norms a block
    assert all(own == -(-rows // 2) for rows, own in found["rows"])
    assert found["beside"] == ["Parameter", "Parameter"]
    assert found["differs"] == 0.0
    assert found["answers"] == [True, True]


SMALL = {"scheme": "none", "lora": {"dropout": 0.1}, "rows": {"count": 8}}


def figures(found):
    return [(r["loss"], r["grad_norm"]) for r in found["log"] if "loss" in r]


def test_a_shared_base_trains_as_a_whole_one_and_goes_on_after_a_stop(act):
    one = act("small", "one", 1, train={"fast_path": "off"}, **SMALL)
    two = act("small", "two", train={"parallel": "fsdp"}, **SMALL)
    assert two["steps"] == one["steps"] == 8
    for (loss, norm), (other, other_norm) in zip(figures(one), figures(two), strict=True):
        assert other == pytest.approx(loss, rel=1e-6)
        assert other_norm == pytest.approx(norm, rel=1e-5)
    said = next(record["fast_path"] for record in two["log"] if "fast_path" in record)
    assert said == "the fast path is off: train.parallel is fsdp, so that no process holds whole layers"
    for name, parallel, processes in (("again", "fsdp", 2), ("whole", "ddp", 2), ("alone", "ddp", 1)):
        act("small", name, status=(75,), train={"parallel": "fsdp", "fast_path": "off"}, stop_after=3, **SMALL)
        after = act("small", name, processes, train={"parallel": parallel, "fast_path": "off"}, **SMALL)
        if processes == 1:
            assert sum(figures(after), ()) == pytest.approx(sum(figures(two), ()), rel=1e-5)
            continue
        assert after["digest"] == two["digest"]
        assert figures(after) == figures(two)


@pytest.mark.proof
def test_a_whole_run_is_the_same_with_a_shared_base_and_its_adapter_is_merged(act, tmp_path):
    evaluation = {"loss": True, "every": 4, "rows_in_training": 2}
    found = act("whole", "shared", train={"num_train_epochs": 1, "parallel": "fsdp"}, eval=evaluation)
    wanted = act("whole", "each", train={"num_train_epochs": 1, "fast_path": "off"}, eval=evaluation)
    assert found["digest"] == wanted["digest"]  # the adapter's file, byte for byte
    assert found["scores"] == wanted["scores"]
    assert figures(found) == figures(wanted)
    assert [r for r in found["log"] if "held_out_loss" in r] == [r for r in wanted["log"] if "held_out_loss" in r]
    run = Run.open(tmp_path / "shared" / "run")
    record = RunFolder(tmp_path / "shared" / "run").read()
    assert record["plan"]["parallel"] == "fsdp"
    assert record["plan"]["path_reason"] == "train.parallel is fsdp, so that no process holds whole layers"
    assert record["proof"]["route"] == "plain path"
    merged = run.export("merged", tmp_path / "merged").path
    assert all(torch.isfinite(t).all() for file in merged.glob("*.safetensors") for t in load_file(file).values())
    names = [sorted(p.name for p in (tmp_path / name / "run").rglob("*") if p.is_file()) for name in ("shared", "each")]
    assert names[0] == names[1]


def test_a_process_whose_fellow_fails_is_told(act):
    said = act("fail_beside")
    assert said.startswith("another process failed while all of them scored or saved with a sharded base")


def test_what_is_not_sharded_as_it_should_be_is_refused(act):
    whole, spread, lacking = act("refuse")
    assert whole.startswith("SpecError: the base was not sharded: 'self_attn.q_proj.weight' of a layer is whole")
    assert spread.endswith("lies on 2 of 3 processes; use train.parallel=ddp")
    assert lacking.startswith("BaseDamagedError: ")
    assert "model.layers.1.mlp.up_proj.weight" in lacking
