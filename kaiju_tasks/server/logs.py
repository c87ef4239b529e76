"""Logs malformed HTTP requests as one line without a traceback: they are the client's error.

The line contains nothing of the request, which may contain a token.
"""

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

__all__ = ["connection_logger"]


class _BrokenRequests(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | RequestPayloadError):
            record.msg = f"refused a malformed request ({type(error).__name__})"
            record.args = ()
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


def connection_logger() -> logging.Logger:
    """The logger of aiohttp's connections."""
    logger = logging.getLogger("kaiju_tasks.server.connections")
    if not any(isinstance(item, _BrokenRequests) for item in logger.filters):
        logger.addFilter(_BrokenRequests())
    return logger
