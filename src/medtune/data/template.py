"""The chat template as literal pieces around the contents, found once per sequence of roles and verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medtune.errors import UnsafeArtifactError
from medtune.plugins.contracts import Message

__all__ = ["ChatTemplate", "Layout"]

_MARK = "\ue0f0{}\ue0f1"
"""Stands for a content while the template is looked at: private-use characters, which no template writes itself."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the template renders one sequence of roles.

    Attributes:
        literals: template text before, between and after the contents; one more than there are contents.
        openings: per assistant turn, its index and the template text that ends the prompt for it: what generation is
            given after the content before, with ``add_generation_prompt``.
    """

    literals: tuple[str, ...]
    openings: tuple[tuple[int, str], ...]


class ChatTemplate:
    """A tokenizer's chat template, looked at through probes.

    Args:
        tokenizer: a transformers tokenizer with ``chat_template``.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._layouts: dict[tuple[str, ...], Layout] = {}

    def require(self) -> str:
        """Return the Jinja text; raise UnsafeArtifactError when the tokenizer has none."""
        template = self._tokenizer.chat_template
        if not isinstance(template, str) or not template:
            raise UnsafeArtifactError(
                "the tokenizer has no chat template, so it is unknown how a conversation looks to this model; "
                "use an instruction-tuned model, or add chat_template to its tokenizer_config.json"
            )
        return template

    @property
    def takes_system(self) -> bool:
        """Whether system turns have a form of their own; a template that never names them prints nonsense for them."""
        if "system" not in self.require():
            return False
        try:
            self.render([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
        except UnsafeArtifactError:
            return False
        return True

    def render(self, messages: Sequence[Message], *, for_generation: bool = False) -> str:
        """Render with the tokenizer itself; a template that raises is reported in one sentence."""
        from jinja2.exceptions import TemplateError

        self.require()
        try:
            text = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=for_generation
            )
        except TemplateError as error:
            roles = ", ".join(m["role"] for m in messages)
            reason = " ".join(str(error).split())
            raise UnsafeArtifactError(f"the chat template refuses turns of {roles}: {reason}") from error
        return str(text)

    def layout(self, roles: Sequence[str]) -> Layout:
        """Return the layout of a sequence of roles.

        Raises:
            UnsafeArtifactError: the template drops, repeats or reorders contents, or what it writes for a turn depends
                on the turns after it.
        """
        key = tuple(roles)
        if key not in self._layouts:
            self._layouts[key] = self._probe(key)
        return self._layouts[key]

    def _probe(self, roles: tuple[str, ...]) -> Layout:
        marks = [_MARK.format(i) for i in range(len(roles))]
        messages: list[Message] = [{"role": r, "content": m} for r, m in zip(roles, marks, strict=True)]
        text = self.render(messages)
        literals = _split(text, marks)
        openings: list[tuple[int, str]] = []
        for turn, role in enumerate(roles):
            if role == "assistant":
                openings.append((turn, self._opening(messages, turn, text)))
        return Layout(tuple(literals), tuple(openings))

    def _opening(self, messages: Sequence[Message], turn: int, text: str) -> str:
        """Return what generation is given after the content before ``turn``; it must begin the whole text."""
        if turn == 0:
            raise UnsafeArtifactError("a conversation cannot begin with the assistant: there is no prompt to answer")
        prompt = self.render(messages[:turn], for_generation=True)
        if not text.startswith(prompt):
            raise UnsafeArtifactError(
                "the chat template is order dependent: the prompt of an answer changes when the answer is added, "
                "so training and generation would differ"
            )
        before = messages[turn - 1]["content"]
        return prompt[prompt.rindex(before) + len(before) :]


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
