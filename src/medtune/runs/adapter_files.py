"""Checks the files of an adapter against the spec that it was trained by, before any library reads them."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medtune.errors import UnsafeAdapterError
from medtune.runs.safetensors_file import SafetensorsFile
from medtune.runs.store import PICKLE_SUFFIXES
from medtune.specs import LoraSpec
from medtune.specs.bounded import BoundsError, json_file

__all__ = [
    "CONFIG",
    "EMPTY",
    "FILE_CHECKS",
    "FREE_KEYS",
    "LAYER_PART",
    "WEIGHTS",
    "AdapterFiles",
    "check_adapter_files",
    "implied_settings",
    "read_json",
]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_RUNS_CODE = PICKLE_SUFFIXES | {".joblib", ".npy", ".npz", ".py", ".pyc", ".so"}
_NAMES_CODE = (
    "auto_map",
    "auto_mapping",
    "attn_implementation",
    "_attn_implementation",
    "custom_generate",
    "trust_remote_code",
)
"""Keys by which a configuration makes transformers or peft load code."""
FREE_KEYS = {"peft_version", "inference_mode", "fan_in_fan_out", "qalora_group_size", "revision"}
"""Keys that say nothing of the adapter, or follow from the base."""
EMPTY: tuple[Any, ...] = (None, False, "", [], {})
_CHANGES_BASE = ("pissa", "olora")
_MODULE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
LAYER_PART = re.compile(
    r"base_model\.model\.(?P<layer>.+)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_magnitude_vector)"
)
_BIAS = re.compile(r"base_model\.model\..+\.bias")
_FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter folder, and what it has to agree with.

    Attributes:
        folder: where ``adapter_config.json`` and ``adapter_model.safetensors`` lie.
        lora: what the run asked for.
        bases: names by which its base may be called.
    """

    folder: Path
    lora: LoraSpec
    bases: frozenset[str]

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The adapter's configuration."""
        return self.read(CONFIG)

    @cached_property
    def tensors(self) -> SafetensorsFile:
        """The adapter's tensors by their header."""
        try:
            return SafetensorsFile(self.folder / WEIGHTS)
        except (OSError, ValueError) as error:
            raise self.refusal("files", f"'{WEIGHTS}' is no whole safetensors file ({error})") from None

    def read(self, name: str) -> Mapping[str, Any]:
        """Return a JSON object of the folder."""
        return read_json(self.folder, name)

    def refusal(self, check: str, reason: str) -> UnsafeAdapterError:
        """Return the error of a check."""
        return UnsafeAdapterError(str(self.folder), check, reason)


def read_json(folder: Path, name: str) -> Mapping[str, Any]:
    """Return a JSON object of an adapter's folder.

    Raises:
        UnsafeAdapterError: the file is missing, or holds something else.
    """
    try:
        values = json_file(folder / name)
    except BoundsError as error:
        raise UnsafeAdapterError(str(folder), "files", f"'{name}' {error}") from None
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise UnsafeAdapterError(str(folder), "files", f"'{name}' is missing or no JSON object")
    return values


def check_adapter_files(files: AdapterFiles) -> None:
    """Go through all checks.

    Raises:
        UnsafeAdapterError: of the first check that finds something; ``check`` is its name in ``FILE_CHECKS``.
    """
    for check in FILE_CHECKS.values():
        check(files)


def _check_links(files: AdapterFiles) -> None:
    """A link may lead out of the folder, to what no manifest covers."""
    for path in (files.folder, *sorted(files.folder.rglob("*"))):
        if path.is_symlink():
            raise files.refusal("links", f"'{path.name}' is a link, which may lead out of the run folder")


def _check_code(files: AdapterFiles) -> None:
    """Pickles and modules run code; peft takes adapter_model.bin where it finds nothing else."""
    for path in sorted(files.folder.rglob("*")):
        if path.suffix.lower() in _RUNS_CODE:
            raise files.refusal(
                "code", f"'{path.name}' may run code when it is loaded, and an adapter needs safetensors and JSON alone"
            )


def _check_files(files: AdapterFiles) -> None:
    for name in (CONFIG, *_TOKENIZER):
        files.read(name)
    files.tensors  # noqa: B018 - reads the header


def _check_remote(files: AdapterFiles) -> None:
    """No file may name code, or a repository that holds some."""
    for name in (CONFIG, *_TOKENIZER[1:]):
        for key, value in _entries(files.read(name)):
            if key in _NAMES_CODE and value not in (None, False, "eager", "sdpa"):
                raise files.refusal("remote", f"'{name}' sets {key}, by which code could be loaded")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def _check_kind(files: AdapterFiles) -> None:
    found = files.config.get("peft_type")
    if found != "LORA":
        raise files.refusal("kind", f"its peft_type is {_shown(found)}, and this run trained LORA")


def _check_base(files: AdapterFiles) -> None:
    """The base that plain peft would load is the run's; of a local folder the name says nothing, its fingerprint does."""
    found = files.config.get("base_model_name_or_path")
    is_folder = isinstance(found, str) and Path(found).is_absolute() and any(Path(b).is_absolute() for b in files.bases)
    if found is not None and found not in files.bases and not is_folder:
        raise files.refusal("base", f"it was made for the base {_shown(found)}, and this run's is {min(files.bases)}")


