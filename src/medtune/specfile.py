"""Reads run specs from TOML, YAML and JSON, applies overrides, and says where a mistake stands."""

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from medtune.errors import (
    InvalidValueError,
    Mistake,
    SpecError,
    SpecValidationError,
    StorageError,
    UnknownKey,
    UnknownKeyError,
)
from medtune.specs import RunSpec
from medtune.specs.bounded import DEEPEST, BoundsError, bounded_text, json_value, toml_value, yaml_value

__all__ = [
    "apply_overrides",
    "merge",
    "override_values",
    "read_spec_file",
    "stated_lock",
    "stated_plugins",
    "validate_spec",
]

_PINNED_TO = {
    "model.name": ("model.revision",),
    "model.path": ("model.name",),
    **{f"{part}.backend": (f"{part}.options",) for part in ("quant", "lora", "train", "eval")},
    "data.source": ("data.revision", "data.subset", "data.split", "data.validation"),
}
"""Changing the key on the left makes the values on the right, which belong to the old one, meaningless."""

_EXCLUDES = {
    "train.max_steps": "train.num_train_epochs",
    "train.num_train_epochs": "train.max_steps",
    "train.warmup_steps": "train.warmup_ratio",
    "train.warmup_ratio": "train.warmup_steps",
}
"""Setting the left one replaces the right one of the spec underneath."""

_LARGEST = 2**20  # bytes; specs have a few thousand


def read_spec_file(path: str | Path) -> dict[str, Any]:
    """Return the nested mapping of a .toml, .yaml, .yml or .json file.

    Raises:
        StorageError: the file cannot be read.
        SpecError: it is not well-formed, beyond a bound (see ``specs.bounded``), or of another kind.
    """
    file = Path(path)
    try:
        values = _parse(file.suffix.lower(), bounded_text(file, _LARGEST), file)
    except OSError as error:
        raise StorageError(f"cannot read spec '{file}': {error.strerror or type(error).__name__}") from error
    except BoundsError as error:
        raise SpecError(f"spec '{file}' {error}; write it as medtune init does") from error
    except ValueError as error:
        raise SpecError(f"spec '{file}' is not well-formed: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise SpecError(f"spec '{file}' must hold tables such as [train], not a {type(values).__name__}")
    return values


def override_values(part: str, value: Any) -> tuple[Any, Iterable[Mapping[str, Any]] | None]:
    """Return the spec values that a part given in Python stands for, and the rows that were given instead of a source.

    Args:
        part: name of a part of a spec.
        value: a spec, a mapping or a plain value; for ``model`` also a repository or folder, for ``data`` a source or rows.

    Raises:
        SpecError: there are rows inside of a mapping.
    """
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True), None
    if part == "model" and isinstance(value, str | Path):
        return ({"name": str(value), "path": str(value)} if Path(value).is_dir() else {"name": value}), None
    if part == "data" and isinstance(value, str | Path):
        return {"source": str(value)}, None
    if part == "data" and not isinstance(value, Mapping):
        return {"source": "rows"}, value
    if part == "data":
        _require_no_rows(value)
    return value, None


def _require_no_rows(data: Mapping[str, Any]) -> None:
    """Refuse rows inside of a mapping, where files are named."""
    for key in ("train", "source", "validation", "test"):
        given = data.get(key)
        if hasattr(given, "__iter__") and not isinstance(given, str | Mapping):
            raise SpecError(
                f"data.{key} cannot hold rows: a mapping names files, as data={{'source': 'train.jsonl', 'validation': "
                "'validation.jsonl'}; give rows alone, as data=ROWS or MedTuner(spec, rows=ROWS), and those to score on are held out of "
                "them by data.validation_fraction"
            )


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``above`` over ``below``; a changed model or data source drops the commit pinned for the old one."""
    above, merged = _by_present_names(above), _by_present_names(below)
    given = _leaves(above)
    for key, old in [*_PINNED_TO.items(), *((k, (v,)) for k, v in _EXCLUDES.items())]:
        if given.get(key) is not None and given[key] != _get(merged, key):
            for dependent in old:
                _drop(merged, dependent)
    _lay(merged, above)
    return merged


def _by_present_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy whose fields bear the names they have now, so that one laid over another meets it."""
    found = copy.deepcopy(dict(values))
    for part, field in RunSpec.model_fields.items():
        given: Any = found.get(part)
        for former, name in getattr(field.annotation, "former_names", {}).items():
            if isinstance(given, dict) and former in given and name not in given:
                given[name] = given.pop(former)
    return found


