"""Reads an adapter that another trainer saved, and writes it down as a run keeps its own."""

import json
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from medtune.errors import UnsafeAdapterError
from medtune.runs.adapter_files import CONFIG, EMPTY, FREE_KEYS, LAYER_PART, WEIGHTS, implied_settings, read_json
from medtune.runs.safetensors_file import SafetensorsFile
from medtune.runs.store import PICKLE_SUFFIXES
from medtune.specs import LoraSpec, ModelSpec

__all__ = ["ForeignAdapter", "read_foreign", "write_own"]

_UNCHANGED_BASE = (True, False, None, "gaussian", "orthogonal", "eva", "mica")
"""Initialisations after which the frozen weights are the base's."""
_FOLLOWED_FROM_TENSORS = {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern"}
"""Which layers have an adapter, and of which rank, is read from the tensors; the first four have to say the same."""
_READ = {
    "r",
    "lora_alpha",
    "lora_dropout",
    "bias",
    "use_rslora",
    "use_dora",
    "init_lora_weights",
    "peft_type",
    "task_type",
}
_OF_BASE = {
    "auto_mapping",  # unsloth's name of the base's class; the configuration is written anew without it
    "base_model_name_or_path",
    "revision",
    "megatron_core",
    "corda_config",
    "eva_config",
    "runtime_config",
}
_TAKEN = {CONFIG, WEIGHTS, "trainer_state.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
_WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|module)\.")
_TOLD_CONFIG = ("base_model_name_or_path", "revision", "peft_version")
_TOLD_STATE = ("global_step", "epoch", "num_train_epochs", "max_steps", "train_batch_size", "best_metric")
_MOST_JSON = 1 << 26


@dataclass(frozen=True, slots=True)
class ForeignAdapter:
    """An adapter as its files describe it.

    Attributes:
        folder: where it lies.
        lora: the spec that describes it.
        layers: names of the base's layers that it adapts.
        told: what its files say of how it was made; nothing of it is proved.
    """

    folder: Path
    lora: LoraSpec
    layers: tuple[str, ...]
    told: Mapping[str, Any]


def read_foreign(folder: Path, of_base: Collection[str]) -> ForeignAdapter:
    """Read the configuration, the header of the tensors, and what the trainer left beside them.

    Args:
        folder: where it lies.
        of_base: names of the base's layers that have weights.

    Raises:
        UnsafeAdapterError: it is no LoRA adapter in safetensors, one of another base's layers, or one that a run's spec cannot
            describe.
    """
    _require_own_files(folder)
    config = read_json(folder, CONFIG)
    if config.get("peft_type") != "LORA":
        raise UnsafeAdapterError(
            str(folder), "kind", f"its peft_type is {config.get('peft_type')!r}; a LORA can be adopted"
        )
    _require_known(folder, config)
    layers = _layers(folder, _tensors(folder), of_base)
    _require_all_that_it_says(folder, config, layers, of_base)
    try:
        lora = LoraSpec(
            r=config.get("r"),  # type: ignore[arg-type] # pydantic says what is wrong with it
            alpha=config.get("lora_alpha"),  # type: ignore[arg-type]
            dropout=config.get("lora_dropout", 0.0),
            bias=config.get("bias", "none"),
            target_modules=_targets(layers, of_base),
            use_rslora=bool(config.get("use_rslora", False)),
            use_dora=bool(config.get("use_dora", False)),
        )
    except ValueError:
        raise UnsafeAdapterError(
            str(folder), "settings", "its r, lora_alpha, lora_dropout or bias is not what a LoRA adapter has"
        ) from None
    return ForeignAdapter(folder, lora, layers, _told(folder, config))


def write_own(foreign: ForeignAdapter, target: Path, base: ModelSpec) -> None:
    """Copy the tensors into an empty folder, and write the configuration that medtune would have written."""
    shutil.copyfile(foreign.folder / WEIGHTS, target / WEIGHTS)
    config = {
        **implied_settings(foreign.lora),
        "base_model_name_or_path": base.repository or base.path,
        "inference_mode": True,
        "peft_type": "LORA",
        "revision": base.commit,
        "target_modules": sorted(foreign.lora.target_modules),
    }
    (target / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _require_own_files(folder: Path) -> None:
    """Refuse a folder that holds adapters in folders of its own, as trainers leave checkpoints, and name one."""
    inner = sorted(file.parent.name for file in folder.glob(f"*/{CONFIG}"))
    if inner and not (folder / CONFIG).is_file():
        raise UnsafeAdapterError(
            str(folder),
            "files",
            f"it holds no '{CONFIG}' itself, and {len(inner)} folders that do",
            f"name one, as '{inner[-1]}'",
        )


def _require_known(folder: Path, config: Mapping[str, Any]) -> None:
    start = config.get("init_lora_weights", True)
    if start not in _UNCHANGED_BASE:
        raise UnsafeAdapterError(
            str(folder),
            "initialisation",
            f"it was initialised by {start!r}, which changes the frozen weights: on the base as it is it would answer wrongly; "
            "let its trainer save it converted (path_initial_model_for_weight_conversion in peft)",
        )
    known = _READ | _OF_BASE | _FOLLOWED_FROM_TENSORS | FREE_KEYS
    odd = sorted(key for key, value in config.items() if key not in known and value not in EMPTY)
    if odd:
        raise UnsafeAdapterError(
            str(folder),
            "settings",
            f"its {', '.join(odd)} cannot be described by a run's spec; merge it by what trained it",
        )


def _tensors(folder: Path) -> SafetensorsFile:
    try:
        return SafetensorsFile(folder / WEIGHTS)
    except (OSError, ValueError) as error:
        raise UnsafeAdapterError(
            str(folder), "files", f"'{WEIGHTS}' is no whole safetensors file ({error}); save it as safetensors"
        ) from None


def _layers(folder: Path, tensors: SafetensorsFile, of_base: Collection[str]) -> tuple[str, ...]:
    """Return the layers that have tensors; a name that peft would pass by in silence is refused."""
    found: set[str] = set()
    for name in tensors.shapes:
        match = LAYER_PART.fullmatch(name)
        if match:
            found.add(match["layer"])
        elif _WRAPPERS.search(name):
            raise UnsafeAdapterError(
                str(folder), "names", f"'{name}' bears the name of a wrapper, so that no loader would find its layer"
            )
    wrapped = [name for name in found if _WRAPPERS.search(f"{name}.")]
    if wrapped or not found:
        what = (
            f"layer '{wrapped[0]}' bears the name of a wrapper" if wrapped else "none of its tensors is of a LoRA layer"
        )
        raise UnsafeAdapterError(str(folder), "names", f"{what}, so that no loader would find its layer")
    strange = sorted(found - set(of_base))
    if strange:
        raise UnsafeAdapterError(
            str(folder),
            "names",
            f"the base has no layer '{strange[0]}' ({len(strange)} of {len(found)} like it), so the adapter would do nothing there",
        )
    return tuple(sorted(found))


def _require_all_that_it_says(
    folder: Path, config: Mapping[str, Any], layers: Sequence[str], of_base: Collection[str]
) -> None:
    """Refuse tensors of other layers than peft would adapt by this configuration: some were lost, or would be passed by."""
    if config.get("target_modules") in (*EMPTY, "all-linear"):  # names that only the model itself can tell
        return
    from peft.tuners.tuners_utils import check_target_module_exists

    places = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
    said = SimpleNamespace(**{key: config.get(key) for key in places})
    reached = {name for name in of_base if check_target_module_exists(said, name)}
    for odd, problem in (
        (reached - set(layers), "by its configuration '{}' has an adapter, and it has no tensors for it"),
        (set(layers) - reached, "it has tensors for '{}', which its configuration leaves out: peft would pass them by"),
    ):
        if odd:
            example = problem.format(min(odd))
            raise UnsafeAdapterError(str(folder), "layers", f"{example} ({len(odd)} such layers)")


def _targets(layers: Sequence[str], of_base: Collection[str]) -> tuple[str, ...]:
    """Return the ends of names that reach these layers and no other, else the full names."""
    ends = {layer.rpartition(".")[2] for layer in layers}
    reached = {name for name in of_base if name.rpartition(".")[2] in ends}
    return tuple(sorted(ends)) if reached == set(layers) else tuple(layers)


def _told(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the files say, numbers and names alone; pickles, such as training_args.bin, are not read."""
    said = {key: config[key] for key in _TOLD_CONFIG if isinstance(config.get(key), str)}
    state = folder / "trainer_state.json"
    if state.is_file() and state.stat().st_size < _MOST_JSON:
        values = read_json(folder, state.name)
        said["trainer_state"] = {k: values[k] for k in _TOLD_STATE if isinstance(values.get(k), int | float)}
    left = [path for path in folder.iterdir() if path.name not in _TAKEN]
    said["not_read"] = sorted(path.name for path in left if path.suffix in PICKLE_SUFFIXES)
    said["left_aside"] = sorted(
        f"{path.name}/" if path.is_dir() else path.name for path in left if path.suffix not in PICKLE_SUFFIXES
    )
    return said
