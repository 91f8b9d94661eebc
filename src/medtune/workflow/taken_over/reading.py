"""Reads the configuration of another training program as keys and values; nothing in it is run."""

import ast
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import SpecError, StorageError
from medtune.specs.bounded import BoundsError, bounded_text, json_file, json_value, toml_value, yaml_value

__all__ = ["NOT_WRITTEN", "Configuration", "read_configuration"]

_LARGEST = 2**20
_LONGEST = 60
"""Characters of an expression that is shown."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_SUFFIXES = ".yaml, .yml, .json, .toml, .sh or .py"
_CALLS = {
    "from_pretrained": ("model_name",),
    "get_peft_model": (),
    "SFTConfig": ("output_dir",),
    "TrainingArguments": ("output_dir",),
    "UnslothTrainingArguments": ("output_dir",),
    "LoraConfig": (),
    "BitsAndBytesConfig": (),
    "SFTTrainer": (),
    "UnslothTrainer": (),
    "train_on_responses_only": (),
}
"""Calls of a script whose keywords are its configuration, with the names of those that come first without one."""
_COMMANDS = {"swift": "ms-swift", "llamafactory-cli": "llama-factory", "axolotl": "axolotl", "trl": "trl"}


@dataclass(frozen=True, slots=True)
class _NotWritten:
    """Stands for a value that only running the file would tell."""

    written: str

    def __str__(self) -> str:
        return f"{self.written} (not known before it is run)"


NOT_WRITTEN = _NotWritten


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says.

    Attributes:
        values: key -> value.
        program: the program that a command names, as on medtune's command line; empty where none is named.
        calls: names of the calls in a script.
        around: settings beside the configuration, such as environment variables of a command.
    """

    values: Mapping[str, Any]
    program: str = ""
    calls: tuple[str, ...] = ()
    around: Mapping[str, str] | None = None


def read_configuration(file: Path) -> Configuration:
    """Read a file of settings, a script of commands, or a Python script, of which calls with plain keywords are read.

    Raises:
        StorageError: the file cannot be read.
        SpecError: it is not well-formed, beyond a bound, or of another kind.
    """
    suffix = file.suffix.lower()
    try:
        text = bounded_text(file, _LARGEST)
        if suffix == ".sh":
            return _of_command(text, file)
        if suffix == ".py":
            return _of_script(text, file)
        return Configuration(_with_dataset_info(_of_settings(suffix, text, file), file))
    except OSError as error:
        raise StorageError(f"cannot read '{file}': {error.strerror or type(error).__name__}") from error
    except BoundsError as error:
        raise SpecError(f"'{file}' {error}") from error
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"'{file}' is not well-formed: {' '.join(str(error).split())}") from error


def _of_settings(suffix: str, text: str, file: Path) -> dict[str, Any]:
    readers = {".json": json_value, ".toml": toml_value, ".yaml": yaml_value, ".yml": yaml_value}
    if suffix not in readers:
        raise SpecError(f"'{file}' is no configuration that is known; it ends in {_SUFFIXES}")
    value = readers[suffix](text) or {}
    if not isinstance(value, dict):
        raise SpecError(f"'{file}' must hold keys with values, not a {type(value).__name__}")
    return {str(key): _plain(each) for key, each in value.items()}


