"""The token that a client must show: random, or a user's own."""

import secrets
from pathlib import Path

from medtune.errors import SpecError

__all__ = ["new_token", "read_token"]

_SHORTEST = 16
_LARGEST = 2**16  # bytes of the file


def new_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(32)


def read_token(file: Path | None, given: str | None) -> str | None:
    """Return the token of a file, or else the given one; None where there is neither.

    Raises:
        SpecError: the file cannot be read, or the token is too short or holds white space.
    """
    if file is not None:
        try:
            if (
                not file.is_file() or file.stat().st_size > _LARGEST
            ):  # a pipe would keep us waiting, a device has no end
                raise SpecError(f"the token file '{file}' cannot be read (it is no file of one word)")
            given = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"the token file '{file}' cannot be read ({type(error).__name__})") from None
    if given is not None and (len(given) < _SHORTEST or not given.isascii() or len(given.split()) != 1):
        raise SpecError(
            f"the token must be one ASCII word of {_SHORTEST} letters or more; `openssl rand -hex 32` gives one"
        )
    return given
