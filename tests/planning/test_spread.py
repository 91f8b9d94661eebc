"""A run over several GPUs: what each process computes, holds and sends, and when more of them pay."""

import json
import re
from pathlib import Path

import pytest

from medtune import ModelSpec, QuantSpec, RunSpec, TrainSpec
from medtune.cli.app import run
from medtune.errors import SpecError
from medtune.machine.gpus import known_gpus, machine_with
from medtune.machine.hardware import Machine
from medtune.planning.cluster import Cluster, ring_seconds
from medtune.planning.make_plan import make_plan
from medtune.plugins.host import create_host
from medtune.plugins.plan import DataSize
from medtune.testing.tiny import tiny_base

H100 = machine_with("h100")
SIZE = DataSize(rows=10_000, tokens=5_000_000, measured=True)
LLAMA_70B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 28672, "vocab_size": 128_256,
    "tie_word_embeddings": False, "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 131_072,
}  # fmt: skip


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


@pytest.fixture
def large(host, monkeypatch):
    """Plan a base of 70 billion parameters by its dimensions alone."""
    monkeypatch.setattr("medtune.planning.make_plan.model_config", lambda _spec, _bundles: LLAMA_70B)

    def plan(cluster, scheme="none", **train):
        spec = RunSpec(
            model=ModelSpec(name="made/up"), quant=QuantSpec(scheme=scheme), train=TrainSpec(**updates(32), **train)
        )
        return make_plan(spec, host, SIZE, H100, cluster=cluster)

    return plan


def updates(rows):
    return {"per_device_batch_size": 1, "gradient_accumulation_steps": rows}


def over(host, cluster, rows=64, machine=H100, **train):
    spec = RunSpec(train=TrainSpec(**updates(rows), **train))
    return make_plan(spec, host, SIZE, machine, cluster=cluster)


def test_a_ring_takes_what_its_slowest_link_lets_through():
    assert ring_seconds(4, 100e6, 1e9) == pytest.approx(2 * 3 * (25e6 / 1e9 + 20e-6))
    assert ring_seconds(4, 100e6, 1e9, reduces=False) == pytest.approx(ring_seconds(4, 100e6, 1e9) / 2)
    assert ring_seconds(1, 100e6, 1e9) == 0
    h100 = known_gpus()["h100"]
    assert Cluster(8).bytes_per_second(h100)[0] == 450e9 * 0.8
    assert Cluster(8, 2, "100GbE").bytes_per_second(h100)[0] == 100e9 / 8 * 0.8
    assert Cluster(8, 2).bytes_per_second(h100) == (25e9 / 8 * 0.8, "25GbE (taken, since no --net says otherwise)")
    assert Cluster(8).bytes_per_second(None) is None


@pytest.mark.parametrize("net", ["", "fast", "0GbE", "-1Gb", "25 apples", "25GB/s"])
def test_a_network_that_cannot_be_read_is_refused(net):
    with pytest.raises(SpecError, match=r"write 10GbE, 25GbE, 100GbE or 400Gb, in bits"):
        Cluster(2, 2, net)


def test_an_update_is_the_same_rows_whatever_the_number_of_processes(host):
    plans = {n: over(host, Cluster(n)) for n in (1, 2, 4, 8)}
    assert {plan.steps for plan in plans.values()} == {plans[1].steps}
    assert {plan.tokens for plan in plans.values()} == {plans[1].tokens}
    for n, plan in plans.items():
        assert plan.micro_batch_rows * plan.gradient_accumulation_steps == 64 // n
    assert not plans[1].cluster
    assert plans[8].cluster["rows_per_process"] == 8


def test_an_update_that_cannot_be_divided_is_refused_with_the_nearest_that_can():
    spec = RunSpec(train=TrainSpec(per_device_batch_size=2, gradient_accumulation_steps=5))
    assert spec.train.share(5).update_rows == 2
    with pytest.raises(SpecError, match=r"10 rows .* 4 processes; .* updates of 8 or 12 rows, .*steps=12"):
        spec.train.share(4)
    with pytest.raises(SpecError, match=r"updates of 16 rows"):
        spec.train.share(16)


def test_data_parallel_time_is_computing_and_exchanging_the_adapters_gradients(host):
    alone, plan = over(host, None), over(host, Cluster(4, 2, "25GbE"))
    facts = plan.cluster
    size = 4 * plan.trainable_parameters
    assert facts["parallel"] == "ddp"
    assert facts["bytes_per_update"] == size * 2 * 7 // 8
    assert facts["communication_seconds_per_update"] == pytest.approx(14 * (size / 8 / 2.5e9 + 20e-6))
    update = facts["compute_seconds_per_update"] + facts["communication_seconds_per_update"]
    assert plan.tokens_per_second == pytest.approx(64 * 512 / update)
    assert plan.seconds == pytest.approx(plan.tokens / plan.tokens_per_second)
    assert facts["share_of_linear"] == pytest.approx(plan.tokens_per_second / alone.tokens_per_second / 8)
    assert 0.3 < facts["share_of_linear"] < over(host, Cluster(8)).cluster["share_of_linear"] < 1


@pytest.mark.parametrize(
    ("cluster", "link"),
    [
        (Cluster(4, 2, "10GbE"), "of exchanging over 10GbE"),
        (Cluster(4, 2), "over 25GbE (taken, since no --net says otherwise)"),
        (Cluster(8), "GB/s within the machine"),
    ],
)
def test_a_plan_says_over_which_link_it_counts(host, cluster, link):
    assert link in " ".join(over(host, cluster).lines())


