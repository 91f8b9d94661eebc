"""Writes a commented spec for a user's own file: read as it is, sized for a base and a machine."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.sources.kinds import reading_with
from medtune.errors import OutOfMemoryError, SpecError
from medtune.machine.gpus import machine_with
from medtune.machine.hardware import Machine, describe_machine
from medtune.planning.base_config import model_config
from medtune.planning.counting import count_rows
from medtune.planning.make_plan import make_plan, total_steps
from medtune.plugins.host import PluginHost, create_host
from medtune.plugins.plan import DataSize, Plan
from medtune.specfile import apply_overrides, merge, stated_plugins, validate_spec
from medtune.specs import RunSpec
from medtune.workflow.found_rows import FoundRows, find_rows
from medtune.workflow.toml import toml_pairs, toml_tables, toml_text, write_new

__all__ = ["NewSpec", "Wish", "new_spec"]

CPU_BUNDLE = "demo"
"""Bundle to start from where there is no GPU: the one whose base trains on a CPU."""
_STEP = 64
_LONGEST = 8192
"""Tokens of a row, where the base's config does not say less."""
_CHARACTERS_PER_TOKEN, _TEMPLATE_TOKENS = 3.0, 40
"""Estimates for a base whose tokenizer is not here; clinical text gives 3 to 4 characters a token."""
_UPDATES, _MOST_EPOCHS = 200, 10
"""Updates that a run should have, and passes over a small set to reach them."""
_HELD_OUT, _LEAST, _MOST = 200, 0.02, 0.2
"""Rows to hold out, and bounds of their share."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user may say beside the file.

    Attributes:
        gpu: GPU to size for, None for this machine.
        base: hub repository or folder of the base, None for a bundle's.
        bundle: bundle to start from on a GPU.
        sets: fields that are settled, each as ``lora.r=32``.
    """

    gpu: str | None
    base: str | None
    bundle: str
    sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewSpec:
    """A spec that was written: its file, what was found in the data, and the plan that it follows."""

    path: Path
    found: FoundRows
    plan: Plan
    max_length: int
    measured: bool


def new_spec(file: Path, target: Path, wish: Wish, host: PluginHost | None = None) -> NewSpec:
    """Look at a file of rows and write a spec with which ``medtune train`` works as it is.

    Raises:
        DataError: the file has to be imported first, or cannot be read as rows.
        SpecError: ``target`` is there already, or a GPU or a field is not known.
        StorageError: a file cannot be read or written.
        OutOfMemoryError: no length that keeps most rows fits the machine.
    """
    if target.exists():
        raise SpecError(f"'{target}' is there already; remove it, or choose another --out")
    host = host or create_host(allowed=stated_plugins({}, wish.sets))
    with reading_with(host):
        return _new_spec(file, target, wish, host)


def _new_spec(file: Path, target: Path, wish: Wish, host: PluginHost) -> NewSpec:
    given = _given(wish)
    found = find_rows(file, host, given.get("data"))
    machine = describe_machine() if wish.gpu is None else machine_with(wish.gpu)
    values = merge(_values(file, found, machine, wish), given)
    size = count_rows(_spec(values, host, _longest(values, host)), host)
    if size is not None and _hold_out_instead(values, found, size):
        size = count_rows(_spec(values, host, _longest(values, host)), host)
    length, plan = _fitting(values, found, size, machine, host)
    spec = _spec(values, host, length)
    counted = count_rows(spec, host)
    epochs = _epochs(spec, counted, found, length)
    values = merge({"train": {"max_length": length, "num_train_epochs": epochs}}, values)
    measured = size is not None and size.measured
    written = NewSpec(target, found, plan, length, measured)
    write_new(target, "\n".join(_lines(values, written)) + "\n")
    return written


def _given(wish: Wish) -> dict[str, Any]:
    """Return the values that are settled; those of ``data`` are how the file is read."""
    given = apply_overrides({}, wish.sets)
    if "source" in (data := given.get("data", {})):
        raise SpecError("data.source is the file that init looks at; give the other one as FILE")
    validate_spec({**given, "data": {"source": "rows", **data}})  # a field that is none is said before the file is read
    return given


def _values(file: Path, found: FoundRows, machine: Machine, wish: Wish) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if wish.base is not None:
        folder = Path(wish.base).expanduser()
        is_folder = folder.is_dir()
        values["model"] = {"name": folder.name, "path": str(folder.resolve())} if is_folder else {"name": wish.base}
    else:
        values["bundle"] = wish.bundle if machine.accelerator else CPU_BUNDLE
    if machine.accelerator:
        values["quant"] = {"scheme": "auto"}
    values["data"] = dict(found.data)
    if not found.data.keys() & {"validation", "validation_fraction"}:
        values["data"]["validation_fraction"] = _share(found)
    stem = file.resolve().name.split(".")[0]
    values["output_dir"] = str(file.resolve().with_name(f"{stem}-run"))
    return values


def _share(found: FoundRows) -> float:
    """Return the share of the rows to hold out."""
    return round(min(_MOST, max(_LEAST, _HELD_OUT / found.rows)), 3)


def _hold_out_instead(values: Mapping[str, Any], found: FoundRows, size: DataSize) -> bool:
    """Hold rows out where those to score on are all trained on: such a run would be refused."""
    data, drawn = values["data"], size.facts["validation"]["drawn"]
    if "validation" not in data or not drawn or size.facts["copied"] < drawn:
        return False
    place = data.pop("validation")
    data["validation_fraction"] = _share(found)
    found.left_out[place] = f"each of {drawn:,} rows drawn from it is trained on as well"
    return True


