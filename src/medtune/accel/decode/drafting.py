"""Proposes what an answer goes on with: from the form that it is expected to have, else from what was said before."""

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from medtune.plugins.contracts import Draft, GenerationRequest

__all__ = ["DraftCounts", "DraftMemory", "Drafter"]

Ids = tuple[int, ...]

_LEAST_SHARE = 0.25
"""Share of drafted tokens that must be right: one more token in a pass costs about a quarter of a pass of its own."""
_PROVED = 0.8
"""Share from which on a sequence drafts although other sequences' drafts are wrong."""
_SURE = 0.6
"""Share from which on as many tokens are drafted as a pass takes."""
_FIRST_REACH, _LONGEST_REACH = 2, 64
_REMEMBERED = 16
"""Drafts of one kind, over all sequences, that count."""
_MOST_MISSES = 3
_UNKNOWN_SURE = 0.8
"""How likely a choice is taken to be of which no answer has told anything yet."""
_FIRST_WAIT, _LONGEST_WAIT = 16, 1024
_MATCHED = 3
"""Tokens in a row that must have stood together before, for what followed them then to be drafted."""
_BYTES = 4
_LONGEST_CHOICE = 24
_SEARCHED = 2
"""Fixed texts after the one where an answer left its form in which it is looked for."""
_LEAST_SURE = 0.4
"""Drafts end where all of it being right is less probable."""


class DraftCounts(NamedTuple):
    """How many tokens were drafted for an answer, and how many of them the model chose too."""

    drafted: int = 0
    accepted: int = 0


class DraftMemory:
    """What answers so far teach: which choice follows which text, and how many drafted tokens of each kind were right."""

    def __init__(self) -> None:
        self._by_text: dict[Ids, Counter[Ids]] = {}
        self._by_last: dict[Ids, Counter[Ids]] = {}
        self._choices: Counter[Ids] = Counter()
        self.right = {"form": 1.0, "copy": 0.5}

    def learn(self, text: Ids, last: Ids, choice: Ids) -> None:
        """Note the choice that followed a fixed text and the choice before it."""
        self._by_text.setdefault(text, Counter())[choice] += 1
        self._by_last.setdefault(last, Counter())[choice] += 1
        self._choices[choice] += 1

    def guess(self, text: Ids, last: Ids, begun: Ids) -> tuple[Ids, float] | None:
        """Return the likeliest choice that begins so, and how likely it is; None where none is known."""
        for known in (self._by_text.get(text), self._by_last.get(last), self._choices):
            fitting = [(count, ids) for ids, count in (known or {}).items() if ids[: len(begun)] == begun]
            if fitting:
                count, ids = max(fitting)
                return ids, (count + 0.5) / (sum(count for count, _ in fitting) + 1)
        return None

    def judge(self, kind: str, share: float) -> None:
        """Note the share of a draft that was right; what was long ago counts less."""
        self.right[kind] += (share - self.right[kind]) / _REMEMBERED


class Drafter:
    """Drafts one answer.

    Args:
        request: the prompt, and what the answer may look like.
        memory: shared by the sequences that are decoded together.
    """

    def __init__(self, request: GenerationRequest, memory: DraftMemory) -> None:
        self.known = 0
        self.counts = DraftCounts()
        self.is_behind = True
        self._limit = request.max_new_tokens
        self._forms = [_Form(request.draft, memory)] if request.draft else []
        self._copy = _Copy(request.input_ids)
        self._memory = memory
        self._trusts = {kind: _Trust(right) for kind, right in memory.right.items()}
        self._kind = "copy"

    @property
    def is_awake(self) -> bool:
        """Whether it would draft now."""
        return any(trust.waits_until <= self.known for trust in self._trusts.values())

    def take(self, ids: Sequence[int]) -> None:
        """Note what the answer went on with."""
        self.known += len(ids)
        self._copy.take(ids)
        for form in self._forms:
            form.take(ids)

    def propose(self, most: int) -> list[int]:
        """Return up to ``most`` ids that may come next."""
        most = min(most, self._limit - self.known - 1)
        if most < 1:
            return []
        sources: list[tuple[str, _Form | _Copy]] = [("form", form) for form in self._forms]
        for kind, source in [*sources, ("copy", self._copy)]:
            trust = self._trusts[kind]
            trust.compare(self._memory.right[kind], self.known)
            if trust.waits_until <= self.known:
                if ids := source.propose(min(most, trust.reach)):
                    self._kind = kind
                    return ids
                if kind == "copy":
                    trust.miss(self.known)
        return []

    def propose_allowed(self, most: int) -> tuple[list[int], list[list[int]]]:
        """Return ids that may come next, and what the form allows in the place of each of them and after them."""
        (form,) = self._forms
        return form.propose_allowed(min(most, self._limit - self.known - 1))

    def judge(self, drafted: int, accepted: int) -> None:
        """Note how many of the ids proposed last were right."""
        self.counts = DraftCounts(self.counts.drafted + drafted, self.counts.accepted + accepted)
        self._memory.judge(self._kind, accepted / drafted)
        self._trusts[self._kind].judge(drafted, accepted, self.known)


