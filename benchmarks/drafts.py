"""Times answers with and without drafts, and says how many drafted tokens were right.

    python benchmarks/drafts.py --out drafts.json                    # on a CUDA GPU of 60 GiB or more
    python benchmarks/drafts.py --out drafts.json --tiny             # to try the script out, on a CPU too
    python benchmarks/drafts.py --out drafts.json --run RUN --device cpu

Without ``--run`` the weights are random, of Starling's shape, with a LoRA adapter: no draft would be right. So every pass does
all of its work, and then the tokens of a given answer are taken for what the model chose; drafts hold them with so many
of a hundred changed (``--right``). Prompts have 90 to 260 tokens, one of five texts first, and answers 128 (``--new``).

With ``--run`` base and adapter of a finished run answer its own validation rows, source by source, and the answers with and
without drafts are compared. Each figure is the median of three, the two kinds in turn, reading model and prompts included.
"""

import argparse
import dataclasses
import random
import statistics
from pathlib import Path

import torch
from generate import CUDA, DEVICE, Figures, found_dtype, requests, starling, timed

from medtune.accel.decode import slots
from medtune.accel.decode.plan import PromptRoom, SlotSize
from medtune.accel.decode.reading import read_decoder, survey
from medtune.backends.fast_generate import fast_generate
from medtune.plugins.contracts import Completion, Draft
from medtune.specs import EvalSpec

REPEATS = 3
FIRST_ID = 3
NEVER = (10**6,)  # an id that no vocabulary has


class Given:
    """A decoder that does all of its work and says the tokens of a given answer.

    Args:
        decoder: the real one.
        answer: [tokens] int64, the same for every sequence, so that it does not matter which slot one stands in.
    """

    def __init__(self, decoder, answer):
        self._decoder, self._answer = decoder, answer
        self.produced = self.size = None

    def __getattr__(self, name):
        return getattr(self._decoder, name)

    def next_ids(self, ids, angles, attend, rows=None):
        """Return the given tokens instead of those that were found."""
        found = self._decoder.next_ids(ids, angles, attend, rows)
        if rows is not None:
            return self._answer[0].expand_as(found)
        number, width = self.size
        place = self.produced[:number, None] + torch.arange(width, device=found.device)
        given = self._answer[place.clamp(max=len(self._answer) - 1)].flatten()
        return given if len(found) == len(given) else given[self.real]


