"""Tags words by a dictionary: the entities of the training rows, the longest first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from medtune.evaluation.spans import OUTSIDE, Label, spans_of

__all__ = ["Dictionary"]

_Words = tuple[str, ...]


class Dictionary:
    """The surface forms of entities, whatever their case.

    A form is taken where it was an entity at least as often as its words stood outside of any; of several types it has
    the commonest, of equally common ones the first by name.

    Args:
        sentences: words and labels in IOB2 of the training rows.
    """

    def __init__(self, sentences: Iterable[tuple[Sequence[str], Sequence[Label]]]) -> None:
        rows = [([word.casefold() for word in words], labels) for words, labels in sentences]
        found: dict[_Words, Counter[str]] = defaultdict(Counter)
        for words, labels in rows:
            for span in spans_of(labels, strict=True):
                found[tuple(words[span.start : span.end])][span.type] += 1
        self._lengths = _lengths(found)
        outside: Counter[_Words] = Counter()
        for words, labels in rows:
            for place in range(len(words)):
                for form in self._forms_at(words, place):
                    outside[form] += form in found and all(
                        label == OUTSIDE for label in labels[place : place + len(form)]
                    )
        self.types = {form: _commonest(of) for form, of in found.items() if of.total() >= outside[form]}
        self._lengths = _lengths(self.types)

    def tag(self, words: Sequence[str]) -> list[Label]:
        """Return a label in IOB2 for each word: from left to right, the longest form that begins there."""
        keys, labels, place = [word.casefold() for word in words], [OUTSIDE] * len(words), 0
        while place < len(keys):
            form = next((form for form in self._forms_at(keys, place) if form in self.types), None)
            if form is not None:
                kind = self.types[form]
                labels[place : place + len(form)] = [Label("B", kind), *[Label("I", kind)] * (len(form) - 1)]
            place += len(form) if form is not None else 1
        return labels

    def _forms_at(self, words: Sequence[str], place: int) -> Iterable[_Words]:
        """Yield the runs of words from a place that are as long as some form with the same first word, longest first."""
        for length in self._lengths.get(words[place], ()):
            if place + length <= len(words):
                yield tuple(words[place : place + length])


def _lengths(forms: Iterable[_Words]) -> dict[str, list[int]]:
    """Return first word -> lengths of the forms that begin with it, longest first."""
    found: dict[str, set[int]] = defaultdict(set)
    for form in forms:
        found[form[0]].add(len(form))
    return {first: sorted(lengths, reverse=True) for first, lengths in found.items()}


def _commonest(types: Counter[str]) -> str:
    return min(types, key=lambda kind: (-types[kind], kind))
