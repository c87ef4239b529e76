"""Why a call has no answer, in the words of the command line and of clients."""

import os
import socket
from typing import Any

from kaiju_tasks.errors import reason_of

__all__ = ["describe_response", "why_unreachable"]


def why_unreachable(error: BaseException) -> str:
    """Return why a connection failed, for example "connection refused".

    :param error: an error of a socket, or an error of aiohttp that contains it
    """
    below: Any = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    if isinstance(below, TimeoutError):
        return "timed out"
    if isinstance(below, socket.gaierror):
        return "unknown host"
    if getattr(below, "reason", None) == "WRONG_VERSION_NUMBER":  # of ssl.SSLError
        return "this port speaks http, not https"
    if verification := getattr(below, "verify_message", ""):  # of ssl.SSLCertVerificationError
        return f"its certificate is not accepted: {verification}"
    number = getattr(below, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number).lower()
    return reason_of(below if isinstance(below, BaseException) and str(below).strip() else error)


def describe_response(status: int, body: bytes) -> str:
    """Return the HTTP status and the first line of a response, for example "HTTP 404: Not Found".

    :param body: the body, which often repeats the status
    """
    line = body.decode(errors="replace").strip().partition("\n")[0]
    line = line.removeprefix(str(status)).lstrip(": ")
    return f"HTTP {status}: {line:.200}" if line else f"HTTP {status}"
