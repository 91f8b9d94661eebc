"""The third stage trains as many updates as all processes together need, tells each, and keeps the adapter."""

from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from medtune.errors import RunInterruptedError, UnsafeAdapterError
from medtune.runs.log import RunLog
from medtune.runs.manifest import MANIFEST, file_digest, verify_folder
from medtune.workflow.stages.fit import fit, job_of
from medtune.workflow.stages.load import load
from medtune.workflow.stages.prepare import prepare


def never():
    return None


@pytest.fixture
def one_epoch(asked):
    """A run whose length is that of its rows."""
    return prepare(asked(train={"max_steps": None, "num_train_epochs": 1, "packing": False}))


@pytest.mark.parametrize(("processes", "updates"), [("1", 4), ("2", 4)])
def test_an_epoch_has_as_many_updates_for_any_number_of_processes(one_epoch, monkeypatch, processes, updates):
    state, loaded = one_epoch, load(one_epoch)
    assert len(state.prepared.rows) == 13
    monkeypatch.setenv("WORLD_SIZE", processes)
    assert job_of(state, loaded, never).total_steps == updates


def test_an_adapter_is_trained_told_and_kept(asked, told, logged, files, tmp_path):
    state = prepare(asked(train={"logging_steps": 1}))
    result = fit(state, load(state), never)
    assert (result.steps, result.interrupted) == (2, None)
    assert "training for 2 steps" in told
    assert told[-1] == "saving the adapter"
    steps = [event for event in told if isinstance(event, dict)]
    assert {event["total_steps"] for event in steps} == {2}
    records = RunLog(tmp_path / "run" / "log.jsonl").read()
    assert [record["step"] for record in records if "loss" in record] == [1, 2]
    assert logged == records
    assert files("run.json")["state"] == "running"
    verify_folder(tmp_path / "run" / "adapter")
    kept = {path.name for path in (tmp_path / "run" / "adapter").iterdir()}
    assert kept >= {"adapter_model.safetensors", "tokenizer.json", "prompt_contract.json", "README.md"}


def test_a_reason_to_stop_leaves_a_checkpoint_to_go_on_from_and_no_adapter(asked, files, tmp_path):
    state = prepare(asked())
    with pytest.raises(RunInterruptedError, match=r"interrupted at step 1 \(enough\)"):
        fit(state, load(state), lambda: "enough")
    assert files("run.json")["state"] == "interrupted"
    assert not (tmp_path / "run" / "adapter").exists()
    again = prepare(asked())
    assert (again.start.step, again.start.checkpoint.name) == (1, "step-000001")
    assert fit(again, load(again), never).steps == 2


def test_another_rank_than_the_first_trains_and_writes_no_adapter(asked, monkeypatch, told, tmp_path):
    state = prepare(asked())
    loaded = load(state)
    monkeypatch.setenv("RANK", "1")
    assert fit(state, loaded, never).steps == 2
    assert told[-1] != "saving the adapter"
    assert not (tmp_path / "run" / "adapter").exists()


def test_scores_on_the_way_are_logged_and_answer_the_figure_that_is_kept(asked, told):
    state = prepare(asked(eval={"every": 1, "keep_best": "nli", "rows_in_training": 2}))
    loaded = load(state)
    score = job_of(state, loaded, never).on_evaluate
    figure = score(1)
    record = RunLog(state.asked.folder.log_path).read()[-1]
    assert record["evaluation"]["nli"] == figure
    assert told[-1] == {**record, "total_steps": 2}
    assert job_of(prepare(asked()), loaded, never).on_evaluate is None  # never


@pytest.mark.parametrize("lora", [{}, {"init": "pissa"}, {"use_dora": True}], ids=str)
def test_what_was_saved_is_loaded_again_and_answers_as_what_was_trained(asked, lora, tmp_path):
    state = prepare(asked(lora={"r": 4, **lora}))
    loaded = load(state)
    fit(state, loaded, never)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())  # it is the saved one now
    record = state.asked.folder.read()
    assert record["adapter"] == {"manifest": file_digest(tmp_path / "run" / "adapter" / MANIFEST)}


@pytest.mark.parametrize(
    ("share", "check", "said"),
    [(1e-2, "logits", "does not answer as the trained model did"), (1e-6, "values", "has not the values")],
)
def test_a_saved_adapter_that_is_another_ends_the_run_and_keeps_its_checkpoints(asked, tmp_path, share, check, said):
    """As where the library loses something on the way: the values on disk are moved a little."""

    def lossy(loaded):
        def save(path):
            loaded.save_adapter(path)
            file = path / "adapter_model.safetensors"
            save_file({name: value * (1 + share) + share / 10 for name, value in load_file(file).items()}, file)

        return replace(loaded, save_adapter=save)

    request = asked(train={"save_strategy": "steps", "save_steps": 1})
    state = prepare(request)
    with pytest.raises(UnsafeAdapterError, match=said) as caught:
        fit(state, lossy(load(state)), never)
    assert (caught.value.check, caught.value.exit_code) == (check, 4)
    assert not (tmp_path / "run" / "adapter").exists()
    assert (tmp_path / "run" / "checkpoints" / "step-000002").is_dir()


def test_an_adapter_with_values_that_are_not_finite_is_not_kept(asked, tmp_path):
    state = prepare(asked(train={"max_steps": 1}))
    loaded = load(state)

    def spoilt():
        next(p for p in loaded.model.parameters() if p.requires_grad).data.flatten()[0] = float("nan")

    with pytest.raises(UnsafeAdapterError, match="not finite"):
        fit(state, loaded, spoilt)
    assert not (tmp_path / "run" / "adapter").exists()
