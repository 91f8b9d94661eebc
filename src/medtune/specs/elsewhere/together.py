"""What several of transformers' arguments say together."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.specs.elsewhere.meanings import CHANGED, NOT_NEEDED, REFUSED, Finding

__all__ = ["finish_training"]

_SCHEDULES = {
    "cosine_with_min_lr": "cosine",
    **{name: name for name in ("cosine", "linear", "constant", "constant_with_warmup")},
}


def finish_training(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    """Read what several of transformers' arguments say together."""
    yield from _schedule(given, values)
    yield from _length(given, values)
    _scoring(given, values)
    if (when := given.get("save_strategy")) is not None:
        if when in ("epoch", "steps", "no", False):
            values["train.save_strategy"] = when or "no"
        else:
            yield Finding(
                "save_strategy",
                when,
                CHANGED,
                "train.save_strategy",
                "there are epoch, steps and no; see eval.keep_best for the best",
            )
    if (steps := given.get("save_steps")) is not None and values.get("train.save_strategy", "steps") == "steps":
        if isinstance(steps, float) and steps < 1:
            yield Finding(
                "save_steps", steps, CHANGED, "train.save_steps", "a share of the run; updates are counted here"
            )
        else:
            values |= {"train.save_strategy": "steps", "train.save_steps": int(steps)}
    if given.get("fp16") or given.get("bf16"):
        values["train.precision"] = "bf16" if given.get("bf16") else "fp16"
    if given.get("load_in_4bit"):
        values["quant.scheme"] = str(given.get("bnb_4bit_quant_type") or "nf4")
    elif given.get("load_in_8bit"):
        values["quant.scheme"] = "int8"


def _schedule(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    kind, settings = given.get("lr_scheduler_type"), given.get("lr_scheduler_kwargs") or {}
    if kind is not None:
        if kind in _SCHEDULES:
            values["train.lr_scheduler_type"] = _SCHEDULES[kind]
        else:
            offered = ", ".join(dict.fromkeys(_SCHEDULES.values()))
            yield Finding("lr_scheduler_type", kind, REFUSED, "train.lr_scheduler_type", f"there are {offered}")
    rate, peak = settings.get("min_lr_rate"), values.get("train.learning_rate")
    if settings.get("min_lr") is not None and peak:
        rate = float(settings["min_lr"]) / float(peak)
    if rate is not None and kind == "cosine_with_min_lr":
        values["train.min_lr_rate"] = rate
    elif settings:
        yield Finding(
            "lr_scheduler_kwargs", settings, REFUSED, "", "of a schedule's settings only a minimum is offered"
        )
    steps, ratio = given.get("warmup_steps") or 0, given.get("warmup_ratio") or 0
    if kind == "constant":  # which warms nothing up, there and here
        return
    if steps and steps >= 1:
        values["train.warmup_steps"] = int(steps)
    elif steps or "warmup_ratio" in given or "warmup_steps" in given:
        values["train.warmup_ratio"] = steps or ratio


def _length(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    epochs, steps = given.get("num_train_epochs"), given.get("max_steps")
    if steps is not None and int(steps) > 0:
        values["train.max_steps"] = int(steps)
        if epochs is not None:
            yield Finding("num_train_epochs", epochs, NOT_NEEDED, "", "max_steps wins there too")
    elif epochs is not None:
        values["train.num_train_epochs"] = float(epochs)


def _scoring(given: Mapping[str, Any], values: dict[str, Any]) -> None:
    when = given.get("eval_strategy", given.get("evaluation_strategy"))
    if when == "epoch":
        values["eval.every"] = "epoch"
    elif when == "steps" or (when is None and given.get("eval_steps")):
        steps = given.get("eval_steps") or given.get("logging_steps") or 500
        values["eval.every"] = int(steps) if steps >= 1 else "epoch"
    elif when in ("no", False):
        values["eval.every"] = "never"
    if given.get("load_best_model_at_end") and values.get("eval.every") != "never":
        values |= {"eval.keep_best": "loss", "eval.loss": True}
    if "dataset_test_split" in given:
        values["data.validation"] = given["dataset_test_split"]
