"""What medtune uses of the hub's client to make requests of its own: its session, its headers and what it makes of a refusal."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["answer_to", "streamed"]


def answer_to(url: str, timeout: float) -> Any:
    """Return the response to a GET.

    Raises:
        Exception: of the client, for a refusal or a fault of the network.
    """
    response = _client().get_session().get(url, headers=_headers(), timeout=timeout)
    _client().hf_raise_for_status(response)
    return response


@contextmanager
def streamed(url: str, timeout: float, headers: Mapping[str, str]) -> Iterator[Any]:
    """Yield the response to a GET before its body is read; a redirect to another host is followed without the token.

    Raises:
        Exception: as for ``answer_to``.
    """
    headers = {**_headers(), "Accept-Encoding": "identity", **headers}
    with (
        _client().get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response
    ):
        _client().hf_raise_for_status(response)
        yield response


def _headers() -> dict[str, str]:
    headers: dict[str, str] = _client().build_hf_headers(library_name="medtune")
    return headers


def _client() -> Any:
    from huggingface_hub import utils

    return utils
