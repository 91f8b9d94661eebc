"""Can a run be lost? Kills, tears, corrupts and starves small runs, and prints ``survived X of Y`` for each series.

python benchmarks/crash.py kill whole random corrupt errors matrix signals lock cost      (all series; --short for a few)
"""

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.runs.store import publish
from medtune.testing.corruption import corrupt_checkpoints
from medtune.testing.faults import FaultLab
from medtune.testing.tiny import tiny_base
from medtune.testing.trials import Series, Tally, damage_newest

VICTIM = "medtune.testing.tiny_run:tiny_run"
WHOLE_VICTIM = "medtune.testing.tuned_run:tuned_run"
ONE_EPOCH = {"num_train_epochs": 1}
HOLDER = "import sys\nfrom medtune.runs.lock import RunLock\nwith RunLock(sys.argv[1]):\n print(1, flush=True); sys.stdin.read()"


class Bench:
    """The series by name, sharing one laboratory and one base model."""

    def __init__(self, lab: FaultLab, folder: Path, *, short: bool) -> None:
        self.lab, self.folder, self.short = lab, folder, short
        tiny_base(folder / "base")
        self.options: dict[str, Any] = {"base": str(folder / "base"), "train": ONE_EPOCH}

    def kill(self) -> list[Tally]:
        """First save, rotation, adapter, export; the same over a damaged checkpoint; and with two processes."""
        exporting = {**self.options, "export": True}
        template = self._finished_run()
        every, every_pair = (19, 97) if self.short else (1, 3)
        fresh = Series(self.lab, exporting).kill_everywhere(every)
        over = Series(self.lab, exporting, prepare=damage_newest(template)).kill_everywhere(every, offset=3)
        pair = Series(self.lab, exporting, ranks=2).kill_everywhere(every_pair, offset=7)
        over.name += ", over a damaged checkpoint"
        return [fresh, over, pair]

    def whole(self) -> list[Tally]:
        """The same with all of medtune around it: rows, both scores, adapter, report."""
        with FaultLab(WHOLE_VICTIM) as lab:
            series = Series(lab, {"base": self.options["base"]})
            tallies = [
                series.kill_everywhere(67 if self.short else 2),
                series.kill_at_random(1 if self.short else 50),
                series.fail_writes(97 if self.short else 5),
                series.stop_by_signal(1 if self.short else 20),
            ]
        for tally in tallies:
            tally.name += ", all of medtune"
        return tallies

    def random(self) -> list[Tally]:
        """Kills at random times, several per run."""
        one, two = (3, 1) if self.short else (270, 30)
        return [
            Series(self.lab, self.options).kill_at_random(one),
            Series(self.lab, self.options, ranks=2).kill_at_random(two),
        ]

    def corrupt(self) -> list[Tally]:
        """Bit flips, truncation, zeroing, deletion and swapping of every file of a checkpoint."""
        work = self.folder / "corrupt"
        work.mkdir()
        template = self._finished_run() / "run" / "checkpoints"
        return list(corrupt_checkpoints(template, work, 100 if self.short else 2500))

    def errors(self) -> list[Tally]:
        """Write errors at every file event."""
        return [Series(self.lab, {**self.options, "export": True}).fail_writes(27 if self.short else 1)]

    def matrix(self) -> list[Tally]:
        """Exact resume over storage, packing, optimizer and place; and the negative control."""
        tally, control = Tally("exact resume"), Tally("negative control turns red")
        optimizers = ("adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit")
        combinations = list(itertools.product(("none", "nf4"), (True, False), optimizers, (1, 3)))
        for scheme, packed, optim, accumulation in combinations[:: 7 if self.short else 1]:
            train = {"num_train_epochs": 2, "optim": optim, "gradient_accumulation_steps": accumulation}
            base = self.folder / "base"
            options = {"scheme": scheme, "rows": {"packed": packed}, "base": str(base), "train": train}
            series = Series(self.lab, options)
            per_epoch = series.reference.result["steps"] // 2
            for step in (2, per_epoch, per_epoch + 2):
                problem = series.resume_after(step)
                tally.count(problem and f"{scheme}, packed {packed}, {optim}, x{accumulation}: {problem}")
            if (scheme, packed) == ("none", True):
                dropping = self.folder / "dropping"
                tiny_base(dropping, attention_dropout=0.1)  # masks of the adapter are drawn from no generator
                plain = {**options, "base": str(dropping), "train": {**train, "fast_path": "off"}}
                red = Series(self.lab, plain).resume_after(2, forget="torch")
                control.count(None if red and "differs" in red else f"{optim}: a forgotten generator went unnoticed")
        return [tally, control]

    def signals(self) -> list[Tally]:
        """SIGTERM at random times."""
        series = Series(self.lab, {**self.options, "train": {"num_train_epochs": 6}})
        tally = series.stop_by_signal(3 if self.short else 50)
        print(f"  time to exit: median {tally.percentile(0.5):.3f} s, p99 {tally.percentile(0.99):.3f} s")
        return [tally]

    def lock(self) -> list[Tally]:
        """A second process is refused in under a second; after kill -9 of the first a third proceeds."""
        refused, freed = Tally("second process refused"), Tally("third process after kill -9")
        for number in range(2 if self.short else 20):
            folder = self.folder / f"locked-{number}"
            with subprocess.Popen(
                [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as first:
                assert first.stdout is not None  # noqa: S101 - a pipe was asked for
                first.stdout.readline()
                refused.count(_refusal(folder, first.pid, refused))
                first.kill()
                first.wait()
                freed.count(_success(folder))
        print(f"  refused after: median {refused.percentile(0.5):.3f} s, p99 {refused.percentile(0.99):.3f} s")
        return [refused, freed]

    def cost(self) -> list[Tally]:
        """Time of a save through the store against a plain save of the same bytes plus its sync, in pairs."""
        from medtune.backends.exact_state import save_trainable, write_tree

        moments, layers = _adapter()

        def write(target: Path) -> None:
            save_trainable(target, layers)
            write_tree(target, "state", moments)

        work = self.folder / "cost"
        pairs = [_pair(work / str(n), write, store_first=bool(n % 2)) for n in range(4 if self.short else 24)]
        plain, sync, store = (statistics.median(pair[i].seconds for pair in pairs) for i in range(3))
        extra = statistics.median((t.seconds - p.seconds - s.seconds) / p.seconds for p, s, t in pairs)
        print(
            f"  plain {plain:.3f} s, sync {sync:.3f} s, store {store:.3f} s: {extra:+.1%} of a plain save beyond sync"
        )
        cpu = [statistics.median(pair[i].cpu for pair in pairs) for i in range(3)]
        more = statistics.median(t.written - p.written - s.written for p, s, t in pairs)
        print(
            f"  on the processor: plain {cpu[0]:.3f} s, sync {cpu[1]:.3f} s, store {cpu[2]:.3f} s; "
            f"{more:,.0f} of {pairs[0][0].written:,} bytes more are written"
        )
        return []

    def _finished_run(self) -> Path:
        folder = self.folder / "template"
        if not folder.exists():
            folder.mkdir()
            self.lab.run(folder, options={**self.options, "export": True})
        return folder


def _refusal(folder: Path, owner: int, tally: Tally) -> str | None:
    """Return a problem unless a second command, from its start to its end, takes under a second and names the owner."""
    command = [sys.executable, "-m", "medtune", "train", "--out", str(folder)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tally.seconds.append(time.monotonic() - started)
    named = f"in use by process {owner} on host '{os.uname().nodename}'" in done.stderr
    if done.returncode == 5 and named and tally.seconds[-1] < 1:
        return None
    return f"exit {done.returncode} after {tally.seconds[-1]:.3f} s: {done.stderr[-200:]}"


def _success(folder: Path) -> str | None:
    from medtune.errors import RunLockedError
    from medtune.runs.lock import RunLock

    try:
        with RunLock(folder):
            return None
    except RunLockedError as error:
        return str(error)


@dataclass(frozen=True)
class _Spent:
    """What a piece of work took: wall seconds, processor seconds, bytes handed to write()."""

    seconds: float
    cpu: float
    written: int


def _spent(work: Callable[[], object]) -> _Spent:
    """Do the work and measure it."""
    before = (time.perf_counter(), time.process_time(), _bytes_written())
    work()
    after = (time.perf_counter(), time.process_time(), _bytes_written())
    return _Spent(after[0] - before[0], after[1] - before[1], after[2] - before[2])


def _bytes_written() -> int:
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters["wchar"])


def _adapter() -> tuple[dict[int, Any], Any]:
    """Return optimizer moments and trainable layers of 252 MB in all, as r 8 on 7B has."""
    import torch

    layers = torch.nn.ModuleList(torch.nn.Linear(4096, 8, bias=False) for _ in range(640))
    moments = {
        number: {"exp_avg": layer.weight * 2, "exp_avg_sq": layer.weight * 3} for number, layer in enumerate(layers)
    }
    return moments, layers


def _pair(folder: Path, write: Callable[[Path], None], *, store_first: bool) -> tuple[_Spent, _Spent, _Spent]:
    """Return what a plain save took, its syncs, and a save through the store, one right after the other.

    The syncs are those that a durable save needs: of every file, of one small file more, of the folder and its parent.
    """
    plain, stored = folder / "plain", folder / "step-000001"
    plain.mkdir(parents=True)

    def save_plainly() -> tuple[_Spent, _Spent]:
        os.sync()  # nothing earlier keeps the device busy
        return _spent(lambda: write(plain)), _spent(lambda: _sync(plain))

    def save_in_store() -> _Spent:
        os.sync()
        return _spent(lambda: publish(stored, write))

    if store_first:
        store = save_in_store()
        (saved, synced) = save_plainly()
    else:
        (saved, synced) = save_plainly()
        store = save_in_store()
    shutil.rmtree(folder)
    return saved, synced, store


def _sync(folder: Path) -> None:
    (folder / "last").write_bytes(bytes(1000))
    for path in [*sorted(folder.iterdir()), folder, folder.parent]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def main() -> int:
    """Run the series named on the command line; the exit status is 1 when a run was lost."""
    names = ("kill", "whole", "random", "corrupt", "errors", "matrix", "signals", "lock", "cost")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--short", action="store_true", help="a few trials of each series")
    arguments = parser.parse_args()
    unknown = set(arguments.series) - set(names)
    if unknown:
        parser.error(f"no series {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    lost = 0
    with tempfile.TemporaryDirectory(prefix="medtune-crash-") as name, FaultLab(VICTIM) as lab:
        bench = Bench(lab, Path(name), short=arguments.short)
        for series in arguments.series or names:
            started = time.monotonic()
            run: Callable[[], list[Tally]] = getattr(bench, series)
            for tally in run():
                print(f"{tally}  ({time.monotonic() - started:.0f} s)", flush=True)
                lost += tally.of - tally.survived
                for failure in tally.failures[:20]:
                    print(f"  {failure}")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
