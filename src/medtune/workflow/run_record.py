"""When a training writes its record: begun with the run, a line after each stage and checkpoint, closed however it ends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from medtune.machine.hardware import is_first_rank
from medtune.runs.folder import RunFolder
from medtune.runs.record.chain import read_chain
from medtune.runs.record.recording import close_after, has_record
from medtune.runs.record.tree import LOG, NOTES
from medtune.runs.record.writers import EVERYTHING, EXCEPT, Writer
from medtune.workflow.canary_file import CANARY_FILE
from medtune.workflow.given_rows import GIVEN_FILE
from medtune.workflow.state import RunRequest

__all__ = [
    "RECORD_KEY",
    "TRAINED",
    "begin_record",
    "is_own_checkpoint",
    "keeps_record",
    "made_with",
    "run_id_of",
    "training_recorded",
    "training_scope",
]

TRAINED = (
    "run.json",
    LOG,
    "report.html",
    "overlap.jsonl",
    "quarantine.jsonl",
    CANARY_FILE,
    GIVEN_FILE,
    "evaluation/",
    "adapter/",
    "checkpoints/",
)
"""What a training writes into its folder."""
_TRAINING = frozenset({"train", "adopt", "recover train", "recover adopt"})
RECORD_KEY = "record"
"""In ``run.json``: the form of the record that the run keeps; a run that says so and has none has lost it."""


@contextmanager
def training_recorded(asked: RunRequest) -> Iterator[None]:
    """Record what is written inside, from here on for a run that is there, else from ``begin_record`` on."""
    if asked.folder.exists:
        begin_record(asked)
    try:
        yield
    except BaseException as error:
        if asked.record is not None:
            close_after(asked.record, error)
        raise
    if asked.record is not None:
        asked.record.close()


def begin_record(asked: RunRequest) -> None:
    """Begin or go on with the run's record, on the first process.

    Raises:
        DamagedArtifactError: it is lost, or damaged.
    """
    if asked.record is not None and is_first_rank():
        asked.record.begin(asked.run_id)


def training_scope(asked: RunRequest) -> tuple[str, ...]:
    """Return what a training writes into its folder, as a scope.

    Plugins of others may write there too, but nothing that another command recorded, no export and no note.
    """
    own = (*TRAINED, *(f"{name}/" for name in asked.spec.train.report_to))
    host = asked.host
    if all(host.origin(label).is_own for label, plugin in host.manager.list_name_plugin() if plugin):
        return own
    chain = read_chain(asked.folder.path) if is_first_rank() and has_record(asked.folder.path) else None
    last = {name: line.change.command for line in chain.lines for name in line.change.changed} if chain else {}
    mine = Writer("", "", own, {}, is_alive=True)
    others = [name for name, command in last.items() if command not in _TRAINING and not mine.may_write(name)]
    return (*own, EVERYTHING, *(f"{EXCEPT}{name}" for name in ("export/", NOTES, *others)))


def is_own_checkpoint(asked: RunRequest, checkpoint: Path) -> bool:
    """Whether a checkpoint is one that the run recorded; of a run without a record each is."""
    return asked.record is None or asked.record.is_own(f"{asked.folder.checkpoints_dir.name}/{checkpoint.name}")


def keeps_record(asked: RunRequest) -> dict[str, Any]:
    """Return what ``run.json`` says of the record: nothing where none is kept."""
    return {RECORD_KEY: 1} if asked.record is not None and asked.record.run_id else {}


def run_id_of(folder: RunFolder) -> str:
    """Return the id that a run began with, a new one for one that begins.

    Raises:
        DamagedArtifactError: its record is damaged.
    """
    kept = folder.read().get("run_id") if folder.exists else None
    if not kept and has_record(folder.path):  # killed between the first line and run.json
        chain = read_chain(folder.path)
        kept = chain.run_id if chain else None
    return kept if isinstance(kept, str) and kept else uuid4().hex


def made_with(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the root covers beside the files: the base's parts, data, prompts, and the code of plugins.

    Args:
        record: content of ``run.json``.
    """
    plugins = record["plan"].get("plugins", ())
    code = [{part: one.get(part) for part in ("name", "distribution", "version", "sha256")} for one in plugins]
    return {"base": record.get("base"), "fingerprints": record["fingerprints"], "plugins": code}
