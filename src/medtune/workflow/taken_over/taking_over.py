"""Takes another program's configuration over: every key is the same here, changed, refused, not needed or unknown."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import InvalidValueError, SpecError
from medtune.machine.optimizers import NOT_OFFERED, OFFERED
from medtune.specfile import apply_overrides, validate_spec
from medtune.specs import RunSpec
from medtune.specs.elsewhere.meanings import (
    ABSENT,
    CHANGED,
    NOT_NEEDED,
    REFUSED,
    SAME,
    UNKNOWN,
    Finding,
    Outcome,
    Program,
)
from medtune.specs.elsewhere.programs import PROGRAMS, meaning_of
from medtune.specs.elsewhere.unsloth import UNSLOTH_PLAIN
from medtune.workflow.taken_over.reading import NOT_WRITTEN, Configuration, read_configuration

__all__ = ["ACCEPTED", "TakenOver", "take_over"]

ACCEPTED = (CHANGED, REFUSED, UNKNOWN)
"""Verdicts that change results, so that somebody has to accept them."""
_SECRET = re.compile(r"(^|_)(token|api_key|secret|password)$")
_BF16_WHERE_IT_IS = re.compile(r"bfloat16_supported|bf16_supported")
_DEFAULTS = RunSpec().model_dump(mode="json")
_GPUS = ("NPROC_PER_NODE", "WORLD_SIZE")


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A configuration as a spec.

    Attributes:
        program: whose configuration it is.
        values: the spec's, nested.
        findings: what became of each key.
        source: the file.
    """

    program: Program
    values: Mapping[str, Any]
    findings: tuple[Finding, ...]
    source: Path

    @property
    def to_accept(self) -> tuple[Finding, ...]:
        """The findings that change results."""
        return tuple(each for each in self.findings if each.verdict in ACCEPTED)


def take_over(file: Path, name: str | None = None, overrides: Sequence[str] = ()) -> TakenOver:
    """Read a configuration and say what becomes of each of its keys.

    Args:
        file: YAML, JSON, TOML, a shell script with one command, or a Python script.
        name: of the program, where the file does not tell.
        overrides: fields of the spec that are settled, each as ``lora.r=32``.

    Raises:
        StorageError: the file cannot be read.
        SpecError: it cannot be understood, or trains something that is not offered at all.
    """
    read = read_configuration(file)
    program = _program(read, name, file)
    fields, findings = dict[str, Any](), list[Finding]()
    known = {key: value for key, value in read.values.items() if not isinstance(value, NOT_WRITTEN)}
    for key, value in read.values.items():
        if not key.startswith("("):
            findings.append(_found(program, key, value, fields))
    joint = list(program.finish({**known, "(calls)": read.calls}, fields))
    findings += joint
    findings += _by_default(program, fields)
    findings += _not_offered(fields)
    findings += _unnamed(fields)
    findings += [Finding(f"({what})", None, CHANGED, "", how) for what, how in program.notes]
    findings += _around(read)
    settled = {each.key for each in joint}
    findings = [each for each in findings if each.key not in settled or each in joint]
    values = apply_overrides(_nested(_placed(fields, file)), overrides)
    settled = {text.partition("=")[0].strip() for text in overrides}
    findings = [each for each in findings if each.field not in settled or each.verdict not in ACCEPTED]
    findings += _unusable(values)
    return TakenOver(program, values, tuple(map(_masked, findings)), file)


def _program(read: Configuration, name: str | None, file: Path) -> Program:
    if name is not None and name not in PROGRAMS:
        raise SpecError(f"no program named '{name}' is known; there are {', '.join(PROGRAMS)}")
    chosen = name or read.program
    if not chosen:
        points = {each: len(program.marks & read.values.keys()) for each, program in PROGRAMS.items()}
        best = [each for each, count in points.items() if count and count == max(points.values())]
        if len(best) != 1:
            if best or not TRAINING_KEYS & read.values.keys():
                told = " or ".join(best) or "no program that is known"
                raise SpecError(
                    f"'{file}' looks like the configuration of {told}; name it: --program {'|'.join(PROGRAMS)}"
                )
            best = ["trl"]
        chosen = best[0]
    is_plain = chosen == "unsloth" and "TrainingArguments" in read.calls
    return UNSLOTH_PLAIN if is_plain else PROGRAMS[chosen]


TRAINING_KEYS = frozenset(
    {"per_device_train_batch_size", "num_train_epochs", "learning_rate", "gradient_accumulation_steps"}
)
"""Keys of transformers' own arguments, which nothing else marks."""


def _found(program: Program, key: str, value: Any, fields: dict[str, Any]) -> Finding:
    """Return what becomes of one key, and keep the value of its field."""
    meaning = program.keys.get(key)
    if meaning is None:
        elsewhere = meaning_of(key)
        why = "no meaning of it is known here"
        if elsewhere is not None and elsewhere.field:
            why = f"{program.name} has no such key; another program's is {elsewhere.field} here"
        return Finding(
            key, value, UNKNOWN if value is not None else NOT_NEEDED, "", why if value is not None else "is not set"
        )
    if isinstance(value, NOT_WRITTEN):
        if meaning.field == "train.precision" and _BF16_WHERE_IT_IS.search(value.written):
            return Finding(key, str(value), SAME, meaning.field, 'is what "auto" does')
        is_needless = meaning.verdict == NOT_NEEDED
        why = meaning.why if is_needless else "its value is computed when the file runs; set it yourself"
        return Finding(key, str(value), NOT_NEEDED if is_needless else CHANGED, meaning.field, why)
    if value is None:
        return Finding(key, None, NOT_NEEDED, meaning.field, "is not set")
    try:
        taken = meaning.take(value)
    except (TypeError, ValueError, KeyError, AttributeError):
        return Finding(key, value, REFUSED, meaning.field, "is no value that it can have")
    verdict, why = meaning.verdict, meaning.why
    if isinstance(taken, Outcome):
        verdict, why, taken = taken
    if taken is not ABSENT and meaning.field:
        fields[meaning.field] = taken
    return Finding(key, value, verdict, meaning.field, why)


