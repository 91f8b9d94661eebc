"""From an example to its exact token ids and the tokens that carry loss: one way for training, scoring and chat."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from medtune.data.answers import AnswerReader, Lead, lead_of
from medtune.data.forms import Form, Forms, join
from medtune.data.reasoning import apart, has_reasoning, inlined, stripped
from medtune.data.stop_ids import configured_ends, stop_ids
from medtune.data.supervision import PromptChangesError, Span, anchored_spans, mask_of, offset_spans
from medtune.errors import DataError, UnsafeArtifactError, UnusableRowError
from medtune.plugins.contracts import Completion, EncodedExample, Example, Message
from medtune.specs import ModelSpec

__all__ = ["Encoder"]

_SAMPLED = 997
"""Every so many rows text and ids are compared with the tokenizer's own."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Turns, their form, and the text to tokenise."""

    turns: list[Message]
    form: Form
    text: str


class Encoder:
    """Encodes conversations as the model's own chat template renders them.

    The conversation is rendered whole and tokenised once. An answer is supervised from the first token after its
    prompt, which is what generation is given, through its end-of-turn token (see ``supervision``).
    Strings such as ``<s>`` inside a message are plain text. Contents are stripped of outer white space.

    Rendering is joining: what the template writes around contents is found once per sequence of roles. Rows in which
    the template could do more, and a sample of the others, are rendered by the tokenizer too, and compared.

    Args:
        tokenizer: from ``load_tokenizer``.
        system_turns: "fold" puts a system turn before the first user turn where the template has none; "refuse" raises.
        supervise: "last" answer or "all" of them.
        model: whose tokenizer it is; its own configuration names further ids that end an answer.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        system_turns: Literal["fold", "refuse"] = "fold",
        supervise: Literal["last", "all"] = "last",
        model: ModelSpec | None = None,
    ) -> None:
        self._model = model
        self.tokenizer, self._system_turns, self._supervise = tokenizer, system_turns, supervise
        self._forms = Forms(tokenizer, supervise)
        self._rendered = self._encoded = 0

    def encode(self, example: Example) -> EncodedExample:
        """Encode one example; see ``encode_batch``."""
        return self.encode_batch([example])[0]

    def encode_batch(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Encode examples, the last message of each being an answer.

        Returns:
            Ids and 0/1 supervision, aligned, one per example.

        Raises:
            UnusableRowError: an example has no answer, turns that the template refuses, or text that the template or
                the vocabulary cannot keep as it is.
            UnsafeArtifactError: the template breaks an invariant, whatever the row.
        """
        return [
            EncodedExample(ids.tolist(), mask_of(len(ids), spans).tolist(), example.source, example.row_id)
            for example, (ids, spans) in zip(examples, self.encode_spans(examples), strict=True)
        ]

    def encode_spans(self, examples: Sequence[Example]) -> Iterator[tuple[Any, list[Span]]]:
        """As ``encode_batch``, yielding an int32 array [tokens] and the supervised spans per example."""
        rows = [self._row(example) for example in examples]
        texts = [row.text for row in rows]
        plain = self._forms.plain
        anchored = all(row.form.anchored for row in rows)
        encodings: list[Any] = [] if anchored else plain.encode_batch(texts)
        arrays = plain.ids(texts) if anchored else map(plain.real_ids, encodings)
        for number, (example, row, ids) in enumerate(zip(examples, rows, arrays, strict=True)):
            controls = plain.controls(ids)
            if tuple(ids[controls].tolist()) != row.form.control_ids:
                raise UnusableRowError(
                    example.row_id, "it spells out a control token, which this vocabulary cannot tell apart"
                )
            try:
                if anchored:
                    spans = anchored_spans(row.form, ids, controls)
                else:
                    spans = offset_spans(row.form, row.turns, encodings[number], plain)
            except PromptChangesError:
                yield self._continued(row, example.row_id)
                continue
            if self._encoded % _SAMPLED == 0:
                self._compare(ids, spans, row)
            self._encoded += 1
            yield ids, _weighted(row, spans, example.row_id)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return what generation is given: the conversation so far and the opening of the next answer."""
        plain, turns = self._forms.plain, self._placed(messages)
        form = self._forms.of((*(m["role"] for m in turns), "assistant"))
        text = join((*form.literals[: len(turns)], form.answers[-1].opening), turns)
        if has_reasoning(turns) or self._may_be_rewritten(turns):
            rendered = self._forms.template.render(turns, for_generation=True)
            if not plain.spelled(text).endswith(rendered):
                text = self._forms.rewritten_prompt(turns, rendered)
        ids: list[int] = plain.ids([text])[0].tolist()
        return ids

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end an answer, see ``stop_ids.stop_ids``; the generators of ``model`` stop at the same."""
        return stop_ids(self.tokenizer, configured_ends(self._model) if self._model else ())

    @cached_property
    def lead(self) -> Lead:
        """What the template itself puts before an answer, after the prompt."""
        return lead_of(self._forms)

    def read(self, completion: Completion, gold: str = "") -> Completion:
        """Return a completion without what the template puts before an answer, and without reasoning."""
        return self._reader.read(completion, gold)

    @cached_property
    def _reader(self) -> AnswerReader:
        return AnswerReader(self.tokenizer, self.lead)

    def placed(self, example: Example) -> Example:
        """Return an example with its reasoning where this template takes it; see ``reasoning``."""
        if self._forms.template.takes_reasoning:
            return replace(example, messages=apart(example.messages))
        return replace(example, messages=inlined(example.messages)) if has_reasoning(example.messages) else example

    def tokens_before(self, examples: Sequence[Example]) -> int:
        """Return how many tokens may come before an answer: the lead's, and half as many again as the longest reasoning."""
        texts = [text for e in examples if (text := e.messages[-1].get("reasoning_content", ""))]
        longest = max((len(ids) for ids in self._forms.plain.ids(texts)), default=0)
        return self.lead.tokens + longest * 3 // 2

    def spells_control(self, text: str) -> bool:
        """Whether a text holds the characters of a control token; they are encoded as the characters they are."""
        return self._forms.plain.spells_control(text)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over tokenizer, template and the settings that change ids or supervision."""
        digest = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        digest.update(self._forms.template.source.encode())
        digest.update(f"{self._system_turns} {self._supervise}".encode())
        return digest.hexdigest()

    def _row(self, example: Example) -> _Row:
        try:
            return self._row_of(self._placed(example.messages))
        except UnusableRowError:
            raise
        except DataError as error:
            raise UnusableRowError(example.row_id, str(error)) from None

    def _row_of(self, turns: list[Message]) -> _Row:
        if len(turns) < 2 or turns[-1]["role"] != "assistant":  # noqa: PLR2004 - a question and an answer
            raise DataError("it does not end with an assistant turn after a user turn")
        if not turns[-1]["content"]:
            raise DataError("it has an empty answer")
        form = self._forms.of([m["role"] for m in turns])
        text = join(form.literals, turns)
        is_sampled = self._rendered % _SAMPLED == 0
        self._rendered += 1
        rewritten = has_reasoning(turns) or self._may_be_rewritten(turns)
        if not is_sampled and not rewritten:
            return _Row(turns, form, text)
        rendered = self._forms.template.render(turns)
        if self._forms.plain.spelled(text).endswith(rendered) and not has_reasoning(turns):
            return _Row(turns, form, text)
        if not rewritten:
            raise UnsafeArtifactError(
                "the chat template changes its own text with the content of a message, so rows cannot be rendered alike"
            )
        turns, form = self._forms.rewritten(turns, rendered)
        return _Row(turns, form, join(form.literals, turns))

    def _continued(self, row: _Row, row_id: str) -> tuple[Any, list[Span]]:
        """Encode a row in which a token would reach over the end of its prompt: the prompt by itself, then the rest."""
        if len(row.form.answers) != 1:
            raise UnusableRowError(row_id, "a token reaches over the end of a prompt, and data.supervise is all")
        answer, plain = row.form.answers[0], self._forms.plain
        prompt = join((*row.form.literals[: answer.turn], answer.opening), row.turns[: answer.turn])
        found = plain.continued(prompt, row.text.removeprefix(prompt))
        if found is None:
            raise UnusableRowError(row_id, "a token reaches over the end of its prompt")
        ids, first = found
        controls = plain.controls(ids)
        if tuple(ids[controls].tolist()) != row.form.control_ids:
            raise UnusableRowError(row_id, "it spells out a control token, which this vocabulary cannot tell apart")
        last = int(controls[answer.ends_with])
        if last <= first:
            raise UnusableRowError(row_id, "it has no token to learn from before its end of turn")
        return ids, [(first, last + 1)]

    def _may_be_rewritten(self, turns: Sequence[Message]) -> bool:
        """Whether a content holds a string that the template may look for."""
        return any(string in m["content"] for string in self._forms.template.tested_strings for m in turns)

    def _placed(self, messages: Sequence[Message]) -> list[Message]:
        """Strip contents (templates differ in whether they do) and give system turns a place."""
        turns = [stripped(m) for m in messages]
        if self._forms.template.takes_reasoning:
            turns = apart(turns)
        elif has_reasoning(turns):
            turns = inlined(turns)
        if not turns or turns[0]["role"] != "system":
            return turns
        roles = [m["role"] for m in turns]
        if self._forms.template.has_place_for([*roles, "assistant"] if roles[-1] == "user" else roles):
            return turns
        if self._system_turns == "refuse":
            raise DataError(
                "the chat template has no system turn; set model.system_turns=fold to put it before the user's"
            )
        if len(turns) < 2 or turns[1]["role"] != "user":  # noqa: PLR2004 - the system turn and the user's
            raise DataError("a system turn without a user turn after it has no place in this chat template")
        joined = f"{turns[0]['content']}\n\n{turns[1]['content']}".strip()
        return [{"role": "user", "content": joined}, *turns[2:]]

    def _compare(self, ids: Any, spans: list[Span], row: _Row) -> None:
        """Compare ids and spans with those from offsets, and ids with the tokenizer's own where no content spells a control."""
        plain = self._forms.plain
        encoding = plain.encode_batch([row.text])[0]
        expected = offset_spans(row.form, row.turns, encoding, plain)
        if plain.real_ids(encoding).tolist() != ids.tolist() or expected != spans:
            raise UnsafeArtifactError(
                "the tokenizer has no fixed word borders, so its ids cannot be put together from words"
            )
        if any(plain.spells_control(m["content"]) for m in row.turns):
            return
        own: list[int] = self.tokenizer(plain.spelled(row.text), add_special_tokens=False)["input_ids"]
        if own != ids.tolist():
            raise UnsafeArtifactError(
                "the tokenizer encodes a conversation in another way when its control tokens are kept apart from its text"
            )


def _weighted(row: _Row, spans: list[Span], row_id: str) -> list[Span]:
    """Leave out the answers of weight 0; without any other the row has nothing to learn from."""
    if all("weight" not in turn for turn in row.turns):
        return spans
    kept = [
        span for span, answer in zip(spans, row.form.answers, strict=True) if row.turns[answer.turn].get("weight", 1)
    ]
    if not kept:
        raise UnusableRowError(row_id, "it has no answer that carries loss: the weight of each is 0")
    return kept
