"""Talks to an OpenAI-compatible endpoint: a streamed chat, with the standard library only."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO
from urllib.parse import urlsplit

from medtune.errors import SpecError, StorageError
from medtune.errors.visible import visible

__all__ = ["Client"]

_SECONDS = 600
_MOST_ERROR_BYTES = 65536


class Client:
    """A conversation partner behind a URL.

    Args:
        url: such as ``http://127.0.0.1:8000/v1``; without a path ``/v1`` is meant.
        token: what the endpoint asks for, None for one that asks for none.
        model: name of the model; None takes the first that the endpoint lists.

    Raises:
        SpecError: the URL is none of http or https.
    """

    def __init__(self, url: str, token: str | None = None, model: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
            raise SpecError("--url must be an address such as http://127.0.0.1:8000")
        self._url = url.rstrip("/") if parts.path.strip("/") else f"{url.rstrip('/')}/v1"
        self._token, self._model = token, model

    def models(self) -> list[str]:
        """Return the names of the models that are served."""
        with self._open("/models") as response:
            found = _read(response)
        return [str(each["id"]) for each in found.get("data", [])]

    def answer(self, messages: Sequence[Mapping[str, str]]) -> Iterator[str]:
        """Yield the answer to a conversation piece by piece.

        Raises:
            StorageError: the endpoint cannot be reached, refuses, or breaks off.
        """
        if self._model is None:
            names = self.models()
            if not names:
                raise StorageError(f"'{self._url}' serves no model")
            self._model = names[0]
        asked = {"model": self._model, "messages": list(messages), "temperature": 0, "stream": True}
        with self._open("/chat/completions", asked) as response:
            yield from self._pieces(response)

    def chat(self, source: TextIO, sink: TextIO) -> None:
        """Talk line by line until the end of the input; the conversation is kept in memory only."""
        messages: list[dict[str, str]] = []
        print("> ", end="", file=sink, flush=True)
        for line in source:
            if line.strip():
                messages.append({"role": "user", "content": line.strip()})
                pieces: list[str] = []
                for piece in self.answer(messages):
                    pieces.append(piece)
                    print(visible(piece), end="", file=sink, flush=True)
                print(file=sink)
                messages.append({"role": "assistant", "content": "".join(pieces)})
            print("> ", end="", file=sink, flush=True)

    def _open(self, path: str, body: Any = None) -> Any:
        headers = {"content-type": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)  # noqa: S310 - the scheme was checked
        try:
            return _OPENER.open(request, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                raise StorageError(f"'{self._url}' answered {error.code}: {_sentence(error)}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise StorageError(f"'{self._url}' cannot be reached: {type(reason).__name__}") from None

    def _pieces(self, response: Any) -> Iterator[str]:
        try:
            for line in response:
                if not line.startswith(b"data:"):
                    continue
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                found = json.loads(data)
                if "error" in found:
                    raise StorageError(f"'{self._url}' broke off: {found['error'].get('message', '')}")
                for choice in found.get("choices", [])[:1]:
                    if text := choice.get("delta", {}).get("content"):
                        yield str(text)
        except (OSError, ValueError, http.client.HTTPException, AttributeError, LookupError) as error:
            raise StorageError(f"'{self._url}' broke off its answer ({type(error).__name__})") from None
        raise StorageError(f"'{self._url}' broke off its answer")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which could carry the token elsewhere."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _read(response: Any) -> dict[str, Any]:
    try:
        found = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StorageError(f"the endpoint's answer cannot be read ({type(error).__name__})") from None
    return found if isinstance(found, dict) else {}


def _sentence(error: urllib.error.HTTPError) -> str:
    """Return what an endpoint says of a refusal, else HTTP's own words."""
    try:
        said = json.loads(error.read(_MOST_ERROR_BYTES))["error"]["message"]
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
        return str(error.reason)
    return str(said)