def _by_default(program: Program, fields: dict[str, Any]) -> Iterator[Finding]:
    """Set what the program takes where nothing is said, and medtune would take something else."""
    for dotted, value in program.defaults.items():
        if dotted in fields or _is_replaced(dotted, fields):
            continue
        fields[dotted] = value
        if value != _default(dotted):
            yield Finding("(default)", value, SAME, dotted, f"{program.name}'s, where nothing is said")


def _is_replaced(dotted: str, fields: Mapping[str, Any]) -> bool:
    others = {
        "train.num_train_epochs": "train.max_steps",
        "train.warmup_ratio": "train.warmup_steps",
        "train.save_steps": "train.save_strategy",
    }
    return others.get(dotted) in fields and not (
        dotted == "train.save_steps" and fields["train.save_strategy"] == "steps"
    )


def _default(dotted: str) -> Any:
    part, _dot, name = dotted.partition(".")
    return _DEFAULTS[part][name] if name else _DEFAULTS[part]


def _unusable(values: dict[str, Any]) -> Iterator[Finding]:
    """Leave out values that no spec can have, one after the other."""
    while True:
        try:
            validate_spec(values)
        except InvalidValueError as error:
            part, _dot, name = error.field.partition(".")
            if name not in values.get(part, {}):
                raise
            yield Finding(f"({name})", values[part].pop(name), REFUSED, error.field, f"cannot be used: {error.reason}")
        else:
            return


def _unnamed(fields: Mapping[str, Any]) -> Iterator[Finding]:
    """Say of a base or rows that nothing names what stands in their place."""
    for dotted, what in (("model.name", "base"), ("data.source", "data set")):
        if not fields.get(dotted):
            why = f"no {what} is named; medtune's default is {_default(dotted)}"
            yield Finding(f"({what})", None, CHANGED, dotted, why)
    if fields.get("data.source") and not fields.get("data.validation") and "data.validation_fraction" not in fields:
        why = f"{_default('data.validation_fraction'):.0%} of the rows are held out to score on, and not trained on"
        yield Finding("(validation)", None, CHANGED, "data.validation_fraction", why)


def _not_offered(fields: dict[str, Any]) -> Iterator[Finding]:
    """Leave out an optimizer that is not offered."""
    optim = fields.get("train.optim")
    if optim == "adamw_hf":
        fields["train.optim"] = "adamw_torch"
        yield Finding(
            "(optimizer)", optim, CHANGED, "train.optim", "transformers' own AdamW is gone; torch's computes the same"
        )
    elif optim is not None and optim not in OFFERED:
        del fields["train.optim"]
        yield Finding(
            "(optimizer)",
            optim,
            REFUSED,
            "train.optim",
            NOT_OFFERED.get(str(optim), "no optimizer of that name is offered"),
        )


def _around(read: Configuration) -> Iterator[Finding]:
    for name, value in (read.around or {}).items():
        several = name in _GPUS and value not in ("", "1")
        why = (
            "updates were that many times as large; multiply train.gradient_accumulation_steps"
            if several
            else "is the command's, not the run's"
        )
        yield Finding(
            name, value, CHANGED if several else NOT_NEEDED, "train.gradient_accumulation_steps" if several else "", why
        )


def _placed(fields: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return the fields with local folders and files as paths from here."""
    placed = {key: value for key, value in fields.items() if value is not None}
    if isinstance(name := placed.get("model.name"), str):
        folder = _here(name, file)
        if folder is not None and folder.is_dir():
            placed |= {"model.path": str(folder), "model.name": folder.name}
    for key in ("data.source", "data.validation"):
        if isinstance(value := placed.get(key), str) and (found := _here(value, file)) is not None:
            placed[key] = str(found)
    for member in placed.get("data.mix", ()):
        if (found := _here(str(member["source"]), file)) is not None:
            member["source"] = str(found)
    return placed


def _here(name: str, file: Path) -> Path | None:
    """Return what a name stands for on this machine: from the working directory, else beside the configuration."""
    try:
        return next((place for place in (Path(name).expanduser(), file.parent / name) if place.exists()), None)
    except (OSError, ValueError, RuntimeError):
        return None


def _nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    nested = dict[str, Any]()
    for dotted, value in fields.items():
        part, _dot, name = dotted.partition(".")
        if name:
            nested.setdefault(part, {})[name] = value
        else:
            nested[part] = value
    return nested


def _masked(finding: Finding) -> Finding:
    is_secret = not finding.field and isinstance(finding.value, str) and _SECRET.search(finding.key.lower())
    return finding._replace(value="***") if is_secret else finding
