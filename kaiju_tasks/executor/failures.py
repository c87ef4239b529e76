"""Turns the failure of a stage into the error of its report."""

import math
import traceback

from kaiju_tasks.errors import (
    Abort,
    InvalidParams,
    RetryAfter,
    TemplateError,
    TooManyRequests,
    reason_of,
)
from kaiju_tasks.protocol import ReportError
from kaiju_tasks.types import ErrorType

__all__ = ["NotBegun", "ResultTooLarge", "StageTimeout", "UnknownMethod", "report_error"]

MESSAGE_CHARACTERS = 2_000
TRACEBACK_CHARACTERS = 4_000


class NotBegun(Exception):
    """The command has not begun, and any executor may run it later. The task is given back, which
    counts neither as a failure nor as a loss."""


class UnknownMethod(Exception):
    """The executor has no command with this name."""


class ResultTooLarge(Exception):
    """The encoded result exceeds the manager's limit."""


class StageTimeout(Exception):
    """The stage has reached its time limit.

    :param whole_run: whether the limit was the run's `max_exec_timeout`
    """

    def __init__(self, message: str, *, whole_run: bool) -> None:
        super().__init__(message)
        self.whole_run = whole_run


def report_error(error: BaseException) -> ReportError:
    """Convert an exception of a stage to the error of its report."""
    match error:
        case Abort():
            return ReportError(ErrorType.ABORT, _message(error))
        case RetryAfter() if math.isfinite(error.seconds):
            return ReportError(ErrorType.RETRY_AFTER, _message(error), {"seconds": error.seconds})
        case TemplateError():
            return ReportError(ErrorType.TEMPLATE, _message(error), error.data)
        case InvalidParams():
            return ReportError(ErrorType.INVALID_PARAMS, _message(error), error.data)
        case TooManyRequests() if "quota" in error.data:
            return ReportError(ErrorType.TOO_MANY_REQUESTS, _message(error), error.data)
        case UnknownMethod():
            return ReportError(ErrorType.UNKNOWN_METHOD, _message(error))
        case ResultTooLarge():
            return ReportError(ErrorType.RESULT_TOO_LARGE, _message(error))
        case StageTimeout():
            kind = ErrorType.EXEC_TIMEOUT if error.whole_run else ErrorType.STAGE_TIMEOUT
            return ReportError(kind, _message(error))
        case ReportedError():
            return error.report
        case _:
            data = {"exception": type(error).__name__, "traceback": _traceback(error)}
            return ReportError(ErrorType.EXECUTION, _message(error), data)


class ReportedError(Exception):
    """A failure that another process has already converted to a report."""

    def __init__(self, report: ReportError) -> None:
        super().__init__(report.message)
        self.report = report


def _message(error: BaseException) -> str:
    return _encodable(reason_of(error))[:MESSAGE_CHARACTERS]


def _traceback(error: BaseException) -> str:
    lines = traceback.format_exception(error, limit=-12)
    return _encodable("".join(lines))[-TRACEBACK_CHARACTERS:]


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
