"""What is answered to a request that cannot be met: a status and OpenAI's error object, never the request's text."""

from typing import Any

__all__ = ["Refusal", "error_body", "told_of"]

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_SERVER_FAULTS = 500


class Refusal(Exception):  # noqa: N818 - an answer, raised from wherever it is found
    """A request is refused.

    Args:
        status: of HTTP.
        message: one sentence, which holds none of the request's text.
        param: name of the field that is at fault.
        code: OpenAI's short name of what is wrong.
        retry_after: seconds after which trying again may help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after = retry_after
        super().__init__(message)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with it."""
        found = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return found | ({"www-authenticate": "Bearer"} if self.status == 401 else {})  # noqa: PLR2004 - no token


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Return OpenAI's error object."""
    kind = _KINDS.get(status, "server_error" if status >= _SERVER_FAULTS else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def told_of(error: BaseException) -> str:
    """Return what a log may say of an unexpected error: its type and place, for its text may hold a prompt."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" in {place.tb_frame.f_code.co_name}, line {place.tb_lineno}"
    return f"{type(error).__name__}{where}"
