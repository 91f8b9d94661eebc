"""From an example to its exact token ids and the tokens that carry loss: one way for training, scoring and chat."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from medtune.data.plaintext import PlainTextTokenizer
from medtune.data.template import ChatTemplate, Layout
from medtune.errors import DataError, UnsafeArtifactError
from medtune.plugins.contracts import EncodedExample, Example, Message

__all__ = ["Encoder"]

_SAMPLED = 997
"""Every so many rows the assembled text is compared with the tokenizer's own rendering."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One assistant turn: the end of its prompt, the ids that must end the prompt, and its end-of-turn token."""

    turn: int
    opening: str
    tail_ids: tuple[int, ...] | None
    end_offset: int
    end_id: int


@dataclass(frozen=True, slots=True)
class _Form:
    """A layout ready for use: its literals with control tokens as aliases, and the answers to supervise."""

    literals: tuple[str, ...]
    answers: tuple[_Answer, ...]
    control_ids: tuple[int, ...]


class Encoder:
    """Encodes conversations as the model's own chat template renders them.

    The conversation is rendered whole and tokenised once. An answer is supervised from the first token after its
    prompt, which is what generation is given, through its end-of-turn token; both come from character offsets.
    Strings such as ``<s>`` inside a message are plain text. Contents are stripped of outer white space.

    Args:
        tokenizer: from ``load_tokenizer``.
        system_turns: "fold" puts a system turn before the first user turn where the template has none; "refuse" raises.
        supervise: "last" answer or "all" of them.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        system_turns: Literal["fold", "refuse"] = "fold",
        supervise: Literal["last", "all"] = "last",
    ) -> None:
        self.tokenizer, self._system_turns, self._supervise = tokenizer, system_turns, supervise
        self._forms: dict[tuple[str, ...], _Form] = {}
        self._encoded = 0

    def encode(self, example: Example) -> EncodedExample:
        """Encode one example; see ``encode_batch``."""
        return self.encode_batch([example])[0]

    def encode_batch(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Encode examples, the last message of each being an answer.

        Returns:
            Ids and 0/1 supervision, aligned, one per example.

        Raises:
            DataError: an example has no answer, or a control token in its text that the vocabulary cannot spell out.
            UnsafeArtifactError: the template breaks an invariant; the sentence shows ids, never text.
        """
        return [
            EncodedExample(ids.tolist(), supervised.tolist(), example.source, example.row_id)
            for example, (ids, supervised) in zip(examples, self.encode_arrays(examples), strict=True)
        ]

    def encode_arrays(self, examples: Sequence[Example]) -> Iterator[tuple[Any, Any]]:
        """As ``encode_batch``, yielding an int32 and a uint8 array [tokens] per example."""
        turns = [self._prepared(example) for example in examples]
        forms = [self._form(tuple(m["role"] for m in messages)) for messages in turns]
        texts = [_join(form.literals, messages) for form, messages in zip(forms, turns, strict=True)]
        self._check_sample(turns, texts)
        for row in zip(examples, turns, forms, self._plain.encode_batch(texts), strict=True):
            yield self._supervised(*row)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return what generation is given: the conversation so far and the opening of the next answer."""
        turns = self._folded(messages)
        form = self._form((*(m["role"] for m in turns), "assistant"))
        text = _join((*form.literals[: len(turns)], form.answers[-1].opening), turns)
        ids: list[int] = self._plain.real_ids(self._plain.encode_batch([text])[0]).tolist()
        return ids

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end an answer: the template's end-of-turn token and the tokenizer's end token."""
        end = self._form(("user", "assistant")).answers[-1].end_id
        return tuple(dict.fromkeys(i for i in (end, self.tokenizer.eos_token_id) if i is not None))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over tokenizer, template and the settings that change ids or supervision."""
        digest = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        digest.update(self._template.require().encode())
        digest.update(f"{self._system_turns} {self._supervise}".encode())
        return digest.hexdigest()

    @cached_property
    def _template(self) -> ChatTemplate:
        return ChatTemplate(self.tokenizer)

    @cached_property
    def _plain(self) -> PlainTextTokenizer:
        return PlainTextTokenizer(self.tokenizer)

    @cached_property
    def _takes_system(self) -> bool:
        return self._template.takes_system

    def _prepared(self, example: Example) -> list[Message]:
        messages = self._folded(example.messages)
        if len(messages) < 2 or messages[-1]["role"] != "assistant":  # noqa: PLR2004 - a question and an answer
            raise DataError(f"row '{example.row_id}' does not end with an assistant turn after a user turn")
        if not messages[-1]["content"]:
            raise DataError(f"row '{example.row_id}' has an empty answer")
        return messages

    def _folded(self, messages: Sequence[Message]) -> list[Message]:
        """Strip contents (templates differ in whether they do) and give system turns a place."""
        turns: list[Message] = [{"role": m["role"], "content": m["content"].strip()} for m in messages]
        if not turns or turns[0]["role"] != "system" or self._takes_system:
            return turns
        if self._system_turns == "refuse":
            raise DataError(
                "the chat template has no system turn; set model.system_turns=fold to put it before the user's"
            )
        if len(turns) < 2 or turns[1]["role"] != "user":  # noqa: PLR2004 - the system turn and the user's
            raise DataError("a system turn without a user turn after it has no place in this chat template")
        joined = f"{turns[0]['content']}\n\n{turns[1]['content']}".strip()
        return [{"role": "user", "content": joined}, *turns[2:]]

    def _form(self, roles: tuple[str, ...]) -> _Form:
        if roles not in self._forms:
            self._forms[roles] = self._derive(self._template.layout(roles))
        return self._forms[roles]

    def _derive(self, layout: Layout) -> _Form:
        literals = [self._plain.aliased(literal) for literal in layout.literals]
        if self._plain.wants_bos and not literals[0].startswith(self._plain.bos_alias):
            literals[0] = self._plain.bos_alias + literals[0]
        control_ids = self._plain.aliased_ids("".join(literals))
        bos = self.tokenizer.bos_token_id
        if bos is not None and bos != self.tokenizer.eos_token_id and control_ids.count(bos) > 1:
            raise UnsafeArtifactError(
                f"the chat template writes the beginning-of-sequence id {bos} more than once: {list(control_ids)}"
            )
        answers = [self._answer(turn, opening, literals[turn + 1]) for turn, opening in layout.openings]
        return _Form(tuple(literals), tuple(answers if self._supervise == "all" else answers[-1:]), control_ids)

    def _answer(self, turn: int, opening: str, after: str) -> _Answer:
        opening = self._plain.aliased(opening)
        end = self._plain.first_alias(after)
        if end is None or after[: end[0]].strip():
            raise UnsafeArtifactError(
                "the chat template writes no end-of-turn token after an answer, so the model would never learn to stop"
            )
        return _Answer(turn, opening, self._plain.ids_after_control(opening), *end)

    def _check_sample(self, turns: Sequence[Sequence[Message]], texts: Sequence[str]) -> None:
        """Compare the first row, and now and then another, with the tokenizer's own rendering."""
        for number, (messages, text) in enumerate(zip(turns, texts, strict=True), start=self._encoded):
            if number % _SAMPLED == 0:
                rendered = self._template.render(messages)
                if not self._plain.spelled(text).endswith(rendered):
                    raise UnsafeArtifactError(
                        "the chat template changes its own text with the content of a message, so rows cannot be "
                        "rendered alike"
                    )
        self._encoded += len(turns)

    def _supervised(self, example: Example, messages: Sequence[Message], form: _Form, encoding: Any) -> tuple[Any, Any]:
        """Return ids and supervision of a row whose invariants hold."""
        import numpy as np

        ids = self._plain.real_ids(encoding)
        if self._plain.control_ids(ids) != form.control_ids:
            raise DataError(
                f"row '{example.row_id}' spells out a control token, which this vocabulary cannot tell apart"
            )
        supervised = np.zeros(len(ids), dtype=np.uint8)
        for answer in form.answers:
            first, last = _span(answer, form.literals, messages, encoding)
            if last <= first or ids[last] != answer.end_id:
                raise UnsafeArtifactError(
                    f"row '{example.row_id}' has no token to learn from before its end of turn: {ids.tolist()}"
                )
            if not self._begins_as_generated(ids, first, answer, form, messages):
                raise UnsafeArtifactError(
                    f"row '{example.row_id}': the ids of the prompt change when the answer follows: {ids[:first].tolist()}"
                )
            supervised[first : last + 1] = 1
        return ids, supervised

    def _begins_as_generated(
        self, ids: Any, first: int, answer: _Answer, form: _Form, messages: Sequence[Message]
    ) -> bool:
        """Whether the ids before an answer are those that generation is given.

        After a control token the tokenizer starts afresh, so comparing the ids after the last one suffices.
        """
        if answer.tail_ids is not None:
            return tuple(ids[first - len(answer.tail_ids) : first].tolist()) == answer.tail_ids
        text = _join((*form.literals[: answer.turn], answer.opening), messages[: answer.turn])
        given = self._plain.real_ids(self._plain.encode_batch([text])[0])
        return bool(len(given) == first and (ids[:first] == given).all())


def _join(literals: Sequence[str], messages: Sequence[Message]) -> str:
    pieces = [literals[0]]
    for message, literal in zip(messages, literals[1:], strict=True):
        pieces += (message["content"], literal)
    return "".join(pieces)


def _span(answer: _Answer, literals: Sequence[str], messages: Sequence[Message], encoding: Any) -> tuple[int, int]:
    """Return the first and last token of an answer, from the characters where its prompt and its turn end."""
    turn = answer.turn
    before = sum(map(len, literals[:turn])) + sum(len(m["content"]) for m in messages[:turn])
    prompt_end = before + len(answer.opening)
    content = before + len(literals[turn])
    end = content + len(messages[turn]["content"]) + answer.end_offset
    first, last = encoding.char_to_token(content), encoding.char_to_token(end)
    if first is None or last is None:  # the normaliser dropped the character: look at every offset
        first = next(i for i, (_start, stop) in enumerate(encoding.offsets) if stop > prompt_end)
        last = next(i for i, (start, _stop) in enumerate(encoding.offsets) if start >= end)
    while first > 0 and encoding.token_to_chars(first - 1)[1] > prompt_end:
        first -= 1
    return first, last
