"""Reads the rows of a run once more, and proves that they are those that it was trained on."""

from collections.abc import Mapping
from typing import Any

from medtune.data.prepare import Prepared, prepare
from medtune.data.tokenizer import load_tokenizer
from medtune.errors import DataError
from medtune.plugins.host import PluginHost
from medtune.runs.folder import RunFolder
from medtune.specs import RunSpec
from medtune.workflow.given_rows import Rows
from medtune.workflow.opening import kept_template
from medtune.workflow.row_checks import RowChecks

__all__ = ["prepared_again"]


def prepared_again(
    folder: RunFolder, record: Mapping[str, Any], spec: RunSpec, host: PluginHost, rows: Rows | None
) -> tuple[Prepared, Any]:
    """Return the prepared rows of a run, and its tokenizer.

    Args:
        folder: of the run.
        record: its ``run.json``.
        spec: its spec.
        host: the plugins.
        rows: the training rows that it was given in Python, from ``rows_again``.

    Raises:
        DataError: they are no longer the same, or were never known.
    """
    if "adopted" in record:
        raise DataError(
            f"the adapter of '{folder.path}' was trained elsewhere, on rows that are not known: nothing can be held against them"
        )
    tokenizer = load_tokenizer(kept_template(spec.model, folder.adapter_dir))
    prepared = prepare(spec, host, tokenizer, rows=rows, checker=RowChecks(host.all("task"), spec))
    if prepared.rows.fingerprint != record["fingerprints"]["data"]:
        raise DataError(
            f"the training rows are no longer those of run '{folder.path}', so what is found would be about others; put back "
            "the files that it was trained on"
        )
    return prepared, tokenizer
