"""Inspects a base before its weights are loaded: every check once, in order, each refusing in one sentence or adding a note.

The rule for exit codes: what another spec would mend (another folder, another setting, another base) is a fault of the spec,
exit 2; what only another file would mend (files that are damaged, or contradict each other) is an unsafe artifact, exit 4.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.data.base import file_checks, model_checks
from medtune.data.base.fault import Fault
from medtune.data.base.folder import BaseFolder, Case, folder_of
from medtune.data.base.model_checks import OWN_QUANTIZERS
from medtune.errors import BaseDamagedError, BaseUnsuitedError, StorageError
from medtune.specs import RunSpec

__all__ = ["BASE_CHECKS", "CHECKS", "QUICK_CHECKS", "Check", "Inspection", "inspect_base"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold of a base.

    Attributes:
        name: what an error names.
        error: what it raises: ``BaseUnsuitedError`` where another spec would mend it, else ``BaseDamagedError``.
        look: raises ``Fault``, or yields what a user should know.
        needs: what must be on this machine for it: nothing but the spec, the "folder", or the "weights" in it.
    """

    name: str
    error: type[BaseDamagedError | BaseUnsuitedError]
    look: Callable[[Case], Iterator[str]]
    needs: str = "folder"


CHECKS: tuple[Check, ...] = (
    Check("place", BaseUnsuitedError, file_checks.place, needs="nothing"),
    Check("adapter", BaseUnsuitedError, file_checks.adapter),
    Check("presence", BaseUnsuitedError, file_checks.presence),
    Check("config", BaseDamagedError, file_checks.config),
    Check("code", BaseDamagedError, file_checks.code),
    Check("config values", BaseDamagedError, file_checks.config_values),
    Check("quantized", BaseUnsuitedError, model_checks.quantized),
    Check("family", BaseUnsuitedError, model_checks.family),
    Check("architecture", BaseDamagedError, model_checks.architecture),
    Check("decoder", BaseUnsuitedError, model_checks.decoder),
    Check("positions", BaseUnsuitedError, model_checks.positions),
    Check("attention", BaseUnsuitedError, model_checks.attention),
    Check("targets", BaseUnsuitedError, model_checks.targets),
    Check("experts", BaseUnsuitedError, model_checks.experts),
    Check("weight files", BaseUnsuitedError, file_checks.weight_files, needs="weights"),
    Check("inside", BaseDamagedError, file_checks.inside, needs="weights"),
    Check("complete", BaseDamagedError, file_checks.complete, needs="weights"),
    Check("types", BaseDamagedError, model_checks.types, needs="weights"),
    Check("tensors", BaseDamagedError, model_checks.tensors, needs="weights"),
    Check("shapes", BaseDamagedError, model_checks.shapes, needs="weights"),
    Check("unused", BaseDamagedError, model_checks.unused, needs="weights"),
    Check("finite", BaseDamagedError, file_checks.finite, needs="weights"),
    Check("zeros", BaseDamagedError, file_checks.zeros, needs="weights"),
    Check("tokenizer", BaseUnsuitedError, model_checks.tokenizer, needs="tokenizer"),
    Check("padding", BaseDamagedError, model_checks.padding, needs="tokenizer"),
    Check("vocabulary", BaseDamagedError, model_checks.vocabulary, needs="tokenizer"),
)
"""In order: a check may rest on those before it."""
_OF_THE_RUN = ("positions", "targets", "experts")
BASE_CHECKS = tuple(check for check in CHECKS if check.name not in _OF_THE_RUN)
"""What holds of a base whatever the rows' length and the adapter."""
QUICK_CHECKS = CHECKS[: [check.name for check in CHECKS].index("quantized") + 1]
"""What is known from JSON files alone, without any machine learning library."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was looked at.

    Attributes:
        folder: where the base lies; None when it is not on this machine.
        checked: names of the checks that were made.
        notes: what a user should know, a sentence each.
        tokenizer: of the base, as the spec has it loaded; None where it was not.
    """

    folder: Path | None = None
    checked: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
    tokenizer: Any = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the names and notes as JSON values."""
        return {"checked": list(self.checked), "notes": list(self.notes)}


def inspect_base(spec: RunSpec, *, loading: bool = False, checks: Sequence[Check] = CHECKS) -> Inspection:
    """Make every check that the files on this machine allow; loads no weights and asks no network.

    Args:
        spec: the run.
        loading: whether the base is about to be loaded: weights and tokenizer must be there then.
        checks: what to look at, in order.

    Returns:
        What was checked, with notes; checks whose files are not here are left out, and a note says so.

    Raises:
        BaseUnsuitedError: the base cannot be used for this run; another spec would mend it.
        BaseDamagedError: the base's files are damaged, or contradict each other.
        StorageError: a file cannot be read.
    """
    folder = None
    checked, notes = list[str](), list[str]()
    base = BaseFolder(Path(spec.model.path or spec.model.name))
    present = {"nothing"}
    for check in checks:
        if check.needs != "nothing" and folder is None:
            folder = folder_of(spec.model)
            if folder is None:
                notes.append("it is not on this machine yet, so its files were not inspected")
                break
            base = BaseFolder(folder)
            is_ours = spec.quant.quantizer in OWN_QUANTIZERS  # a plugin's may read other files
            present = _present(base, loading=loading and is_ours and spec.model.path is not None)
        if check.needs in present:
            notes += _made(check, Case(base, spec))
            checked.append(check.name)
    absent = {check.needs for check in checks} - present if folder is not None else set[str]()
    notes += [f"its {what} {_verb(what)} not on this machine yet, and not inspected" for what in sorted(absent)]
    return Inspection(folder, tuple(checked), tuple(notes), base.tokenizer)


def _verb(what: str) -> str:
    return "are" if what == "weights" else "is"


def _present(base: BaseFolder, *, loading: bool) -> set[str]:
    """Return what can be looked at: all of it where a folder is about to be loaded, else what is there.

    The hub's cache may hold a part of the weights, the rest of which is fetched when they are loaded.
    """
    found = {"nothing", "folder"}
    if loading or _has_weights(base):
        found.add("weights")
    if loading or any((base.path / name).is_file() for name in _TOKENIZER_FILES):
        found.add("tokenizer")
    return found


def _has_weights(base: BaseFolder) -> bool:
    if base.path.parent.name == "snapshots":
        with contextlib.suppress(Fault):
            return bool(base.shards) and all((base.path / name).is_file() for name in base.shards)
    return any(any(base.path.glob(kind)) for kind in ("*.safetensors", "*.safetensors.index.json", "pytorch_model*"))


def _made(check: Check, case: Case) -> list[str]:
    model = case.spec.model
    where = model.path or model.name
    try:
        return list(check.look(case))
    except Fault as fault:
        raise check.error(check.name, where, fault.problem, fault.instead) from fault
    except OSError as error:
        raise StorageError(
            f"the base in '{case.base.path}' cannot be read: {error.strerror or type(error).__name__}"
        ) from error