def test_more_gpus_cost_more_gpu_hours_and_fewer_hours(host):
    table = over(host, Cluster(2, 4, "10GbE")).cluster["scaling"]
    assert [row["processes"] for row in table] == [1, 2, 4, 8]
    hours, spent = ([row[name] for row in table] for name in ("hours", "gpu_hours"))
    assert hours == sorted(hours, reverse=True)
    assert spent == sorted(spent)
    assert table[0]["hours"] == pytest.approx(over(host, None).seconds / 3600)
    dearer = over(host, Cluster(2, 4, "1GbE")).cluster["scaling"][-1]
    assert dearer["gpu_hours"] > spent[-1]


def test_a_base_that_fits_no_gpu_is_sharded_and_gathered_in_each_micro_batch(large):
    alone = large(None)
    assert not alone.fits
    plan = large(Cluster(8))
    facts = plan.cluster
    assert (plan.fits, facts["parallel"], facts["reason"]) == (True, "fsdp", "the base does not fit one GPU")
    assert facts["memory_gib_per_process"] == round(plan.peak_gib, 4) < 0.94 * 79.1
    assert plan.path == "plain"
    assert facts["share_of_linear"] is None  # of one that cannot
    block = 8192 * (2 * 8192 + 2 * 1024 + 3 * 28672)
    gathered = 2 * 2 * 80 * block * plan.gradient_accumulation_steps * 7 / 8
    gradients = 4 * plan.trainable_parameters * 2 * 7 / 8
    assert facts["bytes_per_update"] == pytest.approx(gathered + gradients, rel=1e-6)
    assert large(Cluster(1, 8, "10GbE")).seconds > 5 * plan.seconds  # held up by the network
    assert large(Cluster(8), scheme="nf4").cluster["parallel"] == "ddp"


def test_rows_are_planned_as_written_and_a_faster_micro_batch_is_named(host):
    plan = over(host, Cluster(4))
    assert (plan.micro_batch_rows, plan.gradient_accumulation_steps) == (1, 16)
    assert "take rows as they are written, 1 at a time" in plan.advice
    micro, times = map(int, re.findall(r"=(\d+)", plan.advice))
    assert micro * times == 64
    train = TrainSpec(per_device_batch_size=micro, gradient_accumulation_steps=times)
    better = make_plan(RunSpec(train=train), host, SIZE, H100, cluster=Cluster(4))
    assert (better.advice, better.micro_batch_rows, better.gradient_accumulation_steps) == ("", micro, times // 4)
    assert better.tokens_per_second > 1.1 * plan.tokens_per_second
    assert over(host, Cluster(4), micro_batch="as_written").advice == ""


def test_what_fits_in_no_way_says_how_many_would_do(large):
    plan = large(Cluster(2))
    assert not plan.fits
    assert "with a share of one" in plan.advice
    assert "; 4 of them would do" in plan.advice
    assert large(Cluster(4)).fits
    refused = large(Cluster(2), scheme="int8", max_length=32768, recompute="none", fast_path="off")
    assert not refused.fits
    assert "a base stored as int8 cannot be sharded (none and fp8 can)" in refused.advice


def test_processes_without_gpus_share_their_machine(host, tmp_path):
    tiny_base(tmp_path / "base")
    spec = RunSpec(
        model=ModelSpec(path=str(tmp_path / "base")),
        quant=QuantSpec(scheme="none"),
        train=TrainSpec(**updates(4), max_length=64),
    )
    needed = make_plan(spec, host, SIZE, Machine(2, 8, ()), cluster=Cluster(2)).peak_gib
    room = Machine(2, needed * 3 / 0.94, ())
    assert make_plan(spec, host, SIZE, room, cluster=Cluster(2)).fits
    assert make_plan(spec, host, SIZE, room, cluster=Cluster(1, 4)).fits
    assert not make_plan(spec, host, SIZE, room, cluster=Cluster(4)).fits


def test_the_command_says_how_the_run_is_spread_and_what_that_costs(capsys):
    arguments = ["plan", "--gpu", "h100", "--gpus", "4", "--set", "train.gradient_accumulation_steps=16"]
    assert run([*arguments, "--price-per-gpu-hour", "2.5", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["cost"] == pytest.approx(plan["seconds"] / 3600 * 4 * 2.5)
    assert plan["cluster"]["processes"] == 4
    assert run([*arguments, "--nodes", "2", "--net", "100GbE"]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "8 processes, 4 on each of 2 machines, each with the whole base (DDP)" in told
    assert "2 rows in each process, 1 at a time" in told
    assert run([*arguments, "--price-per-hour", "1", "--price-per-gpu-hour", "1"]) == 2
    assert run(["plan", "--gpu", "h100", "--gpus", "3"]) == 2
    assert "cannot be divided among 3 processes" in capsys.readouterr().err


def test_every_gpu_says_how_it_reaches_the_others():
    page = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
    for name, gpu in known_gpus().items():
        assert gpu.link_gbs > 0
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.split("|")[-2].strip() == f"{gpu.link_gbs:g}"


def test_the_table_of_the_page_on_clusters_is_what_the_plan_says(host):
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w*) ?\| ([\d,]+) \| ([\d %]*)\| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 9
    for gpus, nodes, net, speed, share, hours in rows:
        cluster = Cluster(int(gpus), int(nodes), net or None)
        micro = 4 if cluster.processes == 16 else 8
        train = {"per_device_batch_size": micro, "gradient_accumulation_steps": 64 // micro}
        spec = host.find("bundle", "starling-medtuned").spec
        plan = make_plan(
            spec.model_copy_with(train=spec.train.model_copy_with(**train)), host, machine=H100, cluster=cluster
        )
        assert f"{plan.tokens_per_second:,.0f}" == speed
        assert f"{plan.seconds / 3600 * cluster.processes:.2f}" == hours
        linear = plan.cluster.get("share_of_linear")
        assert ("" if linear is None else f"{100 * linear:.0f} %") == share.strip()
