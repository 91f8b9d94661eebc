"""Takes credentials out of what is shown, logged or recorded; the one place that knows how they look."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["MASK", "holds_credential", "masked", "masked_values"]

MASK = "***"

_WORDS = r"(?:passwords?|passwd|passphrase|pwd|secret|(?:api|access|secret|private)[-_]?key|credentials?|auth(?:orization)?|token)"
_NAMED = rf"(?:\w*[-_])?{_WORDS}(?:[-_]?id)?"
_FIELD = re.compile(_NAMED, re.IGNORECASE)
_OF_TEXT = r"(?:\w*_)?(?:pad|eos|bos|unk|cls|sep|mask|image|audio|end|stop|start|begin)_token"
_TEXT_FIELD = re.compile(rf"{_OF_TEXT}(?:_id)?", re.IGNORECASE)
"""Names that end like a secret's and hold a token of text."""
_VARIABLE = re.compile(rf"{_NAMED}(?:_\w+)?", re.IGNORECASE)
_TELLING = re.compile(r"(?=.{8})(?=.*\d|.*[a-z].*[A-Z]|.*[A-Z].*[a-z]|.{20}).*", re.DOTALL)
"""What such a variable's value must look like to be a secret: others are switches, or words of any sentence."""
_HOME = re.compile(r"~|~/.*|\.\.?/.*", re.DOTALL)

_QUERY = rf"(?:x-\w+-(?:signature|credential|security-token)|\w*accesskeyid|googleaccessid|signature|sig|sas|key|code|{_NAMED})"
_PATTERNS: tuple[tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # user and password of a URL; a password may hold an @, and a key a slash
    (
        "@",
        re.compile(
            r"(\b[a-z][\w+.-]+:/{1,2})(?:[^/\s'\"<>]+|[^/\s:'\"<>]+:[^\s'\"<>@]+)@", re.IGNORECASE
        ),  # a Path keeps one slash
        rf"\1{MASK}@",
    ),
    # what a URL is signed or unlocked with; also as HTML and inside another URL
    (
        "",
        re.compile(rf"((?:[?&]|&amp;|%3F|%26){_QUERY}(?:=|%3D))(?:[^&\s'\"<>#;%)]|%(?!26))+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    ("", re.compile(r"(authorization['\"]?\s*[:=]\s*['\"]?)(?:\w+\s+)?[^\s'\",;*]+", re.IGNORECASE), rf"\1{MASK}"),
    ("", re.compile(r"\b(bearer\s+)(?=\S*\d)[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1{MASK}"),
    # how errors of other libraries tell their arguments; a value in angle brackets is a token of text
    (
        "=",
        re.compile(
            rf"\b(?!{_OF_TEXT})({_NAMED}['\"]?\s*=\s*['\"]?)[^\s'\",;&)*<\[{{][^\s'\",;&)]{{7,}}", re.IGNORECASE
        ),
        rf"\1{MASK}",
    ),
    # known by their form: Hugging Face, AWS, GitHub, GitLab, Slack, OpenAI, Google, JSON web tokens
    ("hf_", re.compile(r"\bhf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,}"), MASK),
    ("", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"), MASK),
    ("", re.compile(r"\b(?:gh[oprsu]_|github_pat_|glpat-|xox[abprs]-)[\w-]{16,}"), MASK),
    ("sk-", re.compile(r"\bsk-[\w-]{20,}"), lambda found: MASK if any(map(str.isdigit, found[0])) else found[0]),
    ("AIza", re.compile(r"\bAIza[\w-]{30,}"), MASK),
    ("eyJ", re.compile(r"\beyJ[\w-]{10,}(\.eyJ[\w-]{10,}\.[\w-]*)?"), lambda found: MASK if found[1] else found[0]),
)
"""What a text must hold for a pattern to be worth trying, the pattern, and what takes its place. A run of characters that was
looked at to its end is matched whole, whatever it is: looked at from every place in it, a long text would take hours."""


def masked(text: str) -> str:
    """Return ``text`` with ``***`` in place of credentials.

    Those are: user and password of a URL and what its query signs it with; keys and tokens that are known by their form; what
    stands behind "Authorization" or is assigned to a name such as "password"; and the value of every environment variable
    with such a name that looks like one. A text without any comes back as it is.
    """
    return _without(_secrets_of_the_environment(), text)


def holds_credential(text: str) -> bool:
    """Whether ``text`` holds something that ``masked`` would take out."""
    return masked(text) != text


def masked_values(value: Any) -> Any:
    """Return JSON values with every text ``masked``, and with ``***`` for a text under a key such as "api_key"."""
    return _values_without(_secrets_of_the_environment(), value)


def _without(secrets: Sequence[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    for sign, pattern, instead in _PATTERNS:
        if sign in text:
            text = pattern.sub(instead, text)
    return text


def _values_without(secrets: Sequence[str], value: Any) -> Any:
    if isinstance(value, str):
        return _without(secrets, value)
    if isinstance(value, Mapping):
        return {key: MASK if _is_secret(key, item) else _values_without(secrets, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_values_without(secrets, item) for item in value]
    return value


def _is_secret(key: Any, value: Any) -> bool:
    is_named = isinstance(key, str) and _FIELD.fullmatch(key) is not None and not _TEXT_FIELD.fullmatch(key)
    return is_named and isinstance(value, str) and bool(value)


def _secrets_of_the_environment() -> list[str]:
    """Return them, the longest first."""
    values = {os.environ.get(name, "") for name in os.environ if _is_secret_variable(name)}
    telling = (value for value in values if _TELLING.fullmatch(value) and not _is_place(value))
    return sorted(telling, key=len, reverse=True)


def _is_place(value: str) -> bool:
    """Whether a value says where a secret lies: a secret may begin with a slash too, but not with a folder that is there."""
    if value.startswith("/"):
        return Path("/" + value[1:].partition("/")[0]).is_dir()
    return _HOME.fullmatch(value) is not None


@lru_cache(maxsize=1024)
def _is_secret_variable(name: str) -> bool:
    return _VARIABLE.fullmatch(name) is not None
