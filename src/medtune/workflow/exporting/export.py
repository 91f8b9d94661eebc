"""Writes a run in another form and proves what was written before it is there under its name."""

import gc
import glob
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtune.data.contract import check_contract, check_tokenizer
from medtune.data.encode import Encoder
from medtune.data.hub.models import loadable
from medtune.data.prepare import encoder_of
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import RemoteNameError, SpecError, UnsafeArtifactError
from medtune.errors.locked_mode import is_locked
from medtune.export.artifact_card import write_export_card
from medtune.machine.owner_only import make_folder, own_folder_beside, write_text
from medtune.plugins.contracts import Exported, Exporter, ExportSource, Loaded
from medtune.plugins.host import PluginHost
from medtune.plugins.provenance import plugins_in_use
from medtune.runs.folder import RunFolder
from medtune.runs.record.chain import read_chain
from medtune.runs.record.recording import recorded_around
from medtune.runs.store import publish
from medtune.specs import RunSpec
from medtune.version import __version__
from medtune.workflow.exporting.judge import judge
from medtune.workflow.exporting.kept_files import small_files_kept
from medtune.workflow.exporting.questions import questions_of, validation_rows
from medtune.workflow.exporting.readings import read_again
from medtune.workflow.exporting.reference import Reference, ask_tuned
from medtune.workflow.exporting.refusal import RefusedExportError
from medtune.workflow.exporting.scores import TunedScores, score_tuned, scored_again
from medtune.workflow.given_rows import Rows
from medtune.workflow.locked import refuse_remote_path
from medtune.workflow.opening import check_adapter, kept_template, open_adapter, settled_quant

__all__ = ["EXPORT_FILE", "ExportRequest", "export_run"]

_LOG = logging.getLogger(__name__)
EXPORT_FILE = "export.json"
"""Beside an artifact: what it is, from which run, and what was proved of it."""
_WORK = ".exporting-"
_PROVED, _UNPROVED, _REFUSED = "proved", "unproved", "refused"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is to be written.

    Attributes:
        folder: a run with an adapter.
        record: its ``run.json``.
        spec: the spec of that record.
        host: finds exporter, quantizer and generator.
        to: name of the exporter.
        out: folder of the artifact; None is ``export/NAME`` in the run folder.
        options: of the exporter.
        score: whether the artifact's answers to the validation rows are scored too.
        prove: whether it is loaded again and compared.
        rows: the training rows, where they were given in Python and not kept.
    """

    folder: RunFolder
    record: Mapping[str, Any]
    spec: RunSpec
    host: PluginHost
    to: str
    out: Path | None = None
    options: Mapping[str, Any] | None = None
    score: bool = False
    prove: bool = True
    rows: Rows | None = None


def export_run(asked: ExportRequest) -> Exported:
    """Write an artifact, load it again, compare, and put it where it was asked for.

    Returns:
        The artifact; its ``state`` is "proved", or "unproved" where that was asked for or nothing can load it.

    Raises:
        UnknownNameError: no exporter or option of that name.
        SpecError: the adapter cannot be written so.
        UnsafeArtifactError: adapter, tokenizer or base is not the one of the run.
        RefusedExportError: the artifact is not the tuned model; it lies beside the place asked for, under another name.
    """
    exporter = _exporter(asked)
    options = dict(asked.options or {})
    target = _target(asked)
    source, encoder = _source(asked)
    if check := getattr(exporter, "check", None):
        check(source, options)
    reference, tuned_scores = _ask(asked, source, encoder) if asked.prove else (None, None)
    with recorded_around(target, "export") as record, _work_folder(target) as work:
        _LOG.info("writing '%s'", asked.to)
        with small_files_kept(source.adapter_dir):
            exported = exporter.export(source, work, options)
        proof = _prove(exported, work, source, reference) if reference is not None and exported.reader else {}
        if tuned_scores is not None and reference is not None and proof and not proof["problems"]:
            proof |= _scored(exported, work, reference, tuned_scores, encoder)
        for name in exported.load.get("only_for_proof", ()):
            (work / name).unlink()
        state = _UNPROVED if not proof else _REFUSED if proof["problems"] else _PROVED
        exported = replace(exported, state=state)
        place = target if state != _REFUSED else _refused_place(target)
        if reference is not None and exported.facts.get("smoke"):
            write_text(work / "smoke.json", json.dumps(reference.smoke, indent=1, ensure_ascii=False))
        _describe(work, asked, source, exported, proof)
        promise = None if record is None else record.promise_for(record.name_of(place))
        publish(place, lambda staging: _take(work, staging), {"state": state}, promise=promise)
    exported = replace(exported, path=place, facts={**exported.facts, "proof": proof})
    if state == _REFUSED:
        raise RefusedExportError(asked.to, str(place), proof["problems"])
    return _published(exporter, source, exported, options)


def _exporter(asked: ExportRequest) -> Exporter:
    exporter: Exporter = asked.host.find("exporter", asked.to)
    if asked.score and not asked.prove:
        raise SpecError("score compares the artifact's answers with the adapter's, which needs the proof; leave it on")
    if is_locked() and hasattr(exporter, "publish"):
        raise RemoteNameError(f"'{asked.to}' carries an artifact elsewhere", "export it to a folder, as by --to merged")
    if not asked.prove and hasattr(exporter, "publish"):
        raise SpecError(f"'{asked.to}' carries an artifact elsewhere, and only a proved one; leave the proof on")
    return exporter


def _target(asked: ExportRequest) -> Path:
    refuse_remote_path("--out", None if asked.out is None else str(asked.out))
    target = asked.out if asked.out is not None else asked.folder.path / "export" / asked.to
    for place in (target, _refused_place(target)):
        is_export = (place / EXPORT_FILE).is_file()
        if place.exists() and not is_export and (not place.is_dir() or any(place.iterdir())):
            raise SpecError(f"'{place}' holds something else than an export; choose another --out")
    return target.absolute()


def _refused_place(target: Path) -> Path:
    """Return where an artifact lies that did not answer as the tuned model."""
    return target.with_name(f"{target.name}-refused")


def _source(asked: ExportRequest) -> tuple[ExportSource, Encoder]:
    """Return the run as verified files, and the encoder of its prompts."""
    unsaid = check_adapter(asked.folder, asked.record, asked.spec)
    adapter_dir, quant = asked.folder.adapter_dir, settled_quant(asked.record, asked.spec)
    tokenizer = load_tokenizer(kept_template(asked.spec.model, adapter_dir))
    encoder = encoder_of(asked.spec, tokenizer)
    unsaid += check_contract(adapter_dir, encoder)
    check_tokenizer(adapter_dir, tokenizer)
    for what in unsaid:
        _LOG.warning("not checked, since an earlier medtune made the run: %s", what)
    quantizer = asked.host.find("quantizer", quant.quantizer)
    stored_as = getattr(quantizer, "stored_as", None)
    source = ExportSource(
        asked.folder.path,
        adapter_dir,
        loadable(asked.spec.model).resolve(),  # the reader runs in another folder
        asked.spec.model_copy_with(quant=quant),
        encoder.stop_ids,
        asked.record,
        None if stored_as is None else stored_as(asked.spec.model, quant),
    )
    return source, encoder


def _ask(asked: ExportRequest, source: ExportSource, encoder: Encoder) -> tuple[Reference, TunedScores | None]:
    """Ask the tuned model what the artifact will be asked."""
    _LOG.info("asking the tuned model")
    examples, note = validation_rows(asked.folder.path, asked.record, asked.spec, asked.host, asked.rows)
    questions = questions_of(source.adapter_dir, encoder, examples, note, asked.spec.seed)
    with _opened(asked) as loaded:
        generator = asked.host.find("generator", asked.spec.eval.backend)
        reference = ask_tuned(loaded, questions, generator, asked.spec.eval)
        scores = score_tuned(loaded, examples, asked.spec, asked.host) if asked.score else None
    return reference, scores


@contextmanager
def _opened(asked: ExportRequest) -> Iterator[Loaded]:
    """Yield the tuned model; after it its memory is free for the artifact."""
    loaded = open_adapter(asked.folder, asked.record, asked.spec, asked.host)
    try:
        yield loaded
    finally:
        del loaded
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside the target, readable by its owner only, that does not outlive the export."""
    make_folder(target.parent)
    for left in target.parent.glob(glob.escape(f"{_WORK}{target.name}") + "-????????"):
        shutil.rmtree(left, ignore_errors=True)  # a killed export's
    work = own_folder_beside(target, _WORK)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _prove(exported: Exported, work: Path, source: ExportSource, reference: Reference) -> dict[str, Any]:
    _LOG.info("loading it again in a process of its own")
    try:
        found = read_again(exported, work, reference)
    except UnsafeArtifactError as error:  # what cannot be loaded is put aside as what answers wrongly is
        return {"problems": [str(error)]}
    scheme = source.spec.quant.scheme
    # int8 rounds what goes into a layer too, which no other form of the weights does
    is_other = scheme != "none" and (exported.facts.get("source") == "original" or scheme == "int8")
    roundings = [exported.precision, reference.compute_dtype, *([scheme] if is_other else [])]
    return judge(reference, found, roundings).to_json()


