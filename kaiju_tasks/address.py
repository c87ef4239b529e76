"""Checks of URLs and tokens, made before a connection is opened."""

from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

from kaiju_tasks.errors import InvalidParams

__all__ = ["WEBSOCKET_SCHEMES", "check_token", "is_temporary", "read_url"]

WEBSOCKET_SCHEMES = ("http", "https", "ws", "wss")

_TEMPORARY = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_PERMANENT = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})


def read_url(
    url: str,
    field: str,
    *,
    shape: str = "http://host:port",
    schemes: Collection[str] = ("http", "https"),
) -> SplitResult:
    """Split a URL into its parts.

    :param field: name of the parameter, option or variable, for the error
    :param shape: the expected form, for the error
    :raises InvalidParams: the URL has no host, another scheme, or is malformed
    """
    parts = _parts(url, schemes)
    if parts is not None:
        return parts
    guess = f"http://{url}"
    hint = "" if "://" in url or _parts(guess, schemes) is None else f"; did you mean {guess!r}?"
    raise InvalidParams(f"{field} must have the form {shape}, not {url!r:.200}{hint}", field=field)


def check_token(token: str, field: str) -> None:
    """Check that an HTTP header can carry a token.

    :param field: name of the parameter or variable, for the error; the error does not contain the
        token
    :raises InvalidParams: the token is empty, or contains a character other than printable ASCII
    """
    if not token or not token.isascii() or any(not "!" <= c <= "~" for c in token):
        problem = f"{field} must be printable ASCII characters without spaces"
        raise InvalidParams(problem, field=field)


def is_temporary(status: int) -> bool:
    """Return whether an HTTP status is temporary: the manager or its proxy may answer later."""
    return status in _TEMPORARY or (status >= 500 and status not in _PERMANENT)


def _parts(url: str, schemes: Collection[str]) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        readable = bool(host) and url.isprintable() and " " not in url
        return parts if readable and parts.scheme in schemes and parts.port != 0 else None
    except ValueError:
        return (
            None  # the port is not a number, a bracket is missing, or the name has an empty label
        )
