"""Checks on adapters, on a tiny base."""

import os
import re
from pathlib import Path
from typing import Any

from medtune.plugins.contracts import Loaded
from medtune.specs import LoraSpec
from medtune.testing.conformance.checks import Case, NotTriedError, check
from medtune.testing.conformance.models import (
    base_of,
    disturb,
    files_below,
    frozen_digest,
    logits,
    or_not_tried,
    short_disk,
    trainable,
)

__all__: list[str] = []

_PICKLES = re.compile(r"\.(bin|pt|pth|pkl|pickle|ckpt)$")


@check("adapter-complete", "adapter", "attach returns a Loaded with save_adapter and base_only.", is_heavy=True)
def is_complete(case: Case) -> str | None:
    """Look at its fields."""
    found = _attached(case)
    if not isinstance(found, Loaded):
        return f"attach returned a {type(found).__name__}"
    if not callable(found.save_adapter):
        return "save_adapter is not set"
    return "base_only is not set" if found.base_only is Loaded.__dataclass_fields__["base_only"].default else None


@check(
    "adapter-trainable",
    "adapter",
    "The adapter's parameters are trainable, fp32 and finite; some there are.",
    is_heavy=True,
)
def is_trainable(case: Case) -> str | None:
    """Look at the parameters."""
    import torch

    found = trainable(_attached(case).model)
    if not found:
        return "no parameter is trainable"
    for name, parameter in found:
        if parameter.dtype != torch.float32:
            return f"'{name}' is {parameter.dtype}"
        if not bool(torch.isfinite(parameter).all()):
            return f"'{name}' is not finite"
    return None


@check("adapter-is-small", "adapter", "The base's own parameters stay frozen.", is_heavy=True)
def keeps_base_frozen(case: Case) -> str | None:
    """Compare the shapes of what is trainable with the base's."""
    loaded = base_of(case.bench)
    own = {id(parameter) for parameter in loaded.model.parameters()}
    shared = [name for name, parameter in trainable(_attach(case, loaded).model) if id(parameter) in own]
    return f"'{shared[0]}' of the base is trainable" if shared else None


@check(
    "adapter-base-only",
    "adapter",
    "Inside base_only() the model answers as the base does, to the bit, and as tuned after it.",
    is_heavy=True,
)
def sets_base_apart(case: Case) -> str | None:
    """Compare the logits, the adapter being changed."""
    import torch

    reference, found = logits(base_of(case.bench).model), _attached(case)
    disturb(found.model)
    tuned = logits(found.model)
    for _twice in range(2):
        with found.base_only():
            alone = logits(found.model)
        if not torch.equal(alone, reference):
            return "inside base_only() other logits than the base's"
    return None if torch.equal(logits(found.model), tuned) else "after base_only() other logits than before"


@check("adapter-takes-part", "adapter", "Changing the adapter's values changes what the model answers.", is_heavy=True)
def takes_part(case: Case) -> str | None:
    """Change it."""
    import torch

    found = _attached(case)
    before = logits(found.model)
    disturb(found.model)
    return "other values gave the same logits" if torch.equal(before, logits(found.model)) else None


@check(
    "adapter-learns",
    "adapter",
    "A backward pass reaches the adapter with finite gradients, and no parameter of the base.",
    is_heavy=True,
)
def learns(case: Case) -> str | None:
    """Go forward and back."""
    import torch

    found = _attached(case)
    disturb(found.model)
    found.model.train()
    ids = torch.tensor([[5, 9, 77, 30]])
    found.model(input_ids=ids, labels=ids).loss.backward()
    gradients = [(name, parameter.grad) for name, parameter in trainable(found.model)]
    if any(gradient is not None and not bool(torch.isfinite(gradient).all()) for _name, gradient in gradients):
        return "a gradient is not finite"
    without = [name for name, gradient in gradients if gradient is None or not bool(gradient.any())]
    return f"no gradient reaches '{without[0]}'" if without else None


