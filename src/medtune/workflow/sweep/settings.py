"""What is tried: the settings that a grid stands for, each a whole spec with a folder of its own."""

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.specfile import apply_overrides, merge, validate_spec
from medtune.specs import RunSpec

__all__ = ["Grid", "Setting", "read_grid", "settings_of"]

Grid = Mapping[str, Sequence[Any] | str]
"""Dotted field -> the values to try, or a range such as "1e-5..1e-3" to draw from."""

_MOST = 200
"""Settings of a sweep; more are a mistake in a grid."""
_RANGE = re.compile(r"([-+.\deE]+?)\.\.([-+.\deE]+)")
_FIXED = {
    "eval": "settings are compared by scores that are made in one way",
    "tasks": "settings are compared by scores that are made in one way",
    "seed": "it draws the rows that settings are compared on",
    "data.validation": "settings are compared on the same rows",
    "data.validation_fraction": "settings are compared on the same rows",
    "output_dir": "each setting has a folder of its own",
    "locked": "it holds for the whole process",
    "plugins": "they are loaded once",
}
"""Fields that cannot be tried, and why; a part stands for all its fields."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One spec of a sweep.

    Attributes:
        name: of its folder below ``runs``.
        values: dotted field -> its value.
        spec: the whole run.
    """

    name: str
    values: Mapping[str, Any]
    spec: RunSpec


def read_grid(texts: Iterable[str]) -> dict[str, Sequence[Any] | str]:
    """Read ``lora.r=8,16`` or ``train.learning_rate=1e-5..1e-3``, as they stand on a command line.

    Raises:
        SpecError: one has another form, or names a field twice.
    """
    found: dict[str, Sequence[Any] | str] = {}
    for text in texts:
        key, equals, raw = (part.strip() for part in text.partition("="))
        if not (key and equals and raw):
            raise SpecError(f"grid '{text}' must look like lora.r=8,16")
        if key in found:
            raise SpecError(f"grid names {key} twice; give all of its values at once, as {key}=A,B")
        found[key] = raw if _RANGE.fullmatch(raw) else [_value(key, part) for part in _split(raw)]
    return found


def settings_of(values: Mapping[str, Any], grid: Grid, folder: Path, draws: int | None, seed: int) -> list[Setting]:
    """Return the settings of a grid in order, or ``draws`` of them at random.

    Args:
        values: the spec that they share, as written.
        grid: what is tried.
        folder: of the sweep.
        draws: how many are drawn, without repetition; None takes all.
        seed: of the draws.

    Raises:
        SpecError: a field cannot be tried, a value is wrong, or there are too few or too many settings.
    """
    for key in grid:
        _require_free(key)
    chosen = _all(grid) if draws is None else _drawn(grid, draws, seed)
    if not 1 < len(chosen) <= _MOST:
        raise SpecError(f"the grid has {len(chosen):,} settings; a sweep takes from 2 to {_MOST}: change it, or draw")
    digits = len(str(len(chosen)))
    settings: list[Setting] = []
    for number, found in enumerate(chosen, 1):
        name = f"{number:0{digits}d}-{_named(found)}"
        spec = dict(values)
        for key, value in found.items():
            spec = merge(spec, _nested(key, value))
        own = validate_spec(merge(spec, {"output_dir": str(folder / "runs" / name)}))
        settings.append(Setting(name, found, own))
    return settings


def _require_free(key: str) -> None:
    for fixed, reason in _FIXED.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise SpecError(f"{key} cannot be tried by a sweep: {reason}")


def _all(grid: Grid) -> list[dict[str, Any]]:
    for key, given in grid.items():
        if isinstance(given, str):
            raise SpecError(f"{key}={given} is a range, which settings are drawn from: say how many, as --random 8")
    listed = [list(given) for given in grid.values()]
    return [dict(zip(grid, found, strict=True)) for found in product(*listed)]


def _drawn(grid: Grid, draws: int, seed: int) -> list[dict[str, Any]]:
    """Draw settings; as many as there are where the grid holds no more."""
    generator, found = random.Random(f"sweep {seed}"), list[dict[str, Any]]()
    for _attempt in range(100 * draws):
        if len(found) == draws:
            break
        one = {key: _draw(key, given, generator) for key, given in grid.items()}
        if one not in found:
            found.append(one)
    return found


def _draw(key: str, given: Sequence[Any] | str, generator: random.Random) -> Any:
    """Draw a value of a list, or of a range evenly by its logarithm: rounded to two digits, or whole where both ends are."""
    if not isinstance(given, str):
        return generator.choice(list(given))
    match = _RANGE.fullmatch(given.strip())
    try:
        low, high = (float(end) for end in match.groups()) if match else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if match is None or not 0 < low < high < math.inf:
        raise SpecError(f"{key}: '{given}' is no range between two numbers above 0, such as 1e-5..1e-3")
    value = math.exp(generator.uniform(math.log(low), math.log(high)))
    is_whole = all(end.lstrip("+").isdigit() for end in match.groups())
    return round(value) if is_whole else float(f"{value:.2g}")


def _value(key: str, raw: str) -> Any:
    found: Any = apply_overrides({}, [f"{key}={raw}"])
    for part in key.split("."):
        found = found[part]
    return found


def _split(raw: str) -> list[str]:
    """Split at commas that stand outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in raw:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in "[{") - (letter in "]}") if not quote else 0
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _nested(key: str, value: Any) -> dict[str, Any]:
    nested: Any = value
    for part in reversed(key.split(".")):
        nested = {part: nested}
    found: dict[str, Any] = nested
    return found


def _named(values: Mapping[str, Any]) -> str:
    """Return a name for a folder that says what is tried."""
    told = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())
    return re.sub(r"[^\w.,=+-]+", "_", told, flags=re.ASCII)[:80].rstrip(".")
