"""From generated ids to the answer: cut at the end, decoded, and without what the template itself puts before an answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from medtune.data.final_answer import closing_of, final_answer
from medtune.data.forms import Forms
from medtune.data.plaintext import PlainTextTokenizer
from medtune.plugins.contracts import Completion

__all__ = ["AnswerReader", "Lead", "completion_of", "lead_of"]

_LAST_TAG = re.compile(r"([<\[])/?\w[\w:]*[>\]]$")


@dataclass(frozen=True, slots=True)
class Lead:
    r"""What stands in a trained text between the prompt that generation is given and the answer.

    Attributes:
        text: without outer white space; empty for most templates, such as ``<think>\n\n</think>`` for others.
        ids: of it, or else of what stands between reasoning and answer, where that holds control tokens, which decoding
            leaves out; empty otherwise.
        begins: id of the control token that begins what stands before an answer, reasoning included; None without one.
        opened: the tag that the prompt ends in, when the lead closes it; else empty.
        tokens: how many tokens the lead takes.
    """

    text: str = ""
    ids: tuple[int, ...] = ()
    begins: int | None = None
    opened: str = ""
    tokens: int = 0


def lead_of(forms: Forms) -> Lead:
    """Find the lead by rendering one question and its answer; raises UnsafeArtifactError for a broken template."""
    plain, form = forms.plain, forms.of(("user", "assistant"))
    opening = form.answers[-1].opening
    before = form.literals[1]
    lead = before.removeprefix(opening)
    if lead == before and opening:
        return Lead()
    tokens = len(plain.ids([lead])[0]) if lead.strip() else 0
    ids, begins = _marks_of(plain, lead, lead)
    if not ids and (around := forms.template.around_reasoning):
        ids, begins = _marks_of(plain, *(plain.aliased(text) for text in around))
    tag = _LAST_TAG.search(opening.rstrip())
    opened = tag[0] if tag and closing_of(tag[0]) in lead else ""
    return Lead(plain.spelled(lead).strip(), ids, begins, opened, tokens)


def _marks_of(plain: PlainTextTokenizer, before: str, text: str) -> tuple[tuple[int, ...], int | None]:
    """Return the ids of text with control tokens, and the last control token of what comes before; none without them."""
    if not plain.aliased_ids(text):
        return (), None
    begins = plain.aliased_ids(before)
    return tuple(plain.ids([text.strip()])[0].tolist()), (
        begins[0] if before == text else begins[-1]
    ) if begins else None


def completion_of(tokenizer: Any, stop_ids: Sequence[int], ids: Sequence[int]) -> Completion:
    """Return generated ids as a generator does: cut at the first stop id, decoded without control tokens.

    Args:
        tokenizer: a transformers tokenizer.
        stop_ids: what ends an answer.
        ids: what follows the prompt.
    """
    end = next((i for i, token in enumerate(ids) if token in stop_ids), None)
    kept = list(ids if end is None else ids[:end])
    text: str = tokenizer.decode(kept, skip_special_tokens=True)
    return Completion(kept, text, truncated=end is None)


class AnswerReader:
    """Takes off what a template puts before answers, and reasoning.

    Args:
        tokenizer: decodes what is left where control tokens told where the answer begins.
        lead: of the tokenizer's chat template.
    """

    def __init__(self, tokenizer: Any, lead: Lead) -> None:
        self._tokenizer, self._lead = tokenizer, lead

    def read(self, completion: Completion, gold: str = "") -> Completion:
        """Return the completion with the answer alone as its text, ``truncated`` where none was begun.

        Args:
            completion: of a generator.
            gold: as for ``final_answer``.
        """
        lead, ids = self._lead, list(completion.token_ids)
        text = completion.text
        if lead.ids:
            place = _last_place(ids, lead.ids)
            if place >= 0:
                text = self._tokenizer.decode(ids[place + len(lead.ids) :], skip_special_tokens=True)
                return replace(completion, text=text.strip())
            if lead.begins in ids:  # it began another channel, and never came to the one of the answer
                return replace(completion, text="", truncated=True)
        elif lead.text:
            text = self._without_lead(text)
        found = final_answer(text, gold, opened=bool(lead.opened) and text is completion.text)
        return replace(completion, text=found.text.strip(), truncated=completion.truncated or found.unfinished)

    def _without_lead(self, text: str) -> str:
        """Take the lead off: all of it, or what ends in the tag that it ends in."""
        if text.lstrip().startswith(self._lead.text):
            return text.lstrip()[len(self._lead.text) :]
        tag = _LAST_TAG.search(self._lead.text)
        if tag is None or "/" not in tag[0] or tag[0] not in text:
            return text
        return text.partition(tag[0])[2]


def _last_place(ids: Sequence[int], wanted: Sequence[int]) -> int:
    size = len(wanted)
    places = [i for i in range(len(ids) - size + 1) if tuple(ids[i : i + size]) == tuple(wanted)]
    return places[-1] if places else -1