@check("adapter-seeded", "adapter", "The same seed of torch gives the same fresh adapter.", is_heavy=True)
def is_seeded(case: Case) -> str | None:
    """Attach twice."""
    import torch

    one, two = (trainable(_attached(case).model) for _ in range(2))
    same = all(name == other and torch.equal(a, b) for (name, a), (other, b) in zip(one, two, strict=True))
    return None if same else "the second one has other values"


@check(
    "adapter-saves",
    "adapter",
    "An adapter that was saved and loaded again has the same values and answers, to the bit.",
    is_heavy=True,
)
def survives_saving(case: Case) -> str | None:
    """Save it, load it onto a fresh one."""
    import torch

    first, folder = _attached(case), case.bench.fresh("saved")
    disturb(first.model)
    _save(first, folder)
    again = _attached(case, seed=99)
    if again.load_adapter is None:
        return "load_adapter is not set, so that no run of it can be opened again"
    again.load_adapter(folder)
    if not torch.equal(logits(first.model), logits(again.model)):
        return "the loaded adapter answers differently"
    with again.base_only():
        alone = logits(again.model)
    return (
        None if torch.equal(alone, logits(base_of(case.bench).model)) else "the base under the loaded adapter differs"
    )


@check(
    "adapter-files",
    "adapter",
    "save_adapter writes into its folder alone: safetensors and JSON, no pickles.",
    is_heavy=True,
)
def writes_safe_files(case: Case) -> str | None:
    """Look at the files."""
    outer = case.bench.fresh("saving")
    folder = outer / "adapter"
    folder.mkdir()
    found = _attached(case)
    before = _lying_here()
    _save(found, folder)
    names = files_below(outer)
    outside = [name for name in names if not name.startswith("adapter/")]
    if outside or _lying_here() != before:
        return f"it wrote {outside[0] if outside else 'files'} outside its folder"
    if not names:
        return "it wrote nothing"
    pickles = [name for name in names if _PICKLES.search(name)]
    return f"{pickles[0]} is a pickle, which runs code when it is loaded" if pickles else None


@check(
    "adapter-full-disk",
    "adapter",
    "Where the disk is full save_adapter raises; it does not leave half an adapter behind silently.",
    is_heavy=True,
)
def tells_of_full_disk(case: Case) -> str | None:
    """Let no file grow."""
    found, folder = _attached(case), case.bench.fresh("full")
    try:
        with short_disk():
            _save(found, folder)
    except NotTriedError:
        raise
    except Exception:  # noqa: BLE001 - it tells, whatever it raises
        return None
    return "it returned as if all had been written"


@check("adapter-keeps-base", "adapter", "Saving and answering leave the values of the base as they are.", is_heavy=True)
def keeps_base(case: Case) -> str | None:
    """Compare hashes of the frozen values."""
    found = _attached(case)
    before = frozen_digest(found.model)
    _save(found, case.bench.fresh("kept"))
    with found.base_only():
        logits(found.model)
    return None if frozen_digest(found.model) == before else "values of the base changed"


def _lying_here() -> dict[str, int]:
    """Return what lies in the working directory itself, files with when they were changed: all below it may be gigabytes."""
    with os.scandir() as entries:
        return {entry.name: entry.stat().st_mtime_ns if entry.is_file() else 0 for entry in entries}


def _attached(case: Case, seed: int = 5) -> Any:
    return _attach(case, base_of(case.bench), seed)


def _attach(case: Case, loaded: Loaded, seed: int = 5) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]), or_not_tried():
        torch.manual_seed(seed)
        return case.thing.attach(loaded, LoraSpec(r=4, dropout=0.0))


def _save(loaded: Any, folder: Path) -> None:
    if loaded.save_adapter is None:
        raise NotTriedError("save_adapter is not set")
    loaded.save_adapter(folder)
