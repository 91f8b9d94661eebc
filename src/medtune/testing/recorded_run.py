"""A run without a model: every kind of file that a run keeps, recorded as training records it; quick enough for long series."""

import hashlib
import json
import random
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from medtune.runs.durable import replace_file
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.runs.log import RunLog
from medtune.runs.manifest import MANIFEST, file_digest
from medtune.runs.record.packages import packages
from medtune.runs.record.recording import Recording, recorded
from medtune.runs.store import CheckpointStore, lies_aside, publish, put_back
from medtune.runs.verification import verify_adapter

__all__ = ["recorded_run", "warm_up"]

_STEPS = 3


def warm_up() -> None:
    """Look through the installed packages, and load what audits, which takes longer than the run."""
    packages()
    import_module("medtune.workflow.audit.audit")


def recorded_run(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Start or resume the run in ``folder / "run"``, and evaluate, report and export it.

    Args:
        folder: where the run lies.
        options: ``seed`` (of what the files hold) and ``run_id``.

    Returns:
        ``digest`` of the adapter, ``steps`` and ``log``.
    """
    place, draw = RunFolder(folder / "run"), random.Random(int(options.get("seed", 0)))
    texts = {name: _text(draw) for name in ("given", "base", "tuned", "report", "again", "merged", "adapter")}
    with RunLock(place.path):
        _train(place, texts, str(options.get("run_id", "0" * 32)))
    _audit(place)
    with recorded(place.path, "evaluate", ("evaluation/",)):
        _write(place.evaluation_dir / "tuned.json", texts["again"])
    with recorded(place.path, "report", ("report.html",)):
        _write(place.report_path, texts["report"] + texts["again"])
    for part in ("merged", "again"):  # the second takes the place of the first
        with recorded(place.path, "export", ("export/merged", "export/merged/")) as record:
            promise = record.promise_for("export/merged")
            publish(place.path / "export" / "merged", partial(_fill, text=texts[part]), promise=promise)
    digest = hashlib.sha256((place.adapter_dir / "values.json").read_bytes()).hexdigest()
    return {"digest": digest, "steps": _STEPS, "log": RunLog(place.log_path).read()}


def _audit(place: RunFolder) -> None:
    """Keep figures of an audit once the adapter is the run's, in the order of ``medtune audit``."""
    if lies_aside(place.adapter_dir) is not None:
        with RunLock(place.path):
            put_back(place.adapter_dir)
    verify_adapter(place, place.read())
    import_module("medtune.workflow.audit.audit").keep_audit(
        place, {"tried": "Nothing.", "findings": [], "limits": "None."}
    )


def _train(place: RunFolder, texts: Mapping[str, str], run_id: str) -> None:
    """Do what is left of the run, in the order of ``medtune train``."""
    scope = import_module("medtune.workflow.run_record").TRAINED
    record, log = Recording(place.path, "train", scope), RunLog(place.log_path)
    if place.exists:
        record.begin(run_id)
        if place.state == "finished":
            record.close()
            return
    else:
        record.begin(run_id)
        place.create({}, {"plugins": []}, {"data": "1"})
    place.update(run_id=run_id, record=1)
    store = CheckpointStore(place.checkpoints_dir, keep=2, witness=record)
    newest, _passed = store.newest_whole(lambda path: record.is_own(f"checkpoints/{path.name}"))
    step = newest.step if newest else 0
    log.keep_until(step)
    _write(place.path / "given-rows.jsonl", texts["given"])
    record.keep("run.json", "log.jsonl", "given-rows.jsonl", facts={"fingerprints": {"data": "1"}})
    _write(place.evaluation_dir / "base.json", texts["base"])
    record.keep("evaluation/", "run.json")
    for done in range(step + 1, _STEPS + 1):
        log.append({"step": done, "loss": 1 / done})
        store.save(done, partial(_fill, text=texts["given"][: 99 * done]))
    store.settle()
    publish(place.adapter_dir, lambda path: _fill(path, texts["adapter"]), promise=record.promise_for("adapter"))
    place.update(adapter={"manifest": file_digest(place.adapter_dir / MANIFEST)})
    record.keep("adapter/", "log.jsonl", "run.json")
    _write(place.evaluation_dir / "tuned.json", texts["tuned"])
    _write(place.report_path, texts["report"])
    place.update("finished")
    record.close()


def _text(draw: random.Random) -> str:
    return "".join(json.dumps({"row": draw.random()}) + "\n" for _ in range(12))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode(), "a file")


def _fill(folder: Path, text: str) -> None:
    (folder / "values.json").write_text(text, "utf-8")
    (folder / "state.json").write_text(text[::-1], "utf-8")
