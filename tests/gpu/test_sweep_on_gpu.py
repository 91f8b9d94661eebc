"""A sweep on a CUDA base: one load, the chosen run equal to the bit to one alone, and the memory of settings given back."""

import pytest

SCHEMES = (pytest.param("none", marks=pytest.mark.proof), "nf4")


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_chosen_run_of_a_sweep_is_the_one_alone_and_no_setting_keeps_memory(tmp_path, scheme):
    import torch

    from medtune import MedTuner

    tuner = MedTuner.from_bundle(
        "demo",
        quant={"scheme": scheme},
        train={"max_steps": 16, "save_strategy": "no"},
        eval={"rows_per_source": 4, "max_new_tokens": 8},
        output_dir=str(tmp_path / "alone"),
    )
    grid = {"lora.r": [8, 16], "train.learning_rate": [1e-3, 3e-3]}
    used = []

    class Notes:
        def stage(self, sentence):
            if "of its updates" in sentence:
                used.append(torch.cuda.memory_allocated())

        def plan(self, plan): ...
        def download(self, progress): ...
        def step(self, record): ...
        def close(self): ...

    found = tuner.sweep(grid, tmp_path / "s", halving=True, progress=Notes())
    assert found.record["loads"] == 1
    assert max(used[2:]) <= used[1] + 2**24  # the base with one adapter, whichever was last
    spec = found.winner.spec.model_copy_with(output_dir=str(tmp_path / "alone"))
    alone = MedTuner(spec).train(progress="silent")
    files = [run.adapter_dir / "adapter_model.safetensors" for run in (alone, found.winner)]
    assert files[0].read_bytes() == files[1].read_bytes()
