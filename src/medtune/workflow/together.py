"""Several processes answer together: the first one scores, and whatever it asks of its model each process answers a share of."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from medtune.errors import OtherProcessError
from medtune.machine.hardware import all_ranks_say, first_rank_says, is_first_rank, rank, world_size
from medtune.plugins.contracts import Loaded, PackedRow, PackedRows
from medtune.plugins.host import PluginHost

__all__ = ["asked", "in_company", "losses_asked"]

_DOING = "answered rows together"
_DONE, _FAILED = "done", "failed"


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of a backend's method, by names, so that every process finds its own."""

    kind: str
    backend: str
    method: str
    items: Any
    spec: Any
    side: str


def in_company(loaded: Loaded, host: PluginHost) -> Loaded:
    """Return a model that all processes answer by inside ``in_step``, where each holds the whole base."""
    if world_size() == 1 or loaded.in_step is not nullcontext:
        return loaded
    return replace(loaded, in_step=_Company(loaded, host).in_step)


def asked(generator: Any, method: str, loaded: Loaded, requests: Sequence[Any], spec: Any) -> Sequence[Any]:
    """Return what a method of a generator answers to requests, each process doing a share where they are together."""
    company = _TOGETHER.get()
    if company is None or getattr(generator, "loads_own_base", False):
        found: Sequence[Any] = getattr(generator, method)(loaded, requests, spec)
        return found
    shares = company.ask(_Question("generator", generator.name, method, list(requests), spec, loaded.answers_as))
    answers: list[Any] = [None] * len(requests)
    for number, share in enumerate(shares):
        answers[number :: len(shares)] = share
    return answers


def losses_asked(trainer: Any, loaded: Loaded, rows: PackedRows, spec: Any) -> Mapping[str, tuple[float, int]]:
    """Return what a trainer measures of rows, each process doing a share where they are together."""
    company = _TOGETHER.get()
    if company is None:
        alone: Mapping[str, tuple[float, int]] = trainer.held_out_losses(loaded, rows, spec)
        return alone
    question = _Question("trainer", trainer.name, "held_out_losses", rows, spec, loaded.answers_as)
    found: dict[str, tuple[float, int]] = {}
    for share in company.ask(question):
        for source, (loss, tokens) in share.items():
            before = found.get(source, (0.0, 0))
            found[source] = before[0] + loss, before[1] + tokens
    return dict(sorted(found.items()))


class _Company:
    """The processes of a run, each with its own copy of the model."""

    def __init__(self, loaded: Loaded, host: PluginHost) -> None:
        self._loaded, self._host = loaded, host
        self._is_broken = False

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Inside, what the first process asks is divided among all; the others answer it when they come to the end."""
        if not is_first_rank():
            yield
            self._follow()
            return
        token = _TOGETHER.set(self)
        try:
            yield
        except Exception:
            if not self._is_broken:
                with suppress(RuntimeError):  # the error itself is the one that matters
                    first_rank_says(_FAILED)
            raise
        else:
            first_rank_says(_DONE)
        finally:
            _TOGETHER.reset(token)

    def ask(self, question: _Question) -> list[Any]:
        """Return what each process finds for its share; asked by the first one."""
        self._is_broken = True  # until everybody has answered
        first_rank_says(question)
        found = self._shares(question)
        self._is_broken = False
        return found

    def _follow(self) -> None:
        """Answer what the first process asks until it is done."""
        while (told := first_rank_says("")) != _DONE:
            if not isinstance(told, _Question):
                raise OtherProcessError(_DOING)
            self._shares(told)

    def _shares(self, question: _Question) -> list[Any]:
        """Answer the own share and return those of all.

        Raises:
            OtherProcessError: another process could not answer its own.
        """
        own: Exception | None = None
        share: Any = None
        try:
            share = self._answered(question)
        except Exception as error:  # noqa: BLE001 - raised below, once the others know
            own = error
        told = all_ranks_say((own is None, share))
        if own is not None:
            raise own
        if not all(is_answered for is_answered, _share in told):
            raise OtherProcessError(_DOING)
        return [found for _is_answered, found in told]

    def _answered(self, question: _Question) -> Any:
        backend = self._host.find(question.kind, question.backend)
        is_inside = is_first_rank() or question.side == "tuned"  # the first one is where it asks from
        with nullcontext() if is_inside else self._loaded.base_only():
            call = getattr(backend, question.method)
            if question.kind == "trainer":
                rows = _Share(question.items, range(rank(), len(question.items), world_size()))
                return dict(call(self._loaded, rows, question.spec)) if len(rows) else {}
            requests = question.items[rank() :: world_size()]
            return list(call(self._loaded, requests, question.spec)) if requests else []


_TOGETHER: ContextVar[_Company | None] = ContextVar("together", default=None)
"""The processes that answer what this one asks now, None where it is alone or does not ask."""


class _Share:
    """Some of the rows of a packed set; satisfies ``PackedRows``."""

    def __init__(self, rows: PackedRows, numbers: Sequence[int]) -> None:
        self._rows, self._numbers = rows, numbers

    @property
    def fingerprint(self) -> str:
        """Identity of the whole set."""
        return self._rows.fingerprint

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> PackedRow:
        return self._rows[self._numbers[index]]

    def row_id(self, sample: int) -> str:
        """Return the row id of a sample."""
        return self._rows.row_id(sample)

    def source(self, sample: int) -> str:
        """Return the source of a sample."""
        return self._rows.source(sample)
