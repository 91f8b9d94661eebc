"""The chat template as literal pieces around the contents, found once per sequence of roles and verified."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from medtune.data.final_answer import closing_of
from medtune.data.shipped_templates import usable_templates
from medtune.errors import UnsafeArtifactError
from medtune.plugins.contracts import Message

__all__ = ["ChatTemplate"]

_MARK = "\ue0f0{}\ue0f1"
"""Stands for a content while the template is looked at: private-use characters, which no template writes itself."""
_REASONING = "\ue0f0reasoning\ue0f1"

_WORDS = re.compile(r"[\w\s]*")
"""Roles and names: templates compare them with roles, and clinical texts are full of such words."""
_OPENED = re.compile(r"(<\w+>|\[\w+\])\s*$")
"""A tag at the end of a prompt, which may open a block before the answer."""


class ChatTemplate:
    """A tokenizer's chat template, looked at through probes.

    Args:
        tokenizer: a transformers tokenizer with ``chat_template``.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._literals: dict[tuple[str, ...], tuple[str, ...]] = {}

    @cached_property
    def source(self) -> str:
        """The Jinja text; raises UnsafeArtifactError when the tokenizer has none."""
        template: Any = self._tokenizer.chat_template
        if isinstance(template, dict):  # several named ones; transformers takes this one for conversations
            template = template.get("default")
        if not isinstance(template, str) or not template:
            fitting = ", ".join(f"'{name}'" for name in usable_templates(self._tokenizer))
            raise UnsafeArtifactError(
                "the tokenizer has no chat template, so it is unknown how a conversation looks to this model; set "
                f"model.chat_template to a Jinja file, or to a name whose tokens this tokenizer has: {fitting or 'none'}; "
                "or use an instruction-tuned model"
            )
        return template

    @cached_property
    def tested_strings(self) -> tuple[str, ...]:
        """Strings of the template that it may look for in a content, such as ``</think>``."""
        from jinja2 import Environment

        tokens = list(Environment(autoescape=True).lex(self.source))  # cut up only, nothing is rendered
        quoted = {value[1:-1] for _line, kind, value in tokens if kind == "string"}
        strings = {s.encode("ascii", "backslashreplace").decode("unicode_escape") for s in quoted}
        return tuple(sorted(s for s in strings if len(s.strip()) > 2 and not _WORDS.fullmatch(s)))  # noqa: PLR2004 - ": "

    @cached_property
    def opened(self) -> str:
        """The end of the prompt, where that opens a block such as ``<think>`` which an answer alone does not close."""
        prompt = self._rendered(_probe(["user"]), for_generation=True)
        tag = _OPENED.search(prompt)
        if tag is None or self._rendered(_probe(["user", "assistant"])).startswith(prompt):
            return ""
        return tag[0]

    @cached_property
    def around_reasoning(self) -> tuple[str, str] | None:
        """What stands between question and reasoning, and between reasoning and answer; None where it has no place."""
        asked, answered = _probe(["user", "assistant"])
        marks = [asked["content"], _REASONING, answered["content"]]
        answered["reasoning_content"] = _REASONING
        try:
            _start, before, between, _end = _split(self.render([asked, answered]), marks)
        except UnsafeArtifactError:
            return None
        return before, between

    @property
    def takes_reasoning(self) -> bool:
        """Whether the ``reasoning_content`` of an answer has a place before it."""
        return self.around_reasoning is not None

    def has_place_for(self, roles: Sequence[str]) -> bool:
        """Whether these roles, a system turn among them, have a form; ``System:`` from a general rule is none."""
        if "system" not in self.source:
            return False
        try:
            self.literals(roles)
        except UnsafeArtifactError:
            return False
        return True

    def render(self, messages: Sequence[Message], *, for_generation: bool = False) -> str:
        """Render with the tokenizer itself; a template that raises is reported in one sentence.

        Where the prompt opens a block and the template writes the answer as if it did not, as templates of models that
        always reason do, the block is closed before the answer: what is trained is then what generation is given.
        """
        text = self._rendered(messages, for_generation=for_generation)
        if for_generation or messages[-1]["role"] != "assistant" or not self.opened:
            return text
        prompt = self._rendered(messages[:-1], for_generation=True)
        before = prompt.removesuffix(self.opened)
        if text.startswith(prompt) or not text.startswith(before):
            return text
        tag = self.opened.strip()
        closing = closing_of(tag)
        reasoning, content = messages[-1].get("reasoning_content", ""), messages[-1]["content"]
        if not reasoning and content.startswith(tag) and closing in content:  # the template left that out
            reasoning = content.partition(closing)[0].removeprefix(tag)
        return f"{prompt}{reasoning.strip()}\n{closing}\n\n{text.removeprefix(before).lstrip()}"

    def _rendered(self, messages: Sequence[Message], *, for_generation: bool = False) -> str:
        from jinja2.exceptions import TemplateError

        _ = self.source
        try:
            text = self._tokenizer.apply_chat_template(
                [_as_templates_read(m) for m in messages], tokenize=False, add_generation_prompt=for_generation
            )
        except (
            TemplateError,
            ArithmeticError,
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
            RecursionError,
            MemoryError,
        ) as error:
            roles = ", ".join(m["role"] for m in messages)
            reason = " ".join(str(error).split()) if _is_probe(messages) else type(error).__name__
            raise UnsafeArtifactError(f"the chat template refuses turns of {roles}: {reason}") from None
        return str(text)

    def literals(self, roles: Sequence[str]) -> tuple[str, ...]:
        """Return what the template writes before, between and after the contents: one more than there are roles.

        Raises:
            UnsafeArtifactError: the template refuses the roles, or drops, cuts, repeats or reorders contents.
        """
        key = tuple(roles)
        if key not in self._literals:
            messages = _probe(key)
            self._literals[key] = tuple(_split(self.render(messages), [m["content"] for m in messages]))
        return self._literals[key]

    def opening(self, roles: Sequence[str], turn: int) -> str:
        """Return what generation of the assistant's ``turn`` is given after the content before it.

        Raises:
            UnsafeArtifactError: there is no content before it, or the prompt changes when the answer is added.
        """
        if turn == 0:
            raise UnsafeArtifactError("a conversation cannot begin with the assistant: there is no prompt to answer")
        messages = _probe(roles)
        prompt = self.render(messages[:turn], for_generation=True)
        if not self.render(messages).startswith(prompt):
            raise UnsafeArtifactError(
                "the chat template is order dependent: the prompt of an answer changes when the answer is added, "
                "so training and generation would differ; set model.chat_template to a file that writes both alike"
            )
        before = messages[turn - 1]["content"]
        return prompt[prompt.rindex(before) + len(before) :]


