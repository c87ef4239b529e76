"""Where a manager or a service is, and what is shown to it: checked before anything connects."""

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
    """Take a URL apart.

    :param field: names it in the error: a parameter, an option, a variable
    :param shape: shown as what would be right
    :raises InvalidParams: it has no host, another scheme, or cannot be connected to
    """
    parts = _parts(url, schemes)
    if parts is not None:
        return parts
    guess = f"http://{url}"
    hint = "" if "://" in url or _parts(guess, schemes) is None else f"; did you mean {guess!r}?"
    raise InvalidParams(f"{field} must read {shape}, not {url!r:.200}{hint}", field=field)


def check_token(token: str, field: str) -> None:
    """Refuse a token that no HTTP header can carry.

    :param field: names it in the error, which does not show the token
    :raises InvalidParams: it has characters that no token has
    """
    if not token or not token.isascii() or any(not "!" <= c <= "~" for c in token):
        said = f"{field} must be printable ASCII characters without spaces"
        raise InvalidParams(said, field=field)


def is_temporary(status: int) -> bool:
    """Whether an HTTP status is passing: the manager, or a proxy before it, may answer later."""
    return status in _TEMPORARY or (status >= 500 and status not in _PERMANENT)


def _parts(url: str, schemes: Collection[str]) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        readable = bool(host) and url.isprintable() and " " not in url
        return parts if readable and parts.scheme in schemes and parts.port != 0 else None
    except ValueError:
        return None  # a port that is no number, a bracket too few, a name with an empty label
