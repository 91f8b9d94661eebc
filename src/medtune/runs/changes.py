"""What may differ when a run is resumed, and what must not."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from medtune.errors import SpecChangedError, SpecError, SpecValidationError
from medtune.errors.masking import masked_values
from medtune.specs import RunSpec

__all__ = ["FREE_FIELDS", "refuse_changes"]

FREE_FIELDS = frozenset(
    {
        "output_dir",
        "locked",  # what the process may open, not what it computes; the record says how each part of a run was done
        "plugins",  # which may load; what they bring is named by other fields
        "model.fingerprint",  # a record is compared in the way in which it was made
        "data.processes",  # the same set to the byte
        "eval",  # scoring leaves the training as it is; it says only how long it goes on and what is kept
        "tasks",  # how answers are scored, likewise
        "train.logging_steps",
        "train.max_minutes",
        "train.max_skipped_steps",
        "train.parallel",  # where the base lies, as the number of GPUs asks
        "train.micro_batch",  # a run goes on with the portions it began with
        "train.on_nonfinite",  # like on_oom what a run that stopped on it is continued with
        "train.on_oom",
        "train.report_to",
        "train.dequantized_weights",  # the same numbers to the bit
        "train.save_every_minutes",
        "train.save_steps",
        "train.save_strategy",
        "train.save_total_limit",
    }
)
"""Fields that do not touch the arithmetic; a part stands for all its fields."""

_CHOOSES_ADAPTER = ("eval.every", "eval.keep_best", "eval.patience", "eval.rows_in_training")
"""Fields of scoring that say which adapter a run ends with: of a finished one they cannot be changed any more."""

_PLACES = {"data.source": "data", "data.validation": "data", "model.path": "model"}
"""Where something lies, free as long as the fingerprint says that it is the same thing."""

_NAMES = ("model.name", "model.revision")
"""What a local base is called, free like the place where it lies."""

_LENGTHS = ("train.max_steps", "train.num_train_epochs")


def refuse_changes(
    path: str,
    before: Mapping[str, Any],
    spec: Mapping[str, Any],
    prints: Mapping[str, str],
    unread: Collection[str] = (),
) -> None:
    """Refuse to resume a run, or to take a finished one for what is asked, when something changed that it depends on.

    Args:
        path: the run folder, for the sentence.
        before: the run's record, with "spec" and "fingerprints".
        spec: the spec given now, as JSON values.
        prints: the fingerprints computed now.
        unread: names of those that were not, so that no other place is taken for the same.

    Raises:
        SpecError: the recorded spec has fields or values that this version does not know.
        SpecChangedError: listing every changed field with both values, and every changed fingerprint.
    """
    spec = masked_values(spec)  # as it is recorded: a credential may be another one
    old_prints: Mapping[str, str] = before["fingerprints"]
    is_finished = before.get("state") == "finished"
    same = {name for name in old_prints if prints.get(name) == old_prints[name]} - set(unread)
    changes = [
        f"{name} was {_shown(old)} and is now {_shown(new)}"
        for name, old, new in _differences(_in_today_s_form(path, before["spec"]), spec)
        if (is_finished and name in _CHOOSES_ADAPTER) or not _is_free(name, spec, same)
    ]
    changes += [
        f"the {name.replace('_', ' ')} itself changed (its fingerprint differs)"
        for name in sorted((old_prints.keys() | prints.keys()) - same - set(unread))
    ]
    if changes:
        raise SpecChangedError(path, changes)


def _in_today_s_form(path: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded spec with the names that its fields have now, and the defaults of those that are new."""
    try:
        recorded = RunSpec.model_validate(spec).model_dump(mode="json")
    except SpecValidationError as error:
        found = {".".join(mistake.location) for mistake in error.mistakes}
        raise SpecError(
            f"run '{path}' was written by another version of medtune: this one does not take its {', '.join(sorted(found))}; "
            "go on with that version, or choose another output_dir"
        ) from None
    as_recorded: dict[str, Any] = masked_values(recorded)
    return as_recorded


def _is_free(name: str, spec: Mapping[str, Any], same_prints: set[str]) -> bool:
    if any(name == free or name.startswith(f"{free}.") for free in FREE_FIELDS):
        return True
    if name in _LENGTHS:
        return _ignores_length(spec["train"])
    if name in _NAMES and spec["model"]["path"] is not None:
        return "model" in same_prints
    return _PLACES.get(name) in same_prints


def _ignores_length(train: Mapping[str, Any]) -> bool:
    """Whether the learning rate of a step is the same however many steps follow."""
    kind = train["lr_scheduler_type"]
    is_fixed = train["warmup_steps"] is not None or not train["warmup_ratio"]  # a share would be of the length
    return kind == "constant" or (kind == "constant_with_warmup" and is_fixed)


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted field, old, new) for each field that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif _plain(old) != _plain(new):
        yield name, old, new


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return "unset" if value is None else repr(value)
