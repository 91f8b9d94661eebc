"""Which validation rows a run is scored on, and which of them are not apart from its training rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from medtune.data.prepare import encoder_of, validation_examples
from medtune.errors import DataError
from medtune.plugins.contracts import Example, Loaded
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec
from medtune.workflow.given_rows import Rows
from medtune.workflow.perfect_answers import sound

__all__ = ["not_apart", "scorable"]


def scorable(examples: Sequence[Example], spec: RunSpec, loaded: Loaded, host: PluginHost) -> list[Example]:
    """Return the rows that preparation keeps too.

    Raises:
        DataError: there are none.
    """
    if not examples:
        raise DataError("there are no validation rows to score on; set data.validation to a split or a file")
    kept = sound(examples, encoder_of(spec, loaded.tokenizer), host.all("task"))
    if not kept:
        raise DataError(f"none of {len(examples)} validation rows can be scored; `medtune preview` says why")
    return kept


def not_apart(
    examples: Sequence[Example], spec: RunSpec, host: PluginHost, record: Mapping[str, Any], given: Rows | None
) -> set[str]:
    """Return the ids of rows that stand in the training rows too, or that training did not compare with them.

    Args:
        examples: the rows to be scored, perhaps more than training drew.
        spec: of the run.
        host: the plugins.
        record: of the run.
        given: the rows that the run was given in Python.
    """
    found = set(record.get("preparation", {}).get("overlapping", []))
    most = spec.eval.rows_per_source
    if any(count > most for count in Counter(example.source for example in examples).values()):
        compared = {example.row_id for example in validation_examples(spec, host, rows=given)}
        found |= {example.row_id for example in examples} - compared
    return found
