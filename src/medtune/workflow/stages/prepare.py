"""Stage one: the rows as the trainer will see them, the plan that they lead to, and the place where training begins."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.base.inspection import inspect_base
from medtune.data.prepare import Prepared, encoder_of
from medtune.data.prepare import prepare as prepare_rows
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import DamagedArtifactError, SpecError
from medtune.machine.disk_room import bytes_to_keep
from medtune.machine.hardware import first_rank_says, is_first_rank
from medtune.planning.counting import size_of
from medtune.planning.make_plan import make_plan
from medtune.plugins.plan import Plan
from medtune.runs.base_fingerprint import base_fingerprint, fingerprint_as
from medtune.runs.changes import refuse_changes
from medtune.runs.durable import require_space
from medtune.runs.log import RunLog
from medtune.runs.manifest import MANIFEST, read_manifest
from medtune.runs.store import CheckpointStore
from medtune.workflow.base_identity import identity_of
from medtune.workflow.canary_file import CANARY_FILE, keep_canaries
from medtune.workflow.given_rows import keep_rows
from medtune.workflow.locked import record_of
from medtune.workflow.overlap_file import keep_overlap
from medtune.workflow.row_checks import RowChecks
from medtune.workflow.run_record import begin_record, is_own_checkpoint, keeps_record, made_with
from medtune.workflow.scoring import require_choice
from medtune.workflow.settled_tasks import settled
from medtune.workflow.state import RunRequest, RunState, Start

__all__ = ["encode", "is_finished", "prepare", "require_own_checkpoint"]

_LEFT = {"running": "interrupted"}
"""State in the record that a killed process left -> what it means to whoever holds the lock now."""


def require_own_checkpoint(asked: RunRequest) -> None:
    """Refuse what is no checkpoint of this run: another run's spec and data would not be compared."""
    if asked.resume in ("auto", "never"):
        return
    checkpoint, own = Path(asked.resume), asked.folder.checkpoints_dir
    if not (asked.folder.exists and checkpoint.is_dir()) or checkpoint.resolve().parent != own.resolve():
        raise SpecError(f"resume '{asked.resume}' is neither auto nor never nor a checkpoint folder in '{own}'")


def is_finished(asked: RunRequest) -> bool:
    """Whether nothing is left to do.

    Raises:
        SpecError: there is a run although none may be continued, the finished one had another spec, or what lies there is no run's.
    """
    folder = asked.folder
    if not folder.exists:
        folder.require_free()
        return False
    record = folder.read()
    state = _LEFT.get(record["state"], record["state"])
    if asked.resume == "never":
        raise SpecError(
            f"'{folder.path}' already holds a run ({state}); choose another output_dir, or continue it with resume=auto"
        )
    if record["state"] == "finished":
        _refuse_another(asked, record)
        return True
    return False


def _refuse_another(asked: RunRequest, record: Mapping[str, Any]) -> None:
    """Refuse what is not the finished run: rows are not read for that, so theirs must lie where they lay."""
    model, prints = asked.spec.model, dict(record["fingerprints"])
    unread = {"data"}
    if model.path is None or Path(model.path).is_dir():
        prints["model"] = fingerprint_as(prints.get("model", ""), model)
    else:
        unread.add("model")
    refuse_changes(str(asked.folder.path), record, asked.spec_values, prints, unread)


def prepare(asked: RunRequest) -> RunState:
    """Read and encode the rows, plan with their number, and open the record; all ranks end with the same start."""
    state, tokenizer = encode(asked, asked.folder.path / "quarantine.jsonl")
    asked, plan, prepared = state.asked, state.plan, state.prepared
    start = first_rank_says(_open_record(asked, plan, prepared, tokenizer) if is_first_rank() else Start())
    if is_first_rank():
        keep_overlap(asked.folder.overlap_path, prepared.overlap)
        keep_canaries(asked.folder.path, asked.spec)
    asked.keep(
        "run.json",
        "log.jsonl",
        "given-rows.jsonl",
        CANARY_FILE,
        "overlap.jsonl",
        "quarantine.jsonl",
        facts=_facts(asked),
    )
    _require_space(asked, plan, resuming=start.checkpoint is not None)
    return replace(state, start=start)


