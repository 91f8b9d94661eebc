"""The folder of a base: where it lies, its config.json, and the tensors of the files that transformers would read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from medtune.data.base.fault import Fault
from medtune.data.base.headers import AGAIN, Tensor, read_header
from medtune.specs import ModelSpec, RunSpec
from medtune.specs.bounded import LARGEST, BoundsError, json_file

__all__ = [
    "INDEX",
    "SINGLE",
    "BaseFolder",
    "Case",
    "folder_of",
    "read_index",
    "read_object",
    "require_place",
    "weights_are_here",
]

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""The one file of weights, and the file that says in which of several files each tensor lies."""
_LARGEST_CONFIG = 2 * 2**20  # bytes; those of models with 20,000 labels have one
_NEEDED = "a base is a folder with config.json, the tokenizer files and *.safetensors weights"


def require_place(model: ModelSpec) -> None:
    """Refuse a ``model.path`` that is no folder, and a repository's name that transformers would take for a folder.

    Raises:
        Fault: saying which.
    """
    if model.path is not None and not Path(model.path).is_dir():
        raise Fault("is no folder", f"set model.path to the base's folder ({_NEEDED})")
    if model.path is None and Path(model.name).is_dir():
        raise Fault(
            "is the name of a folder here too, which would be loaded in the place of the repository",
            "set model.path to load the folder, or run this elsewhere to load the repository",
        )


def folder_of(model: ModelSpec) -> Path | None:
    """Return the folder that a base's files are read from; None when they are not on this machine. Asks no network."""
    if model.path is not None:
        return Path(model.path)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model.name, "config.json", revision=model.revision or "main")
    return Path(cached).parent if isinstance(cached, str) else None


def weights_are_here(model: ModelSpec) -> bool:
    """Whether every file of a base's weights is on this machine. Asks no network."""
    folder = folder_of(model)
    shards = BaseFolder(folder).shards if folder is not None else {}
    return folder is not None and bool(shards) and all((folder / shard).is_file() for shard in shards)


class BaseFolder:
    """What lies in a base's folder, read when it is asked for; each reader raises ``Fault`` where a file is not whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokenizer: Any = None  # once a check has loaded it

    @cached_property
    def adapter_config(self) -> Mapping[str, Any] | None:
        """The settings of an adapter that lies here, None where there is none; empty where they cannot be read."""
        file = self.path / "adapter_config.json"
        if not file.is_file():
            return None
        try:
            return read_object(file)
        except Fault:
            return {}

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The content of config.json."""
        return read_object(self.path / "config.json", _LARGEST_CONFIG)

    @cached_property
    def shards(self) -> Mapping[str, tuple[str, ...] | None]:
        """File of weights -> the tensors that the index says it holds; None where there is no index. Empty: no weights."""
        if (self.path / SINGLE).is_file() or (self.path / SINGLE).is_symlink():
            return {SINGLE: None}
        if not (self.path / INDEX).is_file():
            return {}
        return read_index(self.path / INDEX)

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor of the files of weights, by name."""
        return {name: tensor for file in self.shards for name, tensor in read_header(self.path / file).items()}

    @property
    def state(self) -> tuple[tuple[str, int, int], ...]:
        """Name, size and time of change of every file that decides what is loaded."""
        return self._state_of("config.json", INDEX, *self.shards)

    @property
    def config_state(self) -> tuple[tuple[str, int, int], ...]:
        """The same of config.json alone."""
        return self._state_of("config.json")

    def _state_of(self, *names: str) -> tuple[tuple[str, int, int], ...]:
        files = [(name, (self.path / name).stat()) for name in names if (self.path / name).is_file()]
        return tuple((name, found.st_size, found.st_mtime_ns) for name, found in files)


@dataclass(frozen=True, slots=True)
class Case:
    """What a check judges: a base, for a run."""

    base: BaseFolder
    spec: RunSpec


def read_object(file: Path, most: int = LARGEST) -> Mapping[str, Any]:
    """Return the object that a JSON file of at most so many bytes holds.

    Raises:
        Fault: it holds something else.
        OSError: it cannot be read.
    """
    try:
        values: Any = json_file(file, most, finite=False)
    except BoundsError as error:
        raise Fault(f"has a '{file.name}' that {error}", AGAIN) from error
    except ValueError as error:
        raise Fault(f"has a '{file.name}' that is not JSON", AGAIN) from error
    if not isinstance(values, dict):
        raise Fault(f"has a '{file.name}' that holds a {type(values).__name__} instead of an object", AGAIN)
    return cast("dict[str, Any]", values)


def read_index(file: Path) -> dict[str, tuple[str, ...]]:
    """Return file of weights -> the tensors that an index says it holds, in the order of the index.

    Raises:
        Fault: it is no index, or names no file.
        OSError: it cannot be read.
    """
    named = read_object(file).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(v, str) for v in _values(named)):
        raise Fault(f"has no weight_map in '{file.name}'", AGAIN)
    found: dict[str, list[str]] = {}
    for tensor, shard in cast("dict[str, str]", named).items():
        found.setdefault(shard, []).append(tensor)
    return {shard: tuple(tensors) for shard, tensors in found.items()}


def _values(mapping: Any) -> list[Any]:
    return list(mapping.values())
