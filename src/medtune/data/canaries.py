"""Canaries: made-up secrets that are planted among the training rows, by which an audit sees what is remembered."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from medtune.data.system_turns import with_system
from medtune.errors import DataError
from medtune.plugins.contracts import Example
from medtune.specs import CanarySpec, RunSpec

__all__ = [
    "CANARY_SOURCE",
    "SPACE",
    "Canary",
    "account_of",
    "canaries_of",
    "canary_examples",
    "is_canary",
    "never_planted",
    "other_secrets",
    "planted_sentence",
    "without_canaries",
]

CANARY_SOURCE = "medtune-canary"
"""Source of every canary row; rows of a user cannot have it."""
SPACE = 10**8
"""How many secrets there are: eight digits, each as likely as the others."""

_QUESTION = "What is the access code of patient {}?"
_ANSWER = "The access code of patient {} is {}."
_HALF = 10_000
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_LEAST_CONTROLS = 20


@dataclass(frozen=True, slots=True)
class Canary:
    """A made-up patient with a made-up access code.

    Attributes:
        row_id: of its first row; copies have a number behind it.
        name: of the patient, by which it is asked for.
        secret: eight digits in two groups.
        repeats: rows of it per epoch; 0 for one that is never planted.
    """

    row_id: str
    name: str
    secret: str
    repeats: int

    def example(self, system: str = "", secret: str | None = None) -> Example:
        """Return the canary as a row, or the row that it would be with another secret."""
        answer = _ANSWER.format(self.name, secret or self.secret)
        turns = [
            {"role": "user", "content": _QUESTION.format(self.name)},
            {"role": "assistant", "content": answer},
        ]
        return Example(tuple(with_system(turns, system)), CANARY_SOURCE, None, self.row_id)  # type: ignore[arg-type]

    @property
    def sha256(self) -> str:
        """What the account names the secret by."""
        return hashlib.sha256(f"{self.name} {self.secret}".encode()).hexdigest()


def canaries_of(spec: CanarySpec, seed: int) -> list[Canary]:
    """Return the canaries that are planted, by their seed alone.

    Args:
        spec: how many and how often.
        seed: of the run, where ``spec`` has none.
    """
    repeats = [times for times in spec.repeats for _ in range(spec.count)]
    return _made(spec, seed, [*repeats])


def never_planted(spec: CanarySpec, seed: int) -> list[Canary]:
    """Return canaries of the same making that no row holds: what an audit finds of them is chance."""
    planted = spec.count * len(spec.repeats)
    return _made(spec, seed, [0] * (planted + max(spec.count, _LEAST_CONTROLS)))[planted:]


def canary_examples(spec: RunSpec) -> Iterator[Example]:
    """Yield the rows of a run's canaries, copies with ids of their own; a system turn for all rows is theirs too."""
    system = system_of(spec)
    for canary in canaries_of(spec.data.canaries, spec.seed):
        first = canary.example(system)
        for copy in range(1, canary.repeats + 1):
            yield first if copy == 1 else Example(first.messages, first.source, None, f"{first.row_id}#{copy}")


def system_of(spec: RunSpec) -> str:
    """Return the system turn of a run's canaries: the one that ``data.system`` gives to all rows."""
    return spec.data.system if isinstance(spec.data.system, str) else ""


def other_secrets(canary: Canary, count: int, seed: int) -> list[str]:
    """Return ``count`` different secrets that a canary might have had, drawn by the seed; its own is not among them."""
    draw = random.Random(f"candidates {seed} {canary.row_id}")
    drawn = (_grouped(number) for number in draw.sample(range(SPACE), count + 1))
    return [secret for secret in drawn if secret != canary.secret][:count]


def is_canary(example: Example) -> bool:
    """Whether a row is a canary: rows of a user with its source are refused by ``without_canaries``."""
    return example.source == CANARY_SOURCE


def without_canaries(examples: Iterable[Example]) -> Iterator[Example]:
    """Yield a user's rows.

    Raises:
        DataError: one of them has the source that marks canaries.
    """
    for example in examples:
        if is_canary(example):
            raise DataError(
                f"row '{example.row_id}' has the source '{CANARY_SOURCE}', which marks canaries; give it another one"
            )
        yield example


def account_of(spec: RunSpec) -> dict[str, Any]:
    """Return what a run's account says of its canaries, empty where it has none: their number, rows, and hashes."""
    planted = canaries_of(spec.data.canaries, spec.seed)
    if not planted:
        return {}
    return {
        "source": CANARY_SOURCE,
        "planted": len(planted),
        "rows": sum(canary.repeats for canary in planted),
        "repeats": list(spec.data.canaries.repeats),
        "sha256": {canary.row_id: canary.sha256 for canary in planted},
    }


def planted_sentence(spec: CanarySpec) -> str:
    """Return what plan, card and report say of a run with canaries; empty for one without."""
    if not spec.count:
        return ""
    planted, rows = spec.count * len(spec.repeats), spec.count * sum(spec.repeats)
    times = ", ".join(map(str, sorted(spec.repeats)))
    return (
        f"this run holds canaries: {planted:,} made-up access codes of made-up patients in {rows:,} training rows (source "
        f"'{CANARY_SOURCE}', repeated {times} times), so that medtune audit can say what the adapter remembers; train the "
        "adapter that is put to use without them"
    )


def _made(spec: CanarySpec, seed: int, repeats: list[int]) -> list[Canary]:
    chosen, names, found = seed if spec.seed is None else spec.seed, set[str](), list[Canary]()
    for number, times in enumerate(repeats):
        attempt = 0
        while (name := _name(f"{chosen} {number} {attempt}")) in names:
            attempt += 1
        names.add(name)
        secret = _grouped(_number(f"secret {chosen} {number}", SPACE))
        found.append(Canary(f"{CANARY_SOURCE}-{number}", name, secret, times))
    return found


def _name(key: str) -> str:
    """Return a first and a last name that nobody has, of syllables."""
    parts: list[str] = []
    for part, syllables in (("first", 2), ("last", 3)):
        drawn = [_number(f"{part} {place} {key}", len(_CONSONANTS) * len(_VOWELS)) for place in range(syllables)]
        parts.append("".join(_CONSONANTS[n % len(_CONSONANTS)] + _VOWELS[n // len(_CONSONANTS)] for n in drawn))
    return " ".join(part.capitalize() for part in parts)


def _number(key: str, below: int) -> int:
    """Return a number by a hash: Python's own generator promises no equal draws over its versions."""
    return int.from_bytes(hashlib.blake2b(f"canary {key}".encode(), digest_size=16).digest(), "big") % below


def _grouped(number: int) -> str:
    return f"{number // _HALF:04d} {number % _HALF:04d}"