def encode(asked: RunRequest, quarantine: Path | None = None) -> tuple[RunState, Any]:
    """Return the run with its rows read and encoded and a plan with their number, and the tokenizer.

    Nothing is written but ``quarantine``, where it is given, and the cache of prepared rows.
    """
    asked.on_stage("reading and encoding the rows")
    spec, folder = asked.spec, asked.folder
    inspect_base(spec, loading=True)
    if asked.rows is not None and iter(asked.rows) is asked.rows:
        asked = replace(asked, rows=list(asked.rows))  # read once more to name them by their content
    tokenizer = load_tokenizer(spec.model)
    checker = RowChecks(asked.host.all("task"), spec)
    prepared = prepare_rows(spec, asked.host, tokenizer, rows=asked.rows, quarantine_path=quarantine, checker=checker)
    asked = replace(asked, host=settled(asked.host, spec, prepared.report.tasks))
    require_choice(spec, asked.host, tokenizer, prepared.validation)
    for note in prepared.report.notes():
        asked.on_stage(note)
    kept = first_rank_says(folder.read()["plan"] if is_first_rank() and folder.exists else None)
    plan = make_plan(spec, asked.host, size_of(prepared, spec), kept=kept)
    return RunState(asked, plan, prepared, Start()), tokenizer


def _open_record(asked: RunRequest, plan: Plan, prepared: Prepared, tokenizer: Any) -> Start:
    """Create the record, or check that it is still the same run and find where to go on."""
    folder = asked.folder
    prints = {
        "data": prepared.rows.fingerprint,
        "prompt_contract": encoder_of(asked.spec, tokenizer).fingerprint,
        "model": base_fingerprint(asked.spec.model),
    }
    if not folder.exists:
        begin_record(asked)
        folder.create(asked.spec_values, plan.to_json(), prints)
        folder.update(**_identities(asked), locked=record_of({}))
        if asked.pins is not None:
            folder.update(commits=list(asked.pins))
        return Start()
    record = folder.read()
    if record["state"] in _LEFT:
        asked.on_stage("the process that trained this run was killed; what it saved last counts")
    asked.times.begin_at(record)
    prints["model"] = fingerprint_as(record["fingerprints"].get("model", ""), asked.spec.model)
    refuse_changes(str(folder.path), record, asked.spec_values, prints)
    folder.update(plan=plan.to_json(), **_identities(asked), locked=record_of(record))
    start = _newest(asked) if asked.resume == "auto" else _chosen(asked, Path(asked.resume))
    RunLog(folder.log_path).keep_until(start.step)
    return start


def _identities(asked: RunRequest) -> dict[str, Any]:
    """Return what the record keeps of the run's id, of the base, and of rows that were given in Python."""
    given = None if asked.rows is None else keep_rows(asked.folder.path, asked.rows)
    return {"base": identity_of(asked.spec.model), "given_rows": given, "run_id": asked.run_id, **keeps_record(asked)}


def _facts(asked: RunRequest) -> dict[str, Any]:
    """Return what the run is made with; on the first process, which alone records it."""
    return made_with(asked.folder.read()) if is_first_rank() else {}


def _newest(asked: RunRequest) -> Start:
    store = CheckpointStore(asked.folder.checkpoints_dir, asked.spec.train.save_total_limit)
    newest, passed_over = store.newest_whole(lambda path: is_own_checkpoint(asked, path))
    asked.folder.update(passed_over=[{"path": p.path.name, "reason": p.reason} for p in passed_over])
    for passed in passed_over:
        asked.on_stage(f"passing over checkpoint '{passed.path.name}': {passed.reason}")
    return Start(newest.path, newest.step) if newest else Start()


def _chosen(asked: RunRequest, checkpoint: Path) -> Start:
    """Start from the checkpoint that the user named, once it is whole, and the run's own."""
    CheckpointStore.verify(checkpoint)
    if not is_own_checkpoint(asked, checkpoint):
        raise DamagedArtifactError(str(checkpoint), MANIFEST, "is not the one that the run recorded")
    return Start(checkpoint, int(read_manifest(checkpoint)["facts"]["step"]))


def _require_space(asked: RunRequest, plan: Plan, *, resuming: bool) -> None:
    """Refuse a disk on which the planned checkpoints cannot fit, before hours of scoring and training."""
    if is_first_rank() and plan.trainable_parameters is not None:
        kept = asked.spec.train.save_total_limit + (asked.spec.eval.keep_best is not None)
        require_space(asked.folder.path, bytes_to_keep(plan.trainable_parameters, kept, resuming=resuming))
