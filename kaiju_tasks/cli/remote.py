"""One call to a manager, with only the standard library: a command starts quickly."""

import http.client
import json
import os
import socket
from typing import Any, cast
from urllib.parse import SplitResult

from kaiju_tasks.address import check_private, environment_token, is_temporary, read_url
from kaiju_tasks.cli.fail import CALL_FAILED, NO_MANAGER, USAGE, Failed, when_interrupted
from kaiju_tasks.cli.interruptible import Interruptible, woken_by_signals
from kaiju_tasks.cli.results import is_result
from kaiju_tasks.errors import InvalidParams, NotAManager, Unavailable
from kaiju_tasks.reads import READS
from kaiju_tasks.unanswered import describe_response, why_unreachable

__all__ = [
    "DEFAULT_URL",
    "SET_URL",
    "START_ONE",
    "CallFailed",
    "call",
    "call_within",
    "check_result",
    "manager_token",
    "manager_url",
]

DEFAULT_URL = "http://127.0.0.1:8077"
START_ONE = "Start one with `kaiju-tasks serve`, or set KAIJU_URL to the URL of a running manager."
SET_URL = "Set KAIJU_URL to the URL of a manager."
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 90.0


class CallFailed(Failed):
    """The manager answered with an error.

    :ivar code: JSON-RPC code
    :ivar data: details
    """

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        field = data.get("field")
        if isinstance(field, str) and field not in message:
            message = f"{field}: {message}"
        super().__init__(message, NO_MANAGER if code == Unavailable.code else CALL_FAILED)
        self.code = code
        self.data = data


def manager_url() -> str:
    """Return the URL of the manager: KAIJU_URL, or the default.

    :raises Failed: the URL is malformed
    """
    url = os.environ.get("KAIJU_URL", "").strip() or DEFAULT_URL
    _parts(url)
    return url


def manager_token(*urls: str, field: str = "KAIJU_URL") -> str | None:
    """Return the token for the manager, from KAIJU_TOKEN or the file that KAIJU_TOKEN_FILE names;
    None if neither is set.

    :param urls: the URLs to which it is sent
    :param field: where they were set, for the error
    :raises Failed: the file cannot be read, the token contains characters that a header cannot
        carry, or it would be sent unencrypted to another machine
    """
    try:
        token = environment_token()
        for url in urls if token is not None else ():
            check_private(url, field)
        return token
    except InvalidParams as error:
        raise Failed(f"{error}.", USAGE, error) from error


def call(method: str, /, **params: Any) -> Any:
    """Call a method of the manager.

    :param method: its full name, for example `tasks.get`
    :returns: its result, as plain data
    :raises CallFailed: the manager answers with an error
    :raises Failed: no manager answers
    :raises Interrupted: Ctrl-C was pressed before the answer
    """
    return call_within(ANSWER_SECONDS, method, **params)


def call_within(seconds: float, method: str, /, **params: Any) -> Any:
    """Call a method as `call` does, and wait at most this number of seconds for the answer."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    try:
        body = json.dumps(request, allow_nan=False).encode()
    except ValueError as error:
        raise Failed(f"The arguments cannot be sent as JSON: {error}.", USAGE) from error
    with when_interrupted(_interrupted(method)):
        answer = _post(body, seconds)
    if "error" in answer:
        raise _call_failed(answer["error"])
    return check_result(method, answer.get("result"))


def check_result(method: str, result: Any) -> Any:
    """Return a result, if it can be the result of this method.

    :raises Failed: it cannot: the server is not a manager
    """
    if is_result(method, result):
        return result
    text = json.dumps(result)
    raise _not_a_manager(manager_url(), f"the result of `{method}` is {text:.100}")


def _call_failed(error: dict[str, Any]) -> CallFailed:
    data = error.get("data")
    return CallFailed(error["code"], error["message"], data if isinstance(data, dict) else {})


def _interrupted(method: str) -> str:
    if method in READS:
        return "Interrupted before the manager answered."
    return f"Interrupted before the manager answered. It may still carry out `{method}`."


def _post(body: bytes, seconds: float) -> dict[str, Any]:
    url = manager_url()
    parts, headers = _parts(url), _headers(url)
    try:
        with woken_by_signals() as woken:
            connection = _connect(parts, seconds, woken)
            try:
                path = parts.path if parts.path.strip("/") else "/rpc"
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                text = response.read()
            finally:
                connection.close()
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise Failed(_no_manager(url, error), NO_MANAGER) from error
    return _read(url, response.status, text)


def _connect(
    parts: SplitResult, seconds: float, woken: socket.socket | None
) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=min(CONNECT_SECONDS, seconds))
    connection.connect()
    connection.sock.settimeout(seconds)
    connection.sock = cast(socket.socket, Interruptible(connection.sock, seconds, woken))
    return connection


def _headers(url: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if token := manager_token(url):
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _parts(url: str) -> SplitResult:
    try:
        return read_url(url, "KAIJU_URL")
    except InvalidParams as error:
        raise Failed(f"{error}.", USAGE, error) from error


def _read(url: str, status: int, text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and ("result" in answer or _is_error(answer.get("error"))):
        return answer
    reason = describe_response(status, text)
    if is_temporary(status):
        raise Failed(f"The manager at {url} is not available now ({reason}).", NO_MANAGER)
    raise _not_a_manager(url, reason)


def _is_error(error: Any) -> bool:
    return (
        isinstance(error, dict)
        and isinstance(error.get("code"), int)
        and isinstance(error.get("message"), str)
    )


def _not_a_manager(url: str, reason: str) -> Failed:
    message = f"The server at {url} does not answer as a kaiju_tasks manager ({reason}). {SET_URL}"
    return Failed(message, NO_MANAGER, NotAManager(message))


def _no_manager(url: str, error: Exception) -> str:
    return f"No manager answers at {url} ({why_unreachable(error)}). {START_ONE}"
