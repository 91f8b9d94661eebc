"""Puts rows as another program rendered them beside medtune's: text, ids, and which tokens carry loss."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from medtune.data.encode import Encoder
from medtune.data.examples import training_examples
from medtune.data.prepare import encoder_of
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError, StorageError
from medtune.plugins.contracts import Example
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec
from medtune.specs.bounded import BoundsError, bounded_text, json_value

__all__ = ["Comparison", "compare_rendered", "told"]

_LARGEST = 64 * 2**20
_MOST_LINES, _MOST_ROWS = 1_000, 20_000
_AROUND = 24
"""Characters, or tokens, that are shown on each side of a difference."""
_IGNORED = -100
"""Label of a token without loss, in every program."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One rendered row beside medtune's.

    Attributes:
        line: of the file, from 1.
        row_id: of medtune's row; empty where none has this question and answer.
        differences: what differs first, by "text", "ids" and "labels"; empty where nothing does.
        theirs, ours: the whole texts.
        looked_at: which of the three the line has.
    """

    line: int
    row_id: str
    differences: Mapping[str, str]
    theirs: str
    ours: str
    looked_at: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; ``differences`` are sentences."""
        return {
            "line": self.line,
            "row_id": self.row_id,
            "found": bool(self.row_id),
            "compared": list(self.looked_at),
            "differences": dict(self.differences),
            "theirs": self.theirs,
            "ours": self.ours,
        }


class _Line(NamedTuple):
    """A rendered row: its text, or its ids with labels and attention mask where it has them."""

    text: str | None
    ids: list[int] | None
    labels: list[int] | None
    mask: list[int] | None


def compare_rendered(file: Path, spec: RunSpec, host: PluginHost, tokenizer: Any) -> list[Comparison]:
    """Compare rows that another program rendered with medtune's.

    Args:
        file: JSONL; each line has ``text``, or ``input_ids`` and perhaps ``labels`` (-100 where a token carries no loss).
        spec: the run.
        host: the plugins.
        tokenizer: the base's.

    Raises:
        StorageError: the file cannot be read.
        DataError: a line is none of these, or the rows cannot be read.
    """
    lines = _lines(file)
    quarantine = Quarantine(None, 1.0)
    examples = list(islice(training_examples(spec.rows, host, quarantine, spec.seed), _MOST_ROWS))
    encoder = encoder_of(spec, tokenizer)
    return [
        _compared(number, line, _nearest(_text(line, tokenizer), examples), encoder, tokenizer)
        for number, line in lines
    ]


def _lines(file: Path) -> list[tuple[int, _Line]]:
    try:
        text = bounded_text(file, _LARGEST)
    except OSError as error:
        raise StorageError(f"cannot read '{file}': {error.strerror or type(error).__name__}") from error
    except BoundsError as error:
        raise DataError(f"'{file}' {error}") from error
    found = list[tuple[int, _Line]]()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found.append((number, _line(line, f"'{file}', line {number}")))
    if not found or len(found) > _MOST_LINES:
        raise DataError(f"'{file}' has {len(found):,} rows; give some of them, at most {_MOST_LINES:,}")
    return found


def _line(line: str, place: str) -> _Line:
    try:
        value = json_value(line)
    except ValueError as error:
        raise DataError(f"{place} is no JSON object") from error
    given: Mapping[str, Any] = value if isinstance(value, dict) else {}
    text, ids, labels, mask = (given.get(name) for name in ("text", "input_ids", "labels", "attention_mask"))
    if not isinstance(text, str) and not _are_ids(ids):
        raise DataError(f"{place} has neither text nor input_ids")
    if labels is not None and not (_are_ids(ids) and _are_ids(labels) and len(labels) == len(ids)):
        raise DataError(f"{place} has labels that are not one number for each of its input_ids")
    return _Line(
        text if isinstance(text, str) else None,
        ids if _are_ids(ids) else None,
        labels if _are_ids(labels) else None,
        mask if _are_ids(mask) and _are_ids(ids) and len(mask) == len(ids) else None,
    )


