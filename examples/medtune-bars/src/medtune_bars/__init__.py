"""Files of questions and answers, parted by a bar, as rows for medtune."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune import hookimpl
from medtune.plugins.contracts import Reader


class Bars:
    """A row for each line: what stands before the first bar, and after it."""

    name = "bars"
    suffixes = (".bar",)
    samples = ("Which drug ?|Aspirin\nWhich dose ?|5 mg\n", "How long ?|A week\n")

    def rows(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Yield the rows in order; a line without a bar is refused by its number, without its text."""
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                question, bar, answer = line.rstrip("\n").partition("|")
                if not bar:
                    raise ValueError(f"line {number} has no bar")
                yield {"question": question, "answer": answer}


@hookimpl
def provide_readers() -> Sequence[Reader]:
    """Provide the reader."""
    return [Bars()]