def _as_templates_read(message: Message) -> Mapping[str, str]:
    """Return a turn under the names that templates use."""
    turn = {"role": message["role"], "content": message["content"]}
    if reasoning := message.get("reasoning_content", ""):
        turn |= {"reasoning_content": reasoning, "thinking": reasoning}
    return turn


def _probe(roles: Sequence[str]) -> list[Message]:
    return [{"role": role, "content": _MARK.format(i)} for i, role in enumerate(roles)]


def _is_probe(messages: Sequence[Message]) -> bool:
    """Whether a template's complaint can be shown: it may quote the contents it was given."""
    return [m["content"] for m in messages] == [_MARK.format(i) for i in range(len(messages))]


def _split(text: str, marks: Sequence[str]) -> list[str]:
    """Cut ``text`` at the marks, each of which must stand exactly once, in order."""
    literals: list[str] = []
    position = 0
    for number, mark in enumerate(marks):
        found = text.find(mark, position)
        if found < 0 or text.count(mark) != 1:
            raise UnsafeArtifactError(
                f"the chat template does not render the content of turn {number + 1} exactly once, whole and in order "
                "(is it trimmed or cut?), so an answer could not be trained as it is"
            )
        literals.append(text[position:found])
        position = found + len(mark)
    literals.append(text[position:])
    return literals
