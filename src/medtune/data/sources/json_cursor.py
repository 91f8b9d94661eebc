"""Decodes one value after the other out of a JSON text that is read as it is needed, whatever its outer shape."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import IO, Any

from medtune.data.sources.names import is_plain

__all__ = ["CHUNK", "JsonCursor", "NotJsonError", "RepeatedKeys"]

CHUNK = 2**18
_BLANKS = " \t\r\n\ufeff"
"""White space, and the mark that files which were put together have inside."""


class NotJsonError(ValueError):
    """The text is not JSON, or not as ``fault`` says.

    Attributes:
        number: value at which that shows.
        fault: what else is wrong; empty for what is no JSON.
        too_large: whether the value was given up for its size.
    """

    def __init__(self, number: int, fault: str = "", *, too_large: bool = False) -> None:
        self.number, self.fault, self.too_large = number, fault, too_large
        super().__init__()


class RepeatedKeys:
    """Takes the members of objects that are decoded, and keeps a name that one has twice: a value would be lost.

    Attributes:
        key: that name, None where every object has each name once.
    """

    def __init__(self) -> None:
        self.key: str | None = None

    def __call__(self, members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Return the object of these members; an ``object_pairs_hook``."""
        members = list(members)
        found = dict(members)
        if len(found) < len(members) and self.key is None:
            self.key = Counter(name for name, _value in members).most_common(1)[0][0]
        return found

    def fault(self, what: str) -> str:
        """Return what is wrong with ``what`` (a line, an element), "" where nothing is; names like text are not shown."""
        if self.key is None:
            return ""
        return f"the {what} says {repr(self.key) if is_plain(self.key) else 'a name that looks like text'} twice"


class JsonCursor:
    """A place in a JSON text.

    Args:
        text: the text.
        most: characters of one value; a larger one is refused, since memory would not be bounded.

    Attributes:
        repeated: takes down a name that the last value says twice.
    """

    def __init__(self, text: IO[str], most: int) -> None:
        self._text, self._most = text, most
        self._buffer, self._start, self._position = "", 0, 0
        self.repeated = RepeatedKeys()
        self._decoder = json.JSONDecoder(object_pairs_hook=self.repeated)

    @property
    def raw(self) -> str:
        """The text of the value that was decoded last; until the cursor goes on."""
        return self._buffer[self._start : self._position]

    def peek(self) -> str:
        """Go to the next character that is not white space and return it, "" at the end."""
        while True:
            while self._position < len(self._buffer):
                if self._buffer[self._position] not in _BLANKS:
                    return self._buffer[self._position]
                self._position += 1
            if not self._more():
                return ""

    def take(self) -> None:
        """Go past the character that ``peek`` returned."""
        self._position += 1

    def value(self, number: int) -> Any:
        """Decode the value here and go past it.

        Args:
            number: of the value, which an error tells.

        Raises:
            NotJsonError: there is none.
        """
        if self._position > CHUNK:
            self._buffer, self._position = self._buffer[self._position :], 0
        self.peek()
        while True:
            self.repeated.key = None
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
            except RecursionError:
                raise NotJsonError(number) from None
            except ValueError:
                too_large = len(self._buffer) - self._position > self._most
                if too_large or not self._more():
                    raise NotJsonError(number, too_large=too_large) from None
                continue
            if end < len(self._buffer) or not self._more():  # a number may go on behind the buffer's end
                self._start, self._position = self._position, end
                return value

    def line(self) -> str:
        """Return the rest of the line here, without its end."""
        while "\n" not in self._buffer[self._position :] and len(self._buffer) < self._most and self._more():
            pass
        end = self._buffer.find("\n", self._position)
        return self._buffer[self._position : end if end >= 0 else len(self._buffer)]

    def skip(self, characters: int) -> None:
        """Go past so many characters, which ``line`` returned."""
        self._position += characters

    def _more(self) -> bool:
        more = self._text.read(max(CHUNK, len(self._buffer) - self._position))  # twice as much: linear time overall
        self._buffer += more
        return bool(more)
