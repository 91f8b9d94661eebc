"""Puts a proved artifact into a repository on the hub: the files that it consists of, its card, and nothing else."""

import json
import re
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from medtune.data.hub.repository import Repository
from medtune.data.hub.upload import require_access, upload
from medtune.errors import SpecError
from medtune.export.adapter_delta import read_delta
from medtune.export.merged import TOKENIZER_FILES, MergedExporter, copy_tokenizer
from medtune.export.options import chosen, read_options, switch
from medtune.plugins.contracts import Exported, ExportSource
from medtune.plugins.origin import told_of
from medtune.specs.bounded import json_file

__all__ = ["UPLOADED", "HubExporter"]

UPLOADED = (
    "README.md",
    "export.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    *TOKENIZER_FILES,
)
"""Names that are uploaded; predictions, logs, reports and whatever else holds texts of rows are none of them."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_DEFAULTS = {"repo": "", "form": "adapter", "private": True, "accept_terms": False}
_FORMS = ("adapter", "merged")


class HubExporter:
    """A repository on the hub.

    Options: ``repo`` (owner/name, to be given), ``accept_terms`` (true once the terms of model and data are read, to be given),
    ``form`` ("adapter", or "merged" with its options ``dtype`` and ``source``), ``private`` (true unless said otherwise).
    """

    name = "hub"

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("safetensors")

    def check(self, source: ExportSource, options: Mapping[str, Any]) -> None:
        """Refuse before anything is loaded: no name, terms not accepted, no token."""
        own, rest = _split(options)
        if not _NAME.fullmatch(str(own["repo"])):
            raise SpecError(
                f"repo of exporter 'hub' is {own['repo']!r}; name the repository, as in --set repo=owner/name"
            )
        private = switch("hub", "private", own["private"])
        if not switch("hub", "accept_terms", own["accept_terms"]):
            seen = "by those with access" if private else "by everyone"
            terms = " ".join(source.record.get("plan", {}).get("licences", ())) or "None are known to medtune."
            raise SpecError(
                f"'{own['repo']}' will be seen {seen}, and the terms of model and data hold for it: {terms} Read them, and add "
                "--set accept_terms=true"
            )
        if own["form"] == "merged":
            MergedExporter().check(source, rest)
        else:
            read_options("hub", rest, {})
            read_delta(source.adapter_dir)
        require_access(Repository("model", str(own["repo"])))

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        """Write the files that will be uploaded."""
        own, rest = _split(options)
        facts = {"form": own["form"], "repository": own["repo"], "private": switch("hub", "private", own["private"])}
        usage = (f"hf download {own['repo']}",)
        if own["form"] == "merged":
            merged = MergedExporter().export(source, target, rest)
            return Exported(target, merged.reader, merged.precision, facts={**merged.facts, **facts}, usage=usage)
        shutil.copyfile(source.adapter_dir / "adapter_model.safetensors", target / "adapter_model.safetensors")
        _write_config(source, target / "adapter_config.json")
        copy_tokenizer(source.adapter_dir, target)
        return Exported(target, "peft", "fp32", {"base": str(source.base_dir)}, {**facts, "source": "original"}, usage)

    def publish(self, _source: ExportSource, exported: Exported, options: Mapping[str, Any]) -> dict[str, Any]:
        """Upload a proved artifact and read back what the hub has; return that as facts."""
        own, _ = _split(options)
        files = {
            file.name: file for file in sorted(exported.path.iterdir()) if any(fnmatch(file.name, p) for p in UPLOADED)
        }
        private = switch("hub", "private", own["private"])
        message = f"Upload {own['form']} proved by medtune"
        found = upload(Repository("model", str(own["repo"])), files, private=private, message=message)
        told = {"url": found.url, "commit": found.commit, "private": found.private, "files": dict(found.digests)}
        return {"uploaded": told}


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the upload, and those of the form."""
    own = read_options("hub", {key: value for key, value in options.items() if key in _DEFAULTS}, _DEFAULTS)
    own["form"] = chosen("hub", "form", own["form"], _FORMS)
    return own, {key: value for key, value in options.items() if key not in _DEFAULTS}


def _write_config(source: ExportSource, file: Path) -> None:
    """Write peft's configuration with the base's name on the hub in the place of a path of this machine."""
    values: dict[str, Any] = json_file(source.adapter_dir / "adapter_config.json")
    values |= {"base_model_name_or_path": source.spec.model.repository, "revision": source.spec.model.commit}
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
