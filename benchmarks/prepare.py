"""Measures preparation: Parquet to packed ids, against the raw tokenizer and trl's own preparation, in one run.

Prints a table and one JSON line. Each engine runs in a process of its own so that CPU time and memory are its own.

    python benchmarks/prepare.py --rows 200000 --tokenizer FOLDER --max-length 512
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import chain, islice
from pathlib import Path

from medtune.machine.hardware import resident_peak_gib


def main() -> None:
    """Generate rows once and run every engine on them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--trl-rows", type=int, default=10_000, help="trl is slow: it gets the first so many rows")
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer with a chat template")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--processes", default="auto", help="data.processes: how many encode beside the one that reads")
    parser.add_argument("--only", nargs="+", choices=list(ENGINES), default=list(ENGINES), help="engines to run")
    parser.add_argument("--engine", choices=["tokenizers", "medtune", "cache", "trl"])
    parser.add_argument("--data")
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(ENGINES[options.engine](options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.parquet"
        write_rows(data, options.rows)
        sizes = row_sizes(data)
        print(f"{options.rows:,} rows of {sizes:,.0f} bytes on average, max_length {options.max_length}")
        results = [measured(engine, data, options, folder) for engine in options.only]
    print_table(results)
    print(json.dumps({"max_length": options.max_length, "results": results}))


def print_table(results: list[dict]) -> None:
    """Print figures, and rates as multiples of the raw tokenizer's and of trl's."""
    rates = {r["engine"]: r["rows"] / r["cpu"] for r in results}
    columns = f"{'CPU s':>9}{'wall s':>9}{'rows/CPU s':>12}{'x raw':>8}{'x trl':>8}{'GiB':>7}{'fill':>8}{'lost':>6}"
    print(f"{'engine':<12}{'rows':>9}{columns}")
    for result in results:
        rate = rates[result["engine"]]
        fill = f"{result['fill']:.2%}" if result.get("fill") else ""
        row = f"{result['rows']:>9,}{result['cpu']:>9.1f}{result['wall']:>9.1f}{rate:>12,.0f}"
        row += "".join(
            f"{rate / rates[base]:>8.2f}" if base in rates else f"{'-':>8}" for base in ("tokenizers", "trl")
        )
        row += f"{result['gib']:>7.2f}{fill:>8}"
        print(f"{result['engine']:<12}{row}{result.get('lost_to_packing', ''):>6}")


def write_rows(path: Path, count: int) -> None:
    """Write generated rows of MedTuned's shape and size, half of them free text as in the real set."""
    import pyarrow as pa
    from generated_rows import FREE_TEXT_SOURCES, generate_rows, source_names_of
    from pyarrow import parquet

    others = [name for name in source_names_of("medtuned") if name not in FREE_TEXT_SOURCES]
    halves = [generate_rows("train", count, 0, "medtuned", "medtuned", names) for names in (FREE_TEXT_SOURCES, others)]
    rows = chain.from_iterable(zip(*halves, strict=False))
    schema = pa.schema({name: pa.string() for name in ("instruction", "input", "output", "source")})
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, count, 20_000):
            batch = list(islice(rows, min(20_000, count - start)))
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def row_sizes(path: Path) -> float:
    """Return the mean bytes of instruction, input and output together."""
    from pyarrow import compute, parquet

    table = parquet.read_table(path)
    parts = (compute.sum(compute.binary_length(table[name])).as_py() for name in ("instruction", "input", "output"))
    return sum(parts) / table.num_rows


def measured(engine: str, data: Path, options: argparse.Namespace, folder: str) -> dict:
    """Run one engine in a fresh process and return its figures."""
    command = [sys.executable, __file__, "--engine", engine, "--data", str(data)]
    for name in ("rows", "trl_rows", "tokenizer", "max_length", "processes"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = {**os.environ, "MEDTUNE_CACHE": f"{folder}/cache", "HF_DATASETS_CACHE": f"{folder}/hf"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return {"engine": engine, **json.loads(done.stdout.splitlines()[-1])}


class Meter:
    """CPU seconds (children included), wall seconds and peak memory above what was there before."""

    def __enter__(self):
        self._memory, self._cpu, self._wall = resident_peak_gib(), _cpu(), time.perf_counter()
        return self

    def __exit__(self, *_exception):
        self.figures = {
            "cpu": _cpu() - self._cpu,
            "wall": time.perf_counter() - self._wall,
            "gib": resident_peak_gib() - self._memory,
        }


def _cpu() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in usages)


def tokenizer_of(options):
    """Load the tokenizer as a run does."""
    from medtune import ModelSpec
    from medtune.data.tokenizer import load_tokenizer

    return load_tokenizer(ModelSpec(path=options.tokenizer))


def run_tokenizers(options) -> dict:
    """Time the tokenizers library's batch call on the rendered text alone."""
    from pyarrow import parquet

    tokenizer = tokenizer_of(options)
    texts = [
        tokenizer.apply_chat_template(
            [
                {"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"},
                {"role": "assistant", "content": row["output"]},
            ],
            tokenize=False,
        )
        for row in parquet.read_table(options.data).to_pylist()
    ]
    tokens = 0
    with Meter() as meter:
        for start in range(0, len(texts), 2000):
            encodings = tokenizer.backend_tokenizer.encode_batch(texts[start : start + 2000], add_special_tokens=False)
            tokens += sum(len(e) for e in encodings)
    return {"rows": len(texts), "tokens": tokens, **meter.figures}


def run_medtune(options) -> dict:
    """Time reading, formatting, encoding, checking, packing and caching."""
    import pyarrow.parquet  # noqa: F401 - imports are not counted

    from medtune import DataSpec, ModelSpec, RunSpec, TrainSpec
    from medtune.data.prepare import prepare
    from medtune.plugins.host import create_host

    tokenizer, host = tokenizer_of(options), create_host(autoload=False)
    processes = options.processes if options.processes == "auto" else int(options.processes)
    spec = RunSpec(
        model=ModelSpec(path=options.tokenizer),
        data=DataSpec(source=options.data, validation_fraction=0, accept_loss=True, processes=processes),
        train=TrainSpec(max_length=options.max_length),
    )
    with Meter() as meter:
        prepared = prepare(spec, host, tokenizer)
    report = prepared.report
    in_rows = sum(len(prepared.rows[i].input_ids) for i in range(len(prepared.rows)))
    return {
        "rows": sum(s["rows"] for s in report.sources.values()),
        "tokens": report.tokens,
        "lost_to_packing": report.tokens - in_rows,
        "fill": report.fill,
        "from_cache": report.from_cache,
        **meter.figures,
    }


def run_trl(options) -> dict:
    """Time trl's own preparation of the same rows as prompt and completion, packed by best fit."""
    from datasets import Dataset
    from pyarrow import parquet
    from transformers import MistralConfig, MistralForCausalLM
    from trl import SFTConfig, SFTTrainer

    rows = parquet.read_table(options.data).slice(0, options.trl_rows).to_pylist()
    data = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f"{r['instruction']}\n\n{r['input']}"}],
                "completion": [{"role": "assistant", "content": r["output"]}],
            }
            for r in rows
        ]
    )
    tokenizer = tokenizer_of(options)
    tiny = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1,
    )  # fmt: skip
    config = SFTConfig(
        output_dir=f"{Path(options.data).parent}/trl", max_length=options.max_length, packing=True, report_to="none",
        use_cpu=True, bf16=False,
    )  # fmt: skip
    model = MistralForCausalLM(tiny)
    with Meter() as meter:
        trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    used = sum(map(len, trainer.train_dataset["input_ids"]))
    fill = used / (len(trainer.train_dataset) * options.max_length)
    return {"rows": len(rows), "tokens": used, "fill": fill, **meter.figures}


ENGINES = {"tokenizers": run_tokenizers, "medtune": run_medtune, "cache": run_medtune, "trl": run_trl}

if __name__ == "__main__":
    main()
