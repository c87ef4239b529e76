"""Log lines: for people, or one JSON object a line."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from kaiju_tasks.settings import Settings, service_variables

__all__ = ["JsonFormatter", "configure_logging"]

logger = logging.getLogger(__name__)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object for each record; what `extra` gave stands beside the rest."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class _TextFormatter(logging.Formatter):
    converter: Callable[[float | None], time.struct_time] = time.gmtime
    default_msec_format = "%s.%03dZ"
    default_time_format = "%Y-%m-%dT%H:%M:%S"


class _OneLine(logging.Filter):
    """A database out of reach is a line, not a traceback: the pool tries again by itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage()}: {record.exc_info[1]}"
            record.args = ()
            record.exc_info = record.exc_text = None
        return True


def configure_logging(settings: Settings) -> None:
    """Send log lines to stderr as the settings say, and log what was ignored in reading them."""
    handler = logging.StreamHandler()
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(_TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, logging.root.level))
    pool = logging.getLogger("asyncpg.pool")
    if not any(isinstance(item, _OneLine) for item in pool.filters):
        pool.addFilter(_OneLine())
    if ignored := service_variables():
        logger.info(
            "ignoring environment variables that Kubernetes sets for Services: %s",
            ", ".join(ignored),
        )
