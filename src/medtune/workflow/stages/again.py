"""A finished run that is asked for again: whether it is still what is asked, and its scores anew where only they would differ."""

from dataclasses import fields, replace
from typing import Any

from medtune.data.prepare import Prepared
from medtune.data.prepare import prepare as prepare_rows
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import DataError, StorageError
from medtune.evaluation.scoring import contracts_of
from medtune.plugins.contracts import TrainResult
from medtune.runs.changes import refuse_changes
from medtune.runs.store import put_back
from medtune.workflow.kept_answers import questions_of
from medtune.workflow.opening import check_adapter, open_adapter
from medtune.workflow.settled_tasks import settled, still_told
from medtune.workflow.stages.score import score, score_base
from medtune.workflow.state import RunRequest, RunState, Start

__all__ = ["again"]


def again(asked: RunRequest) -> None:
    """Compare a finished run with what is asked now, and score it again where other questions are asked of it.

    Raises:
        SpecChangedError: its training rows changed.
        UnsafeArtifactError: its adapter or base is no longer what it was.
    """
    folder = asked.folder
    record = folder.read()
    put_back(folder.adapter_dir)  # the run's lock is held
    check_adapter(folder, record, asked.spec)
    try:
        prepared = _prepared(asked, record)
    except (DataError, StorageError) as error:
        asked.on_stage(f"this run is finished; whether its rows are still the same could not be checked: {error}")
        return
    now = questions_of(asked.spec, prepared.validation)
    if now is None or record.get("scored", now) == now:
        asked.on_stage("this run is finished; nothing to do")
        return
    asked.on_stage(
        "this run is finished; its validation rows or the settings of scoring changed, so it is scored again"
    )
    asked = replace(asked, host=settled(asked.host, asked.spec, still_told(record, asked.spec)))
    loaded = open_adapter(folder, record, asked.spec, asked.host)
    told = [contract.to_json() for contract in contracts_of(asked.host.all("task")).members]
    prepared = replace(prepared, report=replace(prepared.report, tasks=told))
    state = RunState(asked, asked.plan, prepared, Start())
    base = score_base(state, loaded)
    score(state, loaded, base, _result(record))
    folder.update(spec={**record["spec"], **{part: asked.spec_values[part] for part in ("eval", "tasks")}})


def _prepared(asked: RunRequest, record: dict[str, Any]) -> Prepared:
    """Prepare the rows once more, or find them prepared, and refuse others than the run's."""
    prepared = prepare_rows(asked.spec, asked.host, load_tokenizer(asked.spec.model), rows=asked.rows)
    prints = {**record["fingerprints"], "data": prepared.rows.fingerprint}
    refuse_changes(str(asked.folder.path), record, asked.spec_values, prints)
    return prepared


def _result(record: dict[str, Any]) -> TrainResult:
    """Return what the fit did, as the record keeps it."""
    known = {field.name for field in fields(TrainResult)}
    return TrainResult(**{name: value for name, value in record["result"].items() if name in known})
