"""Opens the adapter of a run for use: nothing of it is loaded before it is what the run trained."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtune.data.contract import check_contract, check_tokenizer
from medtune.data.prepare import encoder_of
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import SpecError, StorageError, UnsafeArtifactError
from medtune.machine.forked import note_threads, refuse_forked
from medtune.plugins.contracts import Adapter, Loaded, Quantizer
from medtune.plugins.contracts.loading import told_apart
from medtune.plugins.host import PluginHost
from medtune.runs.adapter_files import AdapterFiles, check_adapter_files
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.runs.store import lies_aside, put_back
from medtune.runs.verification import verify_adapter
from medtune.specs import ModelSpec, QuantSpec, RunSpec
from medtune.workflow.base_identity import check_base
from medtune.workflow.locked import refuse_remote_base

__all__ = ["Opened", "check_adapter", "check_files", "kept_template", "open_adapter", "open_beside", "settled_quant"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A run folder with what its record says."""

    folder: RunFolder
    record: Mapping[str, Any]
    spec: RunSpec


def open_adapter(folder: RunFolder, record: Mapping[str, Any], spec: RunSpec, host: PluginHost) -> Loaded:
    """Return base and trained adapter in memory; what an earlier medtune left no trace to check by is logged.

    Args:
        folder: a run with an adapter.
        record: its ``run.json``.
        spec: the spec of that record.
        host: finds the quantizer and the adapter's backend.

    Raises:
        ForkedProcessError: the process was forked from one in which a model was used.
        DisabledPluginError: a plugin that the spec lists cannot be used.
        StorageError: there is no adapter yet, or its backend cannot load one.
        UnsafeArtifactError: adapter, tokenizer or base is not the one of the run.
    """
    refuse_forked()
    host.require(spec.plugins)
    unsaid = check_adapter(folder, record, spec)
    quant = settled_quant(record, spec)
    quantizer: Quantizer = host.find("quantizer", quant.quantizer)
    base = quantizer.load(kept_template(spec.model, folder.adapter_dir), quant)
    note_threads()
    encoder = encoder_of(spec, base.tokenizer)
    unsaid += check_contract(folder.adapter_dir, encoder)
    check_tokenizer(folder.adapter_dir, base.tokenizer)
    base = replace(base, stop_ids=encoder.stop_ids, base=spec.model)  # one set, whoever loaded it
    adapter: Adapter = host.find("adapter", spec.lora.backend)
    # an initialisation that changes the base is for training alone: the saved adapter is of the unchanged one
    loaded = adapter.attach(base, spec.lora.model_copy_with(init="default"))
    if loaded.load_adapter is None:
        raise StorageError(f"adapter backend '{spec.lora.backend}' cannot load the adapter of '{folder.path}'")
    loaded.load_adapter(folder.adapter_dir)
    for what in unsaid:
        _LOG.warning("run '%s' was made by an earlier medtune, so this could not be checked: %s", folder.path, what)
    return told_apart(loaded)


def open_beside(first: Opened, other: Opened, name: str, loaded: Loaded) -> Loaded:
    """Return the base in memory as another run's adapter uses it, once that adapter is loaded beside those that are there.

    Args:
        first: the run by which the base was loaded.
        other: the run whose adapter is added.
        name: by which ``loaded.adapters`` knows it.
        loaded: from ``open_adapter`` of ``first``.

    Raises:
        StorageError: there is no adapter yet, or its backend holds one only.
        SpecError: it cannot share the base, because it was trained on another one or on another storage of it.
        UnsafeArtifactError: adapter, tokenizer or base is not the one of the run.
    """
    place = str(other.folder.path)
    if loaded.adapters is None:
        raise StorageError(
            f"adapter backend '{first.spec.lora.backend}' holds one adapter only; serve '{place}' by itself"
        )
    unsaid = check_adapter(other.folder, other.record, other.spec)
    for what, of in (("base", _base), ("storage of the base", _storage), ("adapter backend", _backend)):
        if of(first) != of(other):
            raise SpecError(f"run '{place}' has another {what} than '{first.folder.path}'; serve it by itself")
    tokenizer = load_tokenizer(kept_template(other.spec.model, other.folder.adapter_dir))
    encoder = encoder_of(other.spec, tokenizer)
    unsaid += check_contract(other.folder.adapter_dir, encoder)
    check_tokenizer(other.folder.adapter_dir, tokenizer)
    loaded.adapters.add(name, other.folder.adapter_dir, other.spec.lora)
    for what in unsaid:
        _LOG.warning("run '%s' was made by an earlier medtune, so this could not be checked: %s", place, what)
    return replace(loaded, tokenizer=tokenizer, stop_ids=encoder.stop_ids)


def _base(run: Opened) -> Any:
    """Return what identifies a run's base."""
    return run.record.get("base", {}).get("parts") or run.record.get("fingerprints", {}).get("model")


def _storage(run: Opened) -> QuantSpec:
    return settled_quant(run.record, run.spec)


def _backend(run: Opened) -> str:
    return run.spec.lora.backend


def check_adapter(folder: RunFolder, record: Mapping[str, Any], spec: RunSpec) -> list[str]:
    """Check an adapter and its base as far as that needs neither of them in memory.

    Returns:
        What could not be checked, because an earlier medtune made the run.

    Raises:
        StorageError: there is no adapter yet.
        UnsafeArtifactError: adapter or base is not the one of the run.
        RemoteNameError: this process is locked, and the base is no folder here.
    """
    refuse_remote_base(spec.model)
    if lies_aside(folder.adapter_dir) is not None:
        with RunLock(folder.path):
            put_back(folder.adapter_dir)
    if not folder.adapter_dir.is_dir():
        raise StorageError(
            f"run '{folder.path}' is {record['state']} and has no adapter yet; finish it with `medtune train`"
        )
    if folder.adapter_dir.is_symlink():
        raise UnsafeArtifactError(
            f"'{folder.adapter_dir}' is a link, which may lead out of the run; put the folder itself there"
        )
    check_base(str(folder.path), record, spec.model)
    unsaid = verify_adapter(folder, record)
    check_files(folder.adapter_dir, spec, record.get("spec", {}).get("model", {}))
    return unsaid


def check_files(adapter: Path, spec: RunSpec, recorded: Mapping[str, Any] | None = None) -> None:
    """Check the files of an adapter against its spec; those of another backend than medtune's have their own form.

    Args:
        adapter: the folder.
        spec: of the run.
        recorded: the base as the run's record names it, which may have been elsewhere then; what it is was compared.

    Raises:
        UnsafeAdapterError: they are not what the spec implies, or would run code.
    """
    if spec.lora.backend == "peft":
        names = {spec.model.name, spec.model.path, spec.model.repository}
        names |= {(recorded or {}).get(key) for key in ("name", "path")}
        check_adapter_files(AdapterFiles(adapter, spec.lora, frozenset(name for name in names if name)))


def kept_template(model: ModelSpec, adapter: Path) -> ModelSpec:
    """Return the base with the chat template that the adapter was trained with, not what its file says by now."""
    kept = adapter / "chat_template.jinja"
    if (model.chat_template is None and not model.template_options) or not kept.is_file():
        return model
    return model.model_copy_with(chat_template=str(kept), template_options={})


def settled_quant(record: Mapping[str, Any], spec: RunSpec) -> QuantSpec:
    """Return the storage that the run was trained on, where its spec left the choice to the plan."""
    quant, plan = spec.quant, record["plan"]
    if quant.scheme != "auto":
        return quant
    return quant.model_copy_with(scheme=plan["scheme"], backend=plan["backends"]["quantizer"])
