"""The failures of calls to a service, and the errors of the stages that they become."""

from typing import Any

from kaiju_tasks.executor.failures import ReportedError
from kaiju_tasks.executor.messages import RpcError
from kaiju_tasks.protocol import ReportError
from kaiju_tasks.types import ErrorType

__all__ = ["ServiceAway", "failure", "failure_of"]

METHOD_NOT_FOUND, INVALID_PARAMS = -32601, -32602


class ServiceAway(Exception):
    """The service has not begun the call: it cannot be reached, or accepts no calls now.

    :param retry_after: seconds after which the service asks to be called again
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def failure(message: str, data: Any = None, *, kind: ErrorType = ErrorType.EXECUTION) -> Exception:
    """The exception that fails a stage with an error of this type."""
    return ReportedError(ReportError(kind, message, data))


def failure_of(error: RpcError) -> Exception:
    """Convert a JSON-RPC error of a service to the exception that fails the stage."""
    data = error.data if isinstance(error.data, dict) else {}
    if is_final(data):
        return failure(error.message, data, kind=ErrorType.ABORT)
    if error.code == METHOD_NOT_FOUND:
        return failure(error.message, kind=ErrorType.UNKNOWN_METHOD)
    if error.code == INVALID_PARAMS:
        field = str(data.get("field", "params"))
        details = {"type": ErrorType.INVALID_PARAMS, "field": field}
        return failure(error.message, details, kind=ErrorType.INVALID_PARAMS)
    return failure(error.message, {"code": error.code, "data": error.data})


def is_final(data: dict[str, Any]) -> bool:
    """Whether a service says in the data of its error that a retry does not help."""
    return data.get("type") == ErrorType.ABORT or data.get("retry") is False