def _check_settings(files: AdapterFiles) -> None:
    """Every setting is what the spec implies, and those that no spec sets are empty."""
    implied = implied_settings(files.lora)
    for key, value in sorted(files.config.items()):
        if key in ("base_model_name_or_path", "peft_type", "target_modules") or key in FREE_KEYS:
            continue
        if key not in implied:
            if value not in EMPTY:
                raise files.refusal("settings", f"its {key} is set, which this run's spec does not ask for")
        elif not _is_same(value, implied[key]):
            raise files.refusal(
                "settings", f"its {key} is {_shown(value)}, and the spec implies {_shown(implied[key])}"
            )
    for key in sorted(implied.keys() - files.config.keys()):
        raise files.refusal("settings", f"its {key} is missing")


def implied_settings(lora: LoraSpec) -> dict[str, Any]:
    """Return what peft writes down for a spec: an adapter saved as a difference has twice the rank, at the same scale."""
    twice = lora.init in _CHANGES_BASE
    factor = 1.0 if not twice else math.sqrt(2) if lora.use_rslora else 2.0
    return {
        "bias": lora.bias,
        "init_lora_weights": lora.init if lora.init in ("gaussian", "orthogonal") else True,
        "lora_alpha": lora.alpha * factor,
        "lora_dropout": lora.dropout,
        "megatron_core": "megatron.core",
        "r": lora.r * (2 if twice else 1),
        "task_type": "CAUSAL_LM",
        "use_dora": lora.use_dora,
        "use_rslora": lora.use_rslora,
    }


def _is_same(value: Any, implied: Any) -> bool:
    if isinstance(implied, float):
        return isinstance(value, int | float) and math.isclose(value, implied, rel_tol=1e-12)
    return type(value) is type(implied) and value == implied


def _check_targets(files: AdapterFiles) -> None:
    """Targets are names of layers, those of the spec where it gives any, and each has its tensors."""
    found = files.config.get("target_modules")
    if not isinstance(found, list) or not found or not all(isinstance(n, str) and _MODULE.fullmatch(n) for n in found):
        raise files.refusal("targets", "its target_modules are no list of names of layers")
    if files.lora.target_modules != "all-linear" and set(found) != set(files.lora.target_modules):
        raise files.refusal("targets", "its target_modules are not those of the spec")
    layers = {match["layer"] for match in map(LAYER_PART.fullmatch, files.tensors.shapes) if match}
    for name in found:
        if not any(layer == name or layer.endswith(f".{name}") for layer in layers):
            raise files.refusal("targets", f"it has no tensors for its target module '{name}'")
    for layer in sorted(layers):
        if not any(layer == name or layer.endswith(f".{name}") for name in found):
            raise files.refusal("targets", f"it has tensors for '{layer}', which is none of its target modules")


def _check_tensors(files: AdapterFiles) -> None:
    """All tensors are parts of LoRA layers, and each layer has all of them; none is of the base but trained biases."""
    parts: dict[str, set[str]] = {}
    for name in files.tensors.shapes:
        match = LAYER_PART.fullmatch(name)
        if match:
            parts.setdefault(match["layer"], set()).add(match["part"])
        elif files.lora.bias == "none" or not _BIAS.fullmatch(name):
            raise files.refusal("tensors", f"'{name}' is no part of this adapter, and may replace weights of the base")
    wanted = {"lora_A.weight", "lora_B.weight"} | ({"lora_magnitude_vector"} if files.lora.use_dora else set[str]())
    for layer, found in sorted(parts.items()):
        if found != wanted:
            raise files.refusal(
                "tensors", f"layer '{layer}' has {', '.join(sorted(found))} instead of {', '.join(sorted(wanted))}"
            )


def _check_ranks(files: AdapterFiles) -> None:
    """Both factors of a layer have the rank of the spec, and its magnitudes are as many as its outputs."""
    rank, shapes = implied_settings(files.lora)["r"], files.tensors.shapes
    for name, shape in shapes.items():
        match = LAYER_PART.fullmatch(name)
        if match and match["part"] == "lora_magnitude_vector":
            right = shape == shapes.get(f"base_model.model.{match['layer']}.lora_B.weight", ())[:1]
        elif match:
            right = len(shape) == 2 and shape[0 if match["part"].startswith("lora_A") else 1] == rank  # noqa: PLR2004
        else:
            right = len(shape) == 1
        if not right:
            raise files.refusal("ranks", f"'{name}' has shape {list(shape)}, which does not fit rank {rank}")


def _check_values(files: AdapterFiles) -> None:
    for name, kind in files.tensors.kinds.items():
        if kind not in _FLOATS:
            raise files.refusal("values", f"'{name}' is stored as {kind}, and values of an adapter are floats")
        if not files.tensors.is_finite(name):
            raise files.refusal("values", f"'{name}' holds values that are not finite")


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


FILE_CHECKS: Mapping[str, Callable[[AdapterFiles], None]] = {
    "links": _check_links,
    "code": _check_code,
    "files": _check_files,
    "remote": _check_remote,
    "kind": _check_kind,
    "base": _check_base,
    "settings": _check_settings,
    "targets": _check_targets,
    "tensors": _check_tensors,
    "ranks": _check_ranks,
    "values": _check_values,
}
"""Name of a check -> the check, in the order in which they are made."""