def main():
    """Run all parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="file for the figures")
    parser.add_argument("--tiny", action="store_true", help="a shape for trying the script out")
    parser.add_argument("--run", type=Path, help="folder of a finished run")
    parser.add_argument("--device", choices=["cpu", "cuda"], default=DEVICE.partition(":")[0], help="where it is done")
    parser.add_argument("--rows", type=int, default=50, help="rows of each source of a run")
    parser.add_argument("--new", type=int, default=128)
    parser.add_argument("--right", nargs="*", type=float, default=[0.0, 0.5, 0.8, 0.9, 0.95, 1.0])
    parser.add_argument("--sequences", nargs="*", type=int, default=[256, 64, 16, 1])
    parser.add_argument("--seconds", type=float, default=500, help="when the last part is broken off")
    options = parser.parse_args()
    if options.device != DEVICE.partition(":")[0]:
        parser.error("the GPU that is seen is used; hide it with CUDA_VISIBLE_DEVICES= for the CPU")
    figures = Figures(options.out, options.seconds)
    figures.show(device=torch.cuda.get_device_name() if CUDA else "cpu", torch=torch.__version__)
    if options.run:
        figures.part("run", of_run, options)
        return
    loaded = starling(figures, "none", tiny=options.tiny)
    with torch.inference_mode():
        decoder = read_decoder(survey(loaded.model, found_dtype(loaded)), found_dtype(loaded), dequantize=True)
        for count in options.sequences:
            for right in (None, *options.right):
                figures.part("given", given, decoder, count, right, options.new)


def given(figures, decoder, count, right, new):
    """Show tokens per second of so many sequences with drafts of which a share is right, without any where that is None."""
    draw = random.Random(0)
    answer = list(range(FIRST_ID, FIRST_ID + new))  # all unlike, so that nothing is found by chance
    prompts = []
    for prompt in requests(count, new, alike=True):
        wrong = [1 if draw.random() > (right or 0) else token for token in answer]
        prompts.append(dataclasses.replace(prompt, draft=None if right is None else Draft([wrong])))
    capacity = 64 * -(-(max(len(p.input_ids) for p in prompts) + new + 15) // 64)
    seconds, counts = [], []
    for _ in range(REPEATS + 1):  # the first one compiles kernels
        proxy = Given(decoder, torch.tensor(answer, device=DEVICE))
        decoding = slots.Decoding(
            proxy, SlotSize(count, capacity), PromptRoom(8192, 4096), NEVER, drafts=right is not None
        )
        follow(decoding, proxy)
        answers = {}
        took, _ = timed(lambda d=decoding, a=answers: d.run(dict(enumerate(prompts)), a))
        seconds.append(took)
        counts = list(decoding.counts.values())
        if not all(found == answer for found in answers.values()):
            raise ValueError("an answer is not the given one")
    took = statistics.median(seconds[1:])
    drafted, accepted = (sum(each) for each in zip(*counts, strict=True))
    figures.show(
        part="given answers",
        sequences=count,
        right=right,
        drafted_tokens=drafted,
        accepted_share=round(accepted / drafted, 3) if drafted else None,
        tokens_per_second=round(count * new / took, 1),
    )


def follow(decoding, proxy):
    """Tell a decoder what size its passes have, and where its answers are."""
    run_step, run = decoding._run_step, decoding._verifier.run  # noqa: SLF001
    proxy.produced = decoding._state._produced  # noqa: SLF001

    def step(rows):
        proxy.size = rows, 1
        run_step(rows)

    def verify(rows, width):
        proxy.size = rows, width
        counts = decoding._verifier._given[:rows, 0]  # noqa: SLF001
        if not CUDA:
            proxy.real = (torch.arange(width) <= counts[:, None]).flatten().nonzero()[:, 0]
        run(rows, width)

    decoding._run_step, decoding._verifier.run = step, verify  # noqa: SLF001


def of_run(figures, options):
    """Show a run's answers with and without drafts, source by source."""
    from medtune.data.prepare import validation_examples
    from medtune.plugins.host import create_host
    from medtune.workflow.run import Run
    from medtune.workflow.scoring import answers_by

    run, host, by_source = Run.open(options.run), create_host(), {}
    evaluation = run.spec.eval.model_copy_with(rows_per_source=options.rows)
    spec = run.spec.model_copy_with(eval=evaluation)
    for example in run.scorable(validation_examples(spec, host)):
        by_source.setdefault(example.source, []).append(example)
    for source, rows in by_source.items():
        asked = []

        def keep(requests, asked=asked):
            asked.extend(requests)
            return nothing_said(requests)

        answers_by(keep, run.answering.encoder, rows, spec, host)
        compare(figures, run.loaded, source, asked)


def nothing_said(requests):
    """Return an empty answer to each request: they are only looked at."""
    return [Completion([], "", truncated=False) for _ in requests]


def compare(figures, loaded, source, asked):
    """Show tokens per second with and without drafts, in turn, and how many answers differ."""
    found, counts = {}, {}
    took = {True: [], False: []}
    for _ in range(REPEATS):
        for drafts in (False, True):
            seconds, found[drafts] = timed(
                lambda d=drafts: fast_generate(loaded, asked, EvalSpec(drafts=d), counts if d else None)
            )
            took[drafts].append(seconds)
    drafted, accepted = (sum(each) for each in zip(*counts.values(), strict=True))
    tokens = {drafts: sum(map(len, answers)) for drafts, answers in found.items()}
    plain, fast = (tokens[drafts] / statistics.median(took[drafts]) for drafts in (False, True))
    figures.show(
        part="run",
        source=source,
        rows=len(asked),
        differing=sum(a != b for a, b in zip(found[True], found[False], strict=True)),
        drafted_tokens=drafted,
        accepted_share=round(accepted / drafted, 3) if drafted else None,
        plain_tokens_per_second=round(plain, 1),
        tokens_per_second=round(fast, 1),
        times=round(fast / plain, 2),
    )


if __name__ == "__main__":
    main()
