"""Checks of URLs and tokens, made before a connection is opened."""

import ipaddress
import os
import re
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from kaiju_tasks.errors import InvalidParams

__all__ = [
    "WEBSOCKET_SCHEMES",
    "TokenSource",
    "check_private",
    "check_token",
    "environment_token",
    "hide_password",
    "is_loopback",
    "is_private",
    "is_temporary",
    "read_url",
]

TokenSource = str | Callable[[], str | None] | None
"""A token, or a function that returns the current one."""

MAX_PORT = 65_535
WEBSOCKET_SCHEMES = ("http", "https", "ws", "wss")

TOKEN = "KAIJU_TOKEN"
TOKEN_FILE = "KAIJU_TOKEN_FILE"
"""A file that contains the token; KAIJU_TOKEN is used first."""
ALLOW_INSECURE_HTTP = "KAIJU_ALLOW_INSECURE_HTTP"
"""Whether a token may be sent unencrypted to another machine: true or false."""
TRUE = frozenset({"true", "1", "yes", "on"})

_USERINFO = re.compile(r"//[^/?#]*@")
_PORT = re.compile(r"(?<=[^:/]):\d+(?=[/?#]|$)")
_SCHEME = re.compile(r"(?P<scheme>[a-z]+)(?::/*|//+)")
_UP_TO_AT = re.compile(r"^(\w+://)?.*@", re.DOTALL)
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
    userinfo: bool = False,
) -> SplitResult:
    """Split a URL into its parts.

    :param field: name of the parameter, option or variable, for the error
    :param shape: the expected form, for the error
    :param userinfo: accept a user name and a password; URLs of managers have none, because they
        are logged
    :raises InvalidParams: the URL has no host, another scheme, a user name or password, or is
        malformed; the error does not contain the password
    """
    if not isinstance(url, str):
        raise InvalidParams(f"{field} must be text, not {url!r:.200}", field=field)
    parts = _parts(url, schemes)
    if parts is not None:
        if "@" in parts.netloc and not userinfo:
            raise InvalidParams(
                f"{field} must not contain a user name or password. To authenticate to a manager, "
                "set KAIJU_TOKEN or give a client the argument `token`",
                field=field,
            )
        return parts
    shown = _UP_TO_AT.sub(r"\1***@", url)
    raise InvalidParams(
        f"{field} must have the form {shape}, not {shown!r:.200}{_hint(url, shown, schemes)}",
        field=field,
    )


def hide_password(text: str) -> str:
    """Replace the user name and password of each URL in a text by `***`."""
    return _USERINFO.sub("//***@", text)


def check_token(token: str, field: str) -> None:
    """Check that an HTTP header can carry a token.

    :param field: name of the parameter or variable, for the error; the error does not contain the
        token
    :raises InvalidParams: the token is empty, or contains a character other than printable ASCII
    """
    if not isinstance(token, str):
        raise InvalidParams(f"{field} must be text, not {type(token).__name__}", field=field)
    if not token or not token.isascii() or any(not "!" <= c <= "~" for c in token):
        problem = f"{field} must be printable ASCII characters without spaces"
        raise InvalidParams(problem, field=field)


def check_private(url: str, field: str, environ: Mapping[str, str] = os.environ) -> None:
    """Check that nobody on the way can read a token that is sent to a URL: it is encrypted, or does
    not leave this machine, or the variable KAIJU_ALLOW_INSECURE_HTTP allows it.

    :param url: a URL that `read_url` accepts
    :param field: name of the parameter, option or variable, for the error
    :raises InvalidParams: others could read it
    """
    allowed = environ.get(ALLOW_INSECURE_HTTP, "").strip().lower() in TRUE
    if not allowed and not is_private(url):
        raise InvalidParams(
            f"{field}: a token is not sent unencrypted to another machine: use a URL that begins "
            f"with https://, or set {ALLOW_INSECURE_HTTP}=true if you trust the network",
            field=field,
        )


def is_private(url: str) -> bool:
    """Whether what is sent to a URL is encrypted or does not leave this machine."""
    parts = urlsplit(url)
    return parts.scheme in ("https", "wss") or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address."""
    name = host.removeprefix("[").removesuffix("]").lower().partition("%")[0]
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def environment_token(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the token in KAIJU_TOKEN, or in the file that KAIJU_TOKEN_FILE names; None if neither
    is set.

    :raises InvalidParams: the file cannot be read, or there is no token in it; `field` is the name
        of the variable, and the error does not contain the token
    """
    field, token = TOKEN, environ.get(TOKEN, "").strip()
    if not token and (path := environ.get(TOKEN_FILE, "").strip()):
        field, token = TOKEN_FILE, _token_in(path)
    elif not token:
        return None
    check_token(token, field)
    return token


def _token_in(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"{TOKEN_FILE}: {path} cannot be read: {reason}"
        raise InvalidParams(message, field=TOKEN_FILE) from error
    except ValueError as error:
        raise InvalidParams(f"{TOKEN_FILE}: {path} is not text", field=TOKEN_FILE) from error


def is_temporary(status: int) -> bool:
    """Return whether an HTTP status is temporary: the manager or its proxy may answer later."""
    return status in _TEMPORARY or (status >= 500 and status not in _PERMANENT)


def _hint(url: str, shown: str, schemes: Collection[str]) -> str:
    """:param shown: the URL without its password"""
    if _parts(_in_full(url, schemes), schemes) is not None:
        return f"; did you mean {_in_full(shown, schemes)!r}?"
    if _PORT.search(url) and _parts(_PORT.sub("", url), schemes) is not None:
        return f"; the port must be between 1 and {MAX_PORT}"
    return ""


def _in_full(url: str, schemes: Collection[str]) -> str:
    """Return a URL with a scheme and the two slashes after it, if it lacks them."""
    found = _SCHEME.match(url)
    if found and found["scheme"] in schemes:
        return f"{found['scheme']}://{url[found.end() :]}"
    return url if "://" in url else f"http://{url}"


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
