"""How a sequence of roles looks to the tokenizer: literal text around contents, and where answers begin and end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from medtune.data.plaintext import PlainTextTokenizer
from medtune.data.template import ChatTemplate
from medtune.errors import DataError, UnsafeArtifactError
from medtune.plugins.contracts import Message

__all__ = ["Answer", "Form", "Forms", "join"]

_EXCHANGE = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Answer:
    """One supervised turn.

    Attributes:
        turn: its index.
        opening: the text that ends its prompt, after the content before.
        tail_ids: ids of ``opening`` after its last control token; None when it has no control token.
        begins_after: which of the form's control tokens is that one.
        end_offset: characters from the end of its content to its end-of-turn token.
        ends_with: which of the form's control tokens ends the turn.
        end_id: its id.
    """

    turn: int
    opening: str
    tail_ids: tuple[int, ...] | None
    begins_after: int
    end_offset: int
    ends_with: int
    end_id: int


@dataclass(frozen=True, slots=True)
class Form:
    """A sequence of roles ready for use; control tokens are spelled as aliases.

    Attributes:
        literals: text before, between and after the contents.
        answers: the turns to supervise.
        control_ids: every control token of the text, in order.
    """

    literals: tuple[str, ...]
    answers: tuple[Answer, ...]
    control_ids: tuple[int, ...]

    @property
    def anchored(self) -> bool:
        """Whether every answer's prompt holds a control token."""
        return all(answer.tail_ids is not None for answer in self.answers)


class Forms:
    """The forms of one tokenizer's chat template.

    Args:
        tokenizer: a transformers tokenizer with ``chat_template``.
        supervise: "last" answer or "all" of them.
    """

    def __init__(self, tokenizer: Any, supervise: Literal["last", "all"]) -> None:
        self._tokenizer, self._supervise = tokenizer, supervise
        self.template = ChatTemplate(tokenizer)
        self._forms: dict[tuple[str, ...], Form] = {}

    @cached_property
    def plain(self) -> PlainTextTokenizer:
        """The tokenizer in which contents cannot write control tokens."""
        literals = self.template.literals(_EXCHANGE)
        return PlainTextTokenizer(
            self._tokenizer, literals[0] + self.template.opening(_EXCHANGE, 1) + "\n" + literals[-1]
        )

    def of(self, roles: Sequence[str]) -> Form:
        """Return the form of a conversation whose last turn is an answer.

        Raises:
            UnsafeArtifactError: the template breaks an invariant.
            DataError: it does so with these roles, though a question and its answer are written well.
        """
        key = tuple(roles)
        if key not in self._forms:
            try:
                self._forms[key] = self._derive(key)
            except UnsafeArtifactError as error:
                if key == _EXCHANGE:
                    raise
                self.of(_EXCHANGE)  # raises where the template is at fault, whatever the row
                raise DataError(str(error)) from None
        return self._forms[key]

    def rewritten(self, messages: Sequence[Message], rendered: str) -> tuple[list[Message], Form]:
        """Return turns and form of a conversation whose contents the template changed, as it does with ``<think>``.

        Everything before the answer becomes literal text; the answer is what follows its prompt, reasoning included.

        Raises:
            DataError: the texts spell control tokens, or the template changed more than white space of the answer.
        """
        form = self.of([m["role"] for m in messages])
        prompt = self.template.render(messages[:-1], for_generation=True)
        after = self.plain.spelled(form.literals[-1])
        if self._supervise == "all":
            raise DataError("the chat template rewrites its texts, which data.supervise=all cannot follow")
        self._require_no_control(messages)
        answer = rendered.removeprefix(prompt).removesuffix(after)
        whole = prompt.endswith(self.plain.spelled(form.answers[-1].opening)) and prompt + answer + after == rendered
        if not whole or not _bare(prompt + answer).endswith(_bare(messages[-1]["content"])):
            raise DataError("the chat template rewrites its answer")
        if _bare(messages[-1].get("reasoning_content", "")) not in _bare(answer):
            raise DataError("the chat template leaves out the 'reasoning_content' of the answer")
        last = form.answers[-1]
        given, content = self._with_bos(self.plain.aliased(prompt)), self.plain.aliased(answer)
        literals = (given.removesuffix(last.opening), last.opening, form.literals[-1])
        turns: list[Message] = [{"role": "user", "content": ""}, {"role": "assistant", "content": content}]
        begins_after, ends_with = self._count(given) - 1, self._count(given + content)
        last = replace(last, turn=1, begins_after=begins_after, ends_with=ends_with)
        return turns, Form(literals, (last,), self.plain.aliased_ids(join(literals, turns)))

    def rewritten_prompt(self, messages: Sequence[Message], rendered: str) -> str:
        """Return the text that generation is given where the template changed contents; raises as ``rewritten``."""
        self._require_no_control(messages)
        return self._with_bos(self.plain.aliased(rendered))

    def _require_no_control(self, messages: Sequence[Message]) -> None:
        if any(self.plain.spells_control(m["content"] + m.get("reasoning_content", "")) for m in messages):
            raise DataError("the chat template rewrites its texts, and they spell control tokens")

    def _derive(self, roles: tuple[str, ...]) -> Form:
        literals = [self.plain.aliased(literal) for literal in self.template.literals(roles)]
        literals[0] = self._with_bos(literals[0])
        control_ids = self.plain.aliased_ids("".join(literals))
        bos = self._tokenizer.bos_token_id
        is_doubled = bos is not None and 2 * self.plain.bos_alias in "".join(literals)
        if is_doubled and bos != self._tokenizer.eos_token_id:
            raise UnsafeArtifactError(
                f"the chat template writes the beginning-of-sequence id {bos} more than once in a row"
            )
        turns = [i for i, role in enumerate(roles) if role == "assistant"]
        supervised = turns if self._supervise == "all" else turns[-1:]
        return Form(tuple(literals), tuple(self._answer(roles, i, literals) for i in supervised), control_ids)

    def _with_bos(self, text: str) -> str:
        """Begin with the beginning-of-sequence token where the tokenizer does so itself and the template does not."""
        missing = self.plain.wants_bos and not text.startswith(self.plain.bos_alias)
        return self.plain.bos_alias + text if missing else text

    def _answer(self, roles: Sequence[str], turn: int, literals: Sequence[str]) -> Answer:
        opening = self.plain.aliased(self.template.opening(roles, turn))
        after = literals[turn + 1]
        end = self.plain.first_alias(after)
        if end is None or after[: end[0]].strip():
            raise UnsafeArtifactError(
                "the chat template writes no end-of-turn token after an answer, so the model would never learn to stop"
            )
        begins_after, ends_with = (
            self._count("".join((*literals[:turn], opening))) - 1,
            self._count("".join(literals[: turn + 1])),
        )
        tail = self.plain.ids_after_control(opening)
        return Answer(turn, opening, tail, begins_after, end[0], ends_with, end[1])

    def _count(self, text: str) -> int:
        """Count the control tokens of a text."""
        return len(self.plain.aliased_ids(text))


def join(literals: Sequence[str], messages: Sequence[Message]) -> str:
    """Return the text of a conversation; there may be fewer messages than literals ask for."""
    pieces = [literals[0]]
    for message, literal in zip(messages, literals[1:], strict=True):
        pieces += (message["content"], literal)
    return "".join(pieces)


def _bare(text: str) -> str:
    return "".join(text.split())
