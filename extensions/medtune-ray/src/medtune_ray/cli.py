"""The command line: ``python -m medtune_ray SPEC --workers N``."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune import MedTuner
from medtune.errors import MedtuneError, SpecError
from medtune_ray.sweep import Sweep, sweep
from medtune_ray.train import Outcome, VerdictError, train

__all__ = ["main"]

_UNEXPECTED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code, which is medtune's: 0, 2 spec, 3 data, ..., 75 interrupted and resumable."""
    asked = _parser().parse_args(arguments)
    try:
        result = _swept(asked) if asked.grid else _trained(asked)
    except MedtuneError as error:
        kind = error.kind if isinstance(error, VerdictError) else type(error).__name__
        return _fail(asked, kind, str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line of defence: an unforeseen text may quote a row
        name = type(error).__name__
        return _fail(asked, name, f"unexpected {name}, whose text is withheld since it may quote a row", _UNEXPECTED)
    _say(json.dumps(result) if asked.json else _sentence(result), sys.stdout)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("medtune_ray", description=__doc__)
    parser.add_argument("spec", type=Path, help="TOML, YAML or JSON, as `medtune train` takes it")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that train together, on a GPU each where there are any"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one field, as lora.r=32"
    )
    parser.add_argument(
        "--grid", action="append", default=[], metavar="KEY=A,B", help="try each of these values by Ray Tune"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder; of a sweep, the folder of its runs")
    parser.add_argument(
        "--max-failures", type=int, default=3, metavar="N", help="how often lost workers are started again"
    )
    parser.add_argument("--cpu", action="store_true", help="leave GPUs alone")
    parser.add_argument("--ray-dir", type=Path, metavar="DIR", help="keep the files of a Ray that is started here")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    return parser


def _trained(asked: argparse.Namespace) -> dict[str, Any]:
    if asked.workers < 1:
        raise SpecError(f"--workers is {asked.workers}; a run needs one at least")
    spec = MedTuner.from_file(asked.spec, asked.set).spec
    if asked.out is not None:
        spec = spec.model_copy_with(output_dir=str(asked.out))
    options = {"max_failures": asked.max_failures, "cpu_only": asked.cpu, "ray_dir": asked.ray_dir}
    outcome: Outcome = train(spec, asked.workers, **options)
    return {**outcome.run.metrics, "restarts": outcome.restarts}


def _swept(asked: argparse.Namespace) -> dict[str, Any]:
    if asked.workers != 1:
        raise SpecError("a sweep trains each setting in one process; leave --workers out, or --grid")
    options = {"max_failures": asked.max_failures, "cpu_only": asked.cpu, "ray_dir": asked.ray_dir}
    found = sweep(asked.spec, _grid(asked.grid), overrides=asked.set, out=asked.out, **options)
    return _told(found)


def _grid(given: Sequence[str]) -> dict[str, list[str]]:
    """Return field -> values of ``KEY=A,B``; a value that holds a comma itself is no grid's."""
    grid: dict[str, list[str]] = {}
    for each in given:
        field, equals, values = each.partition("=")
        if not equals or not field or field in grid or not all(values.split(",")):
            raise SpecError(f"--grid '{each}' is not KEY=A,B with values of a field that no other --grid names")
        grid[field] = values.split(",")
    return grid


def _told(found: Sweep) -> dict[str, Any]:
    trials = [
        {"settings": dict(t.settings), "run": str(t.run), **t.figures, "error": t.error or None} for t in found.trials
    ]
    best = None if found.best is None else dict(found.best.settings)
    return {"trials": trials, "judged_by": found.judged_by, "best": best}


def _sentence(result: Mapping[str, Any]) -> str:
    if "trials" not in result:
        restarts = f", its workers started again {result['restarts']} times" if result["restarts"] else ""
        return f"run '{result['run']}' is {result['state']} after {result['steps']} steps{restarts}"
    lines = [
        f"{' '.join(f'{k}={v}' for k, v in t['settings'].items())}  {t['error'] or t[result['judged_by']]}"
        for t in result["trials"]
    ]
    return "\n".join([*lines, f"best by {result['judged_by']}: {result['best']}"])


def _fail(asked: argparse.Namespace, kind: str, message: str, exit_code: int) -> int:
    if asked.json:
        _say(json.dumps({"error": {"type": kind, "message": message, "exit_code": exit_code}}), sys.stdout)
    _say(f"medtune_ray: {message}", sys.stderr)
    return exit_code


def _say(text: str, stream: Any) -> None:
    """Print, with nothing in it that steers a terminal."""
    shown = "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    print(shown, file=stream, flush=True)
