"""Errors, one small tree. Each class carries its JSON-RPC code and its data.

KaijuError
├── ParseError         -32700   the bytes are not JSON
├── InvalidRequest     -32600   JSON, but no JSON-RPC 2.0 request
├── MethodNotFound     -32601
├── InvalidParams      -32602   `field` names the wrong one
│   ├── TemplateError           a malformed template, or one that cannot be filled
│   └── SettingsError           an unknown or wrong setting
├── InternalError      -32603
├── Unauthorized          401
├── Forbidden             403
├── NotFound              404
├── Conflict              409   `status` is the task's
├── StaleLease            410   a report under a token that is no longer valid
├── TooLarge              413
├── TooManyRequests       429
│   ├── TooSlow                 a subscriber of events was dropped
│   ├── QuotaExceeded           a principal has reached a quota
│   └── TooManyTasks            a run has set too many tasks going, or too deep a family
└── Unavailable           503   the database cannot be reached, or the manager is stopping
    └── NotAManager             what answers there is no manager: the URL is wrong

Abort                           raised by a command: fails its task without retry
"""

from typing import Any, ClassVar

__all__ = [
    "Abort",
    "Conflict",
    "Forbidden",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "KaijuError",
    "MethodNotFound",
    "NotAManager",
    "NotFound",
    "ParseError",
    "QuotaExceeded",
    "SettingsError",
    "StaleLease",
    "TemplateError",
    "TooLarge",
    "TooManyRequests",
    "TooManyTasks",
    "TooSlow",
    "Unauthorized",
    "Unavailable",
    "reason_of",
    "with_end",
]


def reason_of(error: BaseException) -> str:
    """What an exception says; the name of its class if it says nothing, as many a `TimeoutError`
    does."""
    try:
        text = str(error).strip()
    except Exception:  # a broken __str__ must not hide the failure
        text = ""
    return text or type(error).__name__


def with_end(text: str) -> str:
    """Return a text with a full stop, unless its sentence has an end, as in "did you mean …?"."""
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."


class KaijuError(Exception):
    """Base of every error this package raises on purpose.

    :param message: a sentence for people: what is wrong and what would be right
    :param data: details for programs; `type` is added to it
    """

    code: ClassVar[int] = -32603
    type: ClassVar[str] = "error"

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data: dict[str, Any] = {"type": self.type, **data}

    def __str__(self) -> str:
        return self.message


class ParseError(KaijuError):
    """The bytes are not JSON."""

    code = -32700
    type = "parse_error"


class InvalidRequest(KaijuError):
    """JSON, but no JSON-RPC 2.0 request."""

    code = -32600
    type = "invalid_request"


class MethodNotFound(KaijuError):
    """No such method."""

    code = -32601
    type = "method_not_found"


class InvalidParams(KaijuError):
    """A parameter is missing, unknown or wrong.

    :param field: the wrong one, as a path: `commands.0.max_timeout`
    """

    code = -32602
    type = "invalid_params"

    def __init__(self, message: str, *, field: str | None = None, **data: Any) -> None:
        if field is not None:
            data["field"] = field
        super().__init__(message, **data)
        self.field = field


class TemplateError(InvalidParams):
    """A template is malformed, or cannot be filled from the data there is.

    :param path: the path that is missing, when it is one that is missing
    :param position: where in the template text, from 0, when it is malformed
    """

    type = "template_error"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        path: str | None = None,
        position: int | None = None,
    ) -> None:
        data: dict[str, Any] = {}
        if path is not None:
            data["path"] = path
        if position is not None:
            data["position"] = position
        super().__init__(message, field=field, **data)
        self.path = path
        self.position = position


class SettingsError(InvalidParams):
    """A setting is unknown or wrong; `field` names it."""

    type = "settings_error"


class InternalError(KaijuError):
    """A fault of ours."""

    code = -32603
    type = "internal_error"


class Unauthorized(KaijuError):
    """No token, or a wrong one."""

    code = 401
    type = "unauthorized"


class Forbidden(KaijuError):
    """The token does not allow this."""

    code = 403
    type = "forbidden"


class NotFound(KaijuError):
    """No such task, run, executor or notification."""

    code = 404
    type = "not_found"


class Conflict(KaijuError):
    """The task's status does not allow this.

    :param status: the task's status
    """

    code = 409
    type = "conflict"

    def __init__(self, message: str, *, status: str | None = None, **data: Any) -> None:
        if status is not None:
            data["status"] = str(status)
        super().__init__(message, **data)
        self.status = status


class StaleLease(KaijuError):
    """A report came under a token that is no longer valid: it changed nothing."""

    code = 410
    type = "stale_lease"


class TooLarge(KaijuError):
    """Over a size limit."""

    code = 413
    type = "too_large"


class TooManyRequests(KaijuError):
    """Over a rate or count limit."""

    code = 429
    type = "too_many_requests"


class TooSlow(TooManyRequests):
    """Events came faster than they were read: the subscription has ended."""

    type = "too_slow"


class QuotaExceeded(TooManyRequests):
    """A principal has reached a quota.

    :param quota: its name: `open_tasks`, `creates_per_second` or `pauses`
    :param limit: the quota
    :param used: how much of it is used
    :param retry_after: seconds after which there is room; None if that depends on something else
    """

    def __init__(
        self,
        message: str,
        *,
        quota: str,
        limit: float,
        used: float,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, quota=quota, limit=limit, used=used)
        self.retry_after = retry_after
        if retry_after is not None:
            self.data["retry_after"] = retry_after


class TooManyTasks(TooManyRequests):
    """A run has set too many tasks going, itself or through others; `root_id` is its job_id."""

    type = "too_many_tasks"


class Unavailable(KaijuError):
    """The database cannot be reached, or the manager is stopping: try again."""

    code = 503
    type = "unavailable"


class NotAManager(Unavailable):
    """What answers at a URL is no manager. Asking again does not help: the URL is wrong."""

    type = "not_a_manager"


class Abort(Exception):
    """Raised by a command: its task fails at once, without retry."""


class RetryAfter(Exception):
    """Raised by a command: its stage is run again after some time. This does not count as a retry.

    :param seconds: from 1 second to 366 days; less counts as 1 second, and more as 366 days
    :param message: why, for people
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"the command asks to be run again after {seconds:g} seconds")
        self.seconds = float(seconds)

    def __reduce__(self) -> tuple[type["RetryAfter"], tuple[float, str]]:
        return type(self), (self.seconds, str(self))
