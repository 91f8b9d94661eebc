"""What mapping and the look at gold answers add to preparation: CPU time and memory, over generated rows.

    python benchmarks/mapping.py --rows 1000000

All rows go through mapping (shaping, choice of a formatter, account of columns) and the lint of gold answers, in chunks. Of
the same rows a share is formatted bare, as a formatter alone does it, and prepared (encoded with the demo's tokenizer,
compared with validation rows, packed), in the same process and by its CPU time, so that other work on the machine does
not count. A real base's tokenizer takes longer, which makes the share smaller.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from medtune import DataSpec, MedTuner
from medtune.data.account import Account
from medtune.data.formatters.instruction import Alpaca
from medtune.data.formatting import format_rows
from medtune.data.packed_set import PackedSetBuilder
from medtune.data.prepare import encoder_of
from medtune.data.quarantine import Quarantine
from medtune.data.rows import Row
from medtune.data.sources.reading import SourceNotes
from medtune.data.tokenizer import load_tokenizer
from medtune.evaluation.gold_lint import GoldLint

WORDS = ("gout", "asthma", "migraine", "anaemia", "eczema", "angina", "sepsis", "rubella", "measles", "mumps")
CHUNK = 20_000
PREPARED_OF = 10
"""One of so many chunks is prepared and formatted bare as well."""


def row(number: int) -> Mapping[str, Any]:
    """Return a row of tags or of a question, with the columns beside it that real tables have."""
    word, other = WORDS[number % 10], WORDS[number // 10 % 10]
    beside = {"id": f"r{number}", "note_id": number // 7, "split": "a", "date": "2024-01-01"}
    words = f"Patient {number} came with {word} and fever ; {other} was seen {number % 97} days before .".split()
    if number % 2:
        tags = "\n".join(f"{w} : {'B' if w in WORDS else 'O'}" for w in words)
        return {
            **beside,
            "source": f"ner{number % 4}",
            "instruction": "Label the tokens.",
            "input": " ".join(words),
            "output": tags,
        }
    asked = f"What helps against {word} where {other} was seen {number} days before?"
    text = " ".join(words * 3)
    return {
        **beside,
        "source": "qa",
        "instruction": asked,
        "input": text,
        "output": f"Rest helps against {word}. {text}",
    }


class Fed:
    """Rows made a chunk at a time, outside the time that is taken."""

    def __init__(self, count: int) -> None:
        self.chunks = iter(range(0, count, CHUNK))
        self.count, self.chunk = count, list[Row]()

    def refill(self) -> bool:
        """Make the next chunk; whether there was one."""
        start = next(self.chunks, None)
        if start is None:
            return False
        end = min(start + CHUNK, self.count)
        self.chunk = [Row(row(n), f"train-{n}", f"rows[{n}]") for n in range(start, end)]
        return True

    def __iter__(self) -> Iterator[Row]:
        while True:
            yield from self.chunk


def resident_mib() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measured(count: int) -> dict[str, float]:
    """Return seconds of CPU time per part, and the memory that mapping and lint added."""
    tuner = MedTuner.from_bundle("demo")
    spec = tuner.spec.model_copy_with(data=DataSpec(source="rows", accept_loss=True, cache=False))
    encoder, alpaca = encoder_of(spec, load_tokenizer(spec.model)), Alpaca()
    fed, lint = Fed(count), GoldLint(tuner.host.all("task"))
    quarantine = Quarantine(None, 0.01, account=Account())
    mapped = format_rows(iter(fed), spec.data, tuner.host, quarantine, SourceNotes())
    seconds, prepared_rows, done = dict.fromkeys(("mapping", "lint", "bare", "prepared"), 0.0), 0, 0
    memory, kept = 0.0, []
    before = 0.0
    while fed.refill():
        before = before or resident_mib()
        size = len(fed.chunk)
        at = time.process_time()
        examples = list(islice(mapped, size))
        seconds["mapping"] += time.process_time() - at
        at = time.process_time()
        lint.take("training", examples)
        seconds["lint"] += time.process_time() - at
        memory = max(memory, resident_mib() - before)
        if done % (CHUNK * PREPARED_OF) == 0:
            kept.append((done, size))
        done += size
    del examples
    for start, size in kept:
        chunk = [row(n) for n in range(start, start + size)]
        at = time.process_time()
        bare = [alpaca.format(values) for values in chunk]
        seconds["bare"] += time.process_time() - at
        with tempfile.TemporaryDirectory() as folder:
            at = time.process_time()
            builder = PackedSetBuilder(spec, encoder, bare[:200], Quarantine(None, 0.01), Path(folder))
            builder.take(iter(bare))
            builder.finish({"held_out": True})
            seconds["prepared"] += time.process_time() - at
        prepared_rows += size
    scale = done / prepared_rows
    preparation = (seconds["bare"] + seconds["prepared"]) * scale
    added = seconds["mapping"] - seconds["bare"] * scale + seconds["lint"]
    return {
        "rows": done,
        "mapping_seconds": round(seconds["mapping"], 2),
        "lint_seconds": round(seconds["lint"], 2),
        "bare_formatting_seconds": round(seconds["bare"] * scale, 2),
        "preparation_seconds_without": round(preparation, 2),
        "rows_prepared": prepared_rows,
        "added_share": round(added / preparation, 4),
        "added_mib": round(memory, 1),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    print(json.dumps(measured(parser.parse_args().rows)))


if __name__ == "__main__":
    main()
