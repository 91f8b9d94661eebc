"""The rows of an update can be taken in any portions: the same adapter comes out, up to the order of summation."""

import pytest

from medtune.testing.tiny_run import tiny_run


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


def adapter(folder, base, rows, times, **options):
    from safetensors.torch import load_file

    train = {
        "per_device_batch_size": rows,
        "gradient_accumulation_steps": times,
        "save_strategy": "no",
        "num_train_epochs": 1,
    }
    done = tiny_run(folder, {"train": train, "lora": {"dropout": 0.0}, "base": str(base), **options})
    losses = [record["loss"] for record in done["log"] if "loss" in record]
    return done["steps"], losses, load_file(folder / "run" / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("rows", [2, 4])
def test_portions_change_neither_steps_nor_losses_nor_the_adapter(tmp_path, base, rows):
    import torch

    steps, losses, one_by_one = adapter(tmp_path / "one", base, 1, 4)
    more_steps, more_losses, together = adapter(tmp_path / "more", base, rows, 4 // rows)
    assert more_steps == steps == 4  # 13 rows: the last update is partial
    assert more_losses == pytest.approx(losses, rel=1e-5)
    assert one_by_one.keys() == together.keys()
    moved = max(value.abs().max() for name, value in one_by_one.items() if "lora_B" in name)
    for name, value in one_by_one.items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=0.02 * moved.item())