def _are_ids(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(isinstance(each, int) and not isinstance(each, bool) for each in value)


def _text(line: _Line, tokenizer: Any) -> str:
    """Return the text of a line; padding is left out."""
    if line.text is not None:
        return line.text
    known, ids = len(tokenizer), _without_padding(line, tokenizer)
    return str(tokenizer.decode([each for each in ids if 0 <= each < known], skip_special_tokens=False))


def _nearest(text: str, examples: Sequence[Example]) -> Example | None:
    """Return the row whose turns stand in a text: the one of which most characters do, its answer among them."""
    best, most = None, 0
    flat = " ".join(text.split())
    for example in examples:
        turns = [" ".join(turn["content"].split()) for turn in example.messages]
        if turns and turns[-1] and turns[-1] in flat:
            points = sum(len(turn) for turn in turns if turn in flat)
            best, most = (example, points) if points > most else (best, most)
    return best


def _compared(number: int, line: _Line, example: Example | None, encoder: Encoder, tokenizer: Any) -> Comparison:
    theirs = _text(line, tokenizer)
    if example is None:
        return Comparison(number, "", {}, theirs, "", ())
    row = encoder.encode(example)
    ids, supervised = list(row.input_ids), list(row.supervised)
    ours = str(tokenizer.decode(ids, skip_special_tokens=False))
    found, looked = dict[str, str](), ["text"]
    if told := _text_difference(theirs, ours):
        found["text"] = told
    if line.ids is not None:
        looked.append("ids")
        their_ids = _without_padding(line, tokenizer)
        if told := _ids_difference(their_ids, ids, tokenizer):
            found["ids"] = told
        if line.labels is not None:
            looked.append("labels")
            their_loss = [label != _IGNORED for label in line.labels][: len(their_ids)]
            if told := _labels_difference(their_ids, their_loss, ids, [bool(each) for each in supervised], tokenizer):
                found["labels"] = told
    return Comparison(number, row.row_id or example.row_id or "row", found, theirs, ours, tuple(looked))


def _without_padding(line: _Line, tokenizer: Any) -> list[int]:
    """Return ids without padding at the end: of an attention mask where there is one, else unlabelled pad tokens."""
    ids = list(line.ids or ())
    labels = line.labels or [_IGNORED] * len(ids)
    pads = tokenizer.pad_token_id if tokenizer.pad_token_id != tokenizer.eos_token_id else None
    while ids:
        last = len(ids) - 1
        is_pad = ids[last] == pads and labels[last] == _IGNORED
        if not (is_pad if line.mask is None else not line.mask[last]):
            break
        ids.pop()
    return ids


def _first(one: Sequence[Any], other: Sequence[Any]) -> int | None:
    """Return the place of the first difference, None where there is none."""
    place = next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if place is None and len(one) != len(other):
        return min(len(one), len(other))
    return place


def _text_difference(theirs: str, ours: str) -> str:
    place = _first(theirs, ours)
    if place is None:
        return ""
    start = max(0, place - _AROUND)
    return (
        f"from character {place + 1}, after {_shown(ours[start:place])}: theirs goes on {_shown(theirs[place : place + 2 * _AROUND])}, "
        f"medtune's {_shown(ours[place : place + 2 * _AROUND])}"
    )


def _ids_difference(theirs: Sequence[int], ours: Sequence[int], tokenizer: Any) -> str:
    place = _first(theirs, ours)
    if place is None:
        return ""
    return f"from token {place + 1}: theirs {_token(theirs, place, tokenizer)}, medtune's {_token(ours, place, tokenizer)}; {len(theirs):,} tokens and {len(ours):,}"


def _labels_difference(
    their_ids: Sequence[int], theirs: Sequence[bool], our_ids: Sequence[int], ours: Sequence[bool], tokenizer: Any
) -> str:
    """Say which token carries loss in one of them only: at the same place of equal ids, else by what carries it in all."""
    if list(their_ids) == list(our_ids):
        place = _first(theirs, ours)
        if place is None:
            return ""
        carries = (
            "theirs carries loss and medtune's does not"
            if theirs[place]
            else "medtune's carries loss and theirs does not"
        )
        return f"from token {place + 1}, {_token(our_ids, place, tokenizer)}: {carries}; {sum(theirs):,} tokens with loss and {sum(ours):,}"
    chosen = [
        [each for each, on in zip(ids, loss, strict=False) if on]
        for ids, loss in ((their_ids, theirs), (our_ids, ours))
    ]
    if chosen[0] == chosen[1]:
        return ""
    place = _first(*chosen) or 0
    return (
        f"of the tokens with loss, {len(chosen[0]):,} and {len(chosen[1]):,}, number {place + 1} differs: theirs "
        f"{_token(chosen[0], place, tokenizer)}, medtune's {_token(chosen[1], place, tokenizer)}"
    )


def _token(ids: Sequence[int], place: int, tokenizer: Any) -> str:
    if place >= len(ids):
        return "ends"
    return (
        f"{ids[place]} {_shown(str(tokenizer.decode([ids[place]])))}"
        if 0 <= ids[place] < len(tokenizer)
        else f"{ids[place]}, which the tokenizer has not"
    )


def _shown(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def told(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield what differs, line by line."""
    for each in comparisons:
        if not each.row_id:
            yield f"line {each.line}: no training row has this answer; nothing is compared"
        elif not each.differences:
            yield f"line {each.line}, row {each.row_id}: the same {', '.join(each.looked_at)}"
        for name, sentence in each.differences.items():
            yield f"line {each.line}, row {each.row_id}, {name}: {sentence}"
