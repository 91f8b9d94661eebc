"""Checks on exporters, on a small run."""

import json
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.plugins.contracts import Exported, ExportSource
from medtune.specs import RunSpec
from medtune.testing.conformance.bench import CANARY
from medtune.testing.conformance.checks import Case, NotTriedError, check
from medtune.testing.conformance.models import adapted, files_below, kept, or_not_tried

__all__: list[str] = []

_READERS = {"", "transformers", "peft", "llama.cpp"}
_STATES = {"written", "unproved"}


@check(
    "exporter-result",
    "exporter",
    "export returns an Exported of its folder, with a reader that medtune knows or none.",
    is_heavy=True,
)
def gives_result(case: Case) -> str | None:
    """Export."""
    target, found = _exported(case)
    if not isinstance(found, Exported):
        return f"export returned a {type(found).__name__}"
    if Path(found.path).resolve() != target.resolve():
        return "path is not the folder that it was given"
    if found.reader not in _READERS:
        return f"no reader '{found.reader!s:.20}'; readers: transformers, peft, llama.cpp, or an empty text"
    if found.state not in _STATES:
        return f"state is '{found.state!s:.20}', which medtune alone decides"
    try:
        json.dumps([dict(found.facts), dict(found.load), list(found.usage)])
    except (TypeError, ValueError):
        return "facts, load or usage hold something else than JSON values"
    return None


@check(
    "exporter-writes", "exporter", "export writes into its folder, and nothing of it is a link or empty.", is_heavy=True
)
def writes(case: Case) -> str | None:
    """Look at the files."""
    target, _found = _exported(case)
    if not files_below(target):
        return "it wrote nothing"
    for path in target.rglob("*"):
        if path.is_symlink():
            return f"{path.name} is a link, which breaks when the folder is moved"
        if path.is_file() and not path.stat().st_size:
            return f"{path.name} is empty"
    return None


@check(
    "exporter-inside",
    "exporter",
    "export writes nowhere else: run, adapter, base and what lies beside its folder stay.",
    is_heavy=True,
)
def stays_inside(case: Case) -> str | None:
    """Compare what lies around."""
    source, outer = _source(case), case.bench.fresh("around")
    before = files_below(source.run_dir), files_below(source.base_dir)
    _export(case, outer / "artifact")
    if files_below(source.run_dir) != before[0]:
        return "the run folder changed"
    if files_below(source.base_dir) != before[1]:
        return "the folder of the base changed"
    beside = [path.name for path in outer.iterdir() if path.name != "artifact"]
    return f"it wrote {beside[0]} beside its folder" if beside else None


@check("exporter-unknown-option", "exporter", "An option that is not known is refused as a SpecError.", is_heavy=True)
def refuses_unknown_option(case: Case) -> str | None:
    """Give one."""
    target = case.bench.fresh("option")
    source = _source(case)
    try:
        if hasattr(case.thing, "check"):
            case.thing.check(source, {"no-such-option": "1"})
        case.thing.export(source, target, {"no-such-option": "1"})
    except SpecError:
        return None
    except Exception as error:  # noqa: BLE001 - any other one is wrong
        return f"it raised {type(error).__name__} instead of a SpecError"
    return "it was taken"


@check("exporter-redacts", "exporter", "Nothing that is exported holds the text of a row.", is_heavy=True)
def redacts(case: Case) -> str | None:
    """Look for the text that lies in the run folder."""
    target, found = _exported(case)
    for path in target.rglob("*"):
        if path.is_file() and CANARY.encode() in path.read_bytes():
            return f"{path.name} holds a row's text"
    return "facts hold a row's text" if CANARY in repr(found) else None


@check("exporter-again", "exporter", "Exported again, the run gives files of the same names.", is_heavy=True)
def exports_again(case: Case) -> str | None:
    """Export twice."""
    first, again = set(files_below(_exported(case)[0])), case.bench.fresh("again") / "artifact"
    _export(case, again)
    return None if set(files_below(again)) == first else "the second time it wrote other files"


def _source(case: Case) -> ExportSource:
    found: ExportSource = kept(case.bench, ("export source", ""), lambda: _make_source(case))
    return found


def _make_source(case: Case) -> ExportSource:
    """Lay out a finished run: the base's files, an adapter, and rows that must not leave it."""
    run, loaded = case.bench.fresh("finished"), adapted(case.bench)
    adapter = run / "adapter"
    adapter.mkdir()
    if loaded.save_adapter is not None:
        loaded.save_adapter(adapter)
    loaded.tokenizer.save_pretrained(adapter)
    base = case.bench.folder / "tiny-base"
    spec = RunSpec.model_validate(
        {"model": {"name": "tiny/base", "path": str(base)}, "quant": {"scheme": "none"}, "output_dir": str(run)}
    )
    record = {"state": "finished", "spec": spec.model_dump(mode="json"), "result": {"steps": 4}, "prints": {}}
    (run / "run.json").write_text(json.dumps(record), "utf-8")
    (run / "evaluation").mkdir()
    line = json.dumps({"input": CANARY, "prediction": CANARY})
    (run / "evaluation" / "predictions-tuned.jsonl").write_text(f"{line}\n", "utf-8")
    return ExportSource(run, adapter, base, spec, loaded.stop_ids, record)


def _exported(case: Case) -> tuple[Path, Any]:
    def export() -> tuple[Path, Any]:
        target = case.bench.fresh("exported") / "artifact"
        return target, _export(case, target)

    found: tuple[Path, Any] = kept(case.bench, ("exported by", case.name), export)
    return found


def _export(case: Case, target: Path) -> Any:
    target.mkdir()
    source = _source(case)
    with or_not_tried():
        if hasattr(case.thing, "check"):
            case.thing.check(source, {})
        found = case.thing.export(source, target, {})
    if found is None and not any(target.iterdir()):
        raise NotTriedError("it exported nothing and said nothing")
    return found