def _scored(
    exported: Exported, work: Path, reference: Reference, tuned: TunedScores, encoder: Encoder
) -> dict[str, Any]:
    try:
        return {"scores": scored_again(exported, work, reference, tuned, encoder)}
    except UnsafeArtifactError as error:
        return {"problems": [str(error)]}


def _describe(
    work: Path, asked: ExportRequest, source: ExportSource, exported: Exported, proof: Mapping[str, Any]
) -> None:
    """Write ``export.json`` and the card; neither names a path of this machine."""
    model = source.spec.model
    values = {
        "format": 1,
        "medtune": __version__,
        "to": asked.to,
        "state": exported.state,
        "run": asked.folder.path.name,
        "record": _record_of(asked.folder.path),
        "base": {"name": model.label, "repository": model.repository, "commit": model.commit},
        "adapter": asked.record.get("adapter", {}),
        "precision": exported.precision,
        "facts": dict(exported.facts),
        "stop_ids": list(source.stop_ids),
        "proof": dict(proof),
        "plugins": list(plugins_in_use(asked.host, {"exporter": asked.to})),
        "usage": list(exported.usage),
    }
    write_text(work / EXPORT_FILE, json.dumps(values, indent=1, sort_keys=True) + "\n")
    write_export_card(work / "README.md", source, values)


def _record_of(folder: Path) -> dict[str, Any] | None:
    """Return which run, in which state of its record, an artifact is of; None where it keeps none."""
    chain = read_chain(folder)
    if chain is None:
        return None
    return {"run_id": chain.run_id, "line": chain.lines[-1].number + 1, "head": chain.head, "root": chain.root}


def _take(work: Path, staging: Path) -> None:
    shutil.copytree(work, staging, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> str:
    """Give a file a second name, so that no second copy of the weights is made; copy it where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        return str(shutil.copy2(source, target))
    return target


def _published(exporter: Exporter, source: ExportSource, exported: Exported, options: Mapping[str, Any]) -> Exported:
    """Let an exporter that carries artifacts elsewhere do so, now that it is proved."""
    publish_further = getattr(exporter, "publish", None)
    if publish_further is None:
        return exported
    return replace(exported, facts={**exported.facts, **publish_further(source, exported, options)})
