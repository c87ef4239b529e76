"""Log formats: text for people, or one JSON object on a line."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from kaiju_tasks.rights import hide_tokens
from kaiju_tasks.settings import Settings, service_variables

__all__ = ["JsonFormatter", "TextFormatter", "configure_logging", "show_warnings"]

logger = logging.getLogger(__name__)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
SHOWN_BY_PROGRESS = ("kaiju_tasks.executor.stage", "kaiju_tasks.manager.runs")
_BARE = re.compile(r"[^\s\"'=\\{}\[\],]+")


class JsonFormatter(logging.Formatter):
    """One JSON object for each record. The fields of `extra` are fields of that object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_extra(record))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return hide_tokens(_json_line(line))


class TextFormatter(logging.Formatter):
    """One line for each record, followed by its traceback.

    The fields of `extra` are `key=value` pairs at the end of the line. Values that are not plain
    words are JSON; control characters are escaped.
    """

    converter: Callable[[float | None], time.struct_time] = time.gmtime
    default_msec_format = "%s.%03dZ"
    default_time_format = "%Y-%m-%dT%H:%M:%S"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return hide_tokens(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        pairs = [f"{key}={value}" for key, value in _pairs(_extra(record))]
        return " ".join([_escaped(super().formatMessage(record)), *pairs])


def _json_line(line: dict[str, Any]) -> str:
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except (ValueError, RecursionError):  # one of the values is not JSON
        return _json({key: msgspec.Raw(_json(value).encode()) for key, value in line.items()})


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _pairs(extra: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in extra.items():
        if key == "fields" and isinstance(value, dict):
            yield from _pairs(value)
        else:
            yield _word(key), _word(value)


def _word(value: Any) -> str:
    if type(value) is str and value.isascii() and value.isprintable() and _BARE.fullmatch(value):
        return value
    if type(value) is int:
        return str(value)
    encoded = _json(value)
    if encoded.startswith('"'):
        text: str = json.loads(encoded)
        if text.isprintable() and _BARE.fullmatch(text):
            return text
    return _escaped(encoded)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (ValueError, RecursionError):  # a lone surrogate, or a value that contains itself
        return json.dumps(value if isinstance(value, str) else repr(value))


class _OneLine(logging.Filter):
    """Logs an unreachable database as one line, not as a traceback: the pool retries by itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage()}: {record.exc_info[1]}"
            record.args = ()
            record.exc_info = record.exc_text = None
        return True


def show_warnings() -> None:
    """Print warnings to stderr as text, unless the program configures logging itself.

    The failures of stages and runs are not printed: the progress of the command shows them.
    """
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(TextFormatter())
    for name in SHOWN_BY_PROGRESS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def configure_logging(settings: Settings) -> None:
    """Log to stderr in the configured format, and log which environment variables are ignored."""
    handler = logging.StreamHandler()
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter())
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