class _Trust:
    """Whether drafts of one kind pay for one sequence: switched off for a while where they do not, each time for longer.

    Args:
        right: share of such drafts that was right in other sequences.
    """

    def __init__(self, right: float) -> None:
        self.waits_until = 0
        self.reach = _FIRST_REACH if right < _SURE else _LONGEST_REACH
        self._right, self._wait, self._misses = right, _FIRST_WAIT, 0
        if right < _LEAST_SHARE:
            self._doubt(0)

    def judge(self, drafted: int, accepted: int, place: int) -> None:
        self._misses = 0
        self._right += (accepted / drafted - self._right) / 3
        self.reach = 2 * drafted if accepted == drafted else max(_FIRST_REACH, accepted)
        if self._right >= _SURE:
            self.reach = _LONGEST_REACH
        elif self._right < _LEAST_SHARE:
            self._doubt(place)

    def compare(self, right: float, place: int) -> None:
        """Stop early where such drafts fail in the other sequences too."""
        if right < _LEAST_SHARE and self._right < _PROVED and self.waits_until <= place:
            self._doubt(place)

    def miss(self, place: int) -> None:
        self._misses += 1
        if self._misses == _MOST_MISSES:
            self._doubt(place)

    def _doubt(self, place: int) -> None:
        self.waits_until = place + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        self._misses, self._right, self.reach = 0, max(self._right, _LEAST_SHARE), _FIRST_REACH


class _Form:
    """Follows an answer through its expected form."""

    def __init__(self, draft: Draft, memory: DraftMemory) -> None:
        self._fixed = [tuple(ids) for ids in draft.fixed]
        self._choices = [tuple(ids) for ids in draft.choices]
        self._draft, self._memory, self._taken = draft, memory, list[int]()
        self._part = self._at = 0
        self._choice: list[int] | None = None
        self._last: Ids = ()
        self._is_lost = False
        self._enter()

    def take(self, ids: Sequence[int]) -> None:
        self._taken += ids
        for token in ids:
            self._step(token)

    def propose(self, most: int) -> list[int]:
        if self._is_lost:
            return []
        found: list[int] = []
        part, at, begun, last, sure = self._part, self._at, self._choice, self._last, 1.0
        while len(found) < most:
            if begun is None:
                found += self._fixed[part][at:]
                if part + 1 == len(self._fixed):
                    break
                begun = []
            guess = self._guess(part, last, tuple(begun))
            if guess is None:
                break
            sure *= guess[1]
            if sure < _LEAST_SURE:
                break
            found += guess[0][len(begun) :]
            part, at, begun, last = part + 1, 0, None, guess[0]
        return found[:most]

    def propose_allowed(self, most: int) -> tuple[list[int], list[list[int]]]:
        ahead = _Form(self._draft, DraftMemory())  # what is only drafted teaches nothing
        ahead.take(self._taken)
        kept, sets = list[int](), [ahead.allowed()]
        for token in self.propose(most):
            if token not in sets[-1]:
                break
            ahead.take([token])
            kept.append(token)
            sets.append(ahead.allowed())
        return kept, sets

    def allowed(self) -> list[int]:
        """Return the ids that the form allows next; at its end the last one again."""
        fixed = self._fixed[self._part]
        if self._choice is None:
            return [fixed[min(self._at, len(fixed) - 1)]]
        begun = tuple(self._choice)
        longer = {ids[len(begun)] for ids in self._choices if ids[: len(begun)] == begun and len(ids) > len(begun)}
        return sorted(longer | ({self._fixed[self._part + 1][0]} if begun in self._choices else set()))

    def _guess(self, part: int, last: Ids, begun: Ids) -> tuple[Ids, float] | None:
        known = self._memory.guess(self._fixed[part], last, begun)
        if known is not None:
            return known
        fitting = next((ids for ids in self._choices if ids[: len(begun)] == begun), begun)
        return (fitting, _UNKNOWN_SURE) if fitting else None

    def _step(self, token: int) -> None:
        if self._is_lost:
            self._find(token)
        elif self._choice is not None:
            self._step_in_choice(token)
        elif self._at < len(self._fixed[self._part]) and token == self._fixed[self._part][self._at]:
            self._at += 1
            self._enter()
        else:
            self._is_lost = True
            self._find(token)

    def _step_in_choice(self, token: int) -> None:
        choice, following = tuple(self._choice or ()), self._fixed[self._part + 1]
        if choice and following[:1] == (token,) and not self._goes_on(choice, token):
            self._memory.learn(self._fixed[self._part], self._last, choice)
            self._part, self._at, self._choice, self._last = self._part + 1, 1, None, choice
            self._enter()
        elif len(choice) == _LONGEST_CHOICE:
            self._is_lost = True
        else:
            self._choice = [*choice, token]

    def _goes_on(self, choice: Ids, token: int) -> bool:
        begun = (*choice, token)
        return any(ids[: len(begun)] == begun for ids in self._choices)

    def _enter(self) -> None:
        """Begin a choice where a fixed text has ended."""
        if self._at == len(self._fixed[self._part]) and self._part + 1 < len(self._fixed):
            self._choice = []

    def _find(self, token: int) -> None:
        """Look for a token in the texts that are near, and go on after it."""
        for part in range(self._part, min(self._part + 1 + _SEARCHED, len(self._fixed))):
            ids = self._fixed[part]
            start = self._at if part == self._part else 0
            if token in ids[start:]:
                self._part, self._at = part, ids.index(token, start) + 1
                self._choice, self._is_lost = None, False
                self._enter()
                return


class _Copy:
    """Finds the last tokens in what was said before, prompt and answer."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._said = bytearray(array("I", prompt).tobytes())

    def take(self, ids: Sequence[int]) -> None:
        self._said += array("I", ids).tobytes()

    def propose(self, most: int) -> list[int]:
        key, end = bytes(self._said[-_MATCHED * _BYTES :]), len(self._said) - 1
        while (place := self._said.rfind(key, 0, end)) > 0 and place % _BYTES:
            end = place + len(key) - 1  # bytes of two tokens
        if place < 0 or place % _BYTES:
            return []
        start = place + len(key)
        return array("I", bytes(self._said[start : start + most * _BYTES])).tolist()