def _with_dataset_info(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Add what LLaMA-Factory's dataset_info.json says, where it lies beside the configuration or below the working directory."""
    if "dataset" not in values or not values.keys() & {
        "finetuning_type",
        "cutoff_len",
        "template",
        "stage",
        "dataset_dir",
    }:
        return values
    folder = Path(str(values.get("dataset_dir") or "data"))
    for place in (folder, file.parent / folder, file.parent):
        if (found := place / "dataset_info.json").is_file():
            known = json_file(found, _LARGEST)
            return {**values, "(dataset_info)": known, "dataset_dir": str(place)} if isinstance(known, dict) else values
    return values


def _plain(value: Any) -> Any:
    """Return a value with numbers and words that were written as text, as 2e-4 is in YAML, for what they are."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _WORDS:
            return _WORDS[word]
        if _NUMBER.fullmatch(value.strip()):
            number = float(value)
            if re.fullmatch(r"[+-]?\d{1,18}", value.strip()):
                return int(value)
            return number if math.isfinite(number) else value
    return value


def _of_command(text: str, file: Path) -> Configuration:
    """Read the first command of a shell script that has options of a training program."""
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise SpecError(f"'{file}' is not well-formed: {error}") from error
        around = dict(word.split("=", 1) for word in words if re.match(r"[A-Za-z_]\w*=", word))
        if sum(word.startswith("--") for word in words) < 2:  # noqa: PLR2004 - a command without settings is none
            continue
        first = next(place for place, word in enumerate(words) if word.startswith("--"))
        head = [Path(word).name for word in words[:first]]
        program = next((_COMMANDS[word] for word in head if word in _COMMANDS), "")
        values = dict(_options(words[first:]))
        return Configuration(_with_dataset_info(values, file), program, around=around)
    raise SpecError(f"'{file}' holds no command with settings such as --learning_rate 1e-4")


def _options(words: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield the options of a command: one value, several as a list, none as a switch."""
    name, given = "", list[str]()
    for word in [*words, "--"]:
        if word in ("&&", ";", "|", "&", ">", ">>", "2>&1"):
            word = "--"  # noqa: PLW2901 - what follows is another command
        if not word.startswith("--"):
            given.append(word)
            continue
        if name:
            read = [NOT_WRITTEN(each) if "$" in each or "`" in each else _plain(_json_or_text(each)) for each in given]
            yield name, True if not read else read[0] if len(read) == 1 else read
        if word == "--":
            return
        name, equals, first = word[2:].partition("=")
        name, given = name.replace("-", "_"), [first] if equals else []


def _json_or_text(word: str) -> Any:
    if not word.startswith(("{", "[")):
        return word
    try:
        return json_value(word)
    except ValueError:
        return word


def _of_script(text: str, file: Path) -> Configuration:
    """Read the keywords of a Python script's calls: literals, and names that a literal was given to once."""
    if text.count("(") + text.count("[") + text.count("{") > 20_000:  # noqa: PLR2004 - a script has a few hundred
        raise SpecError(f"'{file}' is nested more than a script is")
    text = "\n".join(
        line if not line.lstrip().startswith(("!", "%")) else "" for line in text.splitlines()
    )  # of notebooks
    try:
        tree = ast.parse(text)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise SpecError(f"'{file}' is no Python: {type(error).__name__}") from error
    names = dict(_constants(tree))
    values, calls = dict[str, Any](), list[str]()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(getattr(node.func, "value", None), "id", "")
        if called not in _CALLS or (called == "from_pretrained" and not _is_model(owner)):
            continue
        calls.append(owner if called == "from_pretrained" else called)
        given = dict(zip(_CALLS[called], node.args, strict=False)) | {
            each.arg: each.value for each in node.keywords if each.arg
        }
        values |= {name: _literal(value, names) for name, value in given.items()}
    if not calls:
        raise SpecError(
            f"'{file}' calls none of {', '.join(_CALLS)}; a configuration of another kind ends in {_SUFFIXES}"
        )
    is_unsloth = any(name.startswith(("Fast", "Unsloth")) for name in calls) or "unsloth" in text
    if not is_unsloth and isinstance(values.get("model_name"), str):
        values["model_name_or_path"] = values.pop("model_name")
    return Configuration(values, "unsloth" if is_unsloth else "trl", tuple(calls))


def _is_model(owner: str) -> bool:
    return owner.startswith("Fast") or owner == "AutoModelForCausalLM"


def _constants(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Yield the names that are given a literal, and nothing else anywhere."""
    found = dict[str, list[Any]]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and isinstance(node.target, ast.Name):
            found.setdefault(node.target.id, []).append(node.value)
    for name, given in found.items():
        if len(given) == 1 and given[0] is not None and not isinstance(value := _literal(given[0], {}), NOT_WRITTEN):
            yield name, value


def _literal(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        written = _written(node)
        known = {f"torch.{name}": name for name in ("bfloat16", "float16", "float32")}
        return known.get(written, NOT_WRITTEN(written))


def _written(node: ast.expr) -> str:
    try:
        text = ast.unparse(node)
    except RecursionError:
        return "an expression"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