def _spec(values: Mapping[str, Any], host: PluginHost, max_length: int) -> RunSpec:
    own = {key: value for key, value in values.items() if key != "bundle"}
    own = merge({"train": {"num_train_epochs": 1.0, "max_length": max_length}}, own)
    own["data"] = {"accept_loss": False, **own["data"]}
    below: dict[str, Any] = {}
    if "bundle" in values:
        below = host.find("bundle", values["bundle"]).spec.model_dump(mode="json", exclude_unset=True)
    return validate_spec(merge(below, own))


def _longest(values: Mapping[str, Any], host: PluginHost) -> int:
    """Return the most tokens that the base takes."""
    spec = _spec(values, host, _STEP)
    stated = model_config(spec, host.all("bundle")).get("max_position_embeddings")
    return min(_LONGEST, stated) if isinstance(stated, int) and stated >= _STEP else _LONGEST


def _fitting(
    values: Mapping[str, Any], found: FoundRows, size: DataSize | None, machine: Machine, host: PluginHost
) -> tuple[int, Plan]:
    """Return the longest ``max_length`` worth having that fits, with its plan: for all rows, for 99 %, or for 98 %."""
    longest = _longest(values, host)
    plan: Plan | None = None
    settled = values.get("train", {}).get("max_length")
    for needed in _needed(found, size) if settled is None else [settled]:
        length = settled or min(longest, max(_STEP, math.ceil(needed / _STEP) * _STEP))
        plan = make_plan(_spec(values, host, length), host, machine=machine)
        if plan.fits:
            return length, plan
    raise OutOfMemoryError(plan.advice if plan else "there is no row to size for")


def _needed(found: FoundRows, size: DataSize | None) -> Sequence[int]:
    """Return tokens that keep 100, 99 and about 98 % of the rows whole; measured, or estimated from characters."""
    if size is not None and size.facts.get("needed"):
        needed = size.facts["needed"]
        return [needed["100"], needed["99"]]
    lengths = sorted(found.characters)
    places = (len(lengths) - 1, math.ceil(0.99 * len(lengths)) - 1, math.ceil(0.98 * len(lengths)) - 1)
    return [math.ceil(lengths[at] / _CHARACTERS_PER_TOKEN) + _TEMPLATE_TOKENS for at in places]


def _epochs(spec: RunSpec, size: DataSize | None, found: FoundRows, length: int) -> float:
    """Return passes over the rows that give about 200 updates, at least one and at most ten."""
    tokens = sum(found.characters) / _CHARACTERS_PER_TOKEN + _TEMPLATE_TOKENS * found.rows
    rows = size.rows if size is not None else max(1, math.ceil(tokens / length))
    return float(min(_MOST_EPOCHS, max(1, math.ceil(_UPDATES / total_steps(spec, max(1, rows))))))


def _lines(values: Mapping[str, Any], written: NewSpec) -> Iterator[str]:
    """Yield the spec's lines, each table with what it rests on."""
    found, plan = written.found, written.plan
    yield "# Written by `medtune init`; every value may be changed. `medtune preview` shows what the trainer will see,"
    yield "# `medtune plan` what it needs, `medtune train` trains."
    if "bundle" in values:
        why = "its base trains on a CPU" if values["bundle"] == CPU_BUNDLE else "the public tutorial's values"
        yield f"bundle = {toml_text(values['bundle'])} # {why}; another base: [model] name or path"
    yield from toml_pairs({key: value for key, value in values.items() if key != "bundle"})
    if "model" in values:
        yield from ("", "[model]", *toml_pairs(values["model"]))
    yield from ("", "[data]", *_about(found), *toml_pairs(values["data"]))
    if "validation_fraction" in values["data"]:
        yield "# no validation rows of their own: this share of the rows is held out to score on"
    yield from toml_tables("data", values["data"])
    yield from ("", "[train]")
    how = (
        "measured with the base's tokenizer" if written.measured else "estimated: the base's tokenizer is not here yet"
    )
    yield f"# lengths {how}; longer rows are dropped and counted"
    yield f"max_length = {written.max_length}"
    if "num_train_epochs" in values["train"]:
        yield f"# about {_UPDATES} updates, at least one pass and at most {_MOST_EPOCHS}"
    yield from toml_pairs({key: value for key, value in values["train"].items() if key != "max_length"})
    if "quant" in values:
        peak = "" if plan.peak_gib is None else f", about {plan.peak_gib:.1f} GiB"
        yield from (
            "",
            "[quant]",
            f"# on {plan.device} this comes to {plan.scheme}{peak}",
            *toml_pairs(values["quant"]),
        )
    for name in values.keys() - {"model", "data", "train", "quant"}:
        yield from toml_tables("", {name: values[name]})


def _about(found: FoundRows) -> Iterator[str]:
    """Yield comments on what the rows are."""
    amount = f"{found.rows:,} rows" if found.whole else f"the first {found.rows:,} rows"
    tasks = ", ".join(f"{name or 'no known task'} {count:,}" for name, count in found.tasks.most_common())
    yield f"# {amount}, scored as: {tasks}" + (f"; {found.malformed:,} malformed" if found.malformed else "")
    if 1 < len(found.sources) <= 20:  # noqa: PLR2004 - more are no help in a comment
        yield "# sources: " + ", ".join(f"{json.dumps(n)} {count:,}" for n, count in found.sources.most_common())
    if found.data.get("document"):
        yield "# rows of one document are held out together"
    for note in (*found.notes, *found.not_read()):
        yield f"# {' '.join(note.split())}"
