"""A medtune plugin: discharge letters as a formatter, and a bundle that uses it on the demo's base."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune import Bundle, Example, MedTuner, hookimpl


class Discharge:
    """Rows with ``letter`` and ``summary``."""

    name = "discharge"
    version = "1"  # part of the key under which prepared rows are cached
    columns = frozenset({"letter", "summary"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Ask for the summary of the letter."""
        if not row["letter"] or not row["summary"]:
            raise ValueError("letter or summary is empty")
        question = f"Summarise the discharge letter.\n\n{row['letter']}"
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": row["summary"]}]
        return Example(messages, source="letters")


@hookimpl
def provide_formatters() -> Sequence[Discharge]:
    """Provide ``discharge``."""
    return [Discharge()]


@hookimpl
def provide_bundles() -> Sequence[Bundle]:
    """Provide ``demo-discharge``: the built-in tiny base on letters."""
    # Built from medtune's own plugins only: this function is one of those that are being asked.
    from medtune.plugins.host import create_host

    demo = MedTuner.from_bundle("demo", plugins=create_host(autoload=False), data="letters.jsonl", formatter=None)
    data = demo.spec.data.model_copy_with(formatter="discharge")
    spec = demo.spec.model_copy_with(data=data, output_dir="letters-run")
    return [Bundle("demo-discharge", spec, "The demo's base on discharge letters.")]
