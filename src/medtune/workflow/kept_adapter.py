"""Keeps an adapter in its run folder: the files that lie beside it, and the list of files by which it is known again."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medtune.data.contract import write_contract
from medtune.data.prepare import encoder_of
from medtune.data.tokenizer import save_tokenizer
from medtune.export.audit_section import AUDIT_FILE, with_audit
from medtune.export.card import write_card
from medtune.plugins.plan import Plan
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import MANIFEST, file_digest, read_manifest
from medtune.runs.store import Promise, publish, put_back
from medtune.runs.verification import NEXT_MANIFEST
from medtune.workflow.base_identity import write_identity
from medtune.workflow.opening import check_files
from medtune.workflow.state import RunRequest

__all__ = ["keep_adapter", "keep_card", "write_beside"]

_CARD = "README.md"


def keep_adapter(asked: RunRequest, write: Callable[[Path], None]) -> None:
    """Publish what ``write`` leaves in a folder as the run's adapter, and note its manifest in the record."""
    place = asked.folder.adapter_dir
    publish(place, write, promise=None if asked.record is None else asked.record.promise_for(place.name))
    (asked.folder.evaluation_dir / AUDIT_FILE).unlink(missing_ok=True)  # it was of the adapter before
    asked.folder.update(adapter={"manifest": file_digest(place / MANIFEST)})
    asked.keep(f"{place.name}/", f"evaluation/{AUDIT_FILE}", "log.jsonl", "run.json")


def keep_card(folder: RunFolder, audit: Mapping[str, Any], promise: Promise | None) -> None:
    """Say in the card beside an adapter what an audit found, seal the folder anew, and note its manifest in the record.

    Args:
        folder: of the run, whose adapter was checked; its lock is held.
        audit: the figures.
        promise: tells the run's record which folder is about to stand there.
    """
    adapter, record = folder.adapter_dir, folder.read()
    put_back(adapter)
    canaries = str(record["plan"].get("canaries", ""))

    def write(staged: Path) -> None:
        shutil.copytree(adapter, staged, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
        before = (adapter / _CARD).read_text("utf-8") if (adapter / _CARD).is_file() else ""
        (staged / _CARD).write_text(with_audit(before, canaries, audit), "utf-8")

    def intend(manifest: str) -> None:  # before the folder is renamed: whenever that ends, one of both is there
        folder.update(adapter={**record.get("adapter", {}), NEXT_MANIFEST: manifest})
        if promise is not None:
            promise(manifest)

    facts = read_manifest(adapter)["facts"] if (adapter / MANIFEST).is_file() else {}
    publish(adapter, write, facts, promise=intend)
    kept = {name: value for name, value in record.get("adapter", {}).items() if name != NEXT_MANIFEST}
    folder.update(adapter={**kept, "manifest": file_digest(adapter / MANIFEST)})


def write_beside(
    path: Path, asked: RunRequest, plan: Plan, tokenizer: Any, adopted: Mapping[str, Any] | None = None
) -> None:
    """Write tokenizer, prompt contract, identity of the base and card beside an adapter, and check all of its files.

    Args:
        path: the folder that holds configuration and tensors.
        asked: the run.
        plan: what it follows.
        tokenizer: of the run.
        adopted: what the files of an adapter that was trained elsewhere say of that.

    Raises:
        UnsafeAdapterError: the files are not what the spec implies.
    """
    save_tokenizer(tokenizer, path)
    write_contract(path, encoder_of(asked.spec, tokenizer))
    write_identity(path, asked.folder.read())
    write_card(path / _CARD, plan.settle(asked.spec), plan, adopted)
    check_files(path, asked.spec)
