"""Measures ``medtune score`` on predictions of all tasks: CPU seconds and peak memory of a fresh process.

Usage: python benchmarks/score.py [ROWS]   (70,000 by default; prints one JSON object)
"""

import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from generated_rows import generate_rows, source_names_of

TASKS = {"i2b2-2010": "relation", "MedNLI": "nli", "hoc": "classification", "chatdoctor": "qa", "pmc_llama": "qa"}
MEASURED = """
import resource, sys
from medtune.cli.app import run
code = run(["score", sys.argv[1], "--json"])
used = resource.getrusage(resource.RUSAGE_SELF)
heavy = sorted({"torch", "transformers", "datasets"} & set(sys.modules))
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, used.ru_utime + used.ru_stime, peak, ",".join(heavy) or "none", file=sys.stderr)
"""


def predictions(rows: int, rng: random.Random) -> Iterator[dict[str, str]]:
    """Yield predictions of MedTuned's sources and lengths, about half of them wrong in some way."""
    for row in generate_rows("validation", rows // len(source_names_of("medtuned")), 0, "medtuned", "medtuned"):
        yield {
            "task": TASKS.get(row["source"], "ner"),
            "source": row["source"],
            "input": f"{row['instruction']}\n\n{row['input']}",
            "gold": row["output"],
            "prediction": spoilt(row["output"], rng),
        }


def spoilt(gold: str, rng: random.Random) -> str:
    """Return the gold answer, cut, relabelled, shuffled, with made-up lines, or unchanged."""
    lines = gold.split("\n")
    place = rng.randrange(len(lines))
    tagged = re.search(r" : [BIO]\S*$", lines[place])
    return rng.choice(
        [
            gold,
            gold,
            gold[: rng.randrange(len(gold))],
            "\n".join([*lines[:place], "carcinoma : B", *lines[place:]]),
            "\n".join([*lines[:place], *lines[place + 1 :]]),
            "\n".join(
                [*lines[:place], f"{lines[place][: tagged.start()]} : B" if tagged else "None", *lines[place + 1 :]]
            ),
            " ".join(rng.sample(gold.split(" "), len(gold.split(" ")))),
        ]
    )


def main() -> None:
    """Write the predictions, score them in a fresh process, print what it took."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 70_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for record in predictions(wanted, random.Random(0)):
                file.write(json.dumps(record) + "\n")
        command = [sys.executable, "-c", MEASURED, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        megabytes = path.stat().st_size / 1e6
    code, seconds, peak_kib, heavy = done.stderr.split()[-4:]
    tasks = json.loads(done.stdout)["tasks"]
    print(
        json.dumps(
            {
                "rows": sum(score["rows"] for score in tasks.values()),
                "file_mb": round(megabytes, 1),
                "cpu_seconds": round(float(seconds), 2),
                "peak_mb": round(int(peak_kib) * 1024 / 1e6),
                "machine_learning_libraries": heavy,
                "exit_code": int(code),
            }
        )
    )


if __name__ == "__main__":
    main()
