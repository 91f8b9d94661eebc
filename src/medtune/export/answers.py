"""The part of a report that shows how answers fail: kinds of mistake counted, with samples."""

from collections import Counter
from collections.abc import Mapping, Sequence

from medtune.errors.visible import html_text as escape
from medtune.evaluation.mistakes import RIGHT, mistakes_in
from medtune.evaluation.recognition import answer_of, question_of
from medtune.evaluation.spans import Label, spans_of
from medtune.evaluation.tagging import GoldTags, TaggedAnswer
from medtune.evaluation.task_contracts import Contracts
from medtune.export.page import ABSENT, Cell, join, table
from medtune.plugins.contracts import Prediction

__all__ = ["mistake_table", "samples"]

_PER_TASK = 5
_LONGEST = 600
_BARE = ""


def mistake_table(base: Sequence[Prediction], tuned: Sequence[Prediction], contracts: Contracts) -> str:
    """Return how many answers hold each kind of mistake, per task."""
    counts = [_counted(predictions, contracts) for predictions in (base, tuned)]
    rows: list[list[Cell]] = []
    for task in sorted({*counts[0], *counts[1]}):
        found = [count.get(task, Counter[str]()) for count in counts]
        kinds = sorted({*found[0], *found[1]}, key=lambda kind: (kind != RIGHT, -found[1][kind], -found[0][kind], kind))
        rows += [
            [
                Cell.text(task if kind == kinds[0] else ""),
                Cell.text(kind, "better" if kind == RIGHT else ""),
                *(
                    Cell(str(of[kind]) if predictions else ABSENT)
                    for of, predictions in zip(found, (base, tuned), strict=True)
                ),
            ]
            for kind in kinds
        ]
    return table(("task", "answers with", "base", "tuned"), rows, left=2)


def samples(base: Sequence[Prediction], tuned: Sequence[Prediction], contracts: Contracts) -> str:
    """Return a few answers per task, each kind of mistake once before any twice, and one right one if there is room."""
    shown = tuned or base
    other = base if len(base) == len(tuned) else ()
    by_task: dict[str, list[int]] = {}
    for index, prediction in enumerate(shown):
        by_task.setdefault(prediction.example.task or "no task", []).append(index)
    parts: list[str] = []
    for task, indices in sorted(by_task.items()):
        cards = [
            _card(shown[i], kinds, other[i] if other else None, "tuned" if tuned else "base")
            for i, kinds in _chosen(shown, indices, contracts)
        ]
        parts.append(join(f"<h3>Samples: {escape(task)}</h3>", *cards))
    return join(*parts)


def _counted(predictions: Sequence[Prediction], contracts: Contracts) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for prediction in predictions:
        if prediction.example.task:
            counts.setdefault(prediction.example.task, Counter()).update(mistakes_in(prediction, contracts))
    return counts


def _chosen(
    predictions: Sequence[Prediction], indices: Sequence[int], contracts: Contracts
) -> list[tuple[int, list[str]]]:
    """Choose rows so that as many kinds as possible are seen, mistakes before right answers."""
    waiting = [(i, mistakes_in(predictions[i], contracts)) for i in indices]
    seen: Counter[str] = Counter()
    chosen: list[tuple[int, list[str]]] = []
    while waiting and len(chosen) < _PER_TASK:
        best = min(waiting, key=lambda item: (item[1] == [RIGHT], seen[item[1][0]], item[0]))
        if best[1] == [RIGHT] and seen[RIGHT]:
            break
        waiting.remove(best)
        seen.update(best[1])
        chosen.append(best)
    return sorted(chosen, key=lambda item: (item[1] == [RIGHT], item[0]))


def _card(prediction: Prediction, kinds: Sequence[str], other: Prediction | None, whose: str) -> str:
    example = prediction.example
    what = "".join(f'<b class="{"ok" if kind == RIGHT else ""}">{escape(kind)}</b>' for kind in kinds)
    place = " ".join(filter(None, (example.source, example.row_id)))
    if example.task == "ner":
        lines = [("gold", _marked_gold(prediction))]
        lines += [("base", _marked_answer(other))] if other else []
        lines += [(whose, _marked_answer(prediction))]
    else:
        lines = [("input", _text(question_of(example), keep_end=True)), ("gold", _text(answer_of(example)))]
        lines += [("base", _text(other.text))] if other else []
        lines += [(whose, _text(prediction.text))]
    listed = "".join(f"<dt>{name}</dt>{shown}" for name, shown in lines)
    return f'<div class="sample"><header>{what}<span>{escape(place)}</span></header><dl>{listed}</dl></div>'


def _marked_gold(prediction: Prediction) -> str:
    gold = GoldTags.read(answer_of(prediction.example))
    return f"<dd>{_marked(gold.tokens, gold.labels, {})}</dd>"


def _marked_answer(prediction: Prediction) -> str:
    """Show the input with the entities that the answer claims, wrong ones in red, and what it made up behind it."""
    if not prediction.text.strip():
        return '<dd class="none">empty</dd>'
    gold = GoldTags.read(answer_of(prediction.example))
    answer = TaggedAnswer.read(prediction.text, gold.tokens, gold.scheme)
    right = set(spans_of(gold.labels, strict=True))
    wrong = {span.start: "bad" for span in spans_of(answer.labels, strict=True) if span not in right}
    shown = _marked(gold.tokens, answer.labels, wrong)
    invented = [
        " ".join(run[i][0] for i in range(span.start, span.end))
        for run in answer.surplus
        for span in spans_of([label for _token, label in run], strict=True)
    ]
    more = "".join(
        f' <mark class="bad">{escape(_clipped(text))}<sup>not in the input</sup></mark>' for text in invented[:5]
    )
    notes = [f"{_counted_as('token', answer.unaligned)} without a line"] if answer.unaligned else []
    beyond = sum(map(len, answer.surplus))
    notes += [f"{_counted_as('line', beyond)} beyond the input"] if beyond else []
    return f"<dd>{shown}{more}{' <span class=soft>(' + ', '.join(notes) + ')</span>' if notes else ''}</dd>"


def _counted_as(thing: str, count: int) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _marked(tokens: Sequence[str], labels: Sequence[Label], css: Mapping[int, str]) -> str:
    spans = {span.start: span for span in spans_of(labels, strict=True)}
    words: list[str] = []
    place = 0
    while place < len(tokens):
        span = spans.get(place)
        if span is None:
            words.append(escape(tokens[place]))
            place += 1
            continue
        kind = f"<sup>{escape(span.type)}</sup>" if span.type != _BARE else ""
        name = css.get(place, "gold")
        words.append(f'<mark class="{name}">{escape(" ".join(tokens[span.start : span.end]))}{kind}</mark>')
        place = span.end
    return " ".join(words)


def _text(text: str, *, keep_end: bool = False) -> str:
    return f"<dd>{escape(_clipped(text, keep_end=keep_end))}</dd>" if text.strip() else '<dd class="none">empty</dd>'


def _clipped(text: str, *, keep_end: bool = False) -> str:
    text = text.strip()
    if len(text) <= _LONGEST:
        return text
    return f"… {text[-_LONGEST:]}" if keep_end else f"{text[:_LONGEST]} …"
