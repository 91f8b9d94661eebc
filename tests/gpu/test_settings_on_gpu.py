"""Warm-up, the schedule's minimum and AdamW's settings reach the optimizer that a GPU runs, whichever stands in its place."""

import math

import pytest

KINDS = {"paged_adamw_32bit": "AdamW", "adamw_torch_fused": "AdamW", "adamw_8bit": "AdamW", "paged_lion_8bit": "Lion"}


@pytest.mark.parametrize("fast_path", ["auto", "off"])
@pytest.mark.parametrize("optim", KINDS)
def test_the_optimizer_on_a_gpu_has_the_settings_of_the_spec(tmp_path, optim, fast_path):
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from medtune import MedTuner

    adam = {"adam_beta1": 0.8, "adam_beta2": 0.95} | ({} if "lion" in optim else {"adam_epsilon": 1e-6})
    steps, peak, seen = 8, 1e-3, []

    def note(optimizer, _args, _kwargs):
        groups = {
            (g["lr"], *g["betas"], g.get("eps")) for g in optimizer.param_groups if tuple(g["betas"]) == (0.8, 0.95)
        }
        seen.extend((type(optimizer).__name__, *group) for group in groups)

    train = {
        "max_steps": steps, "learning_rate": peak, "optim": optim, "fast_path": fast_path, "warmup_steps": 3, "min_lr_rate": 0.1,
        "save_strategy": "no", **adam,
    }  # fmt: skip
    tuner = MedTuner.from_bundle("demo", train=train, eval={"enabled": False}, output_dir=str(tmp_path / "run"))
    hook = register_optimizer_step_pre_hook(note)
    try:
        tuner.train()
    finally:
        hook.remove()
    falling = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 5)) for step in range(5)]
    assert [each[1] / peak for each in seen] == pytest.approx([0, 1 / 3, 2 / 3, *falling])
    assert {each[0] for each in seen} == {KINDS[optim]}
    if "lion" not in optim:
        assert {each[4] for each in seen} == {1e-6}
