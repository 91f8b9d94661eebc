"""What the hub, or the network before it, answered: one sentence each, and whether asking again can help."""

import errno
import re
from typing import Any

from medtune.data.hub.repository import Repository
from medtune.errors import HubError, HubUnreachableError, MedtuneError, StorageError

__all__ = ["asked_to_wait", "explained", "is_of_the_hub", "may_pass"]

_LATER = "run the same command again later; what was fetched is kept"
_TOKEN = "`hf auth login`, or HF_TOKEN"  # noqa: S105 - where one is set, not one
_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_NETWORK = ("httpx", "httpcore", "requests", "urllib3")


def may_pass(error: Exception) -> bool:
    """Whether the same request may be answered a moment later."""
    status = _status(error)
    if status is not None:
        return status in _PASSING_STATUS
    if _is(error, "ProxyError", "OfflineModeIsEnabled") or _is_certificate(error) or _is_about_redirects(error):
        return False
    return _is_of_the_network(error)


def is_of_the_hub(error: Exception) -> bool:
    """Whether the hub, the network or the operating system is at fault, not what was fetched."""
    return _status(error) is not None or _is_of_the_network(error) or isinstance(error, OSError)


def asked_to_wait(error: Exception) -> float | None:
    """Return the seconds that the answer asks to wait before the next request, None where it does not say."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    limit = re.search(r"r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("ratelimit", ""))
    if limit:
        return float(limit[1])
    wanted = str(headers.get("retry-after", "")).strip()
    if wanted.isdigit():
        return float(wanted)
    return _seconds_until(wanted) if wanted else None


def explained(error: Exception, repository: Repository, doing: str = "asked for it") -> MedtuneError:
    """Return one sentence for what the client raised; of its own words nothing is kept.

    Args:
        error: from huggingface_hub or the HTTP library under it.
        repository: what was asked for.
        doing: what was being done, such as "fetching model.safetensors".
    """
    if isinstance(error, MedtuneError):
        return error
    if _is(error, "OfflineModeIsEnabled"):
        reason = "HF_HUB_OFFLINE says not to ask the hub"
        return HubUnreachableError(repository.what, repository.name, repository.local_option, reason)
    known = _by_name(error, repository) or _by_status(error, repository, doing)
    if known is not None:
        return known
    if _is_of_the_network(error):
        return _by_network(error, repository)
    if isinstance(error, OSError) and error.errno is not None:
        return _by_system(error)
    return repository.error(f"was answered in a form that is not the hub's ({type(error).__name__})", _not_the_hub())


def _by_name(error: Exception, repository: Repository) -> HubError | None:
    """Explain what the hub's client tells apart."""
    has_token = _has_token()
    if _is(error, "GatedRepoError"):
        page = f"ask for access on its page ({_endpoint()}/{'' if repository.kind == 'model' else 'datasets/'}{repository.name})"
        return (
            repository.error("is gated, and the token has no access to it", f"{page}, then run the same command again")
            if has_token
            else repository.error("is gated, and there is no token", f"{page}, then set a token by {_TOKEN}")
        )
    if _is(error, "DisabledRepoError"):
        return repository.error("was disabled by the hub", f"choose another, or {_local(repository)}")
    if _is(error, "RevisionNotFoundError"):
        instead = f"set {repository.field} to a commit, branch or tag that it has"
        return repository.error(f"has no revision '{repository.revision}'", instead)
    if _is(error, "EntryNotFoundError"):
        return repository.error("lacks a file that its list names", f"set {repository.field} to another commit")
    if _is(error, "RepositoryNotFoundError"):
        if not has_token:
            instead = f"check the name, or, if it is private, set a token by {_TOKEN}"
            return repository.error("does not exist, or is private and there is no token", instead)
        return repository.error(
            "does not exist, or the token has no access to it",
            "check the name, and whose token it is by `hf auth whoami`",
        )
    return None


def _by_status(error: Exception, repository: Repository, doing: str) -> HubError | None:
    """Explain an HTTP status."""
    status = _status(error)
    if status is None:
        return None
    host = _host(error)
    if status == 401:  # noqa: PLR2004 - HTTP's numbers are their own names here and below
        return repository.error(
            "was refused: the token is not valid", f"set a valid one by {_TOKEN}, or unset HF_TOKEN"
        )
    if status == 407:  # noqa: PLR2004
        return repository.error(*_proxy("wants a log-in"))
    if status == 429:  # noqa: PLR2004
        wait = asked_to_wait(error)
        told = f"; it asks to wait {wait:,.0f} s" if wait is not None else ""
        return repository.error(
            f"was refused: too many requests (429){told}", f"wait, set a token by {_TOKEN}, and {_LATER}"
        )
    if status >= 500:  # noqa: PLR2004
        return repository.error(f"could not be had: '{host}' reports a fault of its own ({status})", _LATER)
    if host not in _endpoint():
        return repository.error(
            f"was listed, but the content network '{host}' refused it ({status})",
            f"see whether a firewall or proxy lets that host through, or {_local(repository)}",
        )
    return repository.error(
        f"was refused by '{host}' ({status}) when medtune {doing}",
        f"check the token by {_TOKEN}, or {_local(repository)}",
    )


def _by_network(error: Exception, repository: Repository) -> HubError:
    """Explain a connection that fails."""
    if _is(error, "ProxyError"):
        return repository.error(*_proxy("cannot be used"))
    if _is_certificate(error):
        return repository.error(
            "could not be had: the certificate of the hub, or of a proxy before it, is not trusted",
            "add your organisation's certificate by SSL_CERT_FILE",
        )
    if _is_about_redirects(error):
        return repository.error("could not be had: the hub's answers lead in a circle", _not_the_hub())
    if "Timeout" in type(error).__name__:
        return repository.error("could not be had: the hub does not answer", _LATER)
    if _is(error, "RemoteProtocolError", "ReadError", "WriteError", "_CutOffError"):
        return repository.error("was cut off again and again", _LATER)
    return HubUnreachableError(repository.what, repository.name, repository.local_option)


def _by_system(error: OSError) -> StorageError:
    place = str(error.filename or _cache())
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError(
            f"the disk of '{_cache()}' is full; free some space or set HF_HOME to another disk, and {_LATER}"
        )
    return StorageError(
        f"the hub cache '{place}' cannot be used: {error.strerror}; set HF_HOME to a folder of your own"
    )


def _proxy(does: str) -> tuple[str, str]:
    return f"could not be had: the proxy {does}", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"


def _local(repository: Repository) -> str:
    return f"point at a local copy with {repository.local_option}"


def _not_the_hub() -> str:
    return f"see whether '{_endpoint()}' (HF_ENDPOINT) is a hub, and whether a log-in page or proxy stands before it"


def _status(error: Exception) -> int | None:
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def _host(error: Exception) -> str:
    url: Any = getattr(getattr(error, "response", None), "url", None)
    return f"{url.host}:{url.port}" if getattr(url, "port", None) else str(getattr(url, "host", "the hub"))


def _is(error: Exception, *names: str) -> bool:
    """Whether an error is of a class of one of these names: the client's HTTP library changes its own from release to release."""
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _is_of_the_network(error: Exception) -> bool:
    return type(error).__module__.startswith(_NETWORK) or isinstance(error, ConnectionError | TimeoutError)


def _is_certificate(error: Exception) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _is_about_redirects(error: Exception) -> bool:
    return _is(error, "TooManyRedirects", "UnsupportedProtocol")


def _seconds_until(date: str) -> float | None:
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _cache() -> str:
    from huggingface_hub import constants

    return constants.HF_HUB_CACHE
