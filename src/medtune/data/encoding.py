"""Encodes chunks of examples in their order: in this process, or in several that work ahead of it."""

import logging
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, BinaryIO, Literal

from medtune.data.encode import Encoder
from medtune.data.supervision import Span
from medtune.errors import UnusableRowError
from medtune.plugins.contracts import Example
from medtune.specs import RunSpec

__all__ = ["ChunkEncoder", "Encoded", "encoded_rows", "processes_for", "serve"]

_LOG = logging.getLogger(__name__)

Encoded = tuple[Any, Sequence[Span]] | UnusableRowError
"""Ids (int32 array) and supervised spans of a row, or why it has none."""
_MOST_PROCESSES = 8  # the process that reads and checks the rows cannot feed more
_ENOUGH_CORES = 4
_HERE_FIRST = 10
"""Chunks that are encoded here before processes are started of one's own accord: they take two seconds to load a tokenizer."""
_CHILD = "from medtune.data.encoding import serve; serve()"


def processes_for(wanted: int | Literal["auto"]) -> int:
    """Return how many processes encode beside this one: as many as each training process on this machine has cores, but one.

    With fewer than four cores it is none: the tokenizers library uses two by itself.
    """
    if wanted != "auto":
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(own - 1, _MOST_PROCESSES) if own >= _ENOUGH_CORES else 0


def encoded_rows(encoder: Encoder, examples: Sequence[Example]) -> list[Encoded]:
    """Encode a chunk together; where a row of it cannot be, one by one."""
    try:
        return list(encoder.encode_spans(examples))
    except UnusableRowError as error:
        if len(examples) == 1:
            return [error]
        return [encoded_rows(encoder, [example])[0] for example in examples]


class ChunkEncoder:
    """Encodes chunks one after the other, whichever process does it: order and ids are those of one process.

    Each process has one chunk at a time, so no more than one chunk for each is in memory. A process that ends early is done
    without: its chunk is encoded here.

    Args:
        spec: the run; ``data.processes`` says how many encode beside this one.
        encoder: of the run.
    """

    def __init__(self, spec: RunSpec, encoder: Encoder) -> None:
        self._spec, self._encoder = spec, encoder
        self._wanted = processes_for(spec.data.processes)
        self._here_first = _HERE_FIRST if spec.data.processes == "auto" else 0

    def encode(self, chunks: Iterable[list[Example]]) -> Iterator[tuple[list[Example], list[Encoded]]]:
        """Yield each chunk with what its rows became."""
        waiting: deque[tuple[list[Example], _Process]] = deque()
        processes: list[_Process] = []
        idle: deque[_Process] = deque()
        try:
            for number, chunk in enumerate(chunks):
                if self._wanted and not processes and number >= self._here_first:
                    processes = [_Process(self._spec, self._encoder) for _ in range(self._wanted)]
                    idle.extend(processes)
                while waiting and not idle:
                    yield self._received(waiting.popleft(), idle)
                if not idle:
                    yield chunk, encoded_rows(self._encoder, chunk)
                    continue
                process = idle.popleft()
                process.send(chunk)
                waiting.append((chunk, process))
            while waiting:
                yield self._received(waiting.popleft(), idle)
        finally:
            for process in processes:
                process.end()

    def _received(
        self, sent: "tuple[list[Example], _Process]", idle: "deque[_Process]"
    ) -> tuple[list[Example], list[Encoded]]:
        chunk, process = sent
        found = process.receive()
        if found is None:
            return chunk, encoded_rows(self._encoder, chunk)
        idle.append(process)
        return chunk, found


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a process sends back: ids of all rows in one array, and per row its length and spans, or the error."""

    ids: Any
    rows: Sequence[tuple[int, Sequence[Span]] | UnusableRowError]

    def encoded(self) -> list[Encoded]:
        ends = accumulate(0 if isinstance(row, UnusableRowError) else row[0] for row in self.rows)
        return [
            row if isinstance(row, UnusableRowError) else (self.ids[end - row[0] : end], row[1])
            for row, end in zip(self.rows, ends, strict=True)
        ]


class _Process:
    """A child that encodes as this process does: started by Python itself, so that no program of a user is imported in it."""

    def __init__(self, spec: RunSpec, encoder: Encoder) -> None:
        environment = {
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self._child = subprocess.Popen(  # noqa: S603 - Python and medtune themselves
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        self._fingerprint = encoder.fingerprint
        self._send((spec, encoder.tokenizer))

    def send(self, chunk: list[Example]) -> None:
        """Give it a chunk."""
        self._send(chunk)

    def receive(self) -> list[Encoded] | None:
        """Return what the rows became; None where the process cannot be relied on, which is told in the log.

        Raises:
            MedtuneError: what encoding raised there.
        """
        try:
            found = pickle.load(self._out)  # noqa: S301 - from a child that this process started
        except (EOFError, OSError, pickle.UnpicklingError):
            _LOG.warning(
                "a process that encodes rows ended early (exit code %s); its rows are encoded here", self._child.wait()
            )
            return None
        if isinstance(found, Exception):
            raise found
        fingerprint, answer = found
        if fingerprint != self._fingerprint:
            _LOG.warning("a process that encodes rows loaded another tokenizer; its rows are encoded here")
            return None
        encoded: list[Encoded] = answer.encoded()
        return encoded

    def end(self) -> None:
        """Let it end; one that is in the midst of a chunk nobody waits for is ended."""
        with suppress(OSError):
            self._in.close()
        self._child.kill()
        self._out.close()
        self._child.wait()

    @property
    def _in(self) -> Any:
        return self._child.stdin

    @property
    def _out(self) -> Any:
        return self._child.stdout

    def _send(self, value: object) -> None:
        with suppress(OSError):  # it ended: `receive` says so
            pickle.dump(value, self._in, protocol=pickle.HIGHEST_PROTOCOL)
            self._in.flush()


def serve() -> None:
    """Encode what comes on stdin until it ends; the main program of such a process."""
    from medtune.data.prepare import encoder_of

    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no reply
    spec, tokenizer = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    encoder = encoder_of(spec, tokenizer)
    with suppress(EOFError, BrokenPipeError):
        while True:
            _reply(replies, _answered(encoder, pickle.load(sys.stdin.buffer)))  # noqa: S301 - as above


def _answered(encoder: Encoder, chunk: list[Example]) -> object:
    import numpy as np

    try:
        found = encoded_rows(encoder, chunk)
    except Exception as error:  # noqa: BLE001 - raised again by who waits for it
        return error
    ids = [row[0] for row in found if not isinstance(row, UnusableRowError)]
    rows = [row if isinstance(row, UnusableRowError) else (len(row[0]), row[1]) for row in found]
    return encoder.fingerprint, _Answer(np.concatenate(ids) if ids else np.empty(0, dtype=np.int32), rows)


def _reply(replies: BinaryIO, value: object) -> None:
    pickle.dump(value, replies, protocol=pickle.HIGHEST_PROTOCOL)
    replies.flush()
