"""The text of an answer as its ids come: what is certain of it, and where a stop text ends it."""

from collections.abc import Sequence
from dataclasses import dataclass

from medtune.serving.refusals import Refusal
from medtune.workflow.answering import Answering

__all__ = ["Ended", "Growing"]

_INCOMPLETE = "\ufffd"  # what bytes of a letter that is not whole yet decode to


@dataclass(frozen=True, slots=True)
class Ended:
    """A whole answer: its text, OpenAI's word for why it ends, and its ids without what ended it."""

    text: str
    finish: str
    ids: Sequence[int]


class Growing:
    """One answer.

    Args:
        answering: of the model that answers.
        stop: texts before which it ends.
        is_chat: whether it is read as an answer, without what the template puts before it, or is the text as it is.
    """

    def __init__(self, answering: Answering, stop: Sequence[str], *, is_chat: bool) -> None:
        self._answering, self._stop, self._is_chat = answering, stop, is_chat
        self._sent = ""
        self.is_stopped = False

    def more(self, ids: Sequence[int]) -> str:
        """Return what has become certain since the last call; sets ``is_stopped`` where a stop text came."""
        text = self._answering.text_so_far(ids) if self._is_chat else self._answering.completion(ids).text
        text, self.is_stopped = self._cut(text)
        if not self.is_stopped:
            text = text.rstrip(_INCOMPLETE).rstrip()
            text = text[: len(text) - self._pending(text)]
        if not text.startswith(self._sent):  # decoding changed a letter at the seam; the end will tell
            return ""
        new, self._sent = text[len(self._sent) :], text
        return new

    def end(self, ids: Sequence[int]) -> Ended:
        """Return the whole answer."""
        found = self._answering.completion(ids)
        text, self.is_stopped = self._cut(self._answering.text(found) if self._is_chat else found.text)
        return Ended(text, "stop" if self.is_stopped or not found.truncated else "length", found.token_ids)

    def rest(self, text: str) -> str:
        """Return what of the whole text was not sent yet.

        Raises:
            Refusal: it does not begin with what was sent, as where reasoning ends that nothing had opened.
        """
        if not text.startswith(self._sent):
            raise Refusal(500, "the answer changed while it was sent; ask without stream", code="not_streamable")
        return text[len(self._sent) :]

    def _cut(self, text: str) -> tuple[str, bool]:
        """Cut before the stop text that is whole first, so that it is the same however many ids come at a time."""
        found = [(place + len(stop), place) for stop in self._stop if (place := text.find(stop)) >= 0]
        return (text[: min(found)[1]], True) if found else (text, False)

    def _pending(self, text: str) -> int:
        """Return how many of the last letters may be the beginning of a stop text."""
        ends = (n for stop in self._stop for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n]))
        return max(ends, default=0)