def apply_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply ``key.path=value`` strings; values are TOML literals, anything else is taken as text."""
    merged, given = dict(values), dict[str, Any]()
    # A path first: what another override names is what lies there.
    for override in sorted(overrides, key=lambda text: not text.lstrip().startswith("model.path")):
        key, separator, raw = override.partition("=")
        if not separator or not key.strip():
            raise SpecError(f"override '{override}' must look like lora.r=32")
        if key.count(".") >= DEEPEST:
            raise SpecError(f"an override names more than {DEEPEST} levels; it must look like lora.r=32")
        nested: Any = _literal(raw.strip())
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        _require_agreement(given, nested)
        merged = merge(merged, nested)
    return merged


def _require_agreement(given: dict[str, Any], stated: Mapping[str, Any]) -> None:
    """Add what an override states to what is given, unless the two contradict each other."""
    for key, value in _leaves(stated).items():
        if given.setdefault(key, value) != value:
            raise SpecError(f"overrides contradict each other: {key}={given[key]} and {key}={value}; give one of them")
        if (other := _EXCLUDES.get(key)) in given and None not in (value, given[other]):
            raise SpecError(f"overrides exclude each other: {other}={given[other]} and {key}={value}; give one of them")


def stated_plugins(
    values: Mapping[str, Any], overrides: Iterable[str] = (), file: str | Path | None = None
) -> tuple[str, ...] | None:
    """Return which plugins may load, by what a spec and its overrides say, before any is loaded to read the rest."""
    return _stated("plugins", values, overrides, file).plugins


def stated_lock(values: Mapping[str, Any], overrides: Iterable[str] = (), file: str | Path | None = None) -> bool:
    """Return whether a spec and its overrides lock the process, before anything is loaded to read the rest."""
    return _stated("locked", values, overrides, file).locked


def _stated(field: str, values: Mapping[str, Any], overrides: Iterable[str], file: str | Path | None) -> RunSpec:
    """Return a spec that has one field alone as written; an override of it counts, whoever else is overridden."""
    written = apply_overrides(values, [text for text in overrides if text.lstrip().startswith(field)])
    return validate_spec({key: value for key, value in written.items() if key == field}, file)


def validate_spec(values: Mapping[str, Any], file: str | Path | None = None) -> RunSpec:
    """Build the spec; all unknown keys become one error that names the line (or path) and the nearest key of each, else the first mistake."""
    try:
        return RunSpec.model_validate(values)
    except SpecValidationError as error:
        mistakes = error.mistakes
    path = Path(file) if file else None
    unknown = [_unknown(mistake, path) for mistake in mistakes if mistake.is_unknown]
    if unknown:
        first, *further = unknown
        raise UnknownKeyError(*first, further)
    place = list(mistakes[0].location)
    raise InvalidValueError(".".join(place), _where(place, path), mistakes[0].reason)


def _unknown(mistake: Mistake, file: Path | None) -> UnknownKey:
    location = list(mistake.location)
    return UnknownKey(
        ".".join(location), _where(location, file), tuple(sorted(_fields_beside(location))), mistake.reason
    )


def _parse(suffix: str, text: str, file: Path) -> Any:
    if suffix == ".toml":
        return toml_value(text)
    if suffix == ".json":
        return json_value(text)
    if suffix in (".yaml", ".yml"):
        return yaml_value(text) or {}
    raise SpecError(f"spec '{file}' must end in .toml, .yaml, .yml or .json")


def _literal(raw: str) -> Any:
    """Read a TOML literal; null means None; other text stays text."""
    if raw in ("null", "None"):  # "none" is a value of several fields
        return None
    try:
        return toml_value(f"value = {raw}")["value"]
    except BoundsError as error:
        raise SpecError(f"the value of an override {error}") from error
    except ValueError:
        return raw


def _where(location: list[str], file: Path | None) -> str:
    dotted = ".".join(location)
    if file is None or not dotted:
        return f"'{dotted}'" if dotted else str(file or "the spec")
    return f"{file}, line {line}" if (line := _line_of(location, file)) else f"{file}, {dotted}"


def _line_of(location: list[str], file: Path) -> int | None:
    """Find the line of a key: by the YAML parser's marks, else by reading TOML tables; JSON has none."""
    text, suffix = bounded_text(file, _LARGEST), file.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return _yaml_line(location, text)
    if suffix != ".toml":
        return None
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+([^\[\]]+)\]+", line):
            table = [part.strip(" '\"") for part in header[1].split(".")]
            if table == location[: len(table)] and len(table) == len(location):
                return number
        elif key := re.match(r"\s*([\w.\-'\"]+)\s*=", line):
            path = [*table, *(part.strip(" '\"") for part in key[1].split("."))]
            if path == location[: len(path)]:
                return number
    return None


def _yaml_line(location: list[str], text: str) -> int | None:
    import yaml

    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if key.value == part:
                node, line = value, key.start_mark.line + 1
                break
    return line


def _fields_beside(location: list[str]) -> list[str]:
    """Return the keys that stand where the unknown one was written."""
    model: type[BaseModel] = RunSpec
    for part in location[:-1]:
        if part.isdigit():  # a place in a list of tables
            continue
        kind = model.model_fields[part].annotation if part in model.model_fields else None
        inner = next((k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _get(values: Mapping[str, Any], dotted: str) -> Any:
    value: Any = values
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _drop(values: dict[str, Any], dotted: str) -> None:
    table, _, key = dotted.partition(".")
    if isinstance(values.get(table), dict):
        values[table].pop(key, None)


def _lay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay(below[key], value)
        else:
            below[key] = value
