"""Length-prefixed JSON frames between an executor and its worker processes."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.protocol import ReportError

__all__ = ["HEADER_BYTES", "Said", "Start", "frame"]

HEADER_BYTES = 4


class Start(Struct):
    """Executor to worker, once: what to run.

    :param function: `module:qualified.name`
    :param seconds: left before the worker is killed
    """

    function: str
    params: Raw
    info: StageInfo
    seconds: float
    max_result_bytes: int
    sys_path: list[str]


class Said(Struct, omit_defaults=True):
    """Worker to executor: `result` or `error` end it, the others come before."""

    kind: str
    result: Raw = Raw(b"null")
    error: ReportError | None = None
    data: Any = None


def frame(message: Start | Said) -> bytes:
    """A message with its length before it."""
    body = msgspec.json.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body
