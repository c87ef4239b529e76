"""Encodes the messages between an executor and its worker processes, with their length."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.protocol import ReportError

__all__ = ["HEADER_BYTES", "Begin", "Start", "WorkerMessage", "frame"]

HEADER_BYTES = 4


class Start(Struct):
    """The first message to a worker: the function to run.

    :param function: the function, as `module:qualified.name`
    :param seconds: seconds until the worker is killed
    """

    function: str
    params: Raw
    info: StageInfo
    seconds: float
    max_result_bytes: int
    sys_path: list[str]


class Begin(Struct):
    """The answer to `ready`: begin.

    :param until: the `steady_seconds` after which the worker must ask again
    """

    until: float


class WorkerMessage(Struct, omit_defaults=True):
    """A message from a worker. A `result` or an `error` is the last one.

    :param kind: `ready`, `progress`, `log`, `extend`, `result` or `error`
    """

    kind: str
    result: Raw = Raw(b"null")
    error: ReportError | None = None
    data: Any = None


def frame(message: Start | Begin | WorkerMessage) -> bytes:
    """Encode a message, prefixed with its length."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body
